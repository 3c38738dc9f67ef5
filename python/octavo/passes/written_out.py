"""Functions that files write out by their definition, because their operator set or exporter has no name for them."""

from __future__ import annotations

import math

import numpy as np

from octavo.ir import Graph, Node, Uses
from octavo.passes.elementwise import clip_bounds
from octavo.passes.match import join, scalar


def recognize_written_out(graph: Graph) -> None:
    """x * (Erf(x / sqrt 2) + 1) * 0.5  =>  Gelu(x);  x * Clip(x + 3, 0, 6) / 6  =>  HardSwish(x).

    The products may come in any order. What is meant is the function, which the core computes with fewer roundings.
    Kept when a result in between is read elsewhere or a constant is another number.
    """
    for node in list(graph.nodes):
        if node.is_op("Erf") and graph.dtype(node.inputs[0]) == np.float32:
            gelu(graph, Uses(graph), node)
        elif node.is_op("Clip") and graph.dtype(node.inputs[0]) == np.float32:
            hard_swish(graph, Uses(graph), node)


def hard_swish(graph: Graph, uses: Uses, clip: Node) -> bool:
    plus = uses.producer.get(clip.inputs[0])
    if plus is None or not plus.is_op("Add") or uses.single_reader(clip.inputs[0]) is None:
        return False
    k = 1 if near(graph, plus.inputs[1], 3.0) else 0
    if not near(graph, plus.inputs[k], 3.0) or clip_bounds(graph, clip) != (0.0, 6.0):
        return False
    x = plus.inputs[1 - k]
    gone, value = [plus, clip], clip.outputs[0]
    sixth = whole = False
    while not (sixth and whole):
        step = uses.single_reader(value)
        if step is None or not step.is_op("Mul", "Div"):
            return False
        factor = step.inputs[1] if step.is_op("Div") else other(step, value)
        if not sixth and near(graph, factor, 6.0 if step.is_op("Div") else 1 / 6):
            sixth = True
        elif not whole and step.is_op("Mul") and factor == x:
            whole = True
        else:
            return False
        gone.append(step)
        value = step.outputs[0]
    return replace(graph, "HardSwish", x, gone)


def gelu(graph: Graph, uses: Uses, erf: Node) -> bool:
    inner = uses.producer.get(erf.inputs[0])
    if inner is None or uses.single_reader(erf.inputs[0]) is None:
        return False
    # x / sqrt 2, x * sqrt 0.5 or sqrt 0.5 * x
    k, number = (1, math.sqrt(2)) if inner.is_op("Div") else (0, math.sqrt(0.5))
    if inner.is_op("Mul") and near(graph, inner.inputs[1], number):
        k = 1
    if not inner.is_op("Div", "Mul") or not near(graph, inner.inputs[k], number):
        return False
    x = inner.inputs[1 - k]
    plus = uses.single_reader(erf.outputs[0])
    if plus is None or not plus.is_op("Add") or not near(graph, other(plus, erf.outputs[0]), 1.0):
        return False
    # Two products are left: by x and by a half.
    gone, value, half, whole = [inner, erf, plus], plus.outputs[0], False, False
    for _ in range(2):
        mul = uses.single_reader(value)
        if mul is None or not mul.is_op("Mul"):
            return False
        factor = other(mul, value)
        source = uses.producer.get(factor)
        if not half and near(graph, factor, 0.5):
            half = True
        elif not whole and factor == x:
            whole = True
        elif not half and not whole and source is not None and is_half_of(graph, uses, source, x):
            half = whole = True
            gone.append(source)
        else:
            return False
        gone.append(mul)
        value = mul.outputs[0]
        if half and whole:
            break
    return replace(graph, "Gelu", x, gone)


def replace(graph: Graph, function: str, x: str, gone: list[Node]) -> bool:
    """function(x) in the place of `gone`, of which the last writes the result."""
    last = gone[-1]
    y = last.outputs[0]
    shape, result = graph.shape(x), graph.shape(y)
    if shape is None or result is None or len(shape) != len(result) or graph.dtype(y) != np.float32:
        return False
    fused = Node(function, [x], [y], {}, join(*(n.name for n in gone)))
    graph.nodes[graph.nodes.index(last)] = fused
    for node in gone[:-1]:
        graph.remove(node)
    return True


def other(node: Node, value: str) -> str:
    return node.inputs[1] if node.inputs[0] == value else node.inputs[0]


def is_half_of(graph: Graph, uses: Uses, node: Node, x: str) -> bool:
    """0.5 * x, read once."""
    return (
        node.is_op("Mul")
        and uses.single_reader(node.outputs[0]) is not None
        and x in node.inputs
        and near(graph, other(node, x), 0.5)
    )


def near(graph: Graph, name: str, number: float) -> bool:
    """A constant of one element, `number` up to a few roundings of float32."""
    value = scalar(graph, name)
    return value is not None and abs(value - number) <= 4e-7 * number
