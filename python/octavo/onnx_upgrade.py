"""Old ONNX as newer ONNX, model-local functions written out, and models over 2 GB as smaller ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from octavo.errors import Unsupported

OLDEST_OPSET = 7
LARGEST_COPY = 2**30  # bytes of weights
# Before operator set 7 the second operand of these was laid along `axis` of the first.
BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")


def upgraded(proto: ModelProto, opset: int) -> ModelProto:
    """A model of an operator set before OLDEST_OPSET as one of OLDEST_OPSET, by onnx's converter where it must change.

    Raises Unsupported, naming the node, when neither its operators stayed the same nor onnx can convert them.
    """
    changed = next((node for node in proto.graph.node if not same_meaning(node, opset)), None)
    if changed is None:
        return proto
    try:
        return onnx.version_converter.convert_version(with_axes_spelled_out(proto), OLDEST_OPSET)
    except Exception as e:  # the converter raises RuntimeError and its own
        raise Unsupported(
            f"node '{changed.name}' ({changed.op_type}) is of operator set {opset}; octavo reads {OLDEST_OPSET} and "
            f"newer, and onnx cannot convert the model ({e})"
        ) from e


def same_meaning(node: NodeProto, opset: int) -> bool:
    try:
        since: int = onnx.defs.get_schema(node.op_type, OLDEST_OPSET, node.domain).since_version
    except onnx.defs.SchemaError:
        return False
    return since <= opset


def with_axes_spelled_out(proto: ModelProto) -> ModelProto:
    """Operands laid along an axis, and PRelu's slope a channel, unsqueezed to broadcast as numpy does.

    onnx's converter gets the first wrong and leaves the second as it is. Initializers become inputs, which it wants.
    """
    result = ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    inputs = {i.name for i in graph.input}
    graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in graph.initializer if t.name not in inputs
    )
    ranks = ranks_of(onnx.shape_inference.infer_shapes(result).graph)
    nodes: list[NodeProto] = []
    for node in list(graph.node):
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), None)
        if node.op_type == "PRelu":
            axis = 1
        if node.op_type in (*BROADCAST, "PRelu") and axis is not None and len(node.input) == 2:
            left, right = (ranks.get(name) for name in node.input)
            if left is None or right is None:
                raise ValueError("the ranks of its operands are not known")
            behind = left - (axis + left if axis < 0 else axis) - right
            if behind > 0 and not (node.op_type == "PRelu" and right != 1):
                wide = f"{node.output[0]}/{node.input[1]}"
                axes = list(range(right, right + behind))
                nodes.append(helper.make_node("Unsqueeze", [node.input[1]], [wide], f"{wide}/unsqueeze", axes=axes))
                node.input[1] = wide
            kept = [a for a in node.attribute if a.name != "axis"]
            del node.attribute[:]
            node.attribute.extend(kept)
        nodes.append(node)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return result


def ranks_of(graph: GraphProto) -> dict[str, int]:
    found = {t.name: len(t.dims) for t in graph.initializer}
    for info in [*graph.value_info, *graph.input, *graph.output]:
        if info.type.tensor_type.HasField("shape"):
            found[info.name] = len(info.type.tensor_type.shape.dim)
    return found


def inlined(proto: ModelProto) -> ModelProto:
    """The model with its functions written out; those whose operator set onnx cannot convert stay, for Python steps."""
    result = ModelProto()
    result.CopyFrom(proto)
    defaults = {
        (f.domain, f.name, f.overload if hasattr(f, "overload") else ""): f.attribute_proto
        for f in proto.functions
        if f.attribute_proto
    }
    if defaults:  # the inliner forgets them
        for graph in [result.graph, *result.functions]:
            give_defaults(graph.node, defaults)
    return onnx.inliner.inline_local_functions(result, convert_version=True)


def without_large_weights(proto: ModelProto) -> tuple[ModelProto, list[TensorProto]]:
    """The model itself, unless it nears the 2 GB that protobuf can copy: then one whose large weights are mere inputs.

    Returns the weights taken out; they stay where they are, in the model given.
    """
    sizes = [element_bytes(t.data_type) * int(np.prod(t.dims, dtype=np.float64)) for t in proto.graph.initializer]
    if sum(sizes) < LARGEST_COPY:
        return proto, []
    light = ModelProto()
    for field, value in proto.ListFields():
        if field.name != "graph":
            copy_field(light, field.name, value)
    for field, value in proto.graph.ListFields():
        if field.name != "initializer":
            copy_field(light.graph, field.name, value)
    large = []
    known = {i.name for i in proto.graph.input}
    for tensor, size in zip(proto.graph.initializer, sizes):
        if size <= LARGEST_COPY >> 10:
            light.graph.initializer.append(tensor)
            continue
        large.append(tensor)
        if tensor.name not in known:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return light, large


def element_bytes(kind: int) -> int:
    try:
        return int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
    except KeyError:  # an unknown type, refused when it is read
        return 1


def copy_field(target: Any, name: str, value: Any) -> None:
    if isinstance(value, (str, int, bytes)):
        setattr(target, name, value)
    elif hasattr(value, "extend"):
        getattr(target, name).extend(value)
    else:
        getattr(target, name).CopyFrom(value)


def give_defaults(nodes: list[NodeProto], defaults: dict[tuple[str, str, str], list[AttributeProto]]) -> None:
    """Every call names all attributes of its function."""
    for node in nodes:
        given = {a.name for a in node.attribute}
        key = (node.domain, node.op_type, node.overload if hasattr(node, "overload") else "")
        node.attribute.extend(a for a in defaults.get(key, []) if a.name not in given)
        for attr in node.attribute:
            for graph in [attr.g] if attr.type == AttributeProto.GRAPH else attr.graphs:
                give_defaults(graph.node, defaults)
