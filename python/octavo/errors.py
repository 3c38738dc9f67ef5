"""The exceptions octavo raises. Each message says what was wrong, where, what was expected and the mend."""

from __future__ import annotations


class Error(Exception):
    """Anything octavo refuses or fails at; the classes below say which kind."""


class InvalidArgument(Error, ValueError):
    """The caller's mistake: feeds, options, buffers."""


class InvalidModel(Error, ValueError):
    """A model file or graph that is malformed, truncated or contradicts itself."""


class Unsupported(Error):
    """Valid, but not something this build can do."""


class OutOfMemory(Error, MemoryError):
    """Memory could not be had."""


class IoError(Error, OSError):
    """A file could not be read or written."""
