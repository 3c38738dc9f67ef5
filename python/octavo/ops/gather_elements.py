"""GatherElements: one element picked for each output element."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y[i, j, k] = x[indices[i, j, k], j, k] for axis 0; negative indices count from the end.

    Inputs: x, any dtype; indices int32/int64 of x's rank. Output: indices.shape. Source: ONNX GatherElements-13.
    """
    x, indices, axis = need(inputs, 0), need(inputs, 1), get_int(attrs, "axis", 0) % need(inputs, 0).ndim
    grid: list[Array] = list(np.indices(indices.shape))
    grid[axis] = np.where(indices < 0, indices + x.shape[axis], indices)
    return [x[tuple(grid)]]
