"""QMatMul: quantized matrix product of two activations."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need
from ._integer import requantize, wrap32


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """acc = sum_k (a - a_zp) * (b - b_zp) modulo 2^32; y = requantize(acc, m, y_zp, lo, hi), or with `out_f32`
    y = fl32(acc) * m.

    Inputs: a uint8 [.., M, K]; b uint8 [.., K, N]; m float32 [1]. Batch axes broadcast. Output: uint8 (or float32)
    [.., M, N]. Source: ONNX QLinearMatMul-21.
    """
    a = need(inputs, 0).astype(np.int64) - get_int(attrs, "a_zp", 0)
    b = need(inputs, 1).astype(np.int64) - get_int(attrs, "b_zp", 0)
    m = need(inputs, 2).astype(np.float32).reshape(())[()]
    acc = wrap32(np.matmul(a, b))
    if get_int(attrs, "out_f32", 0):
        with np.errstate(over="ignore"):
            return [np.asarray(acc.astype(np.float32) * m, np.float32)]
    y = requantize(acc, m, get_int(attrs, "y_zp", 0), get_int(attrs, "lo", 0), get_int(attrs, "hi", 255))
    return [y.astype(np.uint8)]
