"""Shape and Size read the integers before a Dequantize, so that no float tensor is computed for its shape alone."""

from __future__ import annotations

from octavo.ir import Graph
from octavo.passes.complete_shapes import SAME_AS_INPUT

KEEPING = SAME_AS_INPUT - {"QuantizeLinear", "DequantizeLinear"}


def move_shapes(graph: Graph) -> None:
    """Shape(f(DequantizeLinear(q))) => Shape(q), where f keeps shapes (Relu, Softmax, ...).

    Other values are left alone: one more reader of a convolution's result would keep its Quantize from fusing.
    """
    producers = graph.producers()
    for node in graph.nodes:
        if not node.is_op("Shape", "Size"):
            continue
        value = node.inputs[0]
        source = producers.get(value)
        while source is not None and source.is_op(*KEEPING) and source.outputs[0] == value:
            value = source.inputs[0]
            source = producers.get(value)
        if source is not None and source.is_op("DequantizeLinear") and graph.rank(source.inputs[0]) is not None:
            node.inputs[0] = source.inputs[0]
