"""BatchNormalization disappears: into the convolution before it, or into a multiplication and an addition."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node, Uses


def fold_batch_norm(graph: Graph) -> None:
    """Conv(x, w, b) -> BatchNormalization  =>  Conv(x, w * f, (b - mean) * f + bias), f = scale / sqrt(var + eps).

    Otherwise BatchNormalization => Mul(f) -> Add(bias - mean * f). float32 arithmetic in this order, + - * / sqrt only,
    so that every machine folds to the same bytes. Training-mode nodes and run-time statistics are kept.
    """
    for node in list(graph.nodes):
        if not node.is_op("BatchNormalization") or node.attrs.get("training_mode", 0):
            continue
        if any(node.outputs[1:]) or graph.rank(node.inputs[0]) is None:
            continue
        stats = [graph.const(name) for name in node.inputs[1:5]]
        if any(s is None or s.dtype != np.float32 or s.ndim != 1 for s in stats):
            continue
        scale, bias, mean, var = (s for s in stats if s is not None)
        with np.errstate(all="ignore"):
            f = scale / np.sqrt(var + np.float32(node.attrs.get("epsilon", 1e-5)))
        producer = Uses(graph).producer.get(node.inputs[0])
        if producer is not None and foldable(graph, producer):
            into_conv(graph, producer, node, f, bias, mean)
        else:
            into_mul_add(graph, node, f, bias - mean * f)


def foldable(graph: Graph, conv: Node) -> bool:
    if not conv.is_op("Conv") or Uses(graph).single_reader(conv.outputs[0]) is None:
        return False
    w, b = graph.const(conv.inputs[1]), graph.const(conv.input(2))
    return w is not None and w.dtype == np.float32 and w.ndim in (3, 4) and (not conv.input(2) or b is not None)


def into_conv(graph: Graph, conv: Node, norm: Node, f: np.ndarray, bias: np.ndarray, mean: np.ndarray) -> None:
    w, b = graph.const(conv.inputs[1]), graph.const(conv.input(2))
    assert w is not None
    with np.errstate(all="ignore"):
        new_w = w * f.reshape(-1, *[1] * (w.ndim - 1))
        new_b = bias - mean * f if b is None else (b - mean) * f + bias
    inputs = [conv.inputs[0], graph.new_const(conv.inputs[1], new_w), graph.new_const(norm.inputs[2], new_b)]
    fused = Node("Conv", inputs, list(norm.outputs), dict(conv.attrs), f"{conv.name}+{norm.name}")
    graph.nodes[graph.nodes.index(norm)] = fused
    graph.remove(conv)


def into_mul_add(graph: Graph, norm: Node, f: np.ndarray, offset: np.ndarray) -> None:
    x = norm.inputs[0]
    rank = graph.rank(x)
    assert rank is not None
    tail = (-1, *[1] * (rank - 2)) if rank >= 2 else (-1,)
    scaled = graph.new_value(f"{norm.outputs[0]}/scaled", np.float32, graph.shape(norm.outputs[0]) or graph.shape(x))
    mul = Node("Mul", [x, graph.new_const(norm.inputs[1], f.reshape(tail))], [scaled], {}, norm.name)
    add = Node(
        "Add", [scaled, graph.new_const(norm.inputs[2], offset.reshape(tail))], list(norm.outputs), {}, norm.name
    )
    at = graph.nodes.index(norm)
    graph.nodes[at : at + 1] = [mul, add]
