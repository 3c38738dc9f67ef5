"""Expand: broadcast to a shape."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inputs: x, any dtype; shape int64. Both broadcast against each other, so a 1 in shape keeps x's dimension.
    Source: ONNX Expand-13.
    """
    x, shape = need(inputs, 0), tuple(int(d) for d in need(inputs, 1))
    return [np.broadcast_to(x, np.broadcast_shapes(x.shape, shape)).copy()]
