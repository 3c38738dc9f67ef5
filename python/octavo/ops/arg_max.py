"""ArgMax: where the greatest element is."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """int64 index along `axis`, of the first such element, or the last with `select_last_index`; the axis stays as 1
    with `keepdims`. Source: ONNX ArgMax-13.
    """
    x, axis = need(inputs, 0), get_int(attrs, "axis", 0)
    if get_int(attrs, "select_last_index", 0):
        y = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis)
    else:
        y = np.argmax(x, axis=axis)
    return [np.expand_dims(y, axis) if get_int(attrs, "keepdims", 1) else np.asarray(y)]
