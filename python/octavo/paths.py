"""Where results go: told before the work that makes them."""

from __future__ import annotations

import os

from octavo.errors import InvalidArgument, IoError


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises IoError before the work whose result could not be written to `path`, InvalidArgument if it is no path."""
    try:
        name = os.fspath(path)
    except TypeError:
        name = None
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"a path to write to should be a string or a pathlib.Path, not {path!r}")
    if os.path.isdir(name):
        raise IoError(f"cannot write '{name}': it is a folder")
    beside = f"{name}.tmp{os.getpid()}"
    try:
        with open(beside, "w", encoding="utf-8"):
            pass
        os.unlink(beside)
    except OSError as e:
        raise IoError(f"cannot write '{name}': {e.strerror or e}") from e
