"""Flip8: between int8 and uint8 of the same real value."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = x xor 0x80, reinterpreted: uint8 q becomes int8 q - 128 and the other way round.

    Input: uint8 or int8. Output: the other one, same shape.
    """
    x = need(inputs, 0)
    flipped = np.asarray(x.view(np.uint8) ^ np.uint8(0x80))
    return [flipped.view(np.int8 if x.dtype == np.uint8 else np.uint8)]
