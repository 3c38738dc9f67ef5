"""The integer arithmetic every quantized operator shares; docs/arithmetic.md, "Building blocks"."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, optional
from ._fixed import add_fixed, fixed_mean, requantize_fixed


def wrap32(acc: Array) -> Array:
    """int64 -> the int32 congruent to it modulo 2^32: what an int32 accumulator holds."""
    return acc.astype(np.int64).astype(np.uint64).astype(np.uint32).view(np.int32)


def quantize_value(x: Array, zp: int | Array, lo: int, hi: int) -> Array:
    """clamp(rne(x) + zp, lo, hi) of float32 x, as int64. NaN gives clamp(zp); out of range saturates.

    The clamp happens in float32, before the conversion to an integer, as in core/arith.h.
    """
    rounded = np.rint(np.where(np.isnan(x), np.float32(0), x)).astype(np.float32)
    low, high = np.asarray(lo - zp, np.float32), np.asarray(hi - zp, np.float32)
    return np.minimum(np.maximum(rounded, low), high).astype(np.int64) + zp


def requantize(acc: Array, m: Array | np.float32, zp: int, lo: int, hi: int) -> Array:
    """clamp(rne(fl32(acc) * m) + zp, lo, hi), int64, of an int32 accumulator. Jacob et al. 2018, section 2.2, with a
    float multiplier; onnxruntime's QLinearConv does the same."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = (acc.astype(np.float32) * m).astype(np.float32)
    return quantize_value(product, zp, lo, hi)


def quantized_add(
    a: Array, b: Array, za: int, zb: int, sa: np.float32, sb: np.float32, sy: np.float32, zp: int, lo: int, hi: int
) -> Array:
    """clamp(rne(fl(fl(fl((a - za) * sa) + fl((b - zb) * sb)) / sy)) + zp, lo, hi), int64."""
    with np.errstate(over="ignore", invalid="ignore"):
        left = (a.astype(np.int64) - za).astype(np.float32) * sa
        right = (b.astype(np.int64) - zb).astype(np.float32) * sb
        quotient = ((left + right).astype(np.float32) / sy).astype(np.float32)
    return quantize_value(quotient, zp, lo, hi)


def fma(a: Array, b: np.float32, c: Array | np.float32) -> Array:
    """a * b + c rounded once, float32; a holds integers of at most 9 bits, so that float64 has the product exactly.

    The sum of the float64 numbers is rounded to odd, which makes its rounding to float32 that of the exact sum
    (Boldo & Melquiond 2008).
    """
    product, addend = np.asarray(a, np.float64) * np.float64(b), np.asarray(c, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        total = product + addend
        part = total - product
        error = (product - (total - part)) + (addend - part)
        even = (total.view(np.int64) & 1) == 0
        odd = np.where(np.isfinite(total) & (error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)
        return np.asarray(odd.astype(np.float32))


def add(a: Array, b: Array, attrs: Attributes, prefix: str = "") -> Array:
    """The quantized addition of QAdd and of convolutions, int64; `prefix` stands before every attribute.

    With `c`, onnxruntime's QLinearAdd: v = fma(a - za, sa, fma(b - zb, sb, c)), with `inner_a` the sides swapped;
    clamp(rne(v) + zp, lo, hi). With `fixed_y`, the fixed scheme: `add_fixed`. Otherwise `quantized_add`.
    """
    if prefix + "fixed_y" in attrs:
        return add_fixed(a, b, attrs, prefix)
    za, zb, zp = (get_int(attrs, prefix + key, 0) for key in ("za", "zb", "zp"))
    lo, hi = get_int(attrs, prefix + "lo", 0), get_int(attrs, prefix + "hi", 255)
    sa, sb = get_f32(attrs, prefix + "sa"), get_f32(attrs, prefix + "sb")
    if prefix + "c" not in attrs:
        return quantized_add(a, b, za, zb, sa, sb, get_f32(attrs, prefix + "sy"), zp, lo, hi)
    sides = [(a.astype(np.int64) - za, sa), (b.astype(np.int64) - zb, sb)]
    outer, inner = sides[::-1] if get_int(attrs, prefix + "inner_a", 0) else sides
    total = fma(outer[0], outer[1], fma(inner[0], inner[1], get_f32(attrs, prefix + "c")))
    return quantize_value(total, zp, lo, hi)


def convolution_epilogue(acc: Array, inputs: Inputs, attrs: Attributes) -> list[Array]:
    """From the int32 accumulator [.., O] to the output of QConv and QGemm.

    Inputs 3 (m, float32 [O] or [1], or int32 [2, O] or [2, 1]: the fixed scheme), 4 (z, uint8, shape of y) and
    5 (table, uint8 [256]).
    """
    m = np.asarray(inputs[3])
    z, table = optional(inputs, 4), optional(inputs, 5)
    if get_int(attrs, "out_s32", 0):
        return [acc]
    if get_int(attrs, "out_f32", 0):
        with np.errstate(over="ignore"):
            return [(acc.astype(np.float32) * m).astype(np.float32)]
    if m.dtype == np.int32:
        y = requantize_fixed(acc, m, attrs)
    else:
        y = requantize(acc, m, get_int(attrs, "y_zp", 0), get_int(attrs, "lo", 0), get_int(attrs, "hi", 255))
    if z is not None:
        y = add(y, z, attrs, "add_")
    if table is not None:
        y = table[y]
    return [y.astype(np.uint8)]


def mean(total: Array, count: int, attrs: Attributes) -> Array:
    """clamp(rne(fl32(S) * fl(x_scale / fl(y_scale * fl(n)))) + y_zp, lo, hi), uint8: how a quantized mean ends.

    With `fixed` in place of the scales: the fixed scheme, _fixed.fixed_mean.
    """
    if "fixed" in attrs:
        return fixed_mean(total, int(count), attrs)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        m = np.float32(get_f32(attrs, "x_scale") / np.float32(get_f32(attrs, "y_scale") * np.float32(count)))
    if count == 0:
        m = np.float32(0)
    y_zp, lo, hi = get_int(attrs, "y_zp", 0), get_int(attrs, "lo", 0), get_int(attrs, "hi", 255)
    return requantize(wrap32(total), m, y_zp, lo, hi).astype(np.uint8)


def integer_dtype_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Least and greatest value of an integer dtype."""
    info = np.iinfo(dtype) if dtype.kind in "iu" else ml_dtypes.iinfo(dtype)
    return int(info.min), int(info.max)
