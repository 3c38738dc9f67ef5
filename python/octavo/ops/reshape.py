"""Reshape: the same elements under another shape."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inputs: x, any dtype; shape int64 [rank]: -1 is inferred, 0 copies x's dimension unless `allowzero`.
    Source: ONNX Reshape-14.
    """
    x, shape = need(inputs, 0), [int(d) for d in need(inputs, 1)]
    if not get_int(attrs, "allowzero", 0):
        shape = [x.shape[k] if d == 0 else d for k, d in enumerate(shape)]
    if -1 in shape:
        known = int(np.prod([d for d in shape if d != -1], dtype=np.int64))
        shape[shape.index(-1)] = x.size // known if known else 0
    return [x.reshape(shape)]
