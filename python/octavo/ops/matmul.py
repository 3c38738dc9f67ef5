"""MatMul: float matrix product with a fused epilogue."""

from __future__ import annotations

import numpy as np

from ._activation import epilogue
from ._attributes import Array, Attributes, Inputs, get_int, need, optional
from ._restore import weights


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = act((sum_k a[.., m, k] * b[.., k, n] + bias[n]) + z), the sum in float64 and rounded once.

    Inputs: a float32 [.., M, K]; b float32 [.., K, N] (or [N, K] with `trans_b`), or stored small (inputs 4 to 6);
    bias float32 [N]?; z float32, shape
    of y?. Output: float32 [.., M, N]. The core sums by one float32 fma chain from 0 with k ascending: it agrees
    within K * 2^-24 * sum |a||b| before the activation. Source: ONNX MatMul-13, Gemm-13.
    """
    a, b = need(inputs, 0).astype(np.float64), weights(inputs, attrs, 1, 4).astype(np.float64)
    if get_int(attrs, "trans_b", 0):
        b = np.swapaxes(b, -1, -2)
    with np.errstate(all="ignore"):
        y = np.asarray(np.matmul(a, b)).astype(np.float32)
    return [epilogue(y, optional(inputs, 2), optional(inputs, 3), attrs)]
