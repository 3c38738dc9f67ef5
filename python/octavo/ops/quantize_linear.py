"""QuantizeLinear: the literal ONNX operator, parameters at run time."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need, optional
from ._blocks import spread
from ._integer import integer_dtype_range, quantize_value
from .cast import DTYPES, NARROW_INTEGERS, narrowed

INTEGERS = {2, 3, 4, 5, *NARROW_INTEGERS}
F16, BF16 = np.dtype(DTYPES[10]), np.dtype(DTYPES[16])


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = saturate(rne(fl(x / y_scale)) + y_zero_point), or fl(x / y_scale) in a narrow float format.

    Inputs: x float32, float16, bfloat16 or int32; y_scale float32, float16, bfloat16, int32 or float8_e8m0fnu (scalar,
    [C] or blocks); y_zero_point? of the output's dtype. The quotient has y_scale's precision (float32 for int32 and
    float8_e8m0fnu) or that of `precision`.
    Output: uint8 unless the zero point or `output_dtype` says an integer of 2 to 16 bits or a float of 4 to 8. NaN
    gives the zero point. Source: ONNX QuantizeLinear-25.
    """
    x, scale, zero = need(inputs, 0), need(inputs, 1), optional(inputs, 2)
    dtype = np.dtype(DTYPES[get_int(attrs, "output_dtype", 0) or 2]) if zero is None else zero.dtype
    wanted = get_int(attrs, "precision", 0)
    precision = np.dtype(DTYPES[wanted]) if wanted else scale.dtype
    if precision not in (F16, BF16):
        precision = np.dtype(np.float32)
    with np.errstate(all="ignore"):
        a, b = (v.astype(np.float32).astype(precision).astype(np.float32) for v in (x, spread(scale, x, attrs)))
        quotient = np.asarray((a / b).astype(precision).astype(np.float32))
    zp: Array = np.asarray(0) if zero is None else spread(zero, x, attrs)
    if dtype not in {np.dtype(DTYPES[k]) for k in INTEGERS}:
        shift = zp.astype(np.float32)
        moved = np.where(shift == 0, quotient, quotient + shift)
        return [narrowed(moved.astype(np.float64), dtype, bool(get_int(attrs, "saturate", 1)))]
    lo, hi = integer_dtype_range(dtype)
    return [np.asarray(quantize_value(quotient, zp.astype(np.int64), lo, hi)).astype(dtype)]
