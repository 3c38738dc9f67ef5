"""QAveragePool: mean over windows of a quantized image."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, get_ints, need
from ._fixed import fixed_average
from ._integer import quantize_value
from ._window import Geometry, as_image


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Dequantize, AveragePool and Quantize in float32, rounding for rounding:

    S = sum of fl(fl32(x - x_zp) * x_scale) over the window's real pixels, row by row from +0, n = their count (with
    `count_include_pad`, the count of the window's pixels inside the padded image);
    y = clamp(rne(fl(fl(fl(S / fl32(n)) / y_scale) + zp_before)) + (y_zp - zp_before), lo, hi).

    With `origin` in place of the scales: the fixed scheme, _fixed.fixed_average.
    Input: x uint8 [N, H, W, C] or [N, W, C]. Output: uint8 [N, OH, OW, C] or [N, OW, C].
    A window with no pixel gives clamp(y_zp). Source: ONNX DequantizeLinear-13, AveragePool-22, QuantizeLinear-13; with
    zp_before the file's zero point, onnxruntime's QLinearAveragePool.
    """
    x = need(inputs, 0)
    image = as_image(x)
    kernel = get_ints(attrs, "kernel_shape")
    geometry = Geometry((image.shape[1], image.shape[2]), kernel, attrs, x.ndim == 3)
    if "origin" in attrs:
        centred = image.astype(np.int64) - get_int(attrs, "x_zp", 0)
        exact = np.zeros((image.shape[0], geometry.out[0], geometry.out[1], image.shape[3]), np.int64)
        for _, _, tap in geometry.taps(geometry.padded(centred, 0)):
            exact += tap
        y = fixed_average(exact, geometry.counts(bool(get_int(attrs, "count_include_pad", 0))), attrs)
        return [y[:, 0] if x.ndim == 3 else y]
    before, y_zp = get_int(attrs, "zp_before", 0), get_int(attrs, "y_zp", 0)
    total = np.zeros((image.shape[0], geometry.out[0], geometry.out[1], image.shape[3]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        real = (image.astype(np.int32) - get_int(attrs, "x_zp", 0)).astype(np.float32) * get_f32(attrs, "x_scale")
        for _, _, tap in geometry.taps(geometry.padded(real, 0)):
            total = total + tap
        count = np.maximum(geometry.counts(bool(get_int(attrs, "count_include_pad", 0))), 1).astype(np.float32)
        mean = total / count / get_f32(attrs, "y_scale")
        mean = np.where(np.isnan(mean), np.float32(0), mean) + np.float32(before)
    y = quantize_value(mean, y_zp - before, get_int(attrs, "lo", 0), get_int(attrs, "hi", 255)).astype(np.uint8)
    return [y[:, 0] if x.ndim == 3 else y]
