"""Transpose: permutation of axes."""

from __future__ import annotations

from ._attributes import Array, Attributes, Inputs, get_ints, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y.shape[k] = x.shape[perm[k]]; `perm` reverses the axes when it is missing. Any dtype.
    Source: ONNX Transpose-13.
    """
    x = need(inputs, 0)
    return [x.transpose(get_ints(attrs, "perm", range(x.ndim)[::-1])).copy()]
