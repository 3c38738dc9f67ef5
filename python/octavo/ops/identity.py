"""Identity."""

from __future__ import annotations

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = x. Any dtype. Source: ONNX Identity-16."""
    return [need(inputs, 0).copy()]
