"""x * Sigmoid(x) => Silu"""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node, Uses


def fuse_silu(graph: Graph) -> None:
    """Mul(x, Sigmoid(x))  =>  Swish(x), which is the same two roundings. Kept when the sigmoid is read elsewhere."""
    for node in list(graph.nodes):
        if not node.is_op("Sigmoid"):
            continue
        uses = Uses(graph)
        mul = uses.single_reader(node.outputs[0])
        x = node.inputs[0]
        if graph.dtype(x) != np.float32:  # the core has Silu in float32 only
            continue
        if mul is None or not mul.is_op("Mul") or sorted(mul.inputs) != sorted([x, node.outputs[0]]):
            continue
        fused = Node("Swish", [x], list(mul.outputs), {}, f"{node.name}+{mul.name}")
        graph.nodes[graph.nodes.index(mul)] = fused
        graph.remove(node)
