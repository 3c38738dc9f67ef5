"""Softmax and LogSoftmax."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """e = exp(x - max x); y = e / sum e along `axis`; with `log`, y = (x - max x) - log(sum e).

    Input: x float32. Output: float32, x's shape. float64 here, rounded once. Source: ONNX Softmax-13, LogSoftmax-13.
    """
    x, axis = need(inputs, 0), get_int(attrs, "axis", -1)
    if x.size == 0:
        return [x]
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        shifted = wide - np.max(wide, axis=axis, keepdims=True)
        e = np.exp(shifted)
        total = np.sum(e, axis=axis, keepdims=True)
        y = shifted - np.log(total) if get_int(attrs, "log", 0) else e / total
        return [y.astype(np.float32)]
