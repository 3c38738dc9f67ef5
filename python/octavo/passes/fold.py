"""Constant folding, with exact operators only.

Folded: movement, integer arithmetic, + - * / sqrt, casts, comparisons, QuantizeLinear of constants, Shape of static values.
Kept: DequantizeLinear (weights stay small) and every function whose last bit depends on the math library.
"""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph
from octavo.onnx_step import evaluate

EXACT = frozenset(
    """Abs Add And BitShift Cast CastLike Ceil Compress Concat ConstantOfShape DepthToSpace Div Equal Expand EyeLike Flatten
    Floor Gather GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg NonZero Not
    OneHot Or Pad QuantizeLinear Range ReduceMax ReduceMin Relu Reshape ScatterElements ScatterND Shape Sign Size Slice
    SpaceToDepth Split Sqrt Squeeze Sub Tile Transpose Trilu Unsqueeze Where Xor""".split()
)
MAX_ELEMENTS = 1 << 24  # larger results (Expand, ConstantOfShape) are cheaper to make at run time than to keep
MAX_GROWTH = 4


def fold_constants(graph: Graph) -> bool:
    """f(constants) -> constant, for the operators listed above. Shape(x) -> constant when x's shape is static."""
    changed = False
    for node in list(graph.nodes):
        if node.domain != "" or node.op not in EXACT or not node.outputs:
            continue
        if node.op == "Shape":
            shape = graph.shape(node.inputs[0])
            if shape is None or not all(isinstance(d, int) for d in shape):
                continue
            start, end = node.attrs.get("start", 0), node.attrs.get("end", len(shape))
            results = [np.array(shape[start:end], np.int64)]
        else:
            arrays = [graph.const(name) if name else None for name in node.inputs]
            if any(name and a is None for name, a in zip(node.inputs, arrays)):
                continue
            if node.op in ("Expand", "ConstantOfShape", "Tile", "Range", "EyeLike") and grows(graph, node, arrays):
                continue
            with np.errstate(all="ignore"):
                results = evaluate(graph, node, arrays)
            if sum(r.size for r in results) > MAX_ELEMENTS:
                continue
        for name, array in zip([o for o in node.outputs if o], results):
            value = graph.values[name]
            if value.dtype is not None and array.dtype != value.dtype:
                array = array.astype(value.dtype)
            value.const, value.dtype, value.shape = array, array.dtype, tuple(int(d) for d in array.shape)
        graph.remove(node)
        changed = True
    return changed


def grows(graph: Graph, node: object, arrays: list[np.ndarray | None]) -> bool:
    """Whether the result would be large, judged before making it."""
    op, first = node.op, arrays[0]  # type: ignore[attr-defined]
    limit = 1 << 16
    if op == "ConstantOfShape":
        return int(np.prod(first.astype(object), initial=1)) > limit
    if op == "Expand":
        return int(np.prod(arrays[1].astype(object), initial=1)) > max(limit, MAX_GROWTH * first.size)
    if op == "Tile":
        return int(np.prod(arrays[1].astype(object), initial=1)) * first.size > max(limit, MAX_GROWTH * first.size)
    if op == "Range":
        start, limit_value, delta = (float(a) for a in arrays[:3])
        return delta == 0 or abs((limit_value - start) / delta) > limit
    return first is not None and first.size > limit
