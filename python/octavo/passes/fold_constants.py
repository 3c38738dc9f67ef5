"""Computes at compile time what depends on constants only, by operators whose result is the same on every machine."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node
from octavo.onnx_step import evaluate
from octavo.passes.complete_shapes import complete

# Movement, integers, and + - * / sqrt: IEEE 754 fixes their results. Transcendental functions stay run-time steps.
EXACT = {
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "DepthToSpace", "Div", "Equal", "Expand",
    "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity", "Less",
    "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "NonZero", "OneHot", "Or", "Pad", "QuantizeLinear",
    "Range",
    "Reciprocal", "Relu", "Reshape", "ScatterElements", "ScatterND", "Shape", "Sign", "Size", "Slice", "SpaceToDepth",
    "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor", "EyeLike",
}  # fmt: skip
INTEGER_ONLY = {"ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "MatMul", "CumSum", "ArgMax", "ArgMin", "TopK"}
LARGEST_GROWTH = 1 << 16  # elements a folded result may have beyond its inputs


def fold_constants(graph: Graph) -> None:
    """Node over constants => constant. Shape of a value with static dimensions => constant.

    Kept: operators outside EXACT, DequantizeLinear (weights stay integers), results much larger than their inputs.
    Ranks and dtypes are completed on the way, since they decide what is a constant and the other way round.
    """
    for node in list(graph.nodes):
        if node.domain != "" or len([o for o in node.outputs if o]) == 0:
            continue
        complete(graph, node)
        arrays = static_shape(graph, node)
        if arrays is None:
            arrays = fold(graph, node)
        if arrays is None:
            continue
        replace(graph, node, arrays)


def replace(graph: Graph, node: Node, arrays: list[np.ndarray]) -> None:
    graph.remove(node)
    for name, array in zip(node.outputs, arrays):
        if name:
            value = graph.values[name]
            value.const, value.dtype = array, array.dtype
            value.shape = tuple(int(d) for d in array.shape)


def fold_node(graph: Graph, node: Node, inputs: list[np.ndarray | None]) -> None:
    """Replaces one node over constants by its results; leaves it when the onnx package cannot compute it."""
    try:
        results = evaluate(graph, node, inputs)
    except Exception:  # the run-time step reports it, by name
        return
    replace(graph, node, results)


def static_shape(graph: Graph, node: Node) -> list[np.ndarray] | None:
    if not node.is_op("Shape", "Size"):
        return None
    shape = graph.shape(node.inputs[0])
    if shape is None:
        return None
    if node.op == "Size":
        known = [d for d in shape if isinstance(d, int)]
        return [np.array(np.prod(known, dtype=np.int64))] if len(known) == len(shape) else None
    part = shape[slice(node.attrs.get("start", 0), node.attrs.get("end"))]
    return [np.array(part, np.int64)] if all(isinstance(d, int) for d in part) else None


def fold(graph: Graph, node: Node) -> list[np.ndarray] | None:
    arrays = [graph.const(name) for name in node.inputs]
    if any(a is None and name for a, name in zip(arrays, node.inputs)):
        return None
    known = [a for a in arrays if a is not None]
    integers = all(a.dtype.kind in "iub" for a in known)
    if node.op not in EXACT and not (node.op in INTEGER_ONLY and integers):
        return None
    if node.op in ("Expand", "ConstantOfShape", "Tile", "Range", "OneHot") and grows(graph, node, known):
        return None
    if node.op == "Pad" and sum(a.size for a in known) > LARGEST_GROWTH:
        return None
    try:
        with np.errstate(all="ignore"):
            results = evaluate(graph, node, arrays)
    except Exception:  # a malformed node: the run-time step reports it, by name
        return None
    if sum(a.size for a in results) > sum(a.size for a in known) + LARGEST_GROWTH:
        return None
    return results


def grows(graph: Graph, node: Node, known: list[np.ndarray]) -> bool:
    if node.op == "Range":
        try:
            start, limit, delta = (float(a.reshape(-1)[0]) for a in known)
            return (limit - start) / delta > LARGEST_GROWTH
        except (ZeroDivisionError, IndexError, ValueError):
            return True
    if node.op == "OneHot":
        return bool(known[0].size * float(known[1].reshape(-1)[0]) > LARGEST_GROWTH)
    size = float(np.prod(known[-1].astype(np.float64))) if known else 0.0
    if node.op == "Tile":
        size *= known[0].size
    return size > LARGEST_GROWTH
