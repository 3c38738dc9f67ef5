"""Dequantize: integers to float32 with parameters known when the plan is made."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, need, optional
from ._integer import wrap32


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = fl32(x - zp) * s.

    Inputs: x uint8/int8/uint16/int16/int32; s float32 [C]? and zp (x's dtype) [C]? along `axis` (else attributes
    `x_scale`, `x_zp`). Output: float32. The subtraction is int32, modulo 2^32. Source: ONNX DequantizeLinear-13.
    """
    x, scale, zero = need(inputs, 0), optional(inputs, 1), optional(inputs, 2)
    shape = [1] * x.ndim
    if scale is None:
        scale = np.asarray(get_f32(attrs, "x_scale"))
    else:
        shape[get_int(attrs, "axis", 1) % x.ndim] = -1
        scale = scale.reshape(shape)
    zp = np.asarray(get_int(attrs, "x_zp", 0)) if zero is None else zero.reshape(shape)
    difference = wrap32(np.asarray(x.astype(np.int64) - zp.astype(np.int64)))
    with np.errstate(over="ignore"):
        return [np.asarray(difference.astype(np.float32) * scale, np.float32)]
