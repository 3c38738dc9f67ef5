"""DynamicQuantizeLinear: quantize a tensor with the scale its own range gives."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need
from ._integer import quantize_value


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """low = min(0, min x), high = max(0, max x); scale = fl(fl(high - low) / 255), or 1 when high == low;
    zp = clamp(rne(fl(0 - fl(low / scale))), 0, 255); y = clamp(rne(fl(x / scale)) + zp, 0, 255).

    Input: x float32. Outputs: y uint8, scale float32 scalar, zp uint8 scalar. NaNs do not count in min and max and
    quantize to zp; an empty tensor gives scale 1, zp 0. Source: ONNX DynamicQuantizeLinear-11.
    """
    x = need(inputs, 0)
    low = np.float32(np.fmin.reduce(x, axis=None, initial=np.float32(0)))
    high = np.float32(np.fmax.reduce(x, axis=None, initial=np.float32(0)))
    with np.errstate(all="ignore"):
        scale = np.float32(1) if high == low else np.float32(np.float32(high - low) / np.float32(255))
        zp = int(quantize_value(np.asarray(np.float32(0) - np.float32(low / scale)), 0, 0, 255))
        y = quantize_value((x / scale).astype(np.float32), zp, 0, 255)
    return [y.astype(np.uint8), np.asarray(scale, np.float32), np.asarray(zp, np.uint8)]
