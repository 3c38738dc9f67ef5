"""Rows of classes: those a model gives, and the true ones, from an array, a CSV file or the data's .npz file."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from octavo.compress.data import picture_files
from octavo.errors import InvalidArgument, IoError
from octavo.feeds import quoted

BESIDE = "labels.csv"  # in a folder of pictures
WITHIN = "labels"  # in an .npz file


def read_labels(labels: Any, data: Any) -> np.ndarray | None:
    """Whole numbers, one a sample of `data` in its order; None where there are none.

    labels: numbers; the name of an array in the .npz file that `data` is; a CSV file with the columns ``file`` and
        ``label``, where data is a folder of pictures, or with a column ``label``, a line a sample; or None: the array
        ``labels`` of the .npz file, or the folder's ``labels.csv``, if there is one.

    Raises InvalidArgument or IoError.
    """
    folder = isinstance(data, (str, os.PathLike)) and Path(data).is_dir()
    if labels is None:
        if folder and (Path(data) / BESIDE).is_file():
            return of_csv(Path(data) / BESIDE, Path(data))
        return of_npz(Path(data), WITHIN, wanted=False) if is_npz(data) else None
    if not isinstance(labels, (str, os.PathLike)):
        return whole(labels, "the labels")
    if Path(labels).suffix.lower() == ".csv":
        return of_csv(Path(labels), Path(data) if folder else None)
    if is_npz(data):
        return of_npz(Path(data), os.fspath(labels), wanted=True)
    raise InvalidArgument(f"labels are numbers, a .csv file or the name of an array in the .npz file, not '{labels}'")


def is_npz(data: Any) -> bool:
    return isinstance(data, (str, os.PathLike)) and Path(data).suffix == ".npz" and Path(data).is_file()


def whole(labels: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(labels)
    except ValueError:
        raise InvalidArgument(
            f"{what} should be whole numbers in one dimension, not lists of different lengths"
        ) from None
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InvalidArgument(f"{what} should be whole numbers in one dimension, not {array.dtype} {list(array.shape)}")
    return array.astype(np.int64)


def of_npz(path: Path, name: str, *, wanted: bool) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = file[name] if name in file.files else None
            known = quoted(file.files)
    except Exception as e:  # of a damaged file zipfile, zlib and tokenize raise their own
        raise IoError(f"cannot read '{path}': {e}") from e
    if found is None and wanted:
        raise InvalidArgument(f"'{path}' holds no array '{name}' of labels; there is {known}")
    return None if found is None else whole(found, f"the array '{name}' of '{path.name}'")


def of_csv(path: Path, folder: Path | None) -> np.ndarray:
    """In the order of the lines, or of the pictures in the folder."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as e:
        raise IoError(f"cannot read '{path}': {e.strerror or e}") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise InvalidArgument(f"'{path}' is not a CSV file: {e}") from e
    numbers = [number(row.get("label"), path, line) for line, row in enumerate(rows, 2)]
    if folder is None:
        return np.array(numbers, np.int64)
    by_file = {str(row.get("file")): n for row, n in zip(rows, numbers)}
    return np.array([of_picture(file, folder, by_file, path) for file in picture_files(folder)], np.int64)


def number(text: Any, path: Path, line: int) -> int:
    try:
        return int(np.int64(int(text)))
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(
            f"'{path}', line {line}: the column 'label' should hold a whole number"
            + (f", not {text!r}" if text is not None else ", and there is no such column")
        ) from None


def of_picture(file: Path, folder: Path, by_file: dict[str, int], path: Path) -> int:
    names: Sequence[str] = (file.relative_to(folder).as_posix(), file.name)
    for name in names:
        if name in by_file:
            return by_file[name]
    raise InvalidArgument(f"'{path}' has no line for the picture '{names[0]}' (columns: file, label)")


def numeric(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "fiub"


def class_rows(y: Any) -> np.ndarray | None:
    """[N, C] of an output [N, C] with axes of 1 beside; None for anything else."""
    if not numeric(y) or y.ndim < 2 or sum(d != 1 for d in y.shape[1:]) != 1 or y.size == 0:
        return None
    return np.asarray(y.reshape(y.shape[0], -1))
