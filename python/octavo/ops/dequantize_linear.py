"""DequantizeLinear: the literal ONNX operator, parameters at run time."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need, optional
from ._blocks import spread
from ._integer import wrap32
from .cast import DTYPES
from .quantize_linear import INTEGERS


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = fl(fl32(x - x_zero_point) * x_scale).

    Inputs: x, integers of 2 to 16 bits, int32, or floats of 4 to 8 bits; x_scale float32, float16, bfloat16 or
    float8_e8m0fnu (scalar, [C] or blocks); x_zero_point? of x's dtype.
    Output: x_scale's dtype or `output_dtype`; the product is rounded to float32, then to that.
    Source: ONNX DequantizeLinear-25.
    """
    x, scale, zero = need(inputs, 0), need(inputs, 1), optional(inputs, 2)
    wanted = get_int(attrs, "output_dtype", 0)
    dtype = np.dtype(DTYPES[wanted]) if wanted else scale.dtype
    zp: Array = np.asarray(0) if zero is None else spread(zero, x, attrs)
    with np.errstate(all="ignore"):
        if x.dtype in {np.dtype(DTYPES[k]) for k in (6, *INTEGERS)}:
            difference = wrap32(np.asarray(x.astype(np.int64) - zp.astype(np.int64))).astype(np.float32)
        else:
            shift = zp.astype(np.float32)
            difference = np.where(shift == 0, x.astype(np.float32), x.astype(np.float32) - shift)
        product = np.asarray(difference * spread(scale, x, attrs).astype(np.float32), np.float32)
        return [product.astype(dtype)]
