"""Elementwise ONNX operators -> the plan's Unary and Binary, with their attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.ir import Graph, Node
from octavo.passes.quant import clip_bounds

# ONNX name -> (plan function, {plan attribute: (ONNX attribute, default)})
UNARY: dict[str, tuple[str, dict[str, tuple[str, float]]]] = {
    "Relu": ("Relu", {}),
    "LeakyRelu": ("LeakyRelu", {"alpha": ("alpha", 0.01)}),
    "Elu": ("Elu", {"alpha": ("alpha", 1.0)}),
    "Sigmoid": ("Sigmoid", {}),
    "HardSigmoid": ("HardSigmoid", {"alpha": ("alpha", 0.2), "beta": ("beta", 0.5)}),
    "HardSwish": ("HardSwish", {}),
    "Tanh": ("Tanh", {}),
    "Erf": ("Erf", {}),
    "Exp": ("Exp", {}),
    "Log": ("Log", {}),
    "Sqrt": ("Sqrt", {}),
    "Reciprocal": ("Reciprocal", {}),
    "Neg": ("Neg", {}),
    "Abs": ("Abs", {}),
    "Floor": ("Floor", {}),
    "Ceil": ("Ceil", {}),
    "Round": ("Round", {}),
    "Softplus": ("Softplus", {}),
    "Sign": ("Sign", {}),
    "Sin": ("Sin", {}),
    "Cos": ("Cos", {}),
    "Not": ("Not", {}),
}
BINARY = {
    "Add": "Add", "Sub": "Sub", "Mul": "Mul", "Div": "Div", "Pow": "Pow", "PRelu": "PRelu", "And": "And", "Or": "Or",
    "Xor": "Xor", "Equal": "Equal", "Less": "Less", "LessOrEqual": "LessOrEqual", "Greater": "Greater",
    "GreaterOrEqual": "GreaterOrEqual", "Mod": "Mod",
}  # fmt: skip
COMPARISONS = frozenset("Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor".split())
VARIADIC = {"Max": "Max", "Min": "Min", "Sum": "Add"}

_FLOAT = (np.dtype(np.float32),)
_NUMBERS = (np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.int64))
_INTEGER_UNARY = frozenset("Neg Abs Sign Relu Clip".split())


def unary_attrs(graph: Graph, node: Node) -> dict[str, Any] | None:
    """Attributes of the plan's Unary for an ONNX node (`fn` first), None when it is not one the core runs."""
    dtype = graph.dtype(node.inputs[0]) if node.inputs else None
    if node.op == "Not":
        return {"fn": "Not"} if dtype == np.bool_ else None
    if node.op == "Clip":
        if dtype not in _NUMBERS:
            return None
        if dtype != np.float32:
            return integer_clip(graph, node)
        bounds = clip_bounds(graph, node)
        return None if bounds is None else {"fn": "Clip", "lo": float(bounds[0]), "hi": float(bounds[1])}
    if dtype != np.float32 and not (node.op in _INTEGER_UNARY and dtype in _NUMBERS):
        return None
    if node.op == "Gelu":
        return {"fn": "GeluTanh" if node.attrs.get("approximate", "none") == "tanh" else "Gelu"}
    if node.op not in UNARY:
        return None
    fn, attrs = UNARY[node.op]
    return {"fn": fn, **{k: float(node.attrs.get(onnx, default)) for k, (onnx, default) in attrs.items()}}


def integer_clip(graph: Graph, node: Node) -> dict[str, Any] | None:
    """Clip of int32/int64 with constant bounds."""
    attrs: dict[str, Any] = {"fn": "Clip"}
    for k, key in ((1, "lo"), (2, "hi")):
        if node.input(k):
            bound = graph.const(node.inputs[k])
            if bound is None or bound.size != 1 or abs(int(bound.reshape(()))) > 2**53:
                return None
            attrs[key] = float(int(bound.reshape(())))
    return attrs


def binary_fn(graph: Graph, node: Node) -> str | None:
    """The plan's Binary function for a two-input node, None when dtypes are not ones the core runs."""
    fn = BINARY.get(node.op)
    if fn is None or len(node.inputs) != 2:
        return None
    a, b = (graph.dtype(n) for n in node.inputs)
    if fn in ("And", "Or", "Xor"):
        return fn if a == np.bool_ and b == np.bool_ else None
    if fn == "Equal" and a == b == np.bool_:
        return fn
    if fn == "PRelu":
        return fn if a == b == np.float32 else None
    if fn == "Pow" and a == np.float32 and b != np.float32:
        return None
    return fn if a == b and a in _NUMBERS else None
