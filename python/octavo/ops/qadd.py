"""QAdd: quantized addition with broadcasting."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need, optional
from ._integer import add


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = clamp(rne(fl(fl(fl((a - za) * sa) + fl((b - zb) * sb)) / sy)) + zp, lo, hi); with input 2: y = table[y].

    With `c`: y = clamp(rne(fma(a - za, sa, fma(b - zb, sb, c))) + zp, lo, hi); with `inner_a` the sides swapped.
    With fixed_a, fixed_b, fixed_y in place of sa, sb, sy: the fixed scheme, _fixed.add_fixed.
    Inputs: a, b uint8 (numpy broadcasting); table uint8 [256]?. Output: uint8.
    Source: ONNX DequantizeLinear, Add and QuantizeLinear in float32, rounding for rounding; onnxruntime's QLinearAdd;
    TensorFlow Lite's ADD.
    """
    y = add(need(inputs, 0), need(inputs, 1), attrs)
    table = optional(inputs, 2)
    return [np.asarray(y if table is None else table[y]).astype(np.uint8)]
