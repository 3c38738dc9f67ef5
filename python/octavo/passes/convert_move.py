"""Operators that move, select, count or convert elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from octavo.ir import Node
from octavo.passes.emit import Emit
from octavo.passes.refusal import require

HELD = frozenset(
    np.dtype(t)
    for t in ("float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool", "float16", "float64", "uint32", "uint64")
)
I64 = np.dtype(np.int64)
Converter = Callable[[Emit, Node], None]


def held(emit: Emit, *names: str) -> None:
    """Refuses dtypes the core does not hold (strings, bfloat16, complex, 4-bit)."""
    for name in names:
        if name:
            dtype = emit.graph.dtype(name)
            require(dtype in HELD, f"'{name}' holds {dtype}, which the core does not")


def int_list(emit: Emit, node: Node, key: str, position: int) -> str:
    """An index list as a value: input `position`, or the attribute older operator sets have; "" when absent."""
    if node.input(position):
        return node.inputs[position]
    given = node.attrs.get(key)
    return "" if given is None else emit.const(given, np.int64)


def simple(op: str, *keys: str, inputs: int | None = None) -> Converter:
    """A converter that keeps the operator, its inputs and the attributes named."""

    def converter(emit: Emit, node: Node) -> None:
        held(emit, *node.inputs, *node.outputs)
        require(len([o for o in node.outputs if o]) == 1, "more than one output is asked for")
        attrs = {k: node.attrs[k] for k in keys if node.attrs.get(k) is not None}
        out = node.outputs[0]
        dtype = emit.graph.dtype(out) or emit.graph.dtype(node.inputs[0])
        given = node.inputs if inputs is None else node.inputs[:inputs]
        emit.op(op, given, dtype, emit.graph.shape(out), attrs, out)

    return converter


def with_list(op: str, key: str, position: int = 1) -> Converter:
    """Squeeze, Unsqueeze: an index list that moved from an attribute to an input."""

    def converter(emit: Emit, node: Node) -> None:
        held(emit, *node.inputs)
        out = node.outputs[0]
        given = int_list(emit, node, key, position)
        dtype = emit.graph.dtype(node.inputs[0])
        emit.op(op, [node.inputs[0], *([given] if given else [])], dtype, emit.graph.shape(out), {}, out)

    return converter


def reshape(emit: Emit, node: Node) -> None:
    held(emit, *node.inputs)
    out, shape = node.outputs[0], int_list(emit, node, "shape", 1)
    require(shape, "its target shape is missing")
    attrs = {"allowzero": int(node.attrs.get("allowzero", 0))}
    emit.op("Reshape", [node.inputs[0], shape], emit.graph.dtype(node.inputs[0]), emit.graph.shape(out), attrs, out)


def split(emit: Emit, node: Node) -> None:
    held(emit, *node.inputs)
    parts = int_list(emit, node, "split", 1)
    dtype = emit.graph.dtype(node.inputs[0])
    outputs = [o or emit.graph.new_value(f"{node.name}.unused", dtype, None) for o in node.outputs]
    for out in outputs:
        emit.describe(out, dtype, emit.graph.shape(out))
    attrs = {"axis": int(node.attrs.get("axis", 0))}
    emit.nodes.append(Node("Split", [node.inputs[0], *([parts] if parts else [])], outputs, attrs, node.name, "plan"))


def slice_(emit: Emit, node: Node) -> None:
    held(emit, node.inputs[0])
    out = node.outputs[0]
    lists = [int_list(emit, node, key, k) for k, key in enumerate(("starts", "ends", "axes", "steps"), 1)]
    while lists and not lists[-1]:
        lists.pop()
    emit.op("Slice", [node.inputs[0], *lists], emit.graph.dtype(node.inputs[0]), emit.graph.shape(out), {}, out)


def pad(emit: Emit, node: Node) -> None:
    held(emit, node.inputs[0])
    out, dtype = node.outputs[0], emit.graph.dtype(node.inputs[0])
    pads = int_list(emit, node, "pads", 1)
    require(pads, "its pads are missing")
    value = node.input(2)
    if "value" in node.attrs and not value:
        value = emit.const(node.attrs["value"], dtype)
    inputs = [node.inputs[0], pads, value, node.input(3)]
    while not inputs[-1]:
        inputs.pop()
    attrs = {"mode": node.attrs.get("mode", "constant")}
    emit.op("Pad", inputs, dtype, emit.graph.shape(out), attrs, out)


def constant_of_shape(emit: Emit, node: Node) -> None:
    out = node.outputs[0]
    value = np.asarray(node.attrs.get("value", np.zeros(1, np.float32))).reshape(1)
    require(value.dtype in HELD, f"it fills with {value.dtype}, which the core does not hold")
    emit.op("ConstantOfShape", [node.inputs[0], emit.const(value)], value.dtype, emit.graph.shape(out), {}, out)


def cast(emit: Emit, node: Node) -> None:
    from octavo.onnx_import import element_type, numpy_dtype

    held(emit, node.inputs[0])
    out = node.outputs[0]
    dtype = emit.graph.dtype(node.inputs[1]) if node.op == "CastLike" else numpy_dtype(int(node.attrs["to"]), node.name)
    require(dtype in HELD, f"it casts to {dtype}, which the core does not hold")
    emit.op("Cast", [node.inputs[0]], dtype, emit.graph.shape(out), {"to": element_type(dtype)}, out)  # type: ignore[arg-type]


def counted(op: str, *keys: str) -> Converter:
    """Shape, Size, ArgMax, ArgMin: int64 results."""

    def converter(emit: Emit, node: Node) -> None:
        held(emit, *node.inputs)
        require(not node.attrs.get("select_last_index"), "it selects the last of equal elements")
        attrs = {k: int(node.attrs[k]) for k in keys if k in node.attrs}
        emit.op(op, node.inputs, I64, emit.graph.shape(node.outputs[0]), attrs, node.outputs[0])

    return converter


def where(emit: Emit, node: Node) -> None:
    held(emit, *node.inputs)
    out = node.outputs[0]
    emit.op("Where", node.inputs, emit.graph.dtype(node.inputs[1]), emit.graph.shape(out), {}, out)


def depth_to_space(emit: Emit, node: Node) -> None:
    simple(node.op, "blocksize", "mode")(emit, node)


MOVE: dict[str, Converter] = {
    "Transpose": simple("Transpose", "perm"),
    "Identity": simple("Identity"),
    "Reshape": reshape,
    "Flatten": simple("Flatten", "axis"),
    "Squeeze": with_list("Squeeze", "axes"),
    "Unsqueeze": with_list("Unsqueeze", "axes"),
    "Expand": simple("Expand"),
    "Concat": simple("Concat", "axis"),
    "Split": split,
    "Slice": slice_,
    "Pad": pad,
    "Gather": simple("Gather", "axis"),
    "GatherElements": simple("GatherElements", "axis"),
    "Tile": simple("Tile"),
    "Shape": counted("Shape", "start", "end"),
    "Size": counted("Size"),
    "ConstantOfShape": constant_of_shape,
    "Range": simple("Range"),
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": depth_to_space,
    "ArgMax": counted("ArgMax", "axis", "keepdims"),
    "ArgMin": counted("ArgMin", "axis", "keepdims"),
    "Where": where,
    "Cast": cast,
    "CastLike": cast,
}
