"""Brings Quantize and Dequantize next to the operators they belong to."""

from __future__ import annotations

import math

import numpy as np

from octavo.ir import Graph, Node, Shape, Uses, plan_node
from octavo.passes.fold_constants import fold_constants
from octavo.passes.match import MOVEMENT, Patch, normal_axes

DOWN = (*MOVEMENT, "MaxPool", "Concat", "Resize", "Pad")
UP = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "MaxPool")


def move_quantization(graph: Graph) -> None:
    """Moves quantization over operators that only move or select elements; no result changes by it.

    1. op(Dequantize(q))  =>  Dequantize(op(q)), weights included, until a computing operator is met.
    2. Quantize(op(x))  =>  op(Quantize(x)), when nothing else reads op's result.
    """
    changed = True
    while changed:
        changed = False
        uses = Uses(graph)
        for node in list(graph.nodes):
            if node.is_op(*DOWN) and push_down(graph, uses, node):
                changed = True
                uses = Uses(graph)
        graph.drop_dead()
        uses = Uses(graph)
        for node in reversed(list(graph.nodes)):
            if node.is_plan("Quantize") and push_up(graph, uses, node):
                changed = True
                uses = Uses(graph)
    fold_constants(graph)


def data_inputs(node: Node) -> list[int]:
    return list(range(len(node.inputs))) if node.op == "Concat" else [0]


def push_down(graph: Graph, uses: Uses, node: Node) -> bool:
    sources = [uses.producer.get(node.inputs[k]) for k in data_inputs(node)]
    if not sources or any(s is None or not s.is_plan("Dequantize") for s in sources):
        return False
    known = [s for s in sources if s is not None]
    first = known[0]
    dtypes = {graph.dtype(s.inputs[0]) for s in known}
    if len(dtypes) != 1 or any(s.attrs != first.attrs or s.inputs[1:] != first.inputs[1:] for s in known):
        return False
    if node.op in ("MaxPool", "Resize", "Pad") and dtypes != {np.dtype(np.uint8)}:
        return False
    if (node.op == "MaxPool" and len(node.outputs) > 1) or (
        node.op == "Resize"
        and (  # cropping writes extrapolation_value, a real number, outside
            node.attrs.get("mode", "nearest") != "nearest"
            or node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        )
    ):
        return False
    inputs = list(node.inputs)
    attrs = dict(first.attrs)
    if len(first.inputs) > 1:  # per axis
        axis = moved_axis(graph, node, int(attrs["axis"]))
        if axis is None:
            return False
        attrs["axis"] = axis
    if node.op == "Pad" and not pad_value(graph, node, attrs, inputs):
        return False
    for k, s in zip(data_inputs(node), known):
        inputs[k] = s.inputs[0]
    outs = [graph.new_value(f"{o}/q", dtypes.copy().pop(), graph.shape(o)) if o else "" for o in node.outputs]
    patch = Patch(graph, node)
    patch.nodes.append(Node(node.op, inputs, outs, node.attrs, node.name, "", node.origin))
    for old, new in zip(node.outputs, outs):
        if old:
            patch.nodes.append(plan_node("Dequantize", [new, *first.inputs[1:]], [old], first.name, attrs))
    patch.apply()
    return True


def moved_axis(graph: Graph, node: Node, axis: int) -> int | None:
    """Where the axis of per-axis parameters goes; None when it is taken apart."""
    x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if x is None or y is None:
        return None
    if node.op == "Transpose":
        perm = node.attrs.get("perm") or list(range(len(x)))[::-1]
        return int(list(perm).index(axis))
    if node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        if any(not isinstance(d, int) for d in (*x, *y)):
            return None
        before = elements(x[:axis])
        for k, d in enumerate(y):
            if d == x[axis] and elements(y[:k]) == before:
                return k
    if node.op == "Gather":
        rank = graph.rank(node.inputs[1])
        gathered = normal_axes([int(node.attrs.get("axis", 0))], len(x))[0]
        if rank is not None and axis != gathered:
            return axis if axis < gathered else axis + rank - 1
    return None


def elements(shape: Shape) -> int:
    """Product of the dimensions that are known."""
    return math.prod(d for d in shape if isinstance(d, int))


def pad_value(graph: Graph, node: Node, attrs: dict[str, object], inputs: list[str]) -> bool:
    """Replaces a constant padding value by the quantized one; False when it is not on the grid."""
    if node.attrs.get("mode", "constant") != "constant":
        return True
    if "value" in node.attrs or "pads" in node.attrs:
        return False  # before operator set 11
    value = np.float32(0)
    if len(inputs) > 2 and inputs[2]:
        const = graph.const(inputs[2])
        if const is None or const.size != 1:
            return False
        value = np.float32(const.reshape(-1)[0])
    scale, zp = np.float32(attrs["x_scale"]), int(attrs["x_zp"])  # type: ignore[arg-type, call-overload]
    q = int(np.clip(np.rint(value / scale), -512, 512)) + zp
    if not 0 <= q <= 255 or np.float32(q - zp) * scale != value:
        return False
    inputs[2:3] = [graph.new_const(f"{node.outputs[0]}/value", np.array(q, np.uint8))]
    return True


def push_up(graph: Graph, uses: Uses, quantize: Node) -> bool:
    node = uses.producer.get(quantize.inputs[0])
    if node is None or not node.is_op(*UP) or uses.single_reader(quantize.inputs[0]) is None:
        return False
    if len(quantize.inputs) > 1 or len(node.outputs) > 1:
        return False
    if node.op == "MaxPool":
        before = uses.producer.get(node.inputs[0])
        if before is None or not before.is_op("Conv", "Relu", "Clip", "Add"):
            return False
    patch = Patch(graph, node)
    inputs = list(node.inputs)
    for k in data_inputs(node):
        inputs[k] = patch.emit(
            "Quantize", [inputs[k]], np.uint8, graph.shape(inputs[k]), dict(quantize.attrs), name=quantize.name
        )
    patch.nodes.append(Node(node.op, inputs, list(quantize.outputs), node.attrs, node.name, "", node.origin))
    patch.apply(quantize)
    return True
