"""QMul: quantized multiplication with broadcasting."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, need
from ._fixed import pair, scaled
from ._integer import quantize_value


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = clamp(rne(fl(fl(fl32((a - za) * (b - zb)) * m) + zp_before)) + (zp - zp_before), lo, hi).

    With fixed = [multiplier, shift] in place of m: y = clamp(scaled((a - za) * (b - zb), fixed) + zp, lo, hi).
    Inputs: a, b uint8 (numpy broadcasting). Output: uint8. |(a - za)(b - zb)| <= 255^2 is exact in float32.
    m = fl(fl(s_a * s_b) / s_y). Source: TFLite MUL (Jacob et al. 2018, appendix), with a float multiplier; with
    zp_before the file's zero point, onnxruntime's QLinearMul.
    """
    a = need(inputs, 0).astype(np.int64) - get_int(attrs, "za", 0)
    b = need(inputs, 1).astype(np.int64) - get_int(attrs, "zb", 0)
    before = get_int(attrs, "zp_before", 0)
    zp, lo, hi = get_int(attrs, "zp", 0), get_int(attrs, "lo", 0), get_int(attrs, "hi", 255)
    if "fixed" in attrs:
        y = np.clip(scaled(np.asarray(a * b), *pair(attrs, "fixed")) + zp, lo, hi)
        return [np.asarray(y).astype(np.uint8)]
    with np.errstate(over="ignore", invalid="ignore"):
        product = (np.asarray(a * b).astype(np.float32) * get_f32(attrs, "m")).astype(np.float32)
        shifted = (product + np.float32(before)).astype(np.float32)
    y = quantize_value(shifted, zp - before, lo, hi)
    return [np.asarray(y).astype(np.uint8)]
