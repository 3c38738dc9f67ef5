"""The `fixed` scheme: multipliers and shifts of every integer operator, derived as TensorFlow Lite derives them.

`check_integers` is a pass of that scheme only; the rest serves recognition and tables (docs/arithmetic.md).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from octavo.errors import Unsupported
from octavo.ir import Graph, Node
from octavo.ops._fixed import LEFT, rounded_shift, scaled
from octavo.passes.quantized import Multiplier, NoMatch, Operand, Tail, Weights, quantized

Pair = list[int]  # multiplier in [2^30, 2^31) or 0, and the power of two: together multiplier * 2^(shift - 31)


def quantize_multiplier(real: float) -> Pair:
    """A positive real as a 31-bit multiplier and a shift; below 2^-32 it is 0."""
    if not math.isfinite(real) or real < 0:
        raise NoMatch("one of its multipliers is not a finite positive number")
    fraction, shift = math.frexp(real)
    multiplier = half_away(fraction * 2.0**31)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < -31:
        return [0, 0]
    if shift > 30:
        raise NoMatch("one of its multipliers exceeds 2^30")
    return [multiplier, shift]


def half_away(x: float) -> int:
    """To the nearest integer, ties away from zero; x a float64 that holds x + 1/2."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def convolution_multipliers(x: Operand, weight: Weights, to: Tail) -> np.ndarray:
    """int32 [2, C] or [2, 1]. s_x * s_w in float64, for uint8 weights in float32."""
    pairs = []
    for s in weight.scale.reshape(-1):
        product = float(np.float32(x.scale * s)) if weight.unsigned else float(x.scale) * float(s)
        pairs.append(quantize_multiplier(product / float(to.scale)))
    return np.ascontiguousarray(np.array(pairs, np.int32).T)


def matrix_multipliers(graph: Graph, node: Node, x: Operand, weight: Weights, to: Tail, k: Multiplier) -> np.ndarray:
    """int32 [2, N] for products that round once (FULLY_CONNECTED): a row of weights tells how far its sums reach."""
    rows = k.w.astype(np.int64)
    bias = np.zeros(len(rows), np.int64) if k.bias is None else k.bias.astype(np.int64)
    low, high = bias + 255 * np.minimum(rows, 0).sum(axis=1), bias + 255 * np.maximum(rows, 0).sum(axis=1)
    reach = np.maximum(np.abs(low), np.abs(high))
    scales = np.broadcast_to(weight.scale.reshape(-1), reach.shape)
    if weight.scale.size == 1:
        scales, reach = scales[:1], reach.max(initial=0, keepdims=True)
    pairs = []
    for s, r in zip(scales, reach):
        real = float(x.scale) * float(s) / float(to.scale)
        proven = proven_multiplier(real, int(r))
        if proven is None:
            graph.notes.append((node.name, f"{node.op}: no 31-bit multiplier rounds every sum as {real} does"))
        pairs.append(proven or quantize_multiplier(real))
    return np.ascontiguousarray(np.array(pairs, np.int32).T)


def proven_multiplier(real: float, reach: int) -> Pair | None:
    """A multiplier M and shift with round(|acc| * M * 2^(shift - 31)) = round(fl64(|acc| * real)) for every |acc| up to
    `reach` whose result is at most 256, and 256 or more for the others; ties away from zero.

    TensorFlow Lite's reference kernel multiplies by a double here. Both sides are staircases, so M is right exactly
    when its 256 steps are where the double's are: each gives M an interval, and M is taken from what they share. None
    when they share nothing.
    """
    nearest, shift = quantize_multiplier(real)
    low, high = 0, 2**31 - 1
    for k in range(1, 257):
        first = first_accumulator(real, k, reach + 1)  # the least |acc| that rounds to k or more
        doubled = (2 * k - 1) << (30 - shift)
        if first <= reach:
            low = max(low, -(-doubled // first))
        if first > 1:
            high = min(high, -(-doubled // (first - 1)) - 1)
        if first > reach:
            break
    if low > high:
        return None
    return [min(max(nearest, low), high), shift]


def first_accumulator(real: float, k: int, most: int) -> int:
    """The least integer whose float64 product with real is k - 1/2 or more; `most` when there is none below."""
    first = min(max(1, math.floor((k - 0.5) / real) - 1), most) if real > 0 else most
    while first < most and first * real < k - 0.5:
        first += 1
    return first


def add_attributes(a: Operand, b: Operand, to: Tail, subtract: bool) -> dict[str, Any]:
    """fixed_a, fixed_b, fixed_y: both operands in units of twice the larger scale over 2^20."""
    twice = 2.0 * max(float(a.scale), float(b.scale))
    fixed_b = quantize_multiplier(float(b.scale) / twice)
    return {
        "fixed_a": quantize_multiplier(float(a.scale) / twice),
        "fixed_b": [-fixed_b[0] if subtract else fixed_b[0], fixed_b[1]],
        "fixed_y": quantize_multiplier(twice / (float(to.scale) * 2.0**LEFT)),
    }


def mul_attributes(a: Operand, b: Operand, to: Tail) -> dict[str, Any]:
    """The product and the quotient of the scales in float32."""
    with np.errstate(all="ignore"):
        return {"fixed": quantize_multiplier(float(np.float32(np.float32(a.scale * b.scale) / to.scale)))}


def mean_attributes(x: Operand, to: Tail) -> dict[str, Any]:
    return {"fixed": quantize_multiplier(float(x.scale) / float(to.scale))}


def rescaling_table(x: Operand, scale: np.float32, y_zp: int, lo: int, hi: int) -> np.ndarray:
    """Bytes of other parameters: y = clamp(scaled(x - x_zp, s_x / s_y) + y_zp, lo, hi)."""
    y = scaled(np.arange(256) - x.zp, *quantize_multiplier(float(x.scale) / float(scale))) + y_zp
    return np.clip(y, lo, hi).astype(np.uint8)


def function_table(
    functions: list[tuple[str, dict[str, float]]],
    x: Operand,
    real: np.ndarray,
    scale: np.float32,
    y_zp: int,
    lo: int,
    hi: int,
) -> np.ndarray:
    """A chain of functions of x; `real` holds its float32 values.

    Without any, or with clamps only: QUANTIZE and RELU, which rescale integers. One LeakyRelu: LEAKY_RELU, which has a
    multiplier for each sign; one HardSwish: HARD_SWISH. Everything else: a table of rounded real numbers.
    """
    if all(name in ("Relu", "Clip") for name, _ in functions):
        ends = np.array([-math.inf, math.inf], np.float64)
        for name, given in functions:
            ends = np.clip(ends, 0.0 if name == "Relu" else given["lo"], given.get("hi", math.inf))
        at = [
            lo if math.isinf(v) and v < 0 else hi if math.isinf(v) else quantized(v, scale, y_zp, 0, True) for v in ends
        ]
        return rescaling_table(x, scale, y_zp, max(lo, at[0]), min(hi, at[1]))
    if [name for name, _ in functions] == ["LeakyRelu"]:
        centred = np.arange(256) - x.zp
        with np.errstate(all="ignore"):
            slope = np.float32(functions[0][1]["alpha"])
            factors = [float(np.float32(x.scale / scale)), float(np.float32(np.float32(x.scale * slope) / scale))]
        if factors[1] >= 0:
            above, below = (scaled(centred, *quantize_multiplier(f)) for f in factors)
            return np.clip(np.where(centred >= 0, above, below) + y_zp, lo, hi).astype(np.uint8)
    if [name for name, _ in functions] == ["HardSwish"]:
        y = hard_swish(np.arange(256) - x.zp, x.scale, scale)
        if y is not None:
            return np.clip(y + y_zp, lo, hi).astype(np.uint8)
    return quantize_half_away(real, scale, y_zp, lo, hi)


def hard_swish(centred: np.ndarray, x_scale: np.float32, scale: np.float32) -> np.ndarray | None:
    """x * clamp(x + 3, 0, 6) / 6 of x = centred * x_scale, in units of scale: HARD_SWISH's 16-bit arithmetic.

    None for output scales so small that it would shift left.
    """

    def short(real: np.float32) -> Pair:
        multiplier, shift = quantize_multiplier(float(real))
        return [min((multiplier + 2**15) >> 16, 2**15 - 1), shift]

    def high16(a: np.ndarray, b: int) -> np.ndarray:
        return (a * b + 2**14) >> 15

    with np.errstate(all="ignore"):
        fine = np.float32(x_scale * np.float32(1 / 128))
        output, inner = short(np.float32(fine / scale)), short(np.float32(fine / np.float32(3 / 32768)))
    if output[1] > 0:
        return None
    x = centred * 128
    gate = np.clip(x << max(inner[1] - 1, 0), -(2**15), 2**15 - 1)  # x / 3, from -1 to 1, then (x / 3 + 1) / 2
    gate = high16(gate, inner[0])
    if inner[1] > 0:
        gate = np.clip(gate << 1, -(2**15), 2**15 - 1)
    gate = (rounded_shift(gate, max(-inner[1], 0)) + 2**15) >> 1
    product = gate * high16(x, output[0])
    return rounded_shift(np.where(product < 0, -(-product >> 15), product >> 15), -output[1])


SOFTMAX_BITS = 5  # integer bits of a difference
SOFTMAX_LONGEST = 4095  # the sum of exponentials has twelve


def softmax_attributes(x: Operand) -> dict[str, Any]:
    """Differences as Q5 numbers, and the least difference that Q5 can hold."""
    real = min(float(x.scale) * 2.0 ** (31 - SOFTMAX_BITS), 2.0**31 - 1)
    fixed = quantize_multiplier(real)
    if fixed[1] < 0:
        raise NoMatch("its input's scale is below 2^-26")
    return {"fixed": fixed, "diff_min": -int((2.0**SOFTMAX_BITS - 1) * 2.0 ** (31 - SOFTMAX_BITS) / 2.0 ** fixed[1])}


def quantize_half_away(real: np.ndarray, scale: np.float32, zp: int, lo: int, hi: int) -> np.ndarray:
    """A table's entries: clamp(round(real * fl(1 / scale)) + zp), ties away from zero; NaN gives zp."""
    with np.errstate(all="ignore"):
        x = (real * np.float32(np.float32(1) / scale)).astype(np.float32).astype(np.float64)
    x = np.clip(np.where(np.isnan(x), 0, x), -1024, 1024)
    y = np.copysign(np.floor(np.abs(x) + 0.5), x) + zp
    return np.clip(y, lo, hi).astype(np.uint8)


def check_integers(graph: Graph) -> None:
    """Raises Unsupported when a float step stands between two quantized ones; drops what only this scheme asked for."""
    for node in graph.nodes:
        node.attrs.pop("signed", None)
        if node.is_plan("QMatMul", "MatMulInteger", "QGemmDynamic", "DynamicQuantizeLinear"):
            refuse(graph, node, "it multiplies by scales known only at run time, or has no integer-only form")
    floats: dict[str, Node] = {}  # float values behind a dequantized one, and the step to blame
    for node in graph.nodes:
        given = [floats[name] for name in node.inputs if name in floats]
        if given and writes_integers(graph, node):
            blamed = next((g for g in given if not g.is_plan("Dequantize")), node)
            refuse(graph, blamed, "it computes in floating point between a DequantizeLinear and a QuantizeLinear")
        for out in node.outputs:
            if out and is_float(graph, out) and (given or leaves_integers(graph, node)):
                floats[out] = node if node.op != "Dequantize" or not given else given[0]


def refuse(graph: Graph, node: Node, why: str) -> None:
    notes = [note for name, note in graph.notes if name == node.name]
    why = "; ".join([why, *notes])
    raise Unsupported(
        f"requantize='fixed' cannot run node '{node.name}' ({node.attrs.get('onnx_op', node.op)}): {why}; "
        "quantize it, keep it before the first QuantizeLinear or behind the last DequantizeLinear, or use "
        "requantize='float'"
    )


def is_float(graph: Graph, name: str) -> bool:
    dtype = graph.dtype(name)
    return dtype is not None and bool(np.issubdtype(dtype, np.floating))


def writes_integers(graph: Graph, node: Node) -> bool:
    """Quantize and its like: a float enters and bytes leave."""
    return any(graph.dtype(out) in (np.uint8, np.int8, np.uint16, np.int16) for out in node.outputs if out)


def leaves_integers(graph: Graph, node: Node) -> bool:
    """Dequantize, a convolution with float output, a table of floats: bytes enter and a float leaves."""
    return any(graph.dtype(name) in (np.uint8, np.int8) and graph.const(name) is None for name in node.inputs if name)
