"""NonZero: where a tensor is not zero."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """int64 `[rank, count]`: column k is the index of the k-th element that is not zero, row-major; NaN is not zero.

    Source: ONNX NonZero-13.
    """
    x = need(inputs, 0)
    if x.ndim == 0:
        return [np.zeros((0, int(x != 0)), np.int64)]
    return [np.ascontiguousarray(np.argwhere(x != 0).T).astype(np.int64)]
