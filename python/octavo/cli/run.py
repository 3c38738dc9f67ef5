"""``octavo run``: arrays and pictures in, outputs out."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.cli.arguments import (
    add_command,
    add_dim,
    add_engine_options,
    add_json,
    add_pictures,
    picture_options,
    positive,
)
from octavo.errors import InvalidArgument, IoError

if TYPE_CHECKING:
    import numpy as np

    from octavo.engine import Session
    from octavo.feeds import TensorInfo
    from octavo.images import ImageOptions

ARRAY_FILES = (".npy", ".npz")


def add_run(commands: Any) -> None:
    command = add_command(
        commands,
        "run",
        "run a model on arrays or pictures",
        run_command,
        "A picture is resized, its centre cropped, and becomes (pixel - mean) / std, with pixels 0..255.",
    )
    command.add_argument("model", metavar="MODEL")
    command.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="a .npy, .npz or picture file; NAME may be left out where the model has one input, and for a .npz whose "
        "arrays bear the inputs' names. Pictures given for one input form a batch",
    )
    command.add_argument(
        "--random", type=int, metavar="SEED", help="fill the inputs that are not given with random data"
    )
    add_dim(command)
    command.add_argument("--output", metavar="FILE.npz", help="write the outputs (.npy: the first one)")
    command.add_argument(
        "--top", type=positive, metavar="K", help="show the K largest elements of each row of output 1"
    )
    command.add_argument("--labels", metavar="FILE", help="names of the classes, one a line, for --top")
    add_pictures(command)
    add_engine_options(command)
    add_json(command)


def run_command(options: argparse.Namespace) -> int:
    from octavo.engine import Session

    if options.labels and not options.top:
        raise InvalidArgument("--labels names what --top shows; give --top K too")
    labels = read_labels(options.labels) if options.labels else None
    session = Session(options.model, threads=options.threads, isa=options.isa, requantize=options.requantize)
    feeds = collect_feeds(session, options)
    start = time.perf_counter()
    results = session.run(None, feeds)
    taken = (time.perf_counter() - start) * 1e3
    names = [o.name for o in session.get_outputs()]
    top = best_classes(results[0], options.top, labels) if options.top else None
    if options.output:
        write_arrays(options.output, dict(zip(names, results)))
    report = {
        "model": options.model,
        "isa": session.isa,
        "threads": session.threads,
        "ms": round(taken, 3),
        "outputs": [summary(name, array) for name, array in zip(names, results)],
    }
    if top is not None:
        report["top"] = top
    print(json.dumps(report) if options.json else run_text(report))
    return 0


def collect_feeds(session: Session, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The model's inputs from the files named, and random data where asked for."""
    import numpy as np

    from octavo.report.bench import random_feeds
    from octavo.report.inspect import checked_dims

    how = picture_options(options)
    inputs = {i.name: i for i in session.get_inputs()}
    dims = checked_dims(session.get_inputs(), options.dim)
    given: dict[str, list[np.ndarray]] = {}
    for text in options.input:
        for name, array in read_input(text, inputs, how).items():
            given.setdefault(name, []).append(array)
    feeds = {}
    for name, arrays in given.items():
        if len({a.shape[1:] for a in arrays}) > 1 or (len(arrays) > 1 and arrays[0].ndim == 0):
            raise InvalidArgument(f"the files given for input '{name}' differ in shape and cannot form a batch")
        feeds[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    if options.random is not None:
        filled = random_feeds(session.get_inputs(), dims, options.random)
        feeds = {name: feeds.get(name, filled[name]) for name in inputs}
    missing = [name for name in inputs if name not in feeds]
    if missing:
        raise InvalidArgument(
            f"nothing is given for input '{missing[0]}'; give --input {missing[0]}=FILE, or --random SEED for a trial"
        )
    return feeds


def read_input(text: str, inputs: dict[str, TensorInfo], how: ImageOptions) -> dict[str, np.ndarray]:
    """One --input option: arrays by input name."""
    from octavo.feeds import did_you_mean, quoted
    from octavo.images import load_image

    name, path = split_input(text, inputs)
    kind = Path(path).suffix.lower()
    if kind == ".npz":
        arrays = load_arrays(path)
        if name is None:
            return arrays
        if name not in arrays and len(arrays) != 1:
            raise InvalidArgument(f"'{path}' holds no array '{name}'{did_you_mean(name, arrays)}")
        return {name: arrays[name] if name in arrays else next(iter(arrays.values()))}
    if name is None:
        if len(inputs) != 1:
            raise InvalidArgument(f"--input {text}: say for which input, as NAME={path}: {quoted(inputs)}")
        name = next(iter(inputs))
    if name not in inputs:
        raise InvalidArgument(f"the model has no input '{name}'{did_you_mean(name, inputs)}")
    return {name: load_arrays(path)[""] if kind == ".npy" else load_image(path, inputs[name], how)}


def split_input(text: str, inputs: dict[str, TensorInfo]) -> tuple[str | None, str]:
    """NAME=FILE -> its parts. Either may hold "=" itself: an input's name decides, then a file that exists."""
    for name in sorted(inputs, key=len, reverse=True):
        if text.startswith(name + "="):
            return name, text[len(name) + 1 :]
    if "=" not in text or os.path.exists(text):
        return None, text
    name, _, path = text.partition("=")
    return name, path


def load_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name, or that of a .npy file under ""."""
    import zipfile

    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except OSError as e:
        raise IoError(f"cannot read '{path}': {e.strerror or e}") from e
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as e:
        raise InvalidArgument(f"'{path}' is not an array file that can be read: {e}") from e


def write_arrays(path: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes a .npz, or the first array as .npy: beside the target, then renamed."""
    import numpy as np

    kind = Path(path).suffix.lower()
    if kind not in ARRAY_FILES:
        raise InvalidArgument(f"--output should end in .npz or .npy, not '{path}'")
    beside = f"{path}.tmp{os.getpid()}"
    try:
        with open(beside, "wb") as file:
            if kind == ".npy":
                np.save(file, next(iter(arrays.values())))
            else:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(beside, path)
    except OSError as e:
        if os.path.exists(beside):
            os.unlink(beside)
        raise IoError(f"cannot write '{path}': {e.strerror or e}") from e


def read_labels(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as e:
        raise IoError(f"cannot read '{path}': {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        raise InvalidArgument(f"'{path}' is not a text file: {e}") from e


def best_classes(array: np.ndarray, how_many: int, labels: list[str] | None) -> list[list[dict[str, Any]]]:
    """The largest elements of each row (an output of one dimension is one row), largest first, ties by index."""
    import numpy as np

    rows = array.reshape(1, -1) if array.ndim < 2 else array.reshape(array.shape[0], -1)
    if labels is not None and len(labels) != rows.shape[1]:
        raise InvalidArgument(f"--labels has {len(labels)} lines, but the output has {rows.shape[1]} elements a row")
    if rows.dtype.kind not in "fiub":
        raise InvalidArgument(f"--top cannot order an output of {rows.dtype}")
    result = []
    for row in rows:
        order = np.argsort(-row.astype(np.float64), kind="stable")[:how_many]
        result.append(
            [
                {"index": int(k), "score": row[k].item()} | ({"label": labels[k]} if labels is not None else {})
                for k in order
            ]
        )
    return result


def summary(name: str, array: np.ndarray) -> dict[str, Any]:
    """Name, dtype, shape and range of an output; null for what is not finite, so that the JSON is valid."""
    import numpy as np

    figures: dict[str, Any] = {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size:
        wide = array.astype(np.float64)
        with np.errstate(all="ignore"):
            found = {"min": wide.min(), "max": wide.max(), "mean": wide.mean()}
        figures |= {k: float(v) if np.isfinite(v) else None for k, v in found.items()}
    return figures


def run_text(report: dict[str, Any]) -> str:
    from octavo.report.table import shape_text, table

    def figure(value: float | None) -> str:
        return "" if value is None else f"{value:.6g}"

    rows = [
        [o["name"], o["dtype"], shape_text(o["shape"]), *(figure(o.get(k)) for k in ("min", "max", "mean"))]
        for o in report["outputs"]
    ]
    text = table(["output", "dtype", "shape", "min", "max", "mean"], rows, left=("output", "dtype", "shape"))
    for k, row in enumerate(report.get("top", [])):
        columns = ["index", "score", "label"] if row and "label" in row[0] else ["index", "score"]
        best = [[f"{c[at]:.6g}" if at == "score" else str(c[at]) for at in columns] for c in row]
        text += f"\n\nrow {k}\n" + table(columns, best, left=("label",))
    return text
