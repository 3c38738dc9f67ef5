"""octavo: a quantized neural-network inference engine. The same integers on every CPU.

    import octavo
    y, = octavo.run("model.onnx", {"image": x})

    session = octavo.Session("model.onnx", threads=2)
    y, = session.run(None, {"image": x})

Everything heavy (numpy, the native module, onnx) is imported when it is first needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from octavo.errors import Error, InvalidArgument, InvalidModel, IoError, OutOfMemory, Unsupported

if TYPE_CHECKING:
    from octavo import engine
    from octavo.compress.quantize import quantize
    from octavo.compress.record import QuantizeReport
    from octavo.engine import BoundRun, Session, run

__version__ = "0.1.0"

__all__ = [
    "BoundRun",
    "Error",
    "InvalidArgument",
    "InvalidModel",
    "IoError",
    "OutOfMemory",
    "QuantizeReport",
    "Session",
    "Unsupported",
    "__version__",
    "engine",
    "quantize",
    "run",
]

_LAZY = {
    **dict.fromkeys(("BoundRun", "Session", "run"), "octavo.engine"),
    "QuantizeReport": "octavo.compress.record",
    "quantize": "octavo.compress.quantize",
}


def __getattr__(name: str) -> Any:
    if name == "engine":
        return importlib.import_module("octavo.engine")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'octavo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
