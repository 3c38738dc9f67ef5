"""Bias correction: what quantization shifts a layer's mean result by is taken out of its bias.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section
4.2 (the empirical form, on calibration data).
"""

from __future__ import annotations

import numpy as np

from octavo.compress.calibrate import Progress, silent, watch
from octavo.compress.data import Calibration
from octavo.compress.layers import Layer
from octavo.compress.place import Placement, is_weighted
from octavo.compress.scheme import QParams
from octavo.compress.write import Weights, bias_of
from octavo.engine import Session
from octavo.ir import Graph, Node

SAMPLES = 32


def correct_biases(
    graph: Graph,
    placement: Placement,
    session: Session,
    data: Calibration,
    params: dict[str, QParams],
    weights: dict[str, Weights],
    progress: Progress = silent,
) -> None:
    """Sets Weights.bias of every layer that has a bias to correct, or can be given one."""
    readers: dict[str, list[tuple[Node, Layer, Layer]]] = {}
    for node in placement.nodes:
        if node.outputs[0] in weights and correctable(graph, node):
            w = weights[node.outputs[0]]
            rough = Layer(graph, node, w.params.dequantize(w.q), bias=False)
            readers.setdefault(node.inputs[0], []).append((node, Layer(graph, node, bias=False), rough))
    shift: dict[str, np.ndarray] = {}
    count: dict[str, int] = {}

    def see(name: str, x: np.ndarray) -> None:
        through = params[name].through(x)
        for node, exact, rough in readers[name]:
            off = exact(x).astype(np.float64) - rough(through)
            axis = 1 if node.op == "Conv" else off.ndim - 1
            rest = tuple(k for k in range(off.ndim) if k != axis)
            shift[node.outputs[0]] = shift.get(node.outputs[0], 0.0) + off.sum(rest)
            count[node.outputs[0]] = count.get(node.outputs[0], 0) + off.size // max(off.shape[axis], 1)

    watch(session, list(readers), data, see, progress, "correcting biases", SAMPLES)
    for found in readers.values():
        for node, _, _ in found:
            if not count.get(node.outputs[0]):
                continue
            holder, k = bias_of(graph, node)
            mean = (shift[node.outputs[0]] / count[node.outputs[0]]).astype(np.float32)
            old = graph.const(holder.inputs[k]) if holder is not None else None
            weights[node.outputs[0]].bias = mean if old is None else moved(old, mean)


def correctable(graph: Graph, node: Node) -> bool:
    """Whether the node has a bias of its own, or can take one."""
    return is_weighted(graph, node) and (node.op != "MatMul" or bias_of(graph, node)[0] is not None)


def moved(bias: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A bias (one number, or one a channel in any shape) plus a mean a channel."""
    return (bias + mean.reshape(bias.shape if bias.size == mean.size else mean.shape)).astype(np.float32)
