"""DequantizeLinear: the literal ONNX operator, parameters at run time."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need, optional
from ._blocks import spread
from ._integer import wrap32


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = fl32(x - x_zero_point) * x_scale.

    Inputs: x uint8/int8/uint16/int16/int32; x_scale float32 (scalar, [C] or blocks); x_zero_point? of x's dtype.
    Output: float32. Source: ONNX DequantizeLinear-21.
    """
    x, scale, zero = need(inputs, 0), need(inputs, 1), optional(inputs, 2)
    zp: Array = np.asarray(0) if zero is None else spread(zero.astype(np.int64), x, attrs)
    difference = wrap32(np.asarray(x.astype(np.int64) - zp))
    with np.errstate(over="ignore"):
        return [np.asarray(difference.astype(np.float32) * spread(scale.astype(np.float32), x, attrs), np.float32)]
