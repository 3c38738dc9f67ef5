"""What the onnx package knows of its operators: the bodies of those that are functions, and shape inference of one."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    helper,
    numpy_helper,
)

from octavo.ir import Graph, Node, Value
from octavo.onnx_control import outer_names
from octavo.onnx_import import constant_value, element_type, numpy_dtype, read_attr, read_shape, set_const
from octavo.onnx_step import made

SMALL = 1 << 12  # elements of a constant worth showing to shape inference


def proto_of(node: Node) -> NodeProto:
    """The node as onnx spells it, over the names that the graph has now."""
    proto = NodeProto()
    proto.CopyFrom(node.origin if node.origin is not None else made(node))
    inputs = node.inputs[: len(proto.input)]
    del proto.input[:]
    proto.input.extend(inputs)
    return proto


def type_of(graph: Graph, name: str) -> TypeProto:
    """An empty type for an absent input or an unknown dtype."""
    value = graph.values.get(name) if name else None
    if value is not None and value.host is not None:
        return value.host
    if value is None or value.dtype is None:
        return TypeProto()
    dims = None if value.shape is None else [d if isinstance(d, (int, str)) else None for d in value.shape]
    return helper.make_tensor_type_proto(element_type(value.dtype), dims)


def expand(graph: Graph, node: Node) -> list[Node] | None:
    """The nodes of the function that defines the operator, over the graph's values; new values are added to the graph.

    None when the operator is no function in the model's operator set, or its body means something else there.
    """
    proto = proto_of(node)
    function = function_of(graph, node, proto)
    if function is None or not same_meaning(graph, function):
        return None
    given = {a.name: a for a in proto.attribute}
    for default in [*function.attribute_proto, *defaults_of(graph, node)]:
        given.setdefault(default.name, default)
    names = dict(zip(function.input, [*proto.input, *[""] * len(function.input)]))
    names |= {inner: outer for inner, outer in zip(function.output, proto.output) if outer}
    prefix = graph.fresh(node.outputs[0] or node.name)
    nodes: list[Node] = []
    for k, inner in enumerate(function.node):
        body = NodeProto()
        body.CopyFrom(inner)
        bind_attributes(body, given)
        rename(body, names, prefix)
        body.name = node.name if body.op_type != "Constant" else f"{node.name}.{k}"
        for name in [*body.input, *body.output]:
            if name:
                graph.values.setdefault(name, Value(name))
        if body.op_type == "Constant":
            array = constant_value(body)
            if array is None:
                return None
            set_const(graph, body.output[0], array)
            continue
        attrs = {a.name: read_attr(a) for a in body.attribute}
        captured = [n for n in outer_names(body) if n not in body.input]
        nodes.append(Node(body.op_type, [*body.input, *captured], list(body.output), attrs, body.name, "", body))
    return nodes


def schema_of(graph: Graph, node: Node) -> Any:  # onnx.defs.OpSchema, whose stubs lack the functions' half
    try:
        return onnx.defs.get_schema(node.op, graph.opsets.get(node.domain, graph.opset), node.domain)
    except onnx.defs.SchemaError:
        return None


def defaults_of(graph: Graph, node: Node) -> list[AttributeProto]:
    """What the operator's absent attributes are."""
    schema = schema_of(graph, node)
    return [a.default_value for a in schema.attributes.values() if a.default_value.name] if schema else []


def function_of(graph: Graph, node: Node, proto: NodeProto) -> FunctionProto | None:
    schema = schema_of(graph, node)
    if schema is None:
        return None
    function = FunctionProto()
    if schema.has_function:
        fitting = [v for v in schema.function_opset_versions if v <= graph.opset]
        if not fitting:
            return None
        function.ParseFromString(schema.get_function_with_opset_version(max(fitting)))
    elif schema.has_context_dependent_function:
        fitting = [v for v in schema.context_dependent_function_opset_versions if v <= graph.opset or node.domain]
        if not fitting:
            return None
        types = [type_of(graph, name).SerializeToString() for name in proto.input]
        body = schema.get_context_dependent_function_with_opset_version(max(fitting), proto.SerializeToString(), types)
        if not body:
            return None
        function.ParseFromString(body)
    else:
        return None
    return function


def same_meaning(graph: Graph, function: FunctionProto) -> bool:
    """Whether the body's operators are the same in its operator set and in the model's."""
    written = next((o.version for o in function.opset_import if o.domain == ""), graph.opset)
    try:
        return all(
            node.domain == ""
            and onnx.defs.get_schema(node.op_type, written).since_version
            == onnx.defs.get_schema(node.op_type, graph.opset).since_version
            for node in function.node
        )
    except onnx.defs.SchemaError:
        return False


def bind_attributes(node: NodeProto, given: dict[str, AttributeProto]) -> None:
    """Attributes that refer to the function's own are replaced by these, or go where they were not given."""
    kept = []
    for attr in node.attribute:
        if attr.ref_attr_name:
            source = given.get(attr.ref_attr_name)
            if source is None:
                continue
            value = AttributeProto()
            value.CopyFrom(source)
            value.name = attr.name
            kept.append(value)
            continue
        for sub in [attr.g] if attr.type == AttributeProto.GRAPH else attr.graphs:
            for inner in sub.node:
                bind_attributes(inner, given)
        kept.append(attr)
    kept = [AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del node.attribute[:]
    node.attribute.extend(kept)


def rename(node: NodeProto, names: dict[str, str], prefix: str) -> None:
    """Every name becomes the caller's, or a new one under the prefix; subgraphs included."""

    def called(name: str) -> str:
        return names.setdefault(name, f"{prefix}/{name}") if name else ""

    for field in (node.input, node.output):
        renamed = [called(n) for n in field]
        del field[:]
        field.extend(renamed)
    for attr in node.attribute:
        for sub in [attr.g] if attr.type == AttributeProto.GRAPH else attr.graphs:
            rename_graph(sub, names, prefix)


def rename_graph(graph: GraphProto, names: dict[str, str], prefix: str) -> None:
    for value in [*graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        value.name = names.setdefault(value.name, f"{prefix}/{value.name}")
    for node in graph.node:
        rename(node, names, prefix)


def infer_node(graph: Graph, node: Node) -> None:
    """onnx's shape inference on one node, for outputs whose dtype or rank is not known; small constants are shown."""
    proto = proto_of(node)
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in proto.attribute):
        return
    inputs, tensors = [], []
    symbols = {d for name in proto.input if name for d in graph.shape(name) or () if isinstance(d, str)}
    for name in dict.fromkeys(n for n in proto.input if n):
        array = graph.const(name)
        if array is not None and array.size <= SMALL and array.dtype != object:
            tensors.append(numpy_helper.from_array(array, name))
        inputs.append(onnx.ValueInfoProto(name=name, type=type_of(graph, name)))
    outputs = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in proto.output if n]
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.opsets.items()]
    model = helper.make_model(helper.make_graph([proto], "node", inputs, outputs, tensors), opset_imports=opsets)
    try:
        inferred: ModelProto = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # best effort: the node may still run
        return
    for info in inferred.graph.output:
        value = graph.values[info.name]
        if info.type.WhichOneof("value") not in (None, "tensor_type"):
            value.host = info.type
            continue
        if value.dtype is None:
            value.dtype = numpy_dtype(info.type.tensor_type.elem_type, f"value '{info.name}'")
        shape = read_shape(info.type.tensor_type) if value.shape is None else None
        if shape is not None:  # symbols that inference made up are new for every node it looks at
            value.shape = tuple(None if isinstance(d, str) and d not in symbols else d for d in shape)
