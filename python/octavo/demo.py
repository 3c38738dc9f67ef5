"""``octavo demo``: classify 1,000 photographs of clothes with a float32 and an int8 network, and show how both did.

The two networks and the photographs come with octavo (``_data``, made by ``examples/train_fashion.py``), so the demo
works offline and doubles as a check of an installation.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .engine import Session

DATA = Path(__file__).parent / "_data"
MODELS = (("float32", "fashion_float.onnx"), ("int8", "fashion_int8.onnx"))
DEFAULT_PICTURE = "octavo-demo.png"
MINIMUM_TOP1 = 0.9  # both networks reach more than 0.92; less means that this installation computes wrongly

BATCH = 100
ROUNDS, RUNS_PER_ROUND, WARM_UP_RUNS = 20, 50, 50

PICTURE_SIZE = (1200, 1130)
ROWS_OF_IMAGES = 6


@dataclass(frozen=True)
class Result:
    """What one network did on the test images."""

    name: str
    file_bytes: int
    predictions: npt.NDArray[np.int64]  # [images], class numbers
    top1: float  # share of right predictions
    latency_us: float  # median time of one image alone, in microseconds


def run_demo(output: str | None, threads: int | None, as_json: bool) -> int:
    """Run the demo, print its table (or one JSON object) and write its picture.

    Args:
        output: where to write the picture, a PNG file; None: ``octavo-demo.png`` in the current folder.
        threads: threads of each session; None: as many as octavo finds fit.
        as_json: print one JSON object and nothing else.

    Returns:
        The exit status: 0, or 1 when a network got far fewer images right than it should.

    Raises:
        octavo.Error: the picture cannot be written there.
    """
    picture = _check_output(Path(output or DEFAULT_PICTURE))
    images, labels, classes = load_test_images()
    results = _measure(images, labels, threads)
    _save(_draw(results, images, labels, classes), picture)
    if as_json:
        print(json.dumps(_as_json(results, len(labels), threads, picture)))
    else:
        print(_as_table(results, len(labels), threads))
        print(f"\nPicture: {picture}")
    failed = [result for result in results if result.top1 < MINIMUM_TOP1]
    for result in failed:
        print(
            f"octavo demo: the {result.name} network got only {100 * result.top1:.1f} % right, it should exceed "
            f"{100 * MINIMUM_TOP1:.0f} %: this installation computes wrongly, please report it.",
            file=sys.stderr,
        )
    return 1 if failed else 0


def load_test_images() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], list[str]]:
    """The packaged test images: uint8 ``[1000, 28, 28]``, their class numbers ``[1000]`` and the classes' names."""
    with np.load(DATA / "fashion_test.npz") as file:
        return file["images"], file["labels"].astype(np.int64), [str(name) for name in file["classes"]]


def to_network(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """uint8 ``[N, 28, 28]`` to the networks' input: float32 ``[N, 1, 28, 28]`` in [0, 1]."""
    return images[:, None].astype(np.float32) / np.float32(255)


# ---- measuring -------------------------------------------------------------------------------------------------------


def _measure(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], threads: int | None) -> list[Result]:
    from . import Session

    options: dict[str, Any] = {} if threads is None else {"threads": threads}
    inputs = to_network(images)
    paths = [DATA / file for _, file in MODELS]
    sessions = []
    predictions = []
    for (name, _), path in zip(MODELS, paths, strict=True):
        _progress(f"classifying {len(images):,} images with the {name} network")
        sessions.append(Session(str(path), **options))
        predictions.append(_classify(sessions[-1], inputs))
    latencies = _time_interleaved(sessions, inputs[:1])
    return [
        Result(name, path.stat().st_size, predicted, float(np.mean(predicted == labels)), latency)
        for (name, _), path, predicted, latency in zip(MODELS, paths, predictions, latencies, strict=True)
    ]


def _classify(session: Session, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    logits = [session.run(None, {"image": inputs[at : at + BATCH]})[0] for at in range(0, len(inputs), BATCH)]
    return np.concatenate(logits).argmax(axis=1)


def _time_interleaved(sessions: list[Session], image: npt.NDArray[np.float32]) -> list[float]:
    """Median microseconds of one run of each session. They take turns, so that a busy machine slows all alike."""
    bound = [session.bind({"image": image}) for session in sessions]
    for run in (one.run for one in bound for _ in range(WARM_UP_RUNS)):
        run()
    times: list[list[int]] = [[] for _ in bound]
    for turn in range(ROUNDS):
        _progress(f"timing, round {turn + 1} of {ROUNDS}")
        for one, taken in zip(bound, times, strict=True):
            for _ in range(RUNS_PER_ROUND):
                start = time.perf_counter_ns()
                one.run()
                taken.append(time.perf_counter_ns() - start)
    _progress("")
    return [statistics.median(taken) / 1000 for taken in times]


def _progress(text: str) -> None:
    """Show one line that the next call replaces, only to a person's terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


# ---- telling ---------------------------------------------------------------------------------------------------------


def _agreement(results: list[Result]) -> float:
    return float(np.mean(results[0].predictions == results[1].predictions))


def _as_json(results: list[Result], images: int, threads: int | None, picture: Path) -> dict[str, Any]:
    models = [
        {
            "name": result.name,
            "top1": round(result.top1, 6),
            "file_bytes": result.file_bytes,
            "latency_us": round(result.latency_us, 3),
        }
        for result in results
    ]
    return {
        "dataset": "Fashion-MNIST",
        "images": images,
        "threads": threads,
        "models": models,
        "speedup": round(results[0].latency_us / results[1].latency_us, 3),
        "agreement": round(_agreement(results), 6),
        "picture": str(picture),
    }


def _as_table(results: list[Result], images: int, threads: int | None) -> str:
    lines = [_title(images, threads), "", f"{'network':<10}{'top-1':>8}{'file':>10}{'one image':>13}"]
    for result in results:
        top1, size, latency = _figures(result)
        lines.append(f"{result.name:<10}{top1:>8}{size:>10}{latency:>13}")
    faster, smaller, agree = _comparison(results)
    lines += ["", f"int8 is {faster} as fast in a file {smaller} as large; both agree on {agree} of the images."]
    return "\n".join(lines)


def _title(images: int, threads: int | None) -> str:
    setting = "" if threads is None else f", {threads} thread{'s' if threads != 1 else ''}"
    return f"Fashion-MNIST, {images:,} test images{setting}"


def _figures(result: Result) -> tuple[str, str, str]:
    """Top-1, file size and latency as a person reads them."""
    return f"{100 * result.top1:.1f} %", f"{result.file_bytes / 1000:.0f} kB", f"{result.latency_us:.1f} µs"


def _comparison(results: list[Result]) -> tuple[str, str, str]:
    """How int8 compares with float: speed-up, relative file size, agreement."""
    reference, quantized = results
    faster = f"{reference.latency_us / quantized.latency_us:.1f}×"
    smaller = f"{quantized.file_bytes / reference.file_bytes:.2f}×"
    return faster, smaller, f"{100 * _agreement(results):.1f} %"


# ---- drawing ---------------------------------------------------------------------------------------------------------

PAPER, CARD, INK, SOFT = (246, 244, 239), (255, 255, 255), (34, 38, 48), (118, 122, 132)
GREEN, RED, BLUE, TRACK = (38, 132, 84), (204, 52, 52), (44, 92, 164), (236, 233, 226)
MARGIN = 40


def _check_output(path: Path) -> Path:
    """Refuse, before any work, a path where no picture can be written."""
    from . import Error

    if path.suffix.lower() != ".png":
        raise Error(f"octavo demo writes a PNG picture, so its output should end in .png, not {path.name!r}")
    if path.is_dir():
        raise Error(f"octavo demo cannot write its picture to {path}: that is a folder; name a file inside it")
    if not path.parent.is_dir():
        raise Error(f"octavo demo cannot write its picture to {path}: there is no folder {path.parent}; make it first")
    return path


def _save(canvas: Any, path: Path) -> None:
    from . import Error

    try:
        canvas.save(path)
    except OSError as error:
        raise Error(f"octavo demo cannot write its picture to {path}: {error.strerror or error}") from error


def _draw(
    results: list[Result], images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: list[str]
) -> Any:
    """The picture: the figures on top, below them the first test images of each class and what int8 made of them."""
    from .report.picture import Canvas

    canvas = Canvas(*PICTURE_SIZE, background=PAPER)
    width = canvas.text(MARGIN, 84, "octavo", 40, INK, 1.35)
    canvas.text(MARGIN + width + 28, 84, f"Fashion-MNIST, {len(labels):,} test images", 14, SOFT, 1.15)
    _draw_figures(canvas, results)
    _draw_images(canvas, results[1].predictions, images, labels, classes)
    return canvas


def _draw_figures(canvas: Any, results: list[Result]) -> None:
    """One card: a row a network with a bar for its latency, then the three figures that compare them."""
    top, height = 112, 160
    canvas.box(MARGIN, top, PICTURE_SIZE[0] - 2 * MARGIN, height, CARD, 14)
    columns = {"network": MARGIN + 28, "top-1": 270, "file": 370, "one image": 480}
    for name, x in columns.items():
        canvas.text(x, top + 40, name, 10, SOFT, 1.2, "left" if name in ("network", "one image") else "right")
    slowest = max(result.latency_us for result in results)
    for row, (result, colour) in enumerate(zip(results, (SOFT, BLUE), strict=True)):
        y = top + 82 + 44 * row
        top1, size, latency = _figures(result)
        canvas.text(columns["network"], y, result.name, 15, colour, 1.4)
        canvas.text(columns["top-1"], y, top1, 15, INK, 1.15, "right")
        canvas.text(columns["file"], y, size, 15, INK, 1.15, "right")
        canvas.box(columns["one image"], y - 18, 130, 22, TRACK, 6)
        canvas.box(columns["one image"], y - 18, max(130 * result.latency_us / slowest, 12), 22, colour, 6)
        canvas.text(columns["one image"] + 142, y, latency, 15, INK, 1.15)
    faster, smaller, agree = _comparison(results)
    for column, (figure, meaning) in enumerate(
        ((faster, "speed of int8"), (smaller, "size of int8"), (agree, "same answer"))
    ):
        x = 800 + 145 * column
        canvas.text(x, top + 90, figure, 24, BLUE, 1.3, "centre")
        canvas.text(x, top + 124, meaning, 10, SOFT, 1.2, "centre")


def _draw_images(
    canvas: Any,
    predictions: npt.NDArray[np.int64],
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: list[str],
) -> None:
    """A column a class: its name, then its first test images, framed and labelled green if int8 is right, else red."""
    top, scale, pitch = 312, 3, 124
    tile = 28 * scale
    width = (PICTURE_SIZE[0] - 2 * MARGIN) / len(classes)
    for column, name in enumerate(classes):
        centre = MARGIN + width * (column + 0.5)
        canvas.text(centre, top, name, 11, INK, 1.4, "centre")
        for row, chosen in enumerate(np.flatnonzero(labels == column)[:ROWS_OF_IMAGES]):
            right = predictions[chosen] == column
            x, y = round(centre - tile / 2), top + 24 + pitch * row
            frame = 2 if right else 4
            canvas.box(
                x - 6 - frame, y - 6 - frame, tile + 12 + 2 * frame, tile + 12 + 2 * frame, GREEN if right else RED, 10
            )
            canvas.box(x - 6, y - 6, tile + 12, tile + 12, CARD, 8)
            canvas.grey_image(x, y, images[chosen], scale, INK, CARD)
            said = classes[predictions[chosen]]
            canvas.text(centre, y + tile + 24, said, 9, GREEN if right else RED, 1.2, "centre")
    note = f"Each column: the first {ROWS_OF_IMAGES} test images of a class. Below each: what the int8 network says."
    canvas.text(MARGIN, PICTURE_SIZE[1] - 24, note, 10, SOFT, 1.15)
