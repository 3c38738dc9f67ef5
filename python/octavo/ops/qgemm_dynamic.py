"""QGemmDynamic: dynamically quantized activations times constant weights, float result."""

from __future__ import annotations

import numpy as np

from ._activation import epilogue
from ._attributes import Array, Attributes, Inputs, need, optional
from ._integer import wrap32


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """acc = sum_k (x - x_zp) * w modulo 2^32; y = act(fl(fl32(acc) * fl(scale * m)) + bias + z), each + rounded.

    Inputs: x uint8 [.., K]; x_zp uint8 scalar; w int8/int16 [N, K]; scale float32 scalar; m float32 [1] or [N];
    bias float32 [N]?; z float32 [.., N]?. Output: float32 [.., N].
    Source: ONNX DynamicQuantizeLinear-11 + MatMulInteger-10 + Cast + Mul + Add, the dynamic quantization pattern.
    """
    x = need(inputs, 0).astype(np.int64) - need(inputs, 1).astype(np.int64).reshape(())
    w, scale, m = need(inputs, 2), need(inputs, 3).astype(np.float32).reshape(()), need(inputs, 4)
    acc = wrap32(x @ w.astype(np.int64).T)
    with np.errstate(over="ignore", invalid="ignore"):
        y = acc.astype(np.float32) * (scale * m.astype(np.float32)).astype(np.float32)
    return [epilogue(y.astype(np.float32), optional(inputs, 5), optional(inputs, 6), attrs)]
