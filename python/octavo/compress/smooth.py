"""SmoothQuant: channels of unequal size between a normalization and the products that read it trade scale.

    x = norm(..) * gain + shift;  x W   =>   x / s W s,   1 / s in gain and shift, s in the rows of W

so that one scale fits all channels of x. Exact in real numbers. Other readers of x (a residual addition) get x / s * s.
Source: G. Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models",
ICML 2023: s = max|x|^alpha / max|W|^(1 - alpha), a channel. Here alpha is what the products lose least with, unless
given; where that gains little, x stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octavo.compress.calibrate import Progress, silent, watch
from octavo.compress.data import Calibration
from octavo.compress.nearest import fitted, integers
from octavo.compress.options import Options
from octavo.compress.place import is_weighted
from octavo.compress.scheme import ActivationScheme
from octavo.engine import Session
from octavo.ir import Graph, Node, Uses

SAMPLES = 16
ROWS = 32  # of each sample
ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
GAIN = 0.8  # the error that is left, at most, for a change to be worth its multiplication
SHARES = (1.0, 0.7, 0.5)  # of a calibrated range: it may leave outliers out
SMALLEST = 1e-5


@dataclass
class Pair:
    """A tensor of normalized rows, the constants that scale it ((node, input)), and the products that read it."""

    name: str
    scales: list[tuple[Node, int]]
    readers: list[Node]
    rows: list[np.ndarray]

    def weights(self, graph: Graph) -> list[np.ndarray]:
        """Each reader's as [inputs, outputs]."""
        found = []
        for node in self.readers:
            w = graph.const(node.inputs[1])
            assert w is not None
            found.append(w.T if node.attrs.get("transB", 0) else w)
        return found


def smooth(
    graph: Graph, session: Session, data: Calibration, options: Options, progress: Progress = silent
) -> list[tuple[str, float]]:
    """Rescales the graph in place; returns (tensor, alpha) for each that was. options.smooth: alpha, None: the best."""
    pairs = find_pairs(graph, options)
    if not pairs or options.smooth == 0:
        return []
    by_name = {pair.name: pair for pair in pairs}

    def see(name: str, x: np.ndarray) -> None:
        flat = x.reshape(-1, x.shape[-1])
        by_name[name].rows.append(flat[:: max(1, len(flat) // ROWS)].copy())

    watch(session, list(by_name), data, see, progress, "smoothing", SAMPLES)
    done = []
    for pair in pairs:
        if not pair.rows:  # no sample had any
            continue
        x = np.concatenate(pair.rows)
        if all(np.isfinite(a).all() for a in (x, *pair.weights(graph))):
            alpha, s = chosen(graph, pair, x, options)
            if s is not None:
                apply(graph, pair, s)
                done.append((pair.name, alpha))
    return done


def find_pairs(graph: Graph, options: Options) -> list[Pair]:
    uses, pairs = Uses(graph), []
    for node in graph.nodes:
        scales = scaling(graph, uses, node)
        if not scales:
            continue
        name = node.outputs[0]
        readers = [r for r in uses.readers.get(name, []) if is_product(graph, r, name) and is_chosen(r, options)]
        if readers:
            pairs.append(Pair(name, scales, readers, []))
    return pairs


def scaling(graph: Graph, uses: Uses, node: Node) -> list[tuple[Node, int]]:
    """Constants [C] that scale a node's result along its last axis: a normalization's, or a gain and a shift."""
    if node.is_op("LayerNormalization") and graph.rank(node.outputs[0]) is not None:
        rank = graph.rank(node.outputs[0]) or 0
        vectors = [(node, k) for k in (1, 2) if node.input(k)]
        last = int(node.attrs.get("axis", -1)) in (-1, rank - 1)
        alone = all(not out for out in node.outputs[1:])
        return vectors if last and alone and all(is_vector(graph, n.inputs[k]) for n, k in vectors) else []
    if node.is_op("Add") and len(node.inputs) == 2:
        for k in (0, 1):
            gain = uses.producer.get(node.inputs[1 - k])
            if not is_vector(graph, node.inputs[k]) or gain is None or not gain.is_op("Mul"):
                continue
            if uses.single_reader(gain.outputs[0]) is None:
                continue
            found = next((g for g in (0, 1) if is_vector(graph, gain.inputs[g])), None)
            if found is not None:
                return [(gain, found), (node, k)]
    return []


def is_vector(graph: Graph, name: str) -> bool:
    const = graph.const(name)
    return const is not None and const.dtype == np.float32 and const.ndim == 1 and const.size > 1


def is_product(graph: Graph, node: Node, name: str) -> bool:
    return node.is_op("MatMul", "Gemm") and node.inputs[0] == name and is_weighted(graph, node)


def is_chosen(node: Node, options: Options) -> bool:
    return node.name not in options.exclude and (options.op_types is None or node.op in options.op_types)


def chosen(graph: Graph, pair: Pair, x: np.ndarray, options: Options) -> tuple[float, np.ndarray | None]:
    """The best alpha and its s; (0, None) where x had better stay."""
    weights = pair.weights(graph)
    exact = [x @ w for w in weights]
    reach = np.maximum(np.abs(x).max(0), SMALLEST).astype(np.float64)
    rows = np.maximum(np.max([np.abs(w).max(1) for w in weights], 0), SMALLEST).astype(np.float64)

    def scales(alpha: float) -> np.ndarray:
        s = reach**alpha / rows ** (1 - alpha)
        return (s / np.exp(np.log(s).mean())).astype(np.float32)

    if options.smooth is not None:
        return options.smooth, scales(options.smooth)
    least = GAIN * error(x, weights, exact, options)
    best: tuple[float, np.ndarray | None] = (0.0, None)
    for alpha in ALPHAS:
        s = scales(alpha)
        found = error(x / s, [w * s[:, None] for w in weights], exact, options)
        if found < least:
            least, best = found, (alpha, s)
    return best


def error(x: np.ndarray, weights: list[np.ndarray], exact: list[np.ndarray], options: Options) -> float:
    """What the products lose by quantizing x and the weights: squares, summed."""
    scheme = options.weight_scheme
    rough = []
    for w in weights:
        params = fitted(w, 1, scheme)
        rough.append(params.dequantize(integers(w, params, scheme)))
    activations = ActivationScheme(np.dtype(np.uint8)) if options.mode == "dynamic" else options.activation_scheme
    shares = SHARES[:1] if options.mode == "dynamic" or options.method == "minmax" else SHARES
    lo, hi = float(x.min()), float(x.max())
    found = []
    for share in shares:
        through = activations.params(lo * share, hi * share).through(x)
        found.append(sum(float(((through @ w - y) ** 2).sum()) for w, y in zip(rough, exact)))
    return min(found)


def apply(graph: Graph, pair: Pair, s: np.ndarray) -> None:
    for node, k in pair.scales:
        const = graph.const(node.inputs[k])
        assert const is not None
        node.inputs[k] = graph.new_const(f"{node.inputs[k]}/smooth", (const / s).astype(np.float32))
    for node in pair.readers:
        w = graph.const(node.inputs[1])
        assert w is not None
        factor = s if node.attrs.get("transB", 0) else s[:, None]
        node.inputs[1] = graph.new_const(f"{node.inputs[1]}/smooth", (w * factor).astype(np.float32))
    products = {id(node) for node in pair.readers}
    others = [n for n in graph.nodes if id(n) not in products and pair.name in n.inputs]
    if not others and pair.name not in graph.output_values():
        return
    # The tensor keeps its name and its values; the products read a smooth one beside it.
    value = graph.values[pair.name]
    even = graph.new_value(f"{pair.name}/smooth", value.dtype, value.shape)
    writer = graph.producers()[pair.name]
    writer.outputs = [even if out == pair.name else out for out in writer.outputs]
    for node in pair.readers:
        node.inputs[0] = even
    factors = graph.new_const(f"{pair.name}/factors", s)
    graph.nodes.append(Node("Mul", [even, factors], [pair.name], {}, f"{pair.name}/unsmooth"))
    graph.sort()
