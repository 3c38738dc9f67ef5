"""QConv: quantized convolution with a requantizing epilogue."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need, optional
from ._integer import convolution_epilogue, wrap32
from ._window import convolve


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """acc = bias + sum x * w modulo 2^32 (padding holds x_zp); y = requantize(acc, m[o], y_zp, lo, hi);
    with z: y = quantized_add(y, z, add_*); with table: y = table[y]. `out_f32`: y = fl32(acc) * m[o];
    `out_s32`: y = acc.

    Inputs: x uint8 [N, H, W, C]; w int8/int16 [O, kH, kW, C/group]; bias int32 [O]?; m float32 [O] or [1];
    z uint8 [N, OH, OW, O]?; table uint8 [256]?. One dimension less for the 1-D form. Output: uint8 (or float32).
    Lowering has folded -x_zp * sum(w) into the bias, so x enters as it is.
    Source: ONNX QLinearConv-10; Jacob et al. 2018, section 2.
    """
    x, w, bias = need(inputs, 0), need(inputs, 1), optional(inputs, 2)
    acc = convolve(x, w, attrs, get_int(attrs, "x_zp", 0), np.int64)
    if bias is not None:
        acc = acc + bias.astype(np.int64)
    return convolution_epilogue(wrap32(acc), inputs, attrs)
