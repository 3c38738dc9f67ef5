"""Functions of one, two or more elements: ONNX node -> Unary, Binary, Where, Cast."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.passes.context import CORE_DTYPES, F32, S8, S32, S64, U8, Context, Refuse, Rule
from octavo.passes.elementwise import BINARY, unary
from octavo.passes.match import broadcast_shape


def elementwise(c: Context) -> None:
    found = unary(c.graph, c.node)
    if found is None:
        raise Refuse("its parameters are computed at run time" if c.node.op == "Clip" else "its parameters are unusual")
    fn, attrs = found
    if fn == "Not":
        if c.dtype() != np.bool_:
            raise Refuse("Not needs booleans")
    elif c.dtype() in (S32, S64):
        if fn not in ("Neg", "Abs", "Sign", "Relu", "Clip"):
            raise Refuse(f"the core runs it in float32, not {c.dtype()}")
    else:
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


def binary(c: Context) -> None:
    fn = c.node.op
    a, b = c.dtype(0), c.dtype(1)
    allowed: set[Any]
    if fn in ("And", "Or", "Xor"):
        allowed = {np.dtype(bool)}
    elif fn == "Equal":
        allowed = {F32, S32, S64, U8, S8, np.dtype(bool)}
    elif fn in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Min", "Max", "Add", "Sub", "Mul", "Div"):
        allowed = {F32, S32, S64, U8, S8}
    else:
        allowed = {F32, S32, S64} if fn in ("Pow", "Mod") else {F32}
    if a != b or a not in allowed:
        raise Refuse(f"the core does not compute {fn} of {a} and {b}")
    if "axis" in c.node.attrs or "broadcast" in c.node.attrs:
        raise Refuse("its broadcasting is that of operator sets before 7")
    fmod = {"fmod": 1} if fn == "Mod" and c.attr("fmod", 0) else {}
    c.emit("Binary", [c.x, c.node.inputs[1]], {"fn": fn, **fmod})


def variadic(c: Context) -> None:
    """Min, Max, Sum of any number of operands: from left to right."""
    fn = "Add" if c.node.op == "Sum" else c.node.op
    if any(d not in (F32, S32, S64) for d in map(c.dtype, range(len(c.node.inputs)))):
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
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Exp",
         "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil", "Round", "Softplus", "Sign", "Sin", "Cos",
         "Not"),
        elementwise,
    ),
    "Clip": clip,
    **dict.fromkeys(BINARY - {"Min", "Max"}, binary),
    **dict.fromkeys(("Min", "Max", "Sum"), variadic),
    "Where": where,
    "Cast": cast,
}  # fmt: skip
