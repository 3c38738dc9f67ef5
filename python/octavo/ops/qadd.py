"""QAdd: quantized addition with broadcasting."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, need, optional
from ._integer import quantized_add


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = clamp(rne(fl(fl(fl((a - za) * sa) + fl((b - zb) * sb)) / sy)) + zp, lo, hi); with input 2: y = table[y].

    Inputs: a, b uint8 (numpy broadcasting); table uint8 [256]?. Output: uint8.
    Source: ONNX DequantizeLinear, Add and QuantizeLinear in float32, rounding for rounding.
    """
    y = quantized_add(
        need(inputs, 0),
        need(inputs, 1),
        get_int(attrs, "za", 0),
        get_int(attrs, "zb", 0),
        get_f32(attrs, "sa"),
        get_f32(attrs, "sb"),
        get_f32(attrs, "sy"),
        get_int(attrs, "zp", 0),
        get_int(attrs, "lo", 0),
        get_int(attrs, "hi", 255),
    )
    table = optional(inputs, 2)
    return [np.asarray(y if table is None else table[y]).astype(np.uint8)]
