"""QuantizeLinear: the literal ONNX operator, parameters at run time."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need, optional
from ._blocks import spread
from ._integer import integer_dtype_range, quantize_value

DTYPES = {2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16}


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = saturate(rne(fl(x / y_scale)) + y_zero_point).

    Inputs: x float32 or int32; y_scale float32 (scalar, [C] or blocks); y_zero_point? of the output's dtype.
    Output: uint8 unless the zero point or `output_dtype` says int8, uint16 or int16. NaN gives the zero point.
    Source: ONNX QuantizeLinear-21.
    """
    x, scale, zero = need(inputs, 0), need(inputs, 1), optional(inputs, 2)
    dtype = np.dtype(DTYPES[get_int(attrs, "output_dtype", 0) or 2]) if zero is None else zero.dtype
    zp: Array = np.asarray(0) if zero is None else spread(zero.astype(np.int64), x, attrs)
    with np.errstate(all="ignore"):
        quotient = (x.astype(np.float32) / spread(scale.astype(np.float32), x, attrs)).astype(np.float32)
    lo, hi = integer_dtype_range(dtype)
    return [np.asarray(quantize_value(np.asarray(quotient), zp, lo, hi)).astype(dtype)]
