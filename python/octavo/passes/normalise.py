"""Folds a BatchNormalization into the convolution before it. Part of the model's meaning: both optimisation levels do it."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Uses
from octavo.passes.convert_math import batch_norm_affine


def fold_batch_norm(graph: Graph) -> bool:
    """Conv(x, w, b) -> BatchNormalization  =>  Conv(x, w * a, (b - mean) * a + beta), a = scale / sqrt(var + eps), float32."""
    changed = False
    for node in list(graph.nodes):
        if not node.is_op("BatchNormalization") or node.attrs.get("training_mode"):
            continue
        uses = Uses(graph)
        conv = uses.producer.get(node.inputs[0])
        if conv is None or not conv.is_op("Conv") or uses.single_reader(conv.outputs[0]) is not node:
            continue
        w, affine = graph.const(conv.inputs[1]), batch_norm_affine(graph, node)
        b = graph.const(conv.input(2)) if conv.input(2) else np.zeros(1, np.float32)
        if w is None or b is None or affine is None or w.dtype != np.float32:
            continue
        a, offset = affine
        if a.size != w.shape[0]:
            continue
        with np.errstate(all="ignore"):
            new_w = w * a.reshape(-1, *[1] * (w.ndim - 1))
            new_b = b * a + offset
        new_b = np.ascontiguousarray(np.broadcast_to(new_b, (w.shape[0],)), np.float32)
        conv.inputs = [conv.inputs[0], graph.new_const(f"{conv.name}.w", new_w), graph.new_const(f"{conv.name}.b", new_b)]
        conv.outputs = [node.outputs[0]]
        conv.name = f"{conv.name}+{node.name}"
        graph.remove(node)
        changed = True
    return changed
