"""Which ONNX nodes are functions of one element, and their names in the plan's Unary table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from octavo.ir import Graph, Node
from octavo.passes.match import scalar

PLAIN = {
    "Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil", "Round",
    "Softplus", "Sign", "Sin", "Cos", "HardSwish", "Not", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh",
    "Acosh", "Atanh", "Softsign", "Mish", "BitwiseNot",
}  # fmt: skip
PARAMETERS = {
    "LeakyRelu": {"alpha": 0.01}, "Elu": {"alpha": 1.0}, "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Celu": {"alpha": 1.0}, "ThresholdedRelu": {"alpha": 1.0},
}  # fmt: skip
# Operators whose parameters have other names in the plan: ONNX's name -> (the plan's, ONNX's default).
RENAMED = {
    "Selu": {"alpha": ("alpha", 1.67326319217681884765625), "gamma": ("beta", 1.05070102214813232421875)},
    "Shrink": {"lambd": ("alpha", 0.5), "bias": ("beta", 0.0)},
}
BINARY = {
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "PRelu", "And", "Or", "Xor", "Equal", "Less", "LessOrEqual",
    "Greater", "GreaterOrEqual", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift",
}  # fmt: skip


def unary(graph: Graph, node: Node) -> tuple[str, dict[str, float]] | None:
    """(function, parameters) of a node that the Unary table covers, input 0 being its operand; None otherwise."""
    if node.domain != "":
        return None
    if node.op in PLAIN:
        return node.op, {}
    if node.op in PARAMETERS:
        return node.op, {k: f32(node.attrs.get(k, default)) for k, default in PARAMETERS[node.op].items()}
    if node.op in RENAMED:
        return node.op, {to: f32(node.attrs.get(k, default)) for k, (to, default) in RENAMED[node.op].items()}
    if node.op == "Clip":
        bounds = clip_bounds(graph, node)
        return None if bounds is None else ("Clip", {"lo": bounds[0], "hi": bounds[1]})
    if node.op == "Gelu":
        return ("GeluTanh" if node.attrs.get("approximate", "none") == "tanh" else "Gelu"), {}
    if node.op == "Swish" and float(node.attrs.get("alpha", 1.0)) == 1.0:
        return "Silu", {}
    return None


def f32(value: Any) -> float:
    return float(np.float32(value))


def clip_bounds(graph: Graph, node: Node) -> tuple[float, float] | None:
    """Constant bounds of Clip, infinite where absent; None when they are computed or NaN."""
    found = []
    for attr, k, default in (("min", 1, -math.inf), ("max", 2, math.inf)):
        if attr in node.attrs:
            found.append(float(node.attrs[attr]))
        elif not node.input(k):
            found.append(default)
        else:
            value = scalar(graph, node.input(k))
            if value is None:
                return None
            found.append(value)
    return None if any(math.isnan(v) for v in found) else (found[0], found[1])
