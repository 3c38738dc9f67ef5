"""Unsqueeze: axes of size 1 inserted."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_ints, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inserts axes at `axes` of the output (attribute, or input 1 int64). Source: ONNX Unsqueeze-13."""
    x, given = need(inputs, 0), optional(inputs, 1)
    axes = [int(a) for a in given] if given is not None else get_ints(attrs, "axes")
    return [np.expand_dims(x, tuple(axes))]
