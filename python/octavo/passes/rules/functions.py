"""Functions of one, two or more elements: ONNX node -> Unary, Binary, Where, Cast."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.passes.context import CORE_DTYPES, F32, Context, Refuse, Rule
from octavo.passes.elementwise import BINARY, PARAMETERS, PLAIN, RENAMED, unary
from octavo.passes.match import broadcast_shape

INTEGERS = {np.dtype(t) for t in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")}
F64, BOOL = np.dtype(np.float64), np.dtype(bool)
OF_INTEGERS = {"Neg", "Abs", "Sign", "Relu", "Clip", "BitwiseNot"}
OF_DOUBLES = {"Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil",
              "Round", "Sign", "Softplus"}  # fmt: skip


def elementwise(c: Context) -> None:
    found = unary(c.graph, c.node)
    if found is None:
        raise Refuse("its parameters are computed at run time" if c.node.op == "Clip" else "its parameters are unusual")
    fn, attrs = found
    if fn == "Not":
        if c.dtype() != BOOL:
            raise Refuse("Not needs booleans")
    elif c.dtype() in INTEGERS:
        if fn not in OF_INTEGERS:
            raise Refuse(f"the core runs it in float32, not {c.dtype()}")
        if any(np.isfinite(v) and abs(v) > 2**53 for v in attrs.values()):
            raise Refuse("its bounds are beyond what a float64 holds")
    elif c.dtype() != F64 or fn not in OF_DOUBLES:
        c.need_f32()
    c.emit("Unary", [c.x], {"fn": fn, **attrs})


def clip(c: Context) -> None:
    """With bounds computed at run time: Max, then Min."""
    if unary(c.graph, c.node) is not None:
        return elementwise(c)
    x = c.x
    for k, fn in ((1, "Max"), (2, "Min")):
        if c.node.input(k):
            last = fn == "Min" or not c.node.input(2)
            value = c.graph.values[c.y]
            x = c.patch.emit(
                "Binary", [x, c.node.input(k)], value.dtype, value.shape, {"fn": fn}, c.y if last else None
            )


def takes(fn: str) -> set[Any]:
    """The dtypes that Binary has the function for."""
    if fn in ("And", "Or", "Xor"):
        return {BOOL}
    if fn.startswith("Bit"):
        return INTEGERS
    return {F32, F64, *INTEGERS, BOOL} if fn == "Equal" else {F32, F64, *INTEGERS}


def binary(c: Context) -> None:
    fn = c.node.op
    a, b = c.dtype(0), c.dtype(1)
    if fn == "Pow" and a in takes(fn) and b in takes(fn) and a != b:
        return mixed_power(c)
    if a != b or a not in takes(fn):
        raise Refuse(f"the core does not compute {fn} of {a} and {b}")
    if "axis" in c.node.attrs or "broadcast" in c.node.attrs:
        raise Refuse("its broadcasting is that of operator sets before 7")
    fmod = {"fmod": 1} if fn == "Mod" and c.attr("fmod", 0) else {}
    if fn == "BitShift":
        fn = {"LEFT": "ShiftLeft", "RIGHT": "ShiftRight"}.get(c.attr("direction", ""), "")
        if not fn:
            raise Refuse("its direction is neither LEFT nor RIGHT")
    c.emit("Binary", [c.x, c.node.inputs[1]], {"fn": fn, **fmod})


def mixed_power(c: Context) -> None:
    """The exponent takes the base's type; an integer to a fractional power goes through float64."""
    from octavo.onnx_import import element_type

    def cast(x: str, dtype: Any, out: str | None = None) -> str:
        return c.patch.emit("Cast", [x], dtype, c.graph.shape(x), {"to": element_type(dtype)}, out)

    base, exponent, shape = c.x, c.node.inputs[1], c.graph.shape(c.y)
    if c.dtype(0) in (F32, F64):
        return c.emit("Binary", [base, cast(exponent, c.dtype(0))], {"fn": "Pow"})
    if c.dtype(1) in INTEGERS:
        wide = cast(exponent, c.dtype(0))
        return c.emit("Binary", [base, wide], {"fn": "Pow"})
    power = c.patch.emit("Binary", [cast(base, F64), cast(exponent, F64)], F64, shape, {"fn": "Pow"})
    cast(power, c.dtype(0), c.y)


def variadic(c: Context) -> None:
    """Min, Max, Sum of any number of operands: from left to right."""
    fn = "Add" if c.node.op == "Sum" else c.node.op
    if any(d not in takes(fn) for d in map(c.dtype, range(len(c.node.inputs)))):
        raise Refuse(f"the core does not compute {c.node.op} of {c.dtype()}")
    x = c.x
    if len(c.node.inputs) == 1:
        return c.emit("Identity", [x])
    shape = c.graph.shape(x)
    for k, other in enumerate(c.node.inputs[1:], 2):
        shape = broadcast_shape(shape, c.graph.shape(other))
        last = k == len(c.node.inputs)
        x = c.patch.emit("Binary", [x, other], c.dtype(), shape, {"fn": fn}, c.y if last else None)


def where(c: Context) -> None:
    c.emit("Where", list(c.node.inputs))


def cast(c: Context) -> None:
    target = c.graph.dtype(c.y)
    if target is None or target not in CORE_DTYPES or c.dtype() is None:
        raise Refuse(f"the core does not cast {c.dtype()} to {target}")
    if c.dtype() == target:
        return c.emit("Identity", [c.x])
    from octavo.onnx_import import element_type

    attrs: dict[str, Any] = {"to": element_type(target)}
    if not c.attr("saturate", 1):
        attrs["saturate"] = 0
    if c.attr("round_mode", "up") != "up":
        attrs["round_mode"] = c.attr("round_mode", "up")
    c.emit("Cast", [c.x], attrs)


RULES: dict[str, Rule] = {
    **dict.fromkeys(PLAIN | PARAMETERS.keys() | RENAMED.keys() | {"Gelu"}, elementwise),
    "Clip": clip,
    **dict.fromkeys(BINARY - {"Min", "Max"}, binary),
    **dict.fromkeys(("Min", "Max", "Sum"), variadic),
    "Where": where,
    "Cast": cast,
}
