"""Dequantized constants that no integer operator took become float constants."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node
from octavo.passes.fold_constants import fold_node


def fold_dequantize(graph: Graph) -> None:
    """Dequantize(constant)  =>  constant: fl32(q - zp) * scale, an exact rule. DequantizeLinear(constants) likewise."""
    for node in list(graph.nodes):
        if node.is_op("DequantizeLinear"):
            fold_literal(graph, node)
            continue
        q = graph.const(node.inputs[0]) if node.is_plan("Dequantize") else None
        if q is None:
            continue
        if len(node.inputs) == 1:
            scale, zp = np.float32(node.attrs["x_scale"]), np.int64(node.attrs["x_zp"])
        else:
            spread = [1] * q.ndim
            spread[int(node.attrs["axis"])] = -1
            scale, zp = (graph.const(k).reshape(spread) for k in node.inputs[1:3])  # type: ignore[union-attr]
        value = graph.values[node.outputs[0]]
        value.const = ((q.astype(np.int64) - zp).astype(np.float32) * scale).astype(np.float32)
        value.dtype, value.shape = np.dtype(np.float32), tuple(int(d) for d in q.shape)
        graph.remove(node)


def fold_literal(graph: Graph, node: Node) -> None:
    """A DequantizeLinear that was not read as plan arithmetic: literal mode, 4-bit and blocked weights."""
    arrays = [graph.const(name) for name in node.inputs]
    if all(a is not None or not name for a, name in zip(arrays, node.inputs)):
        fold_node(graph, node, arrays)
