"""Where: element-wise choice."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = cond ? x : y.

    Inputs: cond bool; x, y of one dtype; numpy broadcasting of all three. Output: that dtype. Source: ONNX Where-16.
    """
    return [np.where(need(inputs, 0), need(inputs, 1), need(inputs, 2))]
