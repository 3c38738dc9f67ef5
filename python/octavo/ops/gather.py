"""Gather: slices picked along an axis."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need
from ._restore import weights


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = x[.., indices, ..] at `axis`; negative indices count from the end.

    Inputs: x, any dtype, or float32 stored small (inputs 2 to 4; axis 0 only); indices int32/int64.
    Output: x.shape with the axis replaced by indices.shape.
    Source: ONNX Gather-13.
    """
    x, indices, axis = weights(inputs, attrs, 0, 2), need(inputs, 1), get_int(attrs, "axis", 0)
    size = x.shape[axis]
    return [np.take(x, np.where(indices < 0, indices + size, indices), axis=axis)]
