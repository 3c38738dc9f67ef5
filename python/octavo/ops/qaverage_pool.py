"""QAveragePool: mean over windows of a quantized image."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_ints, need
from ._integer import mean
from ._window import Geometry, as_image


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """S = sum of (x - x_zp) over the window's real pixels, n = their count (with `count_include_pad`, the count of the
    window's pixels inside the padded image); y = clamp(rne(fl32(S) * fl(r / fl(n))) + y_zp, lo, hi), r = fl(s_x / s_y).

    Input: x uint8 [N, H, W, C] or [N, W, C]. Output: uint8 [N, OH, OW, C] or [N, OW, C].
    A window with no pixel gives clamp(y_zp). Source: ONNX AveragePool-22; onnxruntime QLinearAveragePool.
    """
    x = need(inputs, 0)
    image = as_image(x)
    kernel = get_ints(attrs, "kernel_shape")
    geometry = Geometry((image.shape[1], image.shape[2]), kernel, attrs, x.ndim == 3)
    centred = image.astype(np.int64) - get_int(attrs, "x_zp", 0)
    total = np.zeros((image.shape[0], geometry.out[0], geometry.out[1], image.shape[3]), np.int64)
    for _, _, tap in geometry.taps(geometry.padded(centred, 0)):
        total += tap
    y = mean(total, geometry.counts(bool(get_int(attrs, "count_include_pad", 0))), attrs)
    return [y[:, 0] if x.ndim == 3 else y]
