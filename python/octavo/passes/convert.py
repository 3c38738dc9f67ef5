"""Whatever recognition left in ONNX's vocabulary becomes plan operators one by one, or a Python step with a reason."""

from __future__ import annotations

from octavo.errors import Error
from octavo.ir import PLAN, Graph, Node
from octavo.onnx_step import make_step
from octavo.passes.convert_image import IMAGE
from octavo.passes.convert_math import MATH
from octavo.passes.convert_move import MOVE
from octavo.passes.emit import Emit
from octavo.passes.refusal import Refused

CONVERTERS = {**MOVE, **MATH, **IMAGE}


def convert(graph: Graph) -> None:
    """ONNX node -> plan nodes. A node no converter takes becomes the plan's Python step; Unsupported if even the onnx
    package has no implementation of it."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.domain == PLAN:
            nodes.append(node)
            continue
        emit = Emit(graph, node.name)
        converter = CONVERTERS.get(node.op) if node.domain == "" else None
        why = "the core has no such operator"
        if converter is not None:
            try:
                converter(emit, node)
                nodes += emit.nodes
                continue
            except Refused as refused:
                why = str(refused)
        nodes.append(python_step(graph, node, why))
    graph.nodes = nodes
    for node in graph.nodes:
        for out in node.outputs:
            if out and graph.values[out].dtype is None:
                raise Error(f"node '{node.name}' ({node.op}): the element type of its output '{out}' is not known")


def python_step(graph: Graph, node: Node, why: str) -> Node:
    """The plan's Python node; its function and reason travel in the attributes until lowering takes them out."""
    feeds, function = make_step(graph, node)
    for k, out in enumerate(node.outputs):
        if out and graph.values[out].dtype is None:
            known = next((graph.dtype(n) for n in node.inputs if n and graph.dtype(n) is not None), None)
            if known is None:
                raise Error(f"node '{node.name}' ({node.op}): the element type of output {k} is not known")
            graph.values[out].dtype = known
    attrs = {"function": function, "why": why, "op": node.op}
    return Node("Python", feeds, [o for o in node.outputs if o], attrs, node.name, PLAN)
