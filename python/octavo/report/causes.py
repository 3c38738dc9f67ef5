"""What is wrong with a badly quantized layer, in words, and what mends it."""

from __future__ import annotations

import numpy as np

from octavo.compress.histogram import Histogram
from octavo.ir import Graph, Node
from octavo.passes.read_quantization import FEW_BITS

FINE = 30.0  # decibels of a layer by itself that need no explanation
CLIPPED = 0.002  # share of values outside the range from which clipping is the cause
WIDE = 6.0  # times the values' own range: the integers are wasted
UNEVEN = 10.0  # a channel's reach over the median channel's
SATURATED_BIAS = float(2**31 - 129)


class Evidence:
    """Facts about one quantity: its float values against its integers, and the weights and bias of its layer."""

    def __init__(self, exact: Graph, rough: Graph, node: Node, quantize: Node | None) -> None:
        self.exact, self.rough, self.node = exact, rough, node
        self.lo: float | None = None
        self.hi: float | None = None
        if quantize is not None:
            self.read_range(quantize)
        self.outside = self.at_limits = self.total = 0
        self.least, self.most = np.inf, -np.inf
        self.reach: np.ndarray | None = None  # greatest magnitude a channel
        self.producers = rough.producers()
        self.histogram: Histogram | None = None

    def read_range(self, quantize: Node) -> None:
        scale, zero = self.rough.const(quantize.inputs[1]), self.rough.const(quantize.input(2))
        kind = np.dtype(np.uint8) if zero is None else zero.dtype
        if scale is None or scale.size != 1 or kind.kind not in "iu":
            return
        z = 0 if zero is None else int(zero.reshape(-1)[0])
        limits, s = np.iinfo(kind), float(scale.reshape(-1)[0])
        self.lo, self.hi = (limits.min - z) * s, (limits.max - z) * s
        self.half = s / 2

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
            if node is None or node.is_op("Conv", "ConvTranspose", "Gemm", "MatMul"):
                return node
            makers = [self.producers[n] for n in node.inputs if n in self.producers]
            # Behind a DequantizeLinear are other layers, which have quantities of their own.
            node = next((m for m in makers if not m.is_op("DequantizeLinear", "QuantizeLinear")), None)
        return None

    def weights(self, node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """(integers [C, ...], scale, zero point) of a layer's weights, channels first; None when they are float."""
        restore = self.producers.get(node.input(1))
        if restore is None or not restore.is_op("DequantizeLinear"):
            return None
        q, scale, zero = (self.rough.const(n) if n else None for n in (*restore.inputs, "", "")[:3])
        if q is None or scale is None:
            return None
        q = q.astype(np.int8) if q.dtype in FEW_BITS else q
        if q.dtype.kind not in "iu":
            return None
        axis = 0 if node.op == "Conv" or (node.op == "Gemm" and node.attrs.get("transB", 0)) else q.ndim - 1
        zero = np.zeros(1) if zero is None or zero.ndim > 1 else zero  # of blocks, none counts
        return np.moveaxis(q, axis, 0).reshape(q.shape[axis], -1), scale.reshape(-1), zero.reshape(-1)


def find_cause(e: Evidence, alone: float | None) -> tuple[str, str]:
    """(cause, mend) of what a layer loses; empty strings for a layer that loses little."""
    ranges = range_cause(e)
    if e.node.is_op("QuantizeLinear"):  # a graph input
        return ranges
    if alone is not None and alone >= FINE:
        return "", ""
    layer = e.layer()
    return bias_cause(e, layer) or (ranges if ranges[0] else weight_cause(e, layer) or uneven(e))


def range_cause(e: Evidence) -> tuple[str, str]:
    if e.lo is None or e.hi is None or e.total == 0:
        return "", ""
    covered = f"its integers cover [{e.lo:.3g}, {e.hi:.3g}]"
    seen = f"its values reach [{e.least:.3g}, {e.most:.3g}]"
    what = "the model's input" if e.node.is_op("QuantizeLinear") else "the layer's result"
    if e.clipped is not None and e.clipped > CLIPPED:
        cause = f"{100 * e.clipped:.2g} % of {what} is clipped: {covered}, {seen}"
        if e.node.is_op("QuantizeLinear"):
            return cause, "calibrate with the preprocessing that the model is used with"
        return cause, "calibrate on more or other data, or with method='minmax'"
    if e.hi - e.lo > WIDE * max(e.most - min(e.least, 0.0), 1e-30) and e.most > e.least:
        cause = f"the integers of {what} are wasted: {covered}, {seen}"
        if e.node.is_op("QuantizeLinear"):
            return cause, "calibrate with the preprocessing that the model is used with"
        return cause, "calibrate anew: a clip (ReLU6) before it is missing, or an outlier widened it; try method='mse'"
    return "", ""


def bias_cause(e: Evidence, layer: Node | None) -> tuple[str, str] | None:
    """A bias that does not fit its int32."""
    if layer is None or not layer.input(2):
        return None
    restore = e.producers.get(layer.inputs[2])
    if restore is None or not restore.is_op("DequantizeLinear"):
        return None
    q = e.rough.const(restore.inputs[0])
    if q is None or q.dtype != np.int32:
        return None
    full = np.flatnonzero(np.abs(q.reshape(-1).astype(np.float64)) >= SATURATED_BIAS)
    if not len(full):
        return None
    return (
        f"the bias of channel {full[0]} overflows int32" + (f" (and {len(full) - 1} more)" if len(full) > 1 else ""),
        "its channel's weights are next to nothing, so their scale is too small: quantize with octavo.quantize, which "
        "widens it, or leave the layer float (exclude)",
    )


def weight_cause(e: Evidence, layer: Node | None) -> tuple[str, str] | None:
    """One scale for channels of very different size, or few bits."""
    found = None if layer is None else e.weights(layer)
    if found is None or layer is None:
        return None
    q, scale, zero = found
    reach = np.abs(q.astype(np.float64) - zero.reshape(-1, 1)).max(1)
    if scale.size == 1 and len(reach) > 1:
        median = max(float(np.median(reach)), 1e-30)
        if reach.max() / median >= UNEVEN:
            return (
                f"the weights of channel {int(reach.argmax())} are {reach.max() / median:.0f} times the others', and "
                "one scale serves all",
                "quantize per channel (per_channel=True), or equalize=True",
            )
    if reach.max() <= 8:
        return "its weights have few bits", "give this layer 8-bit weights, or rounding='adaptive' and more data"
    return None


def uneven(e: Evidence) -> tuple[str, str]:
    if e.reach is None or len(e.reach) < 2:
        return "", ""
    median = max(float(np.median(e.reach)), 1e-30)
    if e.reach.max() / median >= UNEVEN:
        channel = int(e.reach.argmax())
        return (
            f"channel {channel} of its result reaches {e.reach.max() / median:.0f} times the median channel, and one "
            "scale serves all",
            "equalize=True, or leave the layer float (exclude)",
        )
    return "", ""
