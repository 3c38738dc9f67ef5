"""Draw a picture with numpy alone: rounded boxes, images, text, and a PNG writer.

Just what ``octavo demo`` needs, so that octavo needs no plotting library. Shapes are drawn from their distance to each
pixel's centre, which gives smooth edges at any size. The typeface is a 5x9 dot matrix whose neighbouring dots are
joined by round strokes, so it scales the same way.
"""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Mask = npt.NDArray[np.float32]

# Nine rows a glyph: seven above the baseline, two below. Every band opens with the characters it holds; a blank column
# separates glyphs. A glyph is as wide as its dots reach.
_TYPEFACE = """
A     B     C     D     E     F     G     H     I     J     K     L     M     N
.###. ####. .###. ####. ##### ##### .###. #...# ###.. ...#. #...# #.... #...# #...#
#...# #...# #...# #...# #.... #.... #...# #...# .#... ...#. #..#. #.... ##.## ##..#
#...# #...# #.... #...# #.... #.... #.... #...# .#... ...#. #.#.. #.... #.#.# #.#.#
##### ####. #.... #...# ####. ####. #..## ##### .#... ...#. ##... #.... #.#.# #.#.#
#...# #...# #.... #...# #.... #.... #...# #...# .#... ...#. #.#.. #.... #...# #..##
#...# #...# #...# #...# #.... #.... #...# #...# .#... #..#. #..#. #.... #...# #...#
#...# ####. .###. ####. ##### #.... .###. #...# ###.. .##.. #...# ####. #...# #...#
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
O     P     Q     R     S     T     U     V     W     X     Y     Z     0     1
.###. ####. .###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###. ..#..
#...# #...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# #...# .##..
#...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. #...# ..#..
#...# ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. #...# ..#..
#...# #.... #.#.# #.#.. ....# ..#.. #...# .#.#. #.#.# .#.#. ..#.. .#... #...# ..#..
#...# #.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... #...# ..#..
.###. #.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### .###. ..#..
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
2     3     4     5     6     7     8     9     a     b     c     d     e     f
.###. .###. ...#. ##### .###. ##### .###. .###. ..... #.... ..... ....# ..... ..##.
#...# #...# ..##. #.... #.... ....# #...# #...# ..... #.... ..... ....# ..... .#...
....# ....# .#.#. ####. #.... ...#. #...# #...# .###. ####. .###. .#### .###. ####.
...#. ..##. #..#. ....# ####. ...#. .###. .#### ....# #...# #.... #...# #...# .#...
..#.. ....# ##### ....# #...# ..#.. #...# ....# .#### #...# #.... #...# ##### .#...
.#... #...# ...#. #...# #...# ..#.. #...# ....# #...# #...# #.... #...# #.... .#...
##### .###. ...#. .###. .###. ..#.. .###. .###. .#### ####. .###. .#### .###. .#...
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
g     h     i     j     k     l     m     n     o     p     q     r     s     t
..... #.... #.... ..#.. #.... #.... ..... ..... ..... ..... ..... ..... ..... .#...
..... #.... ..... ..... #.... #.... ..... ..... ..... ..... ..... ..... ..... .#...
.#### ####. #.... ..#.. #..#. #.... ####. ####. .###. ####. .#### #.##. .#### ####.
#...# #...# #.... ..#.. #.#.. #.... #.#.# #...# #...# #...# #...# ##... #.... .#...
#...# #...# #.... ..#.. ##... #.... #.#.# #...# #...# #...# #...# #.... .###. .#...
#...# #...# #.... ..#.. #.#.. #.... #.#.# #...# #...# #...# #...# #.... ....# .#...
.#### #...# #.... ..#.. #..#. #.... #.#.# #...# .###. ####. .#### #.... ####. ..##.
....# ..... ..... ..#.. ..... ..... ..... ..... ..... #.... ....# ..... ..... .....
.###. ..... ..... ##... ..... ..... ..... ..... ..... #.... ....# ..... ..... .....
u     v     w     x     y     z     µ     ×     .     ,     :     -     %     /
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ##..# ....#
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ##..# ...#.
#...# #...# #...# #...# #...# ##### #...# #...# ..... ..... #.... ..... ...#. ...#.
#...# #...# #...# .#.#. #...# ...#. #...# .#.#. ..... ..... ..... ###.. ..#.. ..#..
#...# #...# #.#.# ..#.. #...# ..#.. #...# ..#.. ..... ..... ..... ..... .#... .#...
#...# .#.#. #.#.# .#.#. #...# .#... #...# .#.#. ..... ..... #.... ..... #..## .#...
.#### ..#.. .#.#. #...# .#### ##### ##### #...# #.... .#... ..... ..... #..## #....
..... ..... ..... ..... ....# ..... #.... ..... ..... #.... ..... ..... ..... .....
..... ..... ..... ..... .###. ..... #.... ..... ..... ..... ..... ..... ..... .....
(     )     +     =     _     '     ?     !
..#.. #.... ..... ..... ..... #.... .###. #....
.#... .#... ..#.. ..... ..... #.... #...# #....
#.... ..#.. ..#.. ##### ..... ..... ....# #....
#.... ..#.. ##### ..... ..... ..... ..##. #....
#.... ..#.. ..#.. ##### ..... ..... ..#.. #....
.#... .#... ..#.. ..... ..... ..... ..... .....
..#.. #.... ..... ..... ##### ..... ..#.. #....
..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... .....
"""
_ROWS = 9
_BASELINE = 7  # rows above the baseline: the height of a capital
_GAP = 1.0  # dots between two glyphs' edges
_SPACE = 3.0  # dots a space advances

Segment = tuple[float, float, float, float]  # x0, y0, x1, y1 in dots


def _join(dots: set[tuple[int, int]]) -> list[Segment]:
    """Join neighbouring dots by strokes: level and upright ones always, diagonal ones where no corner joins them."""
    segments: list[Segment] = []
    for x, y in sorted(dots):
        neighbours = [(x + 1, y), (x, y + 1)]
        neighbours += [(x + d, y + 1) for d in (-1, 1) if (x + d, y) not in dots and (x, y + 1) not in dots]
        segments += [(x, y, u, v) for u, v in neighbours if (u, v) in dots]
        segments.append((x, y, x, y))
    return segments


def _load_typeface() -> dict[str, tuple[float, list[Segment]]]:
    """Parse the typeface to ``character -> (width in dots, strokes)``."""
    lines = _TYPEFACE.strip().splitlines()
    glyphs: dict[str, tuple[float, list[Segment]]] = {" ": (_SPACE, [])}
    for top in range(0, len(lines), _ROWS + 1):
        rows = [line.split() for line in lines[top : top + _ROWS + 1]]
        for column, character in enumerate(rows[0]):
            art = [row[column] for row in rows[1:]]
            left = min(row.index("#") for row in art if "#" in row)
            dots = {(x - left, y) for y, row in enumerate(art) for x, dot in enumerate(row) if dot == "#"}
            glyphs[character] = (1.0 + max(x for x, _ in dots), _join(dots))
    return glyphs


_GLYPHS = _load_typeface()


class Canvas:
    """An RGB picture to draw on. Coordinates are pixels from the top left; later drawings cover earlier ones."""

    def __init__(self, width: int, height: int, background: Colour = (255, 255, 255)):
        self.pixels = np.empty((height, width, 3), dtype=np.float32)
        self.pixels[:] = background

    def box(self, x: float, y: float, width: float, height: float, colour: Colour, radius: float = 0.0) -> None:
        """Fill a rectangle whose corners are rounded by ``radius``."""
        left, top, xs, ys = self._window(x, y, x + width, y + height)
        dx = np.abs(xs - (x + width / 2)) - (width / 2 - radius)
        dy = np.abs(ys - (y + height / 2)) - (height / 2 - radius)
        outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)
        self._blend(left, top, np.clip(0.5 + radius - outside, 0, 1), colour)

    def text(
        self,
        x: float,
        baseline: float,
        text: str,
        size: float,
        colour: Colour,
        weight: float = 1.0,
        align: str = "left",
    ) -> float:
        """Write ``text`` with capitals ``size`` pixels high; return its width.

        ``weight`` scales the strokes' thickness. ``align`` says whether ``x`` is the text's left end, "right" end or
        "centre". A character the typeface lacks is drawn as a question mark.
        """
        dot = size / _BASELINE
        width = text_width(text, size)
        pen = x - {"left": 0.0, "centre": width / 2, "right": width}[align]
        top_left = (pen, baseline - _BASELINE * dot)
        left, top, xs, ys = self._window(
            top_left[0] - dot, top_left[1] - dot, pen + width + dot, top_left[1] + (_ROWS + 1) * dot
        )
        radius = 0.5 * weight * dot
        mask = np.zeros(np.broadcast_shapes(xs.shape, ys.shape), dtype=np.float32)
        for character in text:
            advance, segments = _GLYPHS.get(character, _GLYPHS["?"])
            first = max(int(pen - 2 * dot) - left, 0)
            last = max(int(pen + (advance + 2) * dot) + 1 - left, 0)
            part, part_xs = mask[:, first:last], xs[:, first:last]
            for x0, y0, x1, y1 in segments:
                distance = _distance(
                    part_xs - (pen + (x0 + 0.5) * dot),
                    ys - (top_left[1] + (y0 + 0.5) * dot),
                    (x1 - x0) * dot,
                    (y1 - y0) * dot,
                )
                np.maximum(part, np.clip(0.5 + radius - distance, 0, 1), out=part)
            pen += (advance + (_GAP if character != " " else 0)) * dot
        self._blend(left, top, mask, colour)
        return width

    def grey_image(self, x: int, y: int, image: npt.NDArray[np.uint8], scale: int, ink: Colour, paper: Colour) -> None:
        """Draw a uint8 ``[H, W]`` image enlarged ``scale`` times, smoothly: 0 in ``paper``, 255 in ``ink``."""
        shade = _enlarge(_enlarge(image.astype(np.float32) / np.float32(255), scale, 0), scale, 1)[:, :, None]
        height, width = shade.shape[:2]
        colours = np.asarray(ink, np.float32) * shade + np.asarray(paper, np.float32) * (1 - shade)
        self.pixels[y : y + height, x : x + width] = colours

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to ``path`` as PNG."""
        with open(path, "wb") as file:
            file.write(encode_png(np.rint(self.pixels).astype(np.uint8)))

    def _window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, Mask, Mask]:
        """The pixels that a shape of these bounds may touch: left, top, and the centres' x ``[1, W]``, y ``[H, 1]``."""
        height, width = self.pixels.shape[:2]
        left, right = max(int(x0) - 1, 0), min(int(x1) + 2, width)
        top, bottom = max(int(y0) - 1, 0), min(int(y1) + 2, height)
        xs = np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5)
        ys = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
        return left, top, xs, ys

    def _blend(self, left: int, top: int, mask: Mask, colour: Colour) -> None:
        part = self.pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        part += mask[:, :, None] * (np.asarray(colour, np.float32) - part)


def text_width(text: str, size: float) -> float:
    """Width in pixels of ``text`` written with capitals ``size`` pixels high."""
    dots = sum(_GLYPHS.get(character, _GLYPHS["?"])[0] + (_GAP if character != " " else 0) for character in text)
    return max(dots - _GAP, 0.0) * size / _BASELINE


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8 RGB ``[H, W, 3]`` as a PNG file (ISO/IEC 15948): three chunks, every row filtered by the one above.

    Raises ValueError if ``pixels`` has another type or shape, or no pixel.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"a picture is a non-empty uint8 array [H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, width * 3)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filter_up = np.full((height, 1), 2, dtype=np.uint8)
    data = np.hstack([filter_up, rows - above])  # modulo 256, as the filter wants

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # eight bits, RGB, no interlace
    body = zlib.compress(data.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _distance(x: Mask, y: Mask, dx: float, dy: float) -> Mask:
    """Distance of each point (x, y) to the segment from the origin to (dx, dy)."""
    length2 = dx * dx + dy * dy
    if length2 == 0:
        return np.hypot(x, y)
    along = np.clip((x * dx + y * dy) / length2, 0, 1)
    return np.hypot(x - along * dx, y - along * dy)


def _enlarge(image: Mask, scale: int, axis: int) -> Mask:
    """Linear interpolation along one axis; pixels keep their places, the border repeats."""
    size = image.shape[axis]
    where = np.clip((np.arange(size * scale, dtype=np.float32) + 0.5) / scale - 0.5, 0, size - 1)
    low = np.minimum(where.astype(np.int64), size - 1)
    share = (where - low).astype(np.float32)
    share = share[:, None] if axis == 0 else share[None, :]
    upper = np.take(image, np.minimum(low + 1, size - 1), axis)
    return np.take(image, low, axis) * (1 - share) + upper * share
