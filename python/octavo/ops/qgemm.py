"""QGemm: quantized matrix product with constant weights."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need, optional
from ._integer import convolution_epilogue, wrap32


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """acc[.., n] = bias[n] + sum_k x[.., k] * w[n, k] modulo 2^32, then QConv's epilogue.

    Inputs: x uint8 [.., K]; w int8/int16 [N, K]; bias int32 [N]?; m float32 [N] or [1]; z uint8 [.., N]?;
    table uint8 [256]?. Output: uint8 [.., N], or float32 with `out_f32`.
    Source: ONNX QLinearMatMul-21 with a constant right side; Jacob et al. 2018, section 2.
    """
    x, w, bias = need(inputs, 0), need(inputs, 1), optional(inputs, 2)
    acc = x.astype(np.int64) @ w.astype(np.int64).T
    if bias is not None:
        acc = acc + bias.astype(np.int64)
    return convolution_epilogue(wrap32(acc), inputs, attrs)
