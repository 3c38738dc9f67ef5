"""A float model made ready for compression: constants and batch norms folded, node names kept."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection
from typing import Any

from octavo.errors import InvalidArgument, Unsupported
from octavo.ir import Graph
from octavo.onnx_export import at_opset
from octavo.onnx_import import import_model
from octavo.passes import CANONICAL
from octavo.passes.fold_constants import replace
from octavo.passes.small_weights import dense

OLDEST_OPSET = 13  # the first in which DequantizeLinear has an axis


def prepare(model: Any, opset: int) -> tuple[Graph, int]:
    """The float graph with constants and batch norms folded and node names kept, and the model's size in bytes."""
    proto = at_opset(model, OLDEST_OPSET)
    size = proto.ByteSize()
    with contextlib.suppress(Unsupported):  # else the model's own operator set will do
        proto = at_opset(proto, opset)
    graph = import_model(proto)
    quantized = next((n for n in graph.nodes if n.op in ("QuantizeLinear", "DequantizeLinear")), None)
    if quantized is not None:
        raise InvalidArgument(f"the model is quantized already: node '{quantized.name}' is a {quantized.op}")
    small = next((n for n in graph.nodes if n.is_plan("Restore")), None)
    if small is not None:
        raise Unsupported(
            f"the weights '{small.outputs[0]}' are stored sparse or small; quantize the model with dense float weights"
        )
    name_apart(graph)
    names = {node.name for node in graph.nodes}
    for run in CANONICAL:
        run(graph)
        graph.sort()
        graph.drop_dead()
    dense_weights(graph)
    for node in graph.nodes:  # folding joins names: the first one is the operator's own
        if node.name not in names:
            node.name = max((n for n in names if node.name.startswith(f"{n}+")), key=len, default=node.name)
    return graph, size


def name_apart(graph: Graph) -> None:
    """Nodes of one name get a number: options and reports tell them by their names, and so does onnxruntime."""
    taken, count = {node.name for node in graph.nodes}, Counter[str]()
    for node in graph.nodes:
        count[node.name] += 1
        if count[node.name] > 1:
            k = count[node.name]
            while f"{node.name}.{k}" in taken:
                k += 1
            node.name = f"{node.name}.{k}"
            taken.add(node.name)


def dense_weights(graph: Graph) -> None:
    """16-bit weights and codebooks, which CANONICAL reads as small weights, become float constants."""
    for node in [n for n in graph.nodes if n.is_plan("Restore")]:
        replace(graph, node, [dense(graph, node)])


def check_names(graph: Graph, option: str, given: Collection[str]) -> None:
    names = {node.name for node in graph.nodes}
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InvalidArgument(f"{option} names '{unknown[0]}', but the model has no such node")
