"""Cumulative: running sums and products."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_str, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y[k] = x[0] fn .. fn x[k] along an axis, in order; `exclusive` leaves x[k] out, `reverse` begins at the end.

    Inputs: x, axis (int32 or int64, one number). Output: x's dtype and shape; integers wrap, floats round at each step.
    `fn`: Sum, Prod. Source: ONNX CumSum-14, CumProd-26.
    """
    x, axis = need(inputs, 0), int(need(inputs, 1).reshape(-1)[0])
    product = get_str(attrs, "fn") == "Prod"
    rows = np.moveaxis(x, axis, 0)
    rows = rows[::-1] if get_int(attrs, "reverse", 0) else rows
    if get_int(attrs, "exclusive", 0) and len(rows):
        rows = np.concatenate([np.full_like(rows[:1], int(product)), rows[:-1]])
    y = np.empty_like(rows)
    with np.errstate(all="ignore"):
        for k in range(len(rows)):
            y[k] = rows[k] if k == 0 else y[k - 1] * rows[k] if product else y[k - 1] + rows[k]
    y = y[::-1] if get_int(attrs, "reverse", 0) else y
    return [np.ascontiguousarray(np.moveaxis(y, 0, axis))]
