"""Lut: a function of one byte, by table."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = table[x].

    Inputs: x uint8; table uint8 or float32 [256]. Output: the table's dtype, x's shape.
    """
    return [np.asarray(need(inputs, 1)[need(inputs, 0)])]
