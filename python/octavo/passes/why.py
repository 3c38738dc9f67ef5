"""Why a node that stands beside Q/DQ matched no integer pattern: what `explain` and Session.notes tell."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node, Uses
from octavo.passes.quantized import tail

TWO_OPERANDS = ("Conv", "Gemm", "MatMul", "Add", "Sub", "Mul")
MAY_GIVE_FLOAT = ("Conv", "Gemm", "MatMul")  # these run on integers without a Quantize behind them too


def why_float(graph: Graph, uses: Uses, node: Node) -> str:
    """The first thing that an integer operator would need and the graph lacks; "" where the file asks for float."""
    operands = [v for v in node.inputs[: 2 if node.op in TWO_OPERANDS else 1] if v]
    problems = [problem_of(graph, uses, value) for value in operands]
    if all(problems):
        ends = tail(graph, uses, node.outputs[0]) is not None
        return "its result is quantized, but its operands are not" if ends else ""
    found = next((p for p in problems if p), "")
    if found or node.op in MAY_GIVE_FLOAT:
        return found or "its operands fit no integer pattern"
    return why_no_tail(graph, uses, node) or "its operands fit no integer pattern"


def problem_of(graph: Graph, uses: Uses, value: str) -> str:
    """What keeps a value from being an operand; "" where it is a Dequantize that integers take."""
    source = uses.producer.get(value)
    if source is None or not source.is_plan("Dequantize"):
        what = "a float constant" if graph.const(value) is not None else "not quantized"
        return f"its operand '{value}' is {what}"
    q = source.inputs[0]
    dtype = graph.dtype(q)
    if dtype not in (np.dtype(np.uint8), np.dtype(np.int8)):
        return f"its operand '{value}' is quantized to {dtype}, not to 8 bits"
    if len(source.inputs) > 1 and graph.const(q) is None:
        return f"its operand '{value}' has a scale for each channel, where integers take one an activation"
    return ""


def why_no_tail(graph: Graph, uses: Uses, node: Node) -> str:
    """Why no Quantize ends the node's result."""
    out = node.outputs[0]
    if tail(graph, uses, out) is not None:
        return ""
    if out in uses.outputs:
        return "its result is an output of the graph, in float"
    readers = uses.readers.get(out, [])
    if len(readers) != 1:
        return f"its result is read by {len(readers)} nodes before it is quantized"
    reader = readers[0]
    if reader.is_plan("Quantize"):
        return "its result is quantized with a scale for each channel"
    return f"its result goes to '{reader.name}' ({reader.op}) before it is quantized"
