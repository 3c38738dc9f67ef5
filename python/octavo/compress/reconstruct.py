"""Weights of few bits, learned block by block: a block of layers shall compute what it did, on what it really gets.

Blocks go in order of computation. What a block gets are the integers that the quantized blocks before it deliver; what
it shall compute is what the float network does there. Its integer weights, their scales and its biases are learned by
gradient descent on the squared difference, as if rounding were not there; what is worse than the start is not kept.
Sources: Y. Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction", ICLR 2021 (the
blocks and the objective); M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020
(the quantized network's input); S. Esser et al., "Learned Step Size Quantization", ICLR 2020 (scales that are learned).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from octavo.compress.blocks import Block, find_blocks
from octavo.compress.calibrate import Progress, silent
from octavo.compress.data import Calibration
from octavo.compress.learned import Learned, Network
from octavo.compress.place import Placement
from octavo.compress.samples import Recorded, Samples, record
from octavo.compress.scheme import QParams, WeightScheme
from octavo.compress.write import Weights
from octavo.ir import Graph

STEPS = 300  # of learning, a block
ELEMENTS = 1 << 20  # of the largest tensor of a block, in one step
BATCH = 32
LARGEST = 1 << 23  # weights of a block: learning holds each about ten times
WARM = 10  # steps of each phase in which the rates rise


def reconstruct(
    graph: Graph,
    placement: Placement,
    data: Calibration,
    params: Mapping[str, QParams],
    weights: dict[str, Weights],
    schemes: Mapping[str, WeightScheme],
    written: Callable[[], Graph],
    biases: bool = True,
    progress: Progress = silent,
) -> None:
    """Puts better ones in place of the weights, which are rounded already.

    schemes: by the layer's result, as `weights`. written: the graph quantized with `weights` as they now are.
    biases: whether these may change.
    """
    blocks = [block for block in find_blocks(graph, set(params)) if learnable(graph, block, weights)]
    last: Recorded | None = None
    for done, block in enumerate(blocks, 1):
        try:
            layers = {
                out: Learned(graph, node, weights[out], schemes[out], biases)
                for node in block.layers(graph)
                for out in node.outputs
            }
        except LookupError:  # padding that is known at run time only
            continue
        rough = graph if block.entry in graph.inputs else written()
        last = record(graph, rough, block, params[block.entry], data, last)
        learn(Network(graph, block, layers), Samples(last))
        weights |= {out: layer.result() for out, layer in layers.items()}
        progress("reconstructing blocks", done, len(blocks))


def learnable(graph: Graph, block: Block, weights: Mapping[str, Weights]) -> bool:
    """Whether all its layers run on integers, and are not too large to be learned."""
    found = [weights.get(node.outputs[0]) for node in block.layers(graph)]
    return all(w is not None for w in found) and sum(w.q.size for w in found if w is not None) <= LARGEST


def learn(net: Network, samples: Samples) -> None:
    """First scales and biases, then all, then scales and biases again for the integers that were found."""
    if not samples.count:
        return
    x, _ = next(samples.judged(1))
    size = max(1, min(BATCH, ELEMENTS // max(1, net.widest(x))))
    best, kept = error(net, samples, size), net.state()
    batches = samples.drawn(size)
    for steps, integers in ((STEPS // 4, False), (STEPS // 2, True), (STEPS // 4, False)):
        for step in range(steps):
            x, y = next(batches)
            values = net.forward(x)
            off = values[net.block.exit] - y
            share = 0.5 * (1 + np.cos(np.pi * step / steps)) * min(1.0, (step + 1) / WARM)
            net.backward(values, off * np.float32(2 / off.size), share, integers)
        now = error(net, samples, size)
        if now < best:
            best, kept = now, net.state()
    net.restore(kept)


def error(net: Network, samples: Samples, size: int) -> float:
    total = 0.0
    for x, y in samples.judged(size):
        off = (net.forward(x)[net.block.exit] - y).reshape(-1)
        total += float(np.dot(off, off))
    return total
