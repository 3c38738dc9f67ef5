"""Calibration data: whatever a user has, read one sample at a time, as often as the methods need it."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from octavo.errors import InvalidArgument, IoError
from octavo.feeds import TensorInfo, arrange
from octavo.images import ImageOptions, load_image

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}
Feeds = dict[str, np.ndarray]


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder and the folders in it, in the order they are read."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)


class Calibration:
    """Samples of a model's inputs, one dict of arrays each; iterate over it any number of times.

    source: a folder of pictures; an ``.npz`` file (an array an input, the first axis counts samples); an array (the
        same, for a model with one input); an iterable of dicts, sequences or arrays, one a sample with its batch axis;
        or a reader with ``get_next()``, as onnxruntime's. What can be read only once is kept in a temporary file on
        disk, so memory stays that of one sample.
    limit: at most so many samples.

    Raises InvalidArgument or IoError when a sample does not fit the model, saying which.
    """

    def __init__(
        self, source: Any, infos: Sequence[TensorInfo], *, images: ImageOptions | None = None, limit: int | None = None
    ) -> None:
        if limit is not None and not (isinstance(limit, (int, np.integer)) and limit >= 1):
            raise InvalidArgument(f"limit should be 1 or more, a whole number, not {limit!r}")
        self.infos, self.limit = list(infos), limit
        self.images = images or ImageOptions()
        self.total: int | None = None  # where it is known beforehand
        self._again = self._open(source)

    def __iter__(self) -> Iterator[Feeds]:
        count = 0
        for count, sample in enumerate(itertools.islice(self._again(), self.limit), 1):
            try:
                arrays = arrange(sample, self.infos)
            except InvalidArgument as e:
                raise InvalidArgument(f"calibration sample {count - 1}: {e}") from None
            yield {info.name: a for info, a in zip(self.infos, arrays)}
        if count == 0:
            raise InvalidArgument("there is no calibration data: give at least one sample (a few dozen are better)")
        self.total = count

    def _open(self, source: Any) -> Any:
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            if path.is_dir():
                return self._pictures(path)
            if path.suffix == ".npz" and path.exists():
                return self._npz(path)
            raise InvalidArgument(
                f"calibration data '{path}' is "
                + ("neither a folder of pictures nor an .npz file" if path.exists() else "not there")
            )
        if isinstance(source, np.ndarray):
            if len(self.infos) != 1:
                raise InvalidArgument(f"one array for a model with {len(self.infos)} inputs: give an iterable of dicts")
            return self._rows({self.infos[0].name: source}, "the array")
        if hasattr(source, "get_next"):
            return Spool(iter(source.get_next, None), self.infos)
        if isinstance(source, Sequence):
            self.total = len(source)
            return source.__iter__
        if isinstance(source, Iterable):
            return Spool(iter(source), self.infos)
        raise InvalidArgument(
            "calibration data is a folder of pictures, an .npz file, an array, an iterable of dicts of arrays, or a "
            f"reader with get_next(), not {type(source).__name__}"
        )

    def _pictures(self, folder: Path) -> Any:
        files = picture_files(folder)
        if not files:
            raise InvalidArgument(f"there are no pictures in '{folder}' ({', '.join(sorted(PICTURES))})")
        if len(self.infos) != 1:
            raise InvalidArgument(f"pictures for a model with {len(self.infos)} inputs: give an iterable of dicts")
        self.total = len(files)
        return lambda: ([load_image(file, self.infos[0], self.images)] for file in files)

    def _npz(self, path: Path) -> Any:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except Exception as e:  # of a damaged file zipfile, zlib and tokenize raise their own
            raise IoError(f"cannot read '{path}': {e}") from e
        wanted = {info.name for info in self.infos}
        if len(wanted) == 1 and not wanted & arrays.keys() and "inputs" in arrays:
            arrays = {self.infos[0].name: arrays["inputs"]}
        return self._rows({k: v for k, v in arrays.items() if k in wanted} or arrays, f"'{path.name}'")

    def _rows(self, arrays: Feeds, where: str) -> Any:
        """Arrays whose first axis counts samples."""
        counts = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
        if len(set(counts.values())) > 1:
            raise InvalidArgument(f"{where}: its arrays hold different numbers of samples: {counts}")
        kinds = {info.name: info.dtype for info in self.infos}
        self.total = next(iter(counts.values()), 0)

        def row(a: np.ndarray, name: str, k: int) -> np.ndarray:
            part = a[k : k + 1]
            return part.astype(kinds[name]) if name in kinds and kinds[name].kind == "f" else part

        return lambda: ({name: row(a, name, k) for name, a in arrays.items()} for k in range(self.total or 0))


class Part(Calibration):
    """Some samples of others: those whose numbers `keep` accepts."""

    def __init__(self, whole: Calibration, keep: Callable[[int], bool]) -> None:
        self.whole, self.keep = whole, keep
        self.infos, self.images, self.limit, self.total = whole.infos, whole.images, None, None

    def __iter__(self) -> Iterator[Feeds]:
        count = 0
        for k, feeds in enumerate(self.whole):
            if self.keep(k):
                count += 1
                yield feeds
        self.total = count


class Spool:
    """An iterator made repeatable: what was read is kept in a temporary file."""

    def __init__(self, source: Iterator[Any], infos: Sequence[TensorInfo]) -> None:
        self.source, self.infos = source, list(infos)
        self.file = tempfile.TemporaryFile(prefix="octavo-")  # noqa: SIM115 - lives as long as the data
        self.written = 0

    def __call__(self) -> Iterator[Feeds]:
        at = 0
        for _ in range(self.written):
            self.file.seek(at)
            feeds = {info.name: np.load(self.file, allow_pickle=False) for info in self.infos}
            at = self.file.tell()
            yield feeds
        for sample in self.source:
            feeds = dict(zip([i.name for i in self.infos], arrange(sample, self.infos)))
            self.file.seek(at)
            for array in feeds.values():
                np.save(self.file, array, allow_pickle=False)
            at = self.file.tell()
            self.written += 1
            yield feeds
