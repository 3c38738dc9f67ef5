"""Concat: tensors joined along an axis."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inputs: one or more tensors of one dtype that differ along `axis` only. Source: ONNX Concat-13."""
    return [np.concatenate([need(inputs, k) for k in range(len(inputs))], axis=get_int(attrs, "axis"))]
