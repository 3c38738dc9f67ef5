"""Shape: the dimensions of a tensor."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """int64 x.shape[start:end], bounds clamped, negative ones from the end. Source: ONNX Shape-15."""
    shape = need(inputs, 0).shape
    return [np.asarray(shape[get_int(attrs, "start", 0) : get_int(attrs, "end", len(shape))], np.int64)]
