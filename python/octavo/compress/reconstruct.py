"""Weights of few bits, learned block by block: a block of layers shall compute what it did, on what it really gets.

Blocks go in order of computation. What a block gets are the integers that the quantized blocks before it deliver; what
it shall compute is what the float network does there. Its integer weights, their scales and its biases are learned by
gradient descent on the squared difference, as if rounding were not there; what is worse than the start is not kept.
Sources: Y. Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction", ICLR 2021 (the
blocks and the objective); M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020
(the quantized network's input); S. Esser et al., "Learned Step Size Quantization", ICLR 2020 (scales that are learned).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from octavo.compress.blocks import Block, find_blocks
from octavo.compress.calibrate import Progress, silent
from octavo.compress.data import Calibration, Feeds
from octavo.compress.learned import Learned, Network
from octavo.compress.place import Placement
from octavo.compress.scheme import QParams, WeightScheme
from octavo.compress.variants import variants
from octavo.compress.write import Weights
from octavo.engine import Session
from octavo.ir import Graph
from octavo.onnx_export import export_model

SAMPLES = 64
BYTES = 256 << 20  # of a block's inputs and wanted results
STEPS = 300  # of learning, a block
ELEMENTS = 1 << 20  # of the largest tensor of a block, in one step
BATCH = 32
VARIANTS = 4  # of a picture, at most
ROWS = 50000  # of a block's results that are enough
LARGEST = 1 << 23  # weights of a block: learning holds each about ten times
WARM = 10  # steps of each phase in which the rates rise
SEED = 0


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
        p = params[block.entry]
        samples = Samples(p, recorded(graph, rough, block, p, data))
        learn(Network(graph, block, layers), samples)
        weights |= {out: layer.result() for out, layer in layers.items()}
        progress("reconstructing blocks", done, len(blocks))


def learnable(graph: Graph, block: Block, weights: Mapping[str, Weights]) -> bool:
    """Whether all its layers run on integers, and are not too large to be learned."""
    found = [weights.get(node.outputs[0]) for node in block.layers(graph)]
    return all(w is not None for w in found) and sum(w.q.size for w in found if w is not None) <= LARGEST


def recorded(
    graph: Graph, rough: Graph, block: Block, p: QParams, data: Calibration
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each sample: what the block gets in the quantized network, as integers, and what it gives in the float one."""
    wanted = Session(export_model(upto(graph, block.exit)))
    given = None if block.entry in graph.inputs else Session(export_model(upto(rough, block.entry)))
    held, count = 0, 0
    for number, feeds in enumerate(itertools.islice(data, SAMPLES)):
        for k, variant in enumerate(variants(feeds, number, VARIANTS)):
            if k >= max(count, 1):
                break
            x = variant[block.entry] if given is None else given.run(None, needed(given, variant))[0]
            y = wanted.run(None, needed(wanted, variant))[0]
            if not (x.size and y.size):
                break
            if not count:
                count = max(1, min(VARIANTS, ROWS // (SAMPLES * max(1, y.size // y.shape[1]))))
            x = p.quantize(x)
            held += x.nbytes + y.nbytes
            if held > BYTES:
                return
            yield channels_last(x), channels_last(y)


def needed(session: Session, feeds: Feeds) -> Feeds:
    return {i.name: feeds[i.name] for i in session.get_inputs()}


def upto(graph: Graph, name: str) -> Graph:
    """What computes one value."""
    part, _ = graph.copied()
    part.outputs = [(name, name)]
    part.drop_dead()
    part.inputs = [n for n in part.inputs if any(n in node.inputs for node in part.nodes)]
    return part


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 2 else x


class Samples:
    """A block's inputs and wanted results; batches are of one shape."""

    def __init__(self, p: QParams, pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        self.p = p
        self.groups: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
        for x, y in pairs:
            self.groups.setdefault(x.shape, []).append((x, y))
        self.count = sum(len(g) for g in self.groups.values())

    def batch(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([x for x, _ in pairs]).astype(np.float32)
        x -= np.float32(self.p.zero_point)
        x *= self.p.scale
        return x, np.concatenate([y for _, y in pairs])

    def all(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for group in self.groups.values():
            for k in range(0, len(group), size):
                yield self.batch(group[k : k + size])

    def drawn(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches without end, every sample as often."""
        rng = np.random.default_rng(SEED)
        while True:
            batches = []
            for group in self.groups.values():
                order = rng.permutation(len(group))
                batches += [[group[i] for i in order[k : k + size]] for k in range(0, len(group), size)]
            for k in rng.permutation(len(batches)):
                yield self.batch(batches[k])


def learn(net: Network, samples: Samples) -> None:
    """First scales and biases, then all, then scales and biases again for the integers that were found."""
    if not samples.count:
        return
    x, _ = next(samples.all(1))
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
    for x, y in samples.all(size):
        off = (net.forward(x)[net.block.exit] - y).reshape(-1)
        total += float(np.dot(off, off))
    return total
