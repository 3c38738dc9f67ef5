"""MaxPool: maximum over windows."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_ints, need
from ._integer import integer_dtype_range
from ._window import Geometry, as_image


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = max over the window's real pixels.

    Input: x float32, uint8 or int8 [N, H, W, C] or [N, W, C]. Output: the same dtype [N, OH, OW, C] or [N, OW, C].
    A window with no pixel gives the dtype's least value (-inf). Source: ONNX MaxPool-22.
    """
    x = need(inputs, 0)
    image = as_image(x)
    geometry = Geometry((image.shape[1], image.shape[2]), get_ints(attrs, "kernel_shape"), attrs, x.ndim == 3)
    least = -np.inf if np.issubdtype(x.dtype, np.floating) else integer_dtype_range(x.dtype)[0]
    y = np.full((image.shape[0], geometry.out[0], geometry.out[1], image.shape[3]), least, x.dtype)
    for _, _, tap in geometry.taps(geometry.padded(image, least)):
        y = np.maximum(y, tap)
    return [y[:, 0] if x.ndim == 3 else y]
