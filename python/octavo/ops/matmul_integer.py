"""MatMulInteger: integer matrix product, zero points at run time."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need, optional
from ._integer import wrap32


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = sum_k (a - a_zp) * (b - b_zp) modulo 2^32.

    Inputs: a uint8/int8 [.., M, K]; b uint8/int8 [.., K, N]; a_zp (a's dtype, scalar)?; b_zp (b's dtype, scalar or
    [N])?. Output: int32 [.., M, N]. Source: ONNX MatMulInteger-10.
    """
    a, b = need(inputs, 0).astype(np.int64), need(inputs, 1).astype(np.int64)
    a_zp, b_zp = optional(inputs, 2), optional(inputs, 3)
    if a_zp is not None:
        a = a - a_zp.astype(np.int64).reshape(())
    if b_zp is not None:
        b = b - (b_zp.reshape(()) if b_zp.size == 1 else b_zp).astype(np.int64)
    return [wrap32(np.asarray(np.matmul(a, b)))]
