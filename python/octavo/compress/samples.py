"""What a block is learned from: its inputs in the quantized network and its results in the float one.

A block is recorded from what was recorded of the block before it where that is all it takes: over all blocks the
network then runs about once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from octavo.compress.blocks import Block
from octavo.compress.data import Calibration, Feeds
from octavo.compress.scheme import QParams
from octavo.compress.variants import variants
from octavo.engine import Session
from octavo.ir import Graph
from octavo.onnx_export import export_model

SAMPLES = 64
BYTES = 256 << 20  # of a block's inputs and wanted results
VARIANTS = 4  # of a picture, at most
ROWS = 50000  # of a block's results that are enough
JUDGED = 256  # samples that tell how good a block is
SEED = 0


@dataclass
class Recorded:
    """Of a block and each sample, channels-last: what it gets, as integers of p, and what it shall give.

    count: variants of each picture. whole: whether all had room.
    """

    block: Block
    p: QParams
    count: int
    whole: bool = True
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


def record(graph: Graph, rough: Graph, block: Block, p: QParams, data: Calibration, last: Recorded | None) -> Recorded:
    """graph: the float one; rough: quantized up to the block. last: of the block before."""
    found = Recorded(block, p, enough(graph, block, data))
    ways = None
    if last is not None and last.whole and last.count == found.count:
        ways = between(rough, last.block.entry, block.entry), between(graph, last.block.exit, block.exit)
    if last is None or ways is None or None in ways:
        ways, source = (upto(rough, block.entry), upto(graph, block.exit)), fresh(data, found.count)
    else:
        source = again(last)
    given, wanted = (Way(part, name) for part, name in zip(ways, (block.entry, block.exit)))
    held = 0
    for for_given, for_wanted in source:
        x, y = p.quantize(given.run(for_given)), wanted.run(for_wanted)
        if not (x.size and y.size):
            continue
        held += x.nbytes + y.nbytes
        if held > BYTES:
            found.whole = False
            break
        found.pairs.append((channels_last(x), channels_last(y)))
    return found


def fresh(data: Calibration, count: int) -> Iterator[tuple[Feeds, Feeds]]:
    for number, feeds in enumerate(itertools.islice(data, SAMPLES)):
        for variant in variants(feeds, number, count):
            yield variant, variant


def again(last: Recorded) -> Iterator[tuple[Feeds, Feeds]]:
    for x, y in last.pairs:
        real = (x.astype(np.float32) - np.float32(last.p.zero_point)) * last.p.scale
        yield {last.block.entry: channels_first(real)}, {last.block.exit: channels_first(y)}


def enough(graph: Graph, block: Block, data: Calibration) -> int:
    """Variants of each picture, so that the block gives ROWS results in all."""
    wanted = Way(upto(graph, block.exit), block.exit)
    results = (wanted.run(feeds) for feeds in itertools.islice(data, SAMPLES))
    y = next((y for y in results if y.size), None)
    return 1 if y is None else max(1, min(VARIANTS, ROWS // (SAMPLES * max(1, y.size // y.shape[1]))))


class Way:
    """Computes one value."""

    def __init__(self, part: Graph | None, name: str) -> None:
        self.name = name
        self.session = Session(export_model(part)) if part is not None and part.nodes else None

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.session is None:
            return feeds[self.name]
        (value,) = self.session.run(None, {i.name: feeds[i.name] for i in self.session.get_inputs()})
        return value


def upto(graph: Graph, name: str, start: str | None = None) -> Graph:
    """What computes one value, from the inputs or, as far as it goes, from another value."""
    part, _ = graph.copied()
    part.outputs = [(name, name)]
    if start is not None:
        part.nodes = [node for node in part.nodes if start not in node.outputs]
        part.inputs = [start, *(n for n in part.inputs if n != start)]
    part.drop_dead()
    part.inputs = [n for n in part.inputs if any(n in node.inputs for node in part.nodes)]
    return part


def between(graph: Graph, start: str, name: str) -> Graph | None:
    """What computes one value from another alone; None: that is not all it takes."""
    part = upto(graph, name, start)
    return part if part.inputs == [start] else None


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 2 else x


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x


class Samples:
    """A block's inputs and wanted results; batches are of one shape."""

    def __init__(self, recorded: Recorded) -> None:
        self.p = recorded.p
        self.groups: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
        for x, y in recorded.pairs:
            self.groups.setdefault(x.shape, []).append((x, y))
        self.count = len(recorded.pairs)

    def batch(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([x for x, _ in pairs]).astype(np.float32)
        x -= np.float32(self.p.zero_point)
        x *= self.p.scale
        return x, np.concatenate([y for _, y in pairs])

    def judged(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of about JUDGED samples, always the same."""
        for group in self.groups.values():
            some = group[:: max(1, self.count // JUDGED)]
            for k in range(0, len(some), size):
                yield self.batch(some[k : k + size])

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
