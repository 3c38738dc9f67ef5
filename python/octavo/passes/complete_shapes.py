"""Fills in the ranks that onnx's shape inference leaves open; lowering needs every rank and dtype, never the sizes."""

from __future__ import annotations

import numpy as np

from octavo.ir import PLAN, Graph, Node, Shape
from octavo.onnx_functions import infer_node
from octavo.passes.match import broadcast_shape, ints

SAME_AS_INPUT = {
    "Abs", "BatchNormalization",
    "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LRN", "Neg", "Not", "Reciprocal",
    "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Tanh", "CumSum",
    "DequantizeLinear", "QuantizeLinear", "Cast", "Identity", "Dropout", "Swish",
}  # fmt: skip
BROADCAST = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mean", "Sum", "Mod", "PRelu"}
COMPARE = {"And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
SAME_RANK = {"Concat", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Pad",
             "Slice", "Split", "Resize", "Upsample", "Tile", "Transpose", "DepthToSpace", "SpaceToDepth"}  # fmt: skip


REDUCE = {f"Reduce{fn}" for fn in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")}


def complete_shapes(graph: Graph) -> None:
    """Gives a shape (at least a rank) and a dtype to values without, where their node's inputs tell."""
    for node in graph.nodes:
        complete(graph, node)


def complete(graph: Graph, node: Node) -> None:
    """The same for one node's outputs: by onnx's shape inference, then by the rules of this file."""
    if node.domain == PLAN:
        return
    if any(graph.dtype(name) is None or graph.shape(name) is None for name in node.outputs if name):
        infer_node(graph, node)
    for k, name in enumerate(node.outputs):
        if not name or node.domain != "":
            continue
        value = graph.values[name]
        if value.shape is None:
            value.shape = shape_of(graph, node, k)
        if value.dtype is None:
            value.dtype = dtype_of(graph, node)


def dtype_of(graph: Graph, node: Node) -> np.dtype | None:
    if node.op in COMPARE or node.op == "Not":
        return np.dtype(bool)
    if node.op in ("Shape", "Size"):
        return np.dtype(np.int64)
    if node.op in SAME_RANK | BROADCAST | REDUCE | {
        "MatMul",
        "Gemm",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Gather",
        "Expand",
    }:
        return graph.dtype(node.inputs[0])
    if node.op in SAME_AS_INPUT - {"Cast", "QuantizeLinear", "DequantizeLinear"}:
        return graph.dtype(node.inputs[0])
    return None


def unknown(rank: int | None) -> Shape | None:
    return None if rank is None else (None,) * rank


def shape_of(graph: Graph, node: Node, k: int) -> Shape | None:
    x = graph.shape(node.input(0))
    if node.op in SAME_AS_INPUT:
        return x if k == 0 else None
    if node.op in BROADCAST | COMPARE:
        shape: Shape | None = graph.shape(node.inputs[0])
        for name in node.inputs[1:]:
            shape = broadcast_shape(shape, graph.shape(name))
        return shape
    if node.op in SAME_RANK:
        return unknown(graph.rank(node.inputs[0]))
    if node.op in ("Reshape", "Expand"):
        return reshaped(graph, node)
    if node.op in REDUCE and x is not None:
        if node.attrs.get("keepdims", 1):
            return unknown(len(x))
        try:
            gone = ints(graph, node, "axes", 1)
        except LookupError:  # as many axes go as there are, at least one
            count = graph.shape(node.inputs[1])
            known = count is not None and len(count) == 1 and isinstance(count[0], int) and count[0] > 0
            return unknown(len(x) - int(count[0])) if known else None  # type: ignore[index,arg-type]
        return x if not gone and node.attrs.get("noop_with_empty_axes", 0) else unknown(len(x) - len(gone or x))
    if node.op == "Flatten":
        return (None, None)
    if node.op == "Gemm":
        return (None, None)
    if node.op == "MatMul":
        ranks = [rank for rank in map(graph.rank, node.inputs[:2]) if rank is not None]
        if len(ranks) != 2:
            return None
        last = graph.shape(node.inputs[1])[-1]  # type: ignore[index]
        if min(ranks) == 1:
            return unknown(max(ranks) - 1)
        return (*(None,) * (max(ranks) - 1), last)
    if node.op in ("Squeeze", "Unsqueeze") and x is not None:
        try:
            axes = ints(graph, node, "axes", 1)
        except LookupError:
            return None
        if axes is None:
            return None
        return unknown(len(x) + (len(axes) if node.op == "Unsqueeze" else -len(axes)))
    if node.op == "Gather" and x is not None and graph.rank(node.inputs[1]) is not None:
        return unknown(len(x) - 1 + (graph.rank(node.inputs[1]) or 0))
    return None


def reshaped(graph: Graph, node: Node) -> Shape | None:
    target = graph.const(node.inputs[1])
    if target is not None and node.op == "Reshape":
        x = graph.shape(node.inputs[0])
        dims: list[int | str | None] = []
        for k, d in enumerate(int(v) for v in target):
            dims.append(d if d > 0 else x[k] if d == 0 and x is not None and k < len(x) else None)
        return tuple(dims)
    length = graph.shape(node.inputs[1])
    if length is None or len(length) != 1 or not isinstance(length[0], int):
        return None
    if node.op == "Expand":
        rank = graph.rank(node.inputs[0])
        return None if rank is None else unknown(max(rank, length[0]))
    return unknown(length[0])
