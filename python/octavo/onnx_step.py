"""Runs one ONNX node through ``onnx.reference``, the onnx package's own numpy implementation.

This is how any valid operator that the core lacks still runs, and how exact constants are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, TypeProto, ValueInfoProto, helper
from onnx.reference import ReferenceEvaluator

from octavo.errors import Error, Unsupported
from octavo.ir import QLINEAR, Graph, Node
from octavo.onnx_control import OPERATORS, outer_names
from octavo.onnx_values import objects

# An array, None or a list for each value: what sequences and optionals are in numpy.
Step = Callable[[Sequence[Any]], list[Any]]


def make_step(graph: Graph, node: Node) -> tuple[list[str], Step]:
    """The value names to feed (the node's inputs, then what its subgraphs capture) and the function to run.

    Raises Unsupported, naming the node, when not even the onnx package implements the operator.
    """
    proto = NodeProto()
    proto.CopyFrom(node.origin if node.origin is not None else made(node))
    for extra in [a for a in proto.attribute if a.name == QLINEAR]:
        proto.attribute.remove(extra)
    captured = [n for n in outer_names(proto) if n not in proto.input]
    feeds = list(node.inputs)
    # Passes may have renamed the node's inputs; the origin's own names are kept inside.
    inner = [*proto.input, *captured]
    unique = list(dict.fromkeys(n for n in inner if n))
    outputs = [o for o in proto.output if o]
    hosts = {n: graph.values[given].host for n, given in zip(inner, feeds) if given}
    types = {n: graph.dtype(given) for n, given in zip(inner, feeds)}
    inputs = [value_info(n, hosts.get(n), types.get(n)) for n in unique]
    results = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in outputs]
    versions = dict(graph.opsets)
    if proto.op_type in ("QuantizeLinear", "DequantizeLinear"):  # the package implements 19 and newer, which extend 13
        versions[""] = max(versions.get("", 19), 19)
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = helper.make_model(helper.make_graph([proto], "step", inputs, results), opset_imports=opsets)
    model.functions.extend(graph.functions)
    where = f"node '{node.name}' ({node.domain + '.' if node.domain else ''}{node.op})"
    try:
        evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
    except Exception as e:
        raise Unsupported(f"{where}: octavo has no such operator and neither has the onnx package ({e})") from e

    def run(arrays: Sequence[Any]) -> list[Any]:
        given = {name: a for name, a in zip(inner, arrays) if name}
        try:
            got = evaluator.run(None, given)
        except Exception as e:
            raise Error(f"{where} failed in its Python step: {type(e).__name__}: {e}") from e
        return [a if a is None or isinstance(a, list) else objects(np.asarray(a)) for a in got]

    return feeds, run


def value_info(name: str, host: TypeProto | None, dtype: np.dtype | None) -> ValueInfoProto:
    if host is not None:
        return helper.make_value_info(name, host)
    return helper.make_tensor_value_info(name, onnx_type(dtype), None)


def onnx_type(dtype: np.dtype | None) -> int:
    return TensorProto.UNDEFINED if dtype is None else int(helper.np_dtype_to_tensor_dtype(dtype))


def made(node: Node) -> NodeProto:
    """A protobuf for a node that a pass wrote."""
    attrs = {k: v for k, v in node.attrs.items() if k not in ("acc64", "reason", "onnx_op", "onnx_domain")}
    return helper.make_node(node.op, node.inputs, node.outputs, name=node.name, domain=node.domain, **attrs)


def evaluate(graph: Graph, node: Node, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """One node on constant inputs."""
    return make_step(graph, node)[1](arrays)
