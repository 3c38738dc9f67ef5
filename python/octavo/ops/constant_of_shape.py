"""ConstantOfShape: a tensor of one value."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inputs: shape int64 [rank]; value, any dtype, one element? (default float32 0).
    Source: ONNX ConstantOfShape-9.
    """
    shape, value = [int(d) for d in need(inputs, 0)], optional(inputs, 1)
    return [np.zeros(shape, np.float32) if value is None else np.full(shape, value.reshape(())[()], value.dtype)]
