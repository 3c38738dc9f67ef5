""":class:`octavo.ir.Graph` -> ONNX models of standard operators: other runtimes read what octavo writes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from octavo.errors import InvalidModel, IoError, Unsupported
from octavo.ir import PLAN, QLINEAR, Graph, Node, Shape
from octavo.onnx_control import outer_names, subgraphs
from octavo.onnx_import import load_model
from octavo.onnx_upgrade import inlined

PRODUCER = "octavo"
# onnx's IR version that carries an operator set: runtimes refuse files newer than they know.
IR_VERSION = {13: 7, 21: 10, 23: 11, 25: 12}
LARGEST_INLINE = 1_900_000_000  # bytes of constants; protobuf ends at 2 GiB


def at_opset(model: Any, least: int) -> ModelProto:
    """The model with its default operator set converted up to `least`, when it is older.

    Raises Unsupported when onnx cannot convert it, and what load_model() raises.
    """
    proto = load_model(model)
    version = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=least)
    if version >= least:
        return proto
    if len(proto.functions):  # the converter drops them
        proto = inlined(proto)
        if len(proto.functions):
            raise Unsupported(f"the model has functions that onnx cannot convert to operator set {least}")
    try:
        return onnx.version_converter.convert_version(proto, least)
    except Exception as e:
        raise Unsupported(
            f"the model uses operator set {version} and onnx cannot convert it to {least} ({e}); export it anew with "
            f"opset_version={least}"
        ) from e


def export_model(graph: Graph, metadata: dict[str, str] | None = None) -> ModelProto:
    """A graph of ONNX operators as a checked ModelProto. Node, input and output names are the graph's.

    metadata: joins the graph's own metadata. Raises Unsupported for a graph that was lowered already, InvalidModel when
    the result does not pass onnx's checker.
    """
    nodes = [node_proto(node) for node in graph.nodes]
    computed = {out: None for node in graph.nodes for out in node.outputs}  # in an order that is the same every time
    for public, value in graph.outputs:
        if public != value:
            if public in computed:
                raise InvalidModel(f"output '{public}' would be written twice")
            nodes.append(helper.make_node("Identity", [value], [public], name=f"{public}/output"))
    used = {name for node in graph.nodes for name in node.inputs} | {value for _, value in graph.outputs}
    constants = [tensor(name, v.const) for name, v in graph.values.items() if v.const is not None and name in used]
    proto = helper.make_graph(
        nodes,
        graph.name,
        [value_info(graph, name) for name in graph.inputs],
        [value_info(graph, value, public) for public, value in graph.outputs],
        constants,
        value_info=[value_info(graph, n) for n in computed if n and known(graph, n) and n not in graph.output_values()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.opsets.items()]
    newest = max(v for d, v in graph.opsets.items() if d == "")
    ir_version = next((v for o, v in sorted(IR_VERSION.items()) if newest <= o), onnx.IR_VERSION)
    model = helper.make_model(proto, opset_imports=opsets, producer_name=PRODUCER, ir_version=ir_version)
    model.functions.extend(graph.functions)
    helper.set_model_props(model, {**graph.metadata, **(metadata or {})})
    if model.ByteSize() < LARGEST_INLINE:
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as e:
            raise InvalidModel(f"the model that was written does not pass onnx's checker: {e}") from e
    return model


def save_model(model: ModelProto, path: str | os.PathLike[str]) -> None:
    """Writes beside the target and renames: a failure leaves an old file as it was. Over 2 GB: external data beside it.

    Raises IoError.
    """
    target = Path(path)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent or ".", prefix=f".{target.name}.") as folder:
            draft = Path(folder) / target.name
            if model.ByteSize() < LARGEST_INLINE:
                onnx.save_model(model, draft)
            else:
                onnx.save_model(model, draft, save_as_external_data=True, location=f"{target.name}.data")
                os.replace(f"{draft}.data", f"{target}.data")
            os.replace(draft, target)
    except OSError as e:
        raise IoError(f"cannot write '{target}': {e.strerror or e}") from e


def node_proto(node: Node) -> NodeProto:
    if node.domain == PLAN:
        raise Unsupported(f"node '{node.name}' is a plan operator ({node.op}), which ONNX does not have")
    if node.origin is not None and node.origin.op_type == node.op:
        proto = NodeProto()  # keeps subgraphs and attributes that the graph does not read
        proto.CopyFrom(node.origin)
        for mark in [a for a in proto.attribute if a.name == QLINEAR]:  # which no other reader knows
            proto.attribute.remove(mark)
        captured = [n for n in outer_names(proto) if n not in proto.input]
        called = dict(zip([*proto.input, *captured], node.inputs))
        for sub in subgraphs(proto):
            rename_captured(sub, called)
        del proto.input[:], proto.output[:]
        proto.input.extend(node.inputs[: len(node.inputs) - len(captured)])
        proto.output.extend(node.outputs)
        proto.name = node.name
        return proto
    attrs = {k: v for k, v in node.attrs.items() if k != QLINEAR}
    return helper.make_node(node.op, node.inputs, node.outputs, name=node.name, domain=node.domain, **attrs)


def rename_captured(graph: GraphProto, called: dict[str, str]) -> None:
    """Names that a subgraph takes from around it become those that passes have given them since."""
    own = {v.name for v in [*graph.input, *graph.initializer]} | {s.values.name for s in graph.sparse_initializer}
    own |= {out for node in graph.node for out in node.output}
    called = {old: new for old, new in called.items() if old != new and old not in own}
    if not called:
        return
    for node in graph.node:
        names = [called.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(names)
        for sub in subgraphs(node):
            rename_captured(sub, called)
    for out in graph.output:
        out.name = called.get(out.name, out.name)


def tensor(name: str, array: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def known(graph: Graph, name: str) -> bool:
    return graph.dtype(name) is not None and graph.shape(name) is not None


def value_info(graph: Graph, name: str, public: str | None = None) -> ValueInfoProto:
    host = graph.values[name].host
    if host is not None:  # a sequence or an optional
        return helper.make_value_info(public or name, host)
    dtype, shape = graph.dtype(name), graph.shape(name)
    kind = TensorProto.FLOAT if dtype is None else helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_value_info(public or name, kind, dims(shape))


def dims(shape: Shape | None) -> list[int | str | None] | None:
    return None if shape is None else list(shape)
