"""Cross-layer equalization: channels of two consecutive layers trade scale, so that one range fits all of them.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section
4.1. That paper replaces ReLU6 by ReLU. Here the clip stays, and stays right: a channel that reaches it on the
calibration data keeps its scale, any other one may grow only so far that it still does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octavo.compress.calibrate import Progress, silent, watch
from octavo.compress.data import Calibration
from octavo.compress.place import is_weighted
from octavo.engine import Session
from octavo.ir import Graph, Node, Uses
from octavo.passes.elementwise import clip_bounds

SAMPLES = 32
ROUNDS = 40
MARGIN = 1.1  # how far beyond what was seen a channel is kept from the clip
LARGEST = 1e4  # no channel's scale changes by more
SCALED = "octavo.scaled"  # the metadata that says which tensors are no longer the float model's, but scaled


@dataclass
class Pair:
    """Two layers whose channels may be scaled against each other. ceiling: where the function between them clips."""

    first: Node
    second: Node
    ceiling: float
    factor: np.ndarray  # what the first layer's results were divided by, a channel
    peak: np.ndarray  # the greatest result of the first layer seen, a channel


def equalize(graph: Graph, session: Session, data: Calibration, progress: Progress = silent) -> int:
    """Rescales weights and biases in place; the float model computes the same. Returns how many pairs there were.

    graph.metadata[SCALED] holds, as JSON, the tensors whose values changed: name -> the divisor a channel (axis 1).
    """
    pairs = find_pairs(graph)
    if not pairs:
        return 0
    by_value: dict[str, list[Pair]] = {}
    for pair in pairs:
        if np.isfinite(pair.ceiling):
            by_value.setdefault(pair.first.outputs[0], []).append(pair)

    def see(name: str, x: np.ndarray) -> None:
        peak = x.max(tuple(k for k in range(x.ndim) if k != 1))
        for pair in by_value[name]:
            np.maximum(pair.peak, peak, out=pair.peak)

    if by_value:
        watch(session, list(by_value), data, see, progress, "equalizing", SAMPLES)
    for _ in range(ROUNDS):
        change = max(balance(graph, pair) for pair in pairs)
        if change < 1.001:
            break
    scaled = json.loads(graph.metadata.get(SCALED, "{}"))
    for pair in pairs:
        divisors = [float(f"{f:.9g}") for f in pair.factor]
        for name in dict.fromkeys((pair.first.outputs[0], pair.second.inputs[0])):
            scaled[name] = divisors
    graph.metadata[SCALED] = json.dumps(scaled)
    return len(pairs)


def scaled_tensors(metadata: Mapping[str, str]) -> dict[str, np.ndarray]:
    """What equalize() left in a model's metadata: tensor -> divisors of its channels. Damaged entries are left out."""
    try:
        found = json.loads(metadata.get(SCALED, "{}"))
        return {str(name): np.asarray(divisors, np.float32).reshape(-1) for name, divisors in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def find_pairs(graph: Graph) -> list[Pair]:
    """Conv -> [Relu | LeakyRelu | Clip from 0] -> Conv, each result read once."""
    uses = Uses(graph)
    pairs = []
    for node in graph.nodes:
        if not (node.op == "Conv" and is_weighted(graph, node)):
            continue
        ceiling, reader = np.inf, uses.single_reader(node.outputs[0])
        if reader is not None and reader.op in ("Relu", "LeakyRelu"):
            reader = uses.single_reader(reader.outputs[0])
        elif reader is not None and reader.op == "Clip":
            bounds = clip_bounds(graph, reader)
            if bounds is None or bounds[0] != 0:
                continue
            ceiling, reader = bounds[1], uses.single_reader(reader.outputs[0])
        if reader is None or reader.op != "Conv" or not is_weighted(graph, reader) or reader is node:
            continue
        constants = [*node.inputs[1:], reader.inputs[1]]
        if any(len(uses.readers[name]) > 1 or name in uses.outputs for name in constants if name):
            continue  # shared with other layers, which would be scaled too
        if not all(np.isfinite(c).all() for name in constants if (c := graph.const(name)) is not None):
            continue
        channels = weights(graph, node).shape[0]
        group, inner = int(reader.attrs.get("group", 1)), weights(graph, reader).shape[1]
        if group * inner == channels:
            pairs.append(Pair(node, reader, ceiling, np.ones(channels), np.zeros(channels)))
    return pairs


def weights(graph: Graph, node: Node) -> np.ndarray:
    w = graph.const(node.inputs[1])
    assert w is not None
    return w


def balance(graph: Graph, pair: Pair) -> float:
    """One step for one pair; returns the largest factor by which a channel changed."""
    a, b = weights(graph, pair.first), weights(graph, pair.second)
    channels = a.shape[0]
    group = int(pair.second.attrs.get("group", 1))
    spread = b.reshape(group, b.shape[0] // group, b.shape[1], -1)
    reach_a = np.abs(a.reshape(channels, -1)).max(1).astype(np.float64)
    reach_b = np.abs(spread).max((1, 3)).reshape(channels).astype(np.float64)
    usable = (reach_a > 0) & (reach_b > 0)
    s = np.sqrt(np.where(usable, reach_a, 1) / np.where(usable, reach_b, 1))
    if np.isfinite(pair.ceiling):
        clips = pair.peak * MARGIN >= pair.ceiling
        least = np.maximum(pair.peak * MARGIN / pair.ceiling, 1 / LARGEST)
        s = np.where(clips, 1.0, np.maximum(s * pair.factor, least) / pair.factor)
    s = np.clip(s * pair.factor, 1 / LARGEST, LARGEST) / pair.factor
    pair.factor = pair.factor * s
    scale(graph, pair.first, a / s.reshape(-1, *[1] * (a.ndim - 1)), s)
    wide = (spread * s.reshape(group, 1, b.shape[1], 1)).reshape(b.shape)
    graph.values[pair.second.inputs[1]].const = wide.astype(np.float32)
    return float(np.maximum(s, 1 / s).max())


def scale(graph: Graph, node: Node, w: np.ndarray, s: np.ndarray) -> None:
    graph.values[node.inputs[1]].const = w.astype(np.float32)
    if node.input(2):
        value = graph.values[node.inputs[2]]
        assert value.const is not None
        value.const = (value.const / s).astype(np.float32)
