"""AveragePool: float mean over windows."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_ints, need
from ._window import Geometry, as_image


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = sum / n over the window's real pixels, n their count; with `count_include_pad`, n counts the window's pixels
    inside the padded image.

    Input: x float32 [N, H, W, C] or [N, W, C]. Output: float32 [N, OH, OW, C] or [N, OW, C]. Summed here in float64;
    the core sums in float32, row by row, and divides once. Source: ONNX AveragePool-22.
    """
    x = need(inputs, 0)
    image = as_image(x)
    geometry = Geometry((image.shape[1], image.shape[2]), get_ints(attrs, "kernel_shape"), attrs, x.ndim == 3)
    total = np.zeros((image.shape[0], geometry.out[0], geometry.out[1], image.shape[3]))
    for _, _, tap in geometry.taps(geometry.padded(image.astype(np.float64), 0.0)):
        total += tap
    with np.errstate(all="ignore"):
        y = (total / geometry.counts(bool(get_int(attrs, "count_include_pad", 0)))).astype(np.float32)
    return [y[:, 0] if x.ndim == 3 else y]
