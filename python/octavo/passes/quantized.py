"""What integer patterns are made of: dequantized operands, constant weights, the way from a result to Quantize."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from octavo.ir import Graph, Node, Uses
from octavo.passes.elementwise import clip_bounds
from octavo.passes.match import join
from octavo.passes.read_quantization import FEW_BITS


class NoMatch(Exception):
    """A pattern does not apply. With a reason, the node becomes a note: it looked quantized but stays float."""


@dataclass
class Operand:
    """uint8 values q (or a constant) that stand for scale * (q - zp)."""

    q: str
    scale: np.float32
    zp: int
    const: np.ndarray | None = None
    signed: bool = False  # the file has int8 here (told in the fixed scheme only)


def operand(graph: Graph, uses: Uses, value: str) -> Operand | None:
    """The per-tensor uint8 operand behind a Dequantize; constants of int8 come as uint8, zero point + 128."""
    node = uses.producer.get(value)
    if node is None or not node.is_plan("Dequantize") or len(node.inputs) > 1:
        return None
    q, zp, const = node.inputs[0], int(node.attrs["x_zp"]), graph.const(node.inputs[0])
    if graph.dtype(q) == np.int8 and const is not None:
        const, zp = const.view(np.uint8) ^ np.uint8(0x80), zp + 128
    elif graph.dtype(q) != np.uint8:
        return None
    return Operand(q, np.float32(node.attrs["x_scale"]), zp, const, bool(node.attrs.get("signed", 0)))


def operand_name(graph: Graph, x: Operand) -> str:
    """The value to read for an operand, made new for constants that changed type."""
    if x.const is None or graph.dtype(x.q) == np.uint8:
        return x.q
    return graph.new_const(x.q, x.const)


@dataclass
class Weights:
    """Constant weights, zero point taken off (int32), and their scales: one, or one an index of `axis`."""

    w: np.ndarray
    scale: np.ndarray
    axis: int | None
    unsigned: bool = False  # the file has uint8


def weights(graph: Graph, uses: Uses, value: str) -> Weights | None:
    node = uses.producer.get(value)
    if node is None or not node.is_plan("Dequantize"):
        return None
    q = graph.const(node.inputs[0])
    if q is None:
        return None
    if q.dtype in FEW_BITS:
        q = q.astype(np.uint8 if q.dtype.name[0] == "u" else np.int8)
    if q.dtype not in (np.int8, np.uint8):
        return None
    if len(node.inputs) == 1:
        scale = np.array([node.attrs["x_scale"]], np.float32)
        return Weights(q.astype(np.int32) - int(node.attrs["x_zp"]), scale, None, q.dtype == np.uint8)
    scales, zp, axis = graph.const(node.inputs[1]), graph.const(node.inputs[2]), int(node.attrs["axis"])
    assert scales is not None and zp is not None
    spread = [1] * q.ndim
    spread[axis] = -1
    return Weights(q.astype(np.int32) - zp.astype(np.int32).reshape(spread), scales, axis, q.dtype == np.uint8)


@dataclass
class Bias:
    """A constant bias: integers with their scales, or floats."""

    values: np.ndarray  # float64: the real numbers
    q: np.ndarray | None = None  # the file's own int32
    scale: np.ndarray | None = None


def bias(graph: Graph, uses: Uses, value: str) -> Bias | None:
    const = graph.const(value)
    if const is not None and const.dtype == np.float32:
        return Bias(const.astype(np.float64))
    node = uses.producer.get(value)
    if node is None or not node.is_plan("Dequantize"):
        return None
    q = graph.const(node.inputs[0])
    if q is None:
        return None
    if len(node.inputs) == 1:
        scale, zp = np.array([node.attrs["x_scale"]], np.float32), np.array([node.attrs["x_zp"]])
    else:
        s, z = graph.const(node.inputs[1]), graph.const(node.inputs[2])
        assert s is not None and z is not None
        if q.ndim != 1:
            return None
        scale, zp = s, z
    centred = q.astype(np.int64) - zp.astype(np.int64)
    return Bias(centred * scale.astype(np.float64), centred, scale)


@dataclass
class Tail:
    """From an operator's float result to its Quantize: clamps on the way become lo and hi."""

    out: str  # the value the integer operator writes
    nodes: list[Node] = field(default_factory=list)  # absorbed, in order; the last is Quantize
    scale: np.float32 = field(default_factory=lambda: np.float32(1))
    attrs: dict[str, Any] = field(default_factory=dict)  # y_zp, lo, hi

    @property
    def name(self) -> str:
        return join(*(n.name for n in self.nodes[:-1])) if len(self.nodes) > 1 else ""


def tail(graph: Graph, uses: Uses, value: str) -> Tail | None:
    """value -> [Relu | Clip]* -> Quantize (per tensor), each read by nothing else; None when there is no such way.

    Clamping before rounding equals clamping the rounded value, since quantization is monotone.
    """
    nodes: list[Node] = []
    lo, hi = -math.inf, math.inf
    while True:
        node = uses.single_reader(value)
        if node is None:
            return None
        nodes.append(node)
        if node.is_plan("Quantize"):
            break
        bounds = (0.0, math.inf) if node.is_op("Relu") else clip_bounds(graph, node) if node.is_op("Clip") else None
        if bounds is None or node.inputs[0] != value or bounds[0] > bounds[1]:
            return None
        lo, hi = (min(max(v, bounds[0]), bounds[1]) for v in (lo, hi))
        value = node.outputs[0]
    if len(node.inputs) > 1:
        return None
    scale, zp = np.float32(node.attrs["y_scale"]), int(node.attrs["y_zp"])
    away = graph.requantize == "fixed"
    attrs = {"y_zp": zp, "lo": quantized(lo, scale, zp, 0, away), "hi": quantized(hi, scale, zp, 255, away)}
    return Tail(node.outputs[0], nodes, scale, attrs)


def quantized(value: float, scale: np.float32, zp: int, infinite: int, away: bool = False) -> int:
    """Quantize of one float32, saturated to uint8; `away`: ties away from zero."""
    if math.isinf(value):
        return infinite if (value > 0) == (infinite == 255) else 255 - infinite
    with np.errstate(over="ignore"):
        quotient = np.float32(value) / scale
        if away:
            quotient = np.copysign(np.floor(np.abs(np.float64(quotient)) + 0.5), quotient)
        return int(np.clip(np.rint(quotient) + np.float32(zp), 0, 255))


@dataclass
class Multiplier:
    """What turns an accumulator into the output: m, the folded int32 bias, the packed weights; float bias left over."""

    m: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    rest: np.ndarray | None


def multiplier(x: Operand, weight: Weights, rows: np.ndarray, add: Bias | None, to: Tail | None) -> Multiplier:
    """rows: the weights as [O, K]. Raises NoMatch with the reason when integers cannot hold the meaning.

    m = fl32(fl32(s_x * s_w) / s_y), onnxruntime's order. bias' = bias - x_zp * sum(w).
    """
    outputs = rows.shape[0]
    with np.errstate(all="ignore"):
        product = (x.scale * weight.scale).astype(np.float32)
        m = product if to is None else (product / to.scale).astype(np.float32)
    if not (np.isfinite(m).all() and (m > 0).all()):
        raise NoMatch("its output multiplier leaves float32's range")
    whole, rest = integer_bias(outputs, product, add, to)
    total = whole - x.zp * rows.sum(axis=1, dtype=np.int64)
    low = total + 255 * np.minimum(rows, 0).sum(axis=1, dtype=np.int64)
    high = total + 255 * np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    # Quantizers clamp the bias of nearly dead channels to the ends of int32: step back where that cannot be seen.
    shift = np.maximum(-(2**31) - low, 0) - np.maximum(high - (2**31 - 1), 0)
    if (high - low >= 2**32).any() or (
        np.abs(shift) * m.astype(np.float64) >= (0.0 if to is None else 0.25) + (shift == 0)
    ).any():
        raise NoMatch("its sums can exceed int32")
    total = total + shift
    folded = ((total + 2**31) % 2**32 - 2**31).astype(np.int32)
    fits = weight.w.min(initial=0) >= -128 and weight.w.max(initial=0) <= 127
    packed = weight.w.astype(np.int8 if fits else np.int16)
    return Multiplier(m, packed, folded if folded.any() else None, rest)


def integer_bias(
    outputs: int, product: np.ndarray, add: Bias | None, to: Tail | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The bias in units of the accumulator, and what must be added in float instead (only without Quantize)."""
    none = np.zeros(outputs, np.int64)
    if add is None:
        return none, None
    if add.values.size not in (1, outputs):
        raise NoMatch("its bias does not have one value a channel")
    unit = product.astype(np.float64)
    if add.q is not None and add.scale is not None:
        drift = np.abs(add.q * (add.scale.astype(np.float64) - unit))
        step = unit if to is None else np.float64(to.scale)
        if (drift < 0.25 * step).all() and (np.abs(add.q) < 2**31).all():
            return np.broadcast_to(add.q.reshape(-1), (outputs,)).astype(np.int64), None
    values = np.broadcast_to(add.values.reshape(-1), (outputs,))
    if to is None:
        return none, values.astype(np.float32)
    if not np.isfinite(values).all():
        raise NoMatch("its bias is not finite")
    whole = np.rint(values / unit)
    if (np.abs(whole) >= 2**31).any():
        raise NoMatch("its bias exceeds int32 in units of the accumulator")
    if (np.abs(values - whole * unit) >= 0.25 * np.float64(to.scale)).any():
        raise NoMatch("rounding its float bias to int32 would move the result by a quarter step or more")
    return whole.astype(np.int64), None


def channel_bias(graph: Graph, uses: Uses, value: str, channels: int, axis: int) -> tuple[Node, Bias] | None:
    """value -> Add(constant with one element a channel): the Add node and its bias. `axis` counts from the end."""
    node = uses.single_reader(value)
    if node is None or not node.is_op("Add"):
        return None
    other = node.inputs[1] if node.inputs[0] == value else node.inputs[0]
    if other == value:
        return None
    shape, rank = graph.shape(other), graph.rank(value)
    if shape is None or rank is None or len(shape) > rank:
        return None
    spread: list[Any] = [1] * rank
    spread[axis] = channels
    if tuple(shape) not in (tuple(spread[rank - len(shape) :]), (1,) * len(shape)):
        return None
    producer = uses.producer.get(other)
    if producer is not None and producer.is_plan("Dequantize"):
        q = graph.const(producer.inputs[0])
        if q is None or q.dtype != np.int32:
            return None
        found = bias(graph, uses, other)
        return None if found is None or (len(producer.inputs) > 1 and q.ndim != 1) else (node, found)
    const = graph.const(other)
    return (
        (node, Bias(const.astype(np.float64).reshape(-1))) if const is not None and const.dtype == np.float32 else None
    )


__all__ = [
    "Bias", "Multiplier", "NoMatch", "Operand", "Tail", "Weights", "bias", "channel_bias", "multiplier", "operand",
    "operand_name", "quantized", "tail", "weights",
]  # fmt: skip
