"""TopK: the greatest elements and where they are."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """The k greatest elements along `axis` (least with `largest`=0), best first, and their int64 indices.

    Inputs: x, k (int32 or int64, one number). Of equal elements the first comes first; NaN is greater than everything.
    Source: ONNX TopK-24.
    """
    x, k, axis = need(inputs, 0), int(need(inputs, 1).reshape(-1)[0]), get_int(attrs, "axis", -1)
    if get_int(attrs, "largest", 1):  # the last of the reversed ascending order is the first of the greatest
        n = x.shape[axis]
        order = n - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    order = np.ascontiguousarray(np.take(order, np.arange(k), axis)).astype(np.int64)
    return [np.take_along_axis(x, order, axis), order]
