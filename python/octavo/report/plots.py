"""Plots as inline SVG, for report.page: no script, no network; colours come from the page's style."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT, LEFT, FOOT, HEAD = 960, 250, 58, 24, 12
SMALL, SMALL_HEIGHT, MEDIUM = 360, 180, 460
LETTER = 6.3  # pixels a letter takes, about
MOST_BARS = 72
ONE, TWO, GOOD, BAD = "var(--one)", "var(--two)", "var(--good)", "var(--bad)"
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass
class Bar:
    """name: below it; tip: what a pointer shows; filled: the share of it that is dark."""

    name: str
    value: float
    colour: str
    tip: str
    filled: float = 1.0


@dataclass
class Point:
    """A model of a Pareto plot: its score (larger is better), size and latency; chosen: the one that was taken."""

    label: str
    score: float
    octets: int
    ms: float | None = None
    chosen: bool = False


# ---- pieces ----------------------------------------------------------------------------------------------------------


def svg(width: float, height: float, label: str, kind: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" class="{kind}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def word(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "rule", style: str = "") -> str:
    styled = f' style="{style}"' if style else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"{styled}/>'


def bar(x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> str:
    shape = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect {shape} style="fill:{colour}" fill-opacity="{opacity}"/>'


def axis_top(largest: float) -> float:
    """A round number at or above the largest value."""
    if largest <= 0:
        return 1.0
    step = 10.0 ** (len(f"{int(largest)}") - 1) if largest >= 1 else 0.1
    for factor in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10):
        if factor * step >= largest:
            return factor * step
    return 10 * step


def ticks(lo: float, hi: float, wanted: int = 5) -> list[float]:
    """Round numbers in [lo, hi]: about as many as wanted."""
    span = hi - lo
    if not (math.isfinite(span) and span > 0):
        return [lo]
    step = 10.0 ** math.floor(math.log10(span / wanted))
    step *= next((f for f in (1, 2, 2.5, 5) if span / (f * step) <= wanted), 10)
    first = math.ceil(lo / step - 1e-9)
    return [k * step for k in range(first, math.floor(hi / step + 1e-9) + 1)]


def figure(value: float) -> str:
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"


# ---- plots -----------------------------------------------------------------------------------------------------------


def bar_plot(bars: Sequence[Bar], unit: str, below: str, label: str) -> str:
    """A bar each, in this order."""
    top = axis_top(max((b.value for b in bars), default=0.0))
    height = HEIGHT - FOOT - HEAD
    slot = (WIDTH - LEFT) / max(len(bars), 1)
    width = max(min(slot * 0.8, 40.0), 0.6)
    parts = []
    for k in range(5):
        y = HEAD + height * (1 - k / 4)
        parts.append(line(LEFT, y, WIDTH, y))
        parts.append(word(LEFT - 6, y + 4, f"{top * k / 4:.4g}" + (f" {unit}" if k == 4 else ""), "end"))
    parts.append(word(LEFT - 6, HEIGHT - 6, below, "end"))
    every = max(1, math.ceil(len(bars) / 24))
    for k, b in enumerate(bars):
        x = LEFT + slot * k + (slot - width) / 2
        whole = height * b.value / top
        dark = whole * b.filled
        parts.append(f"<g><title>{escape(b.tip)}</title>")
        parts.append(bar(x, HEAD + height - whole, width, whole, b.colour, 0.35))
        parts.append(bar(x, HEAD + height - dark, width, dark, b.colour) + "</g>")
        if k % every == 0:
            parts.append(word(x + width / 2, HEIGHT - 6, b.name))
    return svg(WIDTH, HEIGHT, label, "wide", parts)


def depth_plot(alone: Sequence[float | None], along: Sequence[float], names: Sequence[str], most: float = 70.0) -> str:
    """Decibels of each layer in order: by itself (dots) and accumulated (a line); `most` is the top."""
    known = [v for v in (*alone, *along) if v is not None]
    least = min(0.0, math.floor(max(min(known, default=0.0), -20.0) / 10) * 10)
    top = min(most, max(10.0, math.ceil(max(known, default=0.0) / 10) * 10))
    height = HEIGHT - FOOT - HEAD
    slot = (WIDTH - LEFT) / max(len(along), 1)

    def at(k: int, value: float) -> tuple[float, float]:
        held = min(max(value, least), top)
        return LEFT + slot * (k + 0.5), HEAD + height * (1 - (held - least) / (top - least))

    parts = []
    for value in ticks(least, top, 7):
        y = at(0, value)[1]
        parts.append(line(LEFT, y, WIDTH, y))
        parts.append(word(LEFT - 6, y + 4, figure(value) + (" dB" if value == top else ""), "end"))
    parts.append(word(LEFT - 6, HEIGHT - 6, "layer", "end"))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(k, v) for k, v in enumerate(along)))
    parts.append(f'<polyline points="{path}" style="fill:none;stroke:{TWO};stroke-width:2"/>')
    every = max(1, math.ceil(len(along) / 24))
    for k, (own, whole, name) in enumerate(zip(alone, along, names)):
        x, y = at(k, whole)
        said = "" if own is None else f"{own:.1f} dB alone, "
        parts.append(f"<g><title>{escape(f'{k + 1} {name}: {said}{whole:.1f} dB accumulated')}</title>")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" style="fill:{TWO}"/>')
        if own is not None:
            x, y = at(k, own)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" style="fill:{ONE}"/>')
        parts.append("</g>")
        if k % every == 0:
            parts.append(word(x, HEIGHT - 6, str(k + 1)))
    return svg(WIDTH, HEIGHT, "signal-to-noise ratio along the depth", "wide", parts)


def histogram_plot(
    centres: np.ndarray,
    counts: np.ndarray,
    width: float,
    edge: float,
    limits: tuple[float, float] | None,
    label: str,
    colour: str = ONE,
) -> str:
    """How often values occur, on a logarithmic scale, and the limits of what the integers cover; red: what they clip.

    centres: of bins of one width, of which `edge` is a border.
    """
    ends = [float(centres.min(initial=0)), float(centres.max(initial=0)), *(limits or ())]
    width = width or 1.0
    lo = math.floor((min(ends) - edge) / width) * width + edge
    count = max(math.ceil((max(ends) - lo) / width), 1)
    each = math.ceil(count / MOST_BARS)  # whole bins in a bar, or bars would stand out for no reason
    bars = math.ceil(count / each)
    hi = lo + bars * each * width
    side, height = 10, SMALL_HEIGHT - FOOT - HEAD - 8
    scale = (SMALL - 2 * side) / (hi - lo)
    filled, _ = np.histogram(centres, bars, (lo, hi), weights=counts)
    top = math.log1p(float(filled.max(initial=0))) or 1.0
    parts, wide = [], (SMALL - 2 * side) / bars
    for k, count in enumerate(filled):
        middle = lo + (k + 0.5) * (hi - lo) / bars
        tall = height * math.log1p(float(count)) / top
        clipped = limits is not None and not limits[0] - 1 / scale <= middle <= limits[1] + 1 / scale
        if count:
            parts.append(bar(side + k * wide, HEAD + 8 + height - tall, wide * 0.9, tall, BAD if clipped else colour))
    base = HEAD + 8 + height
    parts.append(line(side, base, SMALL - side, base, "edge"))
    for value in ticks(lo, hi, 5):
        parts.append(word(side + (value - lo) * scale, SMALL_HEIGHT - 6, figure(value)))
    for value in limits or ():
        x = side + (value - lo) * scale
        parts.append(line(x, HEAD, x, base, "limit", f"stroke:{BAD};stroke-width:1.5;stroke-dasharray:4 3"))
    return svg(SMALL, SMALL_HEIGHT, label, "small", parts)


def interval_plot(rows: Sequence[tuple[str, float, float, float]], label: str) -> str:
    """(name, low, middle, high) each: a dot with its interval, in points, against zero."""
    lo, hi = min([-1.0, *(r[1] for r in rows)]), max([1.0, *(r[3] for r in rows)])
    lo, hi = lo - 0.05 * (hi - lo), hi + 0.05 * (hi - lo)
    height = HEAD + 46 * len(rows) + FOOT
    scale = (MEDIUM - 40) / (hi - lo)
    parts = []
    for value in ticks(lo, hi, 6):
        x = 20 + (value - lo) * scale
        parts.append(line(x, HEAD, x, height - FOOT, "edge" if abs(value) < 1e-12 else "rule"))
        parts.append(word(x, height - 6, f"{0.0 if abs(value) < 1e-12 else value:+.4g}".replace("+0", "0", 1)))
    for k, (name, low, middle, high) in enumerate(rows):
        y = HEAD + 46 * k + 32
        colour = BAD if high < 0 else GOOD if low > 0 else ONE
        parts.append(word(20, y - 14, f"{name}: {middle:+.2f} points ({low:+.2f} to {high:+.2f})", "start", "name"))
        ends = [20 + (v - lo) * scale for v in (low, high)]
        parts.append(line(ends[0], y, ends[1], y, "", f"stroke:{colour};stroke-width:3"))
        parts.append(f'<circle cx="{20 + (middle - lo) * scale:.1f}" cy="{y}" r="5" style="fill:{colour}"/>')
    return svg(MEDIUM, height, label, "small", parts)


def pareto_plot(points: Sequence[Point], measure: str = "accuracy", unit: str = "%") -> str:
    """Scores against size and, where every point has one, latency. The line joins the best ones."""
    parts = [pareto_panel(points, lambda p: p.octets / 1e6, "size, MB", measure, unit)]
    if points and all(p.ms is not None for p in points):
        parts.append(pareto_panel(points, lambda p: float(p.ms or 0), "latency, ms", measure, unit))
    return f'<div class="grid pair">{"".join(parts)}</div>'


def pareto_panel(points: Sequence[Point], cost: Callable[[Point], float], costs: str, measure: str, unit: str) -> str:
    width, height, left, foot = MEDIUM, 300, 54, 40
    right, top = width - 14, 14
    values = [p.score for p in points]
    spread = max(values, default=1.0) - min(values, default=0.0)
    spread = max(spread, 1.0) if unit == "%" else spread or abs(max(values, default=1.0)) or 1.0
    lo, hi = min(values, default=0.0) - 0.12 * spread, max(values, default=1.0) + 0.12 * spread
    most = 1.08 * max((cost(p) for p in points), default=1.0) or 1.0

    def at(p: Point) -> tuple[float, float]:
        y = top + (height - foot - top) * (1 - (p.score - lo) / (hi - lo))
        return left + (right - left) * cost(p) / most, y

    parts = []
    for value in ticks(lo, hi, 5):
        y = top + (height - foot - top) * (1 - (value - lo) / (hi - lo))
        parts += [line(left, y, right, y), word(left - 6, y + 4, figure(value), "end")]
    for value in ticks(0, most, 5):
        x = left + (right - left) * value / most
        parts += [line(x, height - foot, x, height - foot + 4, "edge"), word(x, height - foot + 17, figure(value))]
    parts.append(line(left, height - foot, right, height - foot, "edge"))
    parts.append(word((left + right) / 2, height - 4, costs))
    parts.append(word(4, top - 2, unit, "start"))
    best = frontier(points, cost)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(p) for p in best))
    parts.append(f'<polyline points="{path}" style="fill:none;stroke:{ONE};stroke-opacity:.5;stroke-width:2"/>')
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in map(at, points)]
    for p, q in itertools.pairwise(best):  # labels keep off the line
        for x, y in zip(*(np.linspace(*ends, 60) for ends in zip(at(p), at(q)))):
            taken.append((x - 1, y - 1, x + 1, y + 1))
    labels: list[str] = []
    dots: list[str] = []
    for p in sorted(points, key=lambda p: not p.chosen):  # the chosen one's label comes first, its dot on top
        x, y = at(p)
        inside = GOOD if p.chosen else ONE if p in best else "var(--paper)"
        tip = f"{p.label}: {p.score:.4g} {unit}, {p.octets:,} bytes" + ("" if p.ms is None else f", {p.ms:.3f} ms")
        ring = GOOD if p.chosen else ONE
        look = f"fill:{inside};stroke:{ring};stroke-width:2"
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="{look}"/>'
        labels.append(placed(p.label, x, y, taken, (left, top, right + 10, height - foot - 2)))
        dots.insert(0, f"<g><title>{escape(tip)}</title>{dot}</g>")
    parts += dots + labels
    title = f"{measure} against {costs.split(',')[0]}"
    drawn = svg(width, height, title, "small", parts)
    return f"<section><figure>{drawn}<figcaption><b>{escape(title)}</b></figcaption></figure></section>"


def frontier(points: Sequence[Point], cost: Callable[[Point], float]) -> list[Point]:
    """Those that no other point beats: the cheapest first, each later one more accurate."""
    found: list[Point] = []
    for p in sorted(points, key=lambda p: (cost(p), -p.score)):
        if not found or p.score > found[-1].score:
            found.append(p)
    return found


def placed(text: str, x: float, y: float, taken: list[Box], room: Box) -> str:
    """The text beside a point, where nothing is; nothing where there is no such place (the pointer still tells)."""
    text = text if len(text) <= 34 else "…" + text[-33:]
    wide = LETTER * len(text)
    beside = [(x + 9, y + 4), (x - 9 - wide, y + 4)]
    above = [(left, base) for base in (y - 10, y + 20, y - 24, y + 34) for left in (x - wide / 2, x - 6, x + 6 - wide)]
    for left, base in beside + above:
        box = (left, base - 10, left + wide, base + 3)
        inside = room[0] <= box[0] and box[2] <= room[2] and room[1] <= box[1] and box[3] <= room[3]
        if inside and not any(overlap(box, other) for other in taken):
            taken.append(box)
            return word(left, base, text, "start", "name")
    return ""


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
