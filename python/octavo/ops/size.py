"""Size: the number of elements."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """int64 scalar, the product of x's dimensions. Source: ONNX Size-13."""
    return [np.asarray(need(inputs, 0).size, np.int64)]
