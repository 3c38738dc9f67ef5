"""QMul: quantized multiplication with broadcasting."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, need
from ._integer import requantize


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = clamp(rne(fl32((a - za) * (b - zb)) * m) + zp, lo, hi), m = fl(fl(s_a * s_b) / s_y).

    Inputs: a, b uint8 (numpy broadcasting). Output: uint8. |(a - za)(b - zb)| <= 255^2 is exact in float32.
    Source: TFLite MUL (Jacob et al. 2018, appendix), with a float multiplier.
    """
    a = need(inputs, 0).astype(np.int64) - get_int(attrs, "za", 0)
    b = need(inputs, 1).astype(np.int64) - get_int(attrs, "zb", 0)
    y = requantize(
        np.asarray(a * b),
        get_f32(attrs, "m"),
        get_int(attrs, "zp", 0),
        get_int(attrs, "lo", 0),
        get_int(attrs, "hi", 255),
    )
    return [np.asarray(y).astype(np.uint8)]
