"""What is wrong with a badly quantized layer, in words, and what mends it."""

from __future__ import annotations

import numpy as np

from octavo.compress.equalize import scaled_tensors
from octavo.compress.histogram import Histogram
from octavo.ir import Graph, Node
from octavo.passes.elementwise import clip_bounds
from octavo.passes.read_quantization import FEW_BITS

FINE = 30.0  # decibels of a layer by itself that need no explanation
TYPICAL = 20.0  # decibels of its median channel that need none, however good the largest ones are
CLIPPED = 0.002  # share of values outside the range from which clipping is the cause
WIDE = 3.0  # times the values' own range: the integers are wasted
BEYOND = 1.5  # times the end of a Clip
INPUT_USED = 0.6  # share of its integers that a model's input uses at least, where the preprocessing is right
UNEVEN = 10.0  # a channel's reach over the median channel's
INT32 = float(2**31 - 1)
SATURATED_BIAS = float(2**31 - 129)
PREPROCESSING = "calibrate with the preprocessing that the model is used with"


class Both:
    """The float and the quantized graph, and who makes and reads what in the latter."""

    def __init__(self, exact: Graph, rough: Graph) -> None:
        self.exact, self.rough = exact, rough
        self.producers, self.readers = rough.producers(), rough.readers()
        self.float_producers = exact.producers()
        self.float_nodes = {(n.name, n.op): n for n in exact.nodes}
        self.scaled = scaled_tensors(rough.metadata)


Paths = tuple[list[Node], list[Node]]


def integer_range(graph: Graph, node: Node) -> tuple[float, float, float] | None:
    """(least, greatest, step) that a QuantizeLinear or DequantizeLinear with one constant scale can tell apart."""
    scale, zero = graph.const(node.inputs[1]), graph.const(node.input(2))
    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    if scale is None or scale.size != 1 or kind.kind not in "iu":
        return None
    z = 0 if zero is None else int(zero.reshape(-1)[0])
    limits, s = np.iinfo(kind), float(scale.reshape(-1)[0])
    return (limits.min - z) * s, (limits.max - z) * s, s


class Evidence:
    """Facts about one quantity: its float values against its integers, and the weights and bias of its layer."""

    def __init__(self, both: Both, node: Node, quantize: Node | None, paths: Paths | None) -> None:
        """paths: the nodes of either model, the float one first, that compute the quantity from the nearest others."""
        self.both, self.exact, self.rough, self.node, self.paths = both, both.exact, both.rough, node, paths
        self.lo: float | None = None
        self.hi: float | None = None
        self.quantize = quantize
        covered = None if quantize is None else integer_range(self.rough, quantize)
        if covered is not None:
            self.lo, self.hi, self.half = covered[0], covered[1], covered[2] / 2
        self.outside = self.at_limits = self.total = 0
        self.least, self.most = np.inf, -np.inf
        self.reach: np.ndarray | None = None  # greatest magnitude a channel
        self.histogram: Histogram | None = None
        self.producers = both.producers

    def add(self, x: np.ndarray) -> None:
        self.total += x.size
        if self.histogram is not None and x.dtype.kind == "f":
            self.histogram.add(x)
        if not x.size:
            return
        self.least, self.most = min(self.least, float(x.min())), max(self.most, float(x.max()))
        if x.ndim >= 2:
            axis = 1 if x.ndim in (3, 4) else x.ndim - 1
            reach = np.abs(x).max(tuple(k for k in range(x.ndim) if k != axis))
            if self.reach is None or self.reach.shape == reach.shape:
                self.reach = reach if self.reach is None else np.maximum(self.reach, reach)
        if self.lo is not None and self.hi is not None:
            self.outside += int(((x < self.lo - self.half) | (x > self.hi + self.half)).sum())
            self.at_limits += int(((x <= self.lo + self.half) & (self.lo < 0)).sum())
            self.at_limits += int((x >= self.hi - self.half).sum())

    @property
    def clipped(self) -> float | None:
        return None if self.lo is None else self.outside / max(self.total, 1)

    @property
    def saturated(self) -> float | None:
        return None if self.lo is None else self.at_limits / max(self.total, 1)

    def layer(self) -> Node | None:
        """The node with weights that computes the quantity, perhaps behind an activation or an addition."""
        node: Node | None = self.node
        for _ in range(4):
            if node is None or node.is_op("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul"):
                return node
            makers = [self.producers[n] for n in node.inputs if n in self.producers]
            # Behind a DequantizeLinear are other layers, which have quantities of their own.
            node = next((m for m in makers if not m.is_op("DequantizeLinear", "QuantizeLinear")), None)
        return None

    def readers(self) -> list[str]:
        """The nodes that compute with the quantity's integers."""
        if self.quantize is None:
            return []
        ends = [n for n in self.both.readers.get(self.quantize.outputs[0], []) if n.is_op("DequantizeLinear")]
        return list(dict.fromkeys(r.name for n in ends for r in self.both.readers.get(n.outputs[0], [])))

    def clip(self) -> Node | None:
        """The float model's Clip that ends the quantity, if one does."""
        if self.paths is None or not self.paths[0]:
            return None
        last = self.paths[0][-1]
        return last if last.is_op("Clip") else None

    def weights(self, node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """(integers [C, ...], scale, zero point) of a layer's weights, channels first; None when they are float."""
        restore = self.producers.get(node.input(0 if node.op == "Gather" else 1))
        if restore is None or not restore.is_op("DequantizeLinear"):
            return None
        q, scale, zero = (self.rough.const(n) if n else None for n in (*restore.inputs, "", "")[:3])
        if q is None or scale is None:
            return None
        q = q.astype(np.int8) if q.dtype in FEW_BITS else q
        if q.dtype.kind not in "iu":
            return None
        rows = node.op in ("Conv", "Gather") or (node.op == "Gemm" and node.attrs.get("transB", 0))
        axis = 0 if rows else q.ndim - 1
        zero = np.zeros(1) if zero is None or zero.ndim > 1 else zero  # of blocks, none counts
        return np.moveaxis(q, axis, 0).reshape(q.shape[axis], -1), scale.reshape(-1), zero.reshape(-1)


def find_cause(e: Evidence, alone: float | None, typical: float | None = None) -> tuple[str, str]:
    """(cause, mend) of what a layer loses; empty strings for a layer that loses little.

    alone: its own SQNR in decibels, None where it cannot be isolated. typical: that of its median channel.
    """
    if is_input(e):
        return input_cause(e, alone) or NOTHING
    layer = e.layer()
    if alone is not None and alone >= FINE:
        if beyond_clip(e):
            return clamp_cause(e) or beyond_clip(e) or NOTHING
        if typical is None or typical >= TYPICAL:
            return NOTHING
        return uneven_weights(e, layer) or uneven(e) or NOTHING
    return (
        clamp_cause(e)
        or bias_cause(e, layer)
        or beyond_clip(e)
        or range_cause(e)
        or early_cause(e)
        or uneven_weights(e, layer)
        or few_bits(e, layer)
        or uneven(e)
        or NOTHING
    )


NOTHING = ("", "")


def is_input(e: Evidence) -> bool:
    return e.node.is_op("QuantizeLinear")


def input_cause(e: Evidence, alone: float | None) -> tuple[str, str] | None:
    """The model's input was calibrated on values of another kind."""
    if e.lo is None or e.hi is None or e.total == 0 or e.most <= e.least:
        return None
    covered = f"its integers cover [{e.lo:.3g}, {e.hi:.3g}], its values reach [{e.least:.3g}, {e.most:.3g}]"
    if e.clipped is not None and e.clipped > CLIPPED and (alone is None or alone < FINE):
        return f"{100 * e.clipped:.2g} % of the model's input is clipped: {covered}", PREPROCESSING
    used = (max(e.most, 0.0) - min(e.least, 0.0)) / (e.hi - e.lo)
    if used < INPUT_USED:
        return f"the integers of the model's input are wasted, {100 * used:.0f} % are used: {covered}", PREPROCESSING
    return None


def clamp_cause(e: Evidence) -> tuple[str, str] | None:
    """A Relu or Clip of the float model that the quantized one has not, or with other bounds.

    Quantizers rightly leave one out where the integers end there too; then the layer by itself loses little.
    """
    if e.paths is None:
        return None
    exact, rough = ([n for n in nodes if n.is_op("Relu", "Clip")] for nodes in e.paths)
    if exact and exact[-1] is e.paths[0][-1] and e.lo is not None and e.hi is not None:
        bounds = (0.0, np.inf) if exact[-1].op == "Relu" else clip_bounds(e.exact, exact[-1])
        if bounds is not None and e.lo >= bounds[0] - e.half and e.hi <= bounds[1] + e.half:
            exact, rough = exact[:-1], [n for n in rough if n.name != exact[-1].name]  # the integers end where it does
    if len(rough) < len(exact):
        names = {n.name for n in rough}
        gone = next((n for n in exact if n.name not in names), exact[0])
        ends = "" if gone.op == "Relu" else f" to {bounds_text(clip_bounds(e.exact, gone))}"
        return (
            f"the quantized model lacks {gone.op} '{gone.name}'{ends} of the float model",
            "quantize the float model as it is, with its clips (ReLU6) in place",
        )
    for a, b in zip(exact, rough):
        if a.op == b.op == "Clip":
            want, found = clip_bounds(e.exact, a), clip_bounds(e.rough, b)
            if want is not None and found is not None and want != found:
                return (
                    f"Clip '{b.name}' goes to {bounds_text(found)} in the quantized model, to {bounds_text(want)} in "
                    "the float model",
                    "quantize the float model as it is, with its clips (ReLU6) in place",
                )
    return None


def bounds_text(bounds: tuple[float, float] | None) -> str:
    return "its bounds" if bounds is None else f"[{bounds[0]:.3g}, {bounds[1]:.3g}]"


def range_cause(e: Evidence) -> tuple[str, str] | None:
    if e.lo is None or e.hi is None or e.total == 0:
        return None
    covered = f"its integers cover [{e.lo:.3g}, {e.hi:.3g}]"
    seen = f"its values reach [{e.least:.3g}, {e.most:.3g}]"
    if e.clipped is not None and e.clipped > CLIPPED:
        cause = f"{100 * e.clipped:.2g} % of the layer's result is clipped: {covered}, {seen}"
        return cause, "calibrate on more or other data, or with method='minmax'"
    if e.hi - e.lo > WIDE * max(e.most - min(e.least, 0.0), 1e-30) and e.most > e.least:
        cause = f"the integers of the layer's result are wasted: {covered}, {seen}"
        return cause, "calibrate anew: a clip (ReLU6) was missing, or an outlier widened it; try method='mse'"
    return None


def beyond_clip(e: Evidence) -> tuple[str, str] | None:
    """A range that goes far beyond the Clip that ends the float model's layer."""
    clip = e.clip()
    bounds = None if clip is None else clip_bounds(e.exact, clip)
    if clip is None or bounds is None or e.lo is None or e.hi is None:
        return None
    if not (bounds[0] <= 0 < bounds[1] < np.inf and e.hi > BEYOND * bounds[1]):
        return None
    return (
        f"the integers of the layer's result are wasted: its integers cover [{e.lo:.3g}, {e.hi:.3g}], Clip "
        f"'{clip.name}' ends at {bounds[1]:.3g}",
        "calibrate the model with its clip (ReLU6) in place, and take the range behind it",
    )


def early_cause(e: Evidence) -> tuple[str, str] | None:
    """A clamp whose operand was quantized before most of its range was clamped away."""
    if not e.node.is_op("Relu", "Clip"):
        return None
    restore = e.producers.get(e.node.inputs[0])
    if restore is None or not restore.is_op("DequantizeLinear"):
        return None
    covered = integer_range(e.rough, restore)
    if covered is None:
        return None
    lo, hi, _ = covered
    bounds = (0.0, np.inf) if e.node.op == "Relu" else clip_bounds(e.rough, e.node)
    if bounds is None or hi - lo <= WIDE * (min(hi, bounds[1]) - max(lo, bounds[0])):
        return None
    return (
        f"what {e.node.op} '{e.node.name}' reads was quantized over [{lo:.3g}, {hi:.3g}] before it, of which it keeps "
        f"[{max(lo, bounds[0]):.3g}, {min(hi, bounds[1]):.3g}]",
        "quantize behind the clip (ReLU6), not before it; octavo.quantize does",
    )


def bias_cause(e: Evidence, layer: Node | None) -> tuple[str, str] | None:
    """A bias that does not fit its int32: it sits at the limit, or the float bias lies beyond it."""
    if layer is None or not layer.input(2):
        return None
    restore = e.producers.get(layer.inputs[2])
    if restore is None or not restore.is_op("DequantizeLinear"):
        return None
    q, scale = e.rough.const(restore.inputs[0]), e.rough.const(restore.inputs[1])
    if q is None or q.dtype != np.int32:
        return None
    over = np.abs(q.reshape(-1).astype(np.float64)) >= SATURATED_BIAS
    twin = e.both.float_nodes.get((layer.name, layer.op))
    bias = None if twin is None else e.exact.const(twin.input(2))
    if bias is not None and scale is not None and bias.size == q.size and scale.size in (1, q.size):
        over |= np.abs(bias.reshape(-1).astype(np.float64)) > INT32 * scale.reshape(-1).astype(np.float64)
    full = np.flatnonzero(over)
    if not len(full):
        return None
    return (
        f"the bias of channel {full[0]} overflows int32" + (f" (and {len(full) - 1} more)" if len(full) > 1 else ""),
        "its channel's weights are next to nothing, so their scale is too small: quantize with octavo.quantize, which "
        "widens it, or leave the layer float (exclude)",
    )


def uneven_weights(e: Evidence, layer: Node | None) -> tuple[str, str] | None:
    """One scale for channels of very different size."""
    found = None if layer is None else e.weights(layer)
    if found is None:
        return None
    q, scale, zero = found
    reach = np.abs(q.astype(np.float64) - zero.reshape(-1, 1)).max(1)
    median = max(float(np.median(reach)), 1.0)
    if scale.size > 1 or len(reach) < 2 or reach.max() / median < UNEVEN:
        return None
    return (
        f"the weights of channel {int(reach.argmax())} are {reach.max() / median:.0f} times the others', and "
        "one scale serves all",
        "quantize per channel (per_channel=True)" + ("" if e.both.scaled else ", or equalize=True"),
    )


def few_bits(e: Evidence, layer: Node | None) -> tuple[str, str] | None:
    found = None if layer is None else e.weights(layer)
    if found is None:
        return None
    q, _, zero = found
    if np.abs(q.astype(np.float64) - zero.reshape(-1, 1)).max(initial=0) > 8:
        return None
    return "its weights have few bits", "give this layer 8-bit weights, or rounding='adaptive' and more data"


def uneven(e: Evidence) -> tuple[str, str] | None:
    """One scale for channels of very different size, in the layer's result."""
    if e.lo is None or e.reach is None or len(e.reach) < 2:  # no scale serves a float result
        return None
    median = max(float(np.median(e.reach)), 1e-30)
    if e.reach.max() / median < UNEVEN:
        return None
    channel = int(e.reach.argmax())
    readers = [f"'{name}'" for name in e.readers()]
    what = f"what reads it float (exclude {', '.join(readers)})" if readers else "the layer float (exclude)"
    return (
        f"channel {channel} of its result reaches {e.reach.max() / median:.0f} times the median channel, and one "
        "scale serves all",
        ("" if e.both.scaled else "equalize=True, or ") + f"leave {what}",
    )
