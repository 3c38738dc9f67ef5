"""Squeeze: axes of size 1 removed."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_ints, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Removes `axes` (attribute, or input 1 int64), every axis of size 1 when there are none.
    Source: ONNX Squeeze-13.
    """
    x, given = need(inputs, 0), optional(inputs, 1)
    axes = [int(a) for a in given] if given is not None else get_ints(attrs, "axes", [])
    return [np.squeeze(x, tuple(axes) if given is not None or "axes" in attrs else None)]
