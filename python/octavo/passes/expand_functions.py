"""Operators that ONNX defines by others become those, where the core has the others and not the operator."""

from __future__ import annotations

from collections import deque

import numpy as np

from octavo.ir import Graph, Node
from octavo.onnx_functions import expand
from octavo.onnx_import import element_type, remove_identities
from octavo.passes.complete_shapes import complete
from octavo.passes.context import CORE_DTYPES

FUNCTIONS = {
    "Attention", "BlackmanWindow", "CausalConvWithState", "CenterCropPad", "GroupNormalization",
    "HammingWindow", "HannWindow", "MeanVarianceNormalization", "NegativeLogLikelihoodLoss", "ReduceLogSum",
    "ReduceLogSumExp", "RMSNormalization", "RotaryEmbedding", "SoftmaxCrossEntropyLoss", "SwiGLU",
}  # fmt: skip


def expand_functions(graph: Graph) -> None:
    """Node of FUNCTIONS => the nodes of its body; bodies that hold such nodes are expanded in turn."""
    if not any(wanted(node) or node.is_op("CastLike") for node in graph.nodes):
        return
    waiting, done = deque(graph.nodes), list[Node]()
    while waiting:
        node = waiting.popleft()
        complete(graph, node)
        if node.is_op("CastLike"):
            as_cast(graph, node)
        body = expand(graph, node) if wanted(node) and held(graph, node) else None
        if body is None:
            done.append(node)
        else:
            waiting.extendleft(reversed(body))
    graph.nodes = done
    remove_identities(graph)


def held(graph: Graph, node: Node) -> bool:
    """Whether the core holds the types the node works with: else its body would be Python steps, one an operator."""
    return all(graph.dtype(name) in CORE_DTYPES for name in node.inputs if name)


def as_cast(graph: Graph, node: Node) -> None:
    """CastLike => Cast, when the type is known."""
    target = graph.dtype(node.input(1))
    if target in CORE_DTYPES:
        node.op, node.inputs, node.origin = "Cast", node.inputs[:1], None
        node.attrs["to"] = element_type(np.dtype(target))


def wanted(node: Node) -> bool:
    if node.domain == "ai.onnx.preview":
        return node.op == "FlexAttention"
    if node.domain != "":
        return False
    return node.op in FUNCTIONS or (node.op == "LayerNormalization" and any(node.outputs[1:]))
