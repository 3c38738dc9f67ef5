"""Flatten: to a matrix."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """[d0, .., dn] -> [d0 * .. * d(axis-1), d(axis) * .. * dn]. Any dtype. Source: ONNX Flatten-13."""
    x, axis = need(inputs, 0), get_int(attrs, "axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    rows, columns = np.prod(x.shape[:axis], dtype=np.int64), np.prod(x.shape[axis:], dtype=np.int64)
    return [x.reshape(int(rows), int(columns))]
