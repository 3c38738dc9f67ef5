"""Cast: change of element type."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_str, need
from ._integer import integer_dtype_range

# ONNX's TensorProto.DataType.
DTYPES: dict[int, type] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    16: ml_dtypes.bfloat16,
    17: ml_dtypes.float8_e4m3fn,
    18: ml_dtypes.float8_e4m3fnuz,
    19: ml_dtypes.float8_e5m2,
    20: ml_dtypes.float8_e5m2fnuz,
    21: ml_dtypes.uint4,
    22: ml_dtypes.int4,
    23: ml_dtypes.float4_e2m1fn,
    24: ml_dtypes.float8_e8m0fnu,
    25: ml_dtypes.uint2,
    26: ml_dtypes.int2,
    27: ml_dtypes.float6_e2m3fn,
    28: ml_dtypes.float6_e3m2fn,
}
NARROW_INTEGERS = {21, 22, 25, 26}


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = x as dtype `to` (ONNX's number).

    Float to integer truncates toward zero and saturates, NaN gives 0; integer to integer keeps the low bits, and so
    does, after truncation, anything to an integer of 4 or 2 bits (as the onnx package has it); to bool is x != 0 (NaN
    is true); to a float rounds half to even, from float64 if it is a narrow one. To floats of 8 bits and less,
    `saturate` (1) gives the greatest finite number for what exceeds it, else infinity or NaN. To float8_e8m0fnu rounds
    by `round_mode` (up, down, nearest). Source: ONNX Cast-25, which leaves integer overflow open.
    """
    x, to = need(inputs, 0), get_int(attrs, "to")
    dtype = np.dtype(DTYPES[to])
    if dtype == np.bool_:
        return [np.asarray(x.astype(np.float64) != 0)]
    from_integer = x.dtype.kind in "iub" or x.dtype in {np.dtype(DTYPES[k]) for k in NARROW_INTEGERS}
    if dtype.kind in "iu" or to in NARROW_INTEGERS:
        lo, hi = integer_dtype_range(dtype)
        if from_integer:
            wide = x if x.dtype.kind in "iub" else x.astype(np.int64)
            return [wide.astype(dtype) if dtype.kind in "iu" else low_bits(wide.astype(np.int64), hi - lo, dtype)]
        if dtype.kind in "iu":
            return [saturated(x, dtype, lo, hi)]
        return [low_bits(saturated(x, np.dtype(np.int64), -(2**63), 2**63 - 1), hi - lo, dtype)]
    with np.errstate(over="ignore", invalid="ignore"):
        if to <= 13:
            return [x.astype(dtype)]
        return [
            narrowed(x.astype(np.float64), dtype, bool(get_int(attrs, "saturate", 1)), get_str(attrs, "round_mode"))
        ]


def saturated(x: Array, dtype: np.dtype[Any], lo: int, hi: int) -> Array:
    """Truncated floats as integers, clamped."""
    whole = np.trunc(np.where(np.isnan(x.astype(np.float64)), 0, x.astype(np.float64)))
    inside = (whole >= lo) & (whole < float(hi + 1))
    y = np.where(inside, whole, 0).astype(dtype)
    return np.where(inside, y, np.where(whole < lo, lo, hi).astype(dtype)).astype(dtype)


def low_bits(x: Array, mask: int, dtype: np.dtype[Any]) -> Array:
    """int64 as an integer of 4 or 2 bits."""
    return np.asarray((x & mask).astype(np.uint8).view(dtype))


def narrowed(x: Array, dtype: np.dtype[Any], saturate: bool = True, round_mode: str = "up") -> Array:
    """float64 as a float of 16 bits or less, rounded once."""
    if dtype == ml_dtypes.float8_e8m0fnu:
        return power_of_two(x, saturate, round_mode)
    finite = ml_dtypes.finfo(dtype)
    most = float(finite.max)
    nearest = nearest_of(np.where(np.isfinite(x), x, 0), dtype, most)
    none = "4_" in dtype.name or "6_" in dtype.name  # neither infinity nor NaN
    over = np.abs(nearest) > most
    if none or (saturate and dtype != ml_dtypes.bfloat16):
        nearest = np.where(over | np.isinf(x), np.copysign(most, x), nearest)
    elif dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2):
        nearest = np.where(over | np.isinf(x), np.copysign(np.inf, x), nearest)
    else:
        nearest = np.where(over | np.isinf(x), np.copysign(np.nan, x), nearest)
    return np.where(np.isnan(x), 0.0 if none else x, nearest).astype(dtype)


def nearest_of(x: Array, dtype: np.dtype[Any], most: float) -> Array:
    """Finite float64s on the grid of the format continued beyond its greatest number, half to even."""
    finite = ml_dtypes.finfo(dtype)
    exponent = np.maximum(np.frexp(np.where(x == 0, most, x))[1] - 1, int(np.log2(float(finite.smallest_normal))))
    unit = np.ldexp(1.0, exponent - int(finite.nmant))
    return np.asarray(np.rint(x / unit) * unit)


def power_of_two(x: Array, saturate: bool, round_mode: str) -> Array:
    """float64 as float8_e8m0fnu."""
    with np.errstate(all="ignore"):
        mantissa, exponent = np.frexp(np.where(np.isfinite(x) & (x > 0), x, 1))
        code = exponent.astype(np.int64) - 1 + 127
        up = mantissa > 0.5 if round_mode in ("up", "") else (mantissa >= 0.75) & (round_mode == "nearest")
    code = np.where(x == 0, -1, np.where(np.isposinf(x), 255, code + up))
    code = np.clip(code, 0, 254) if saturate else np.where((code < 0) | (code > 254), 255, code)
    return np.where(np.isnan(x) | (x < 0), 255, code).astype(np.uint8).view(ml_dtypes.float8_e8m0fnu)
