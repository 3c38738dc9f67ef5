"""QReduceMean: mean of a quantized tensor over axes."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_ints, need
from ._integer import mean


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """S = sum of (x - x_zp) over `axes`, n = their size;
    y = clamp(rne(fl32(S) * fl(x_scale / fl(y_scale * fl(n)))) + y_zp, lo, hi).

    Input: x uint8. Output: uint8, reduced axes kept as 1 or dropped (`keepdims`). Also GlobalAveragePool.
    Source: ONNX ReduceMean-18 between DequantizeLinear and QuantizeLinear; onnxruntime QLinearGlobalAveragePool.
    """
    x = need(inputs, 0)
    axes = tuple(axis % x.ndim for axis in get_ints(attrs, "axes"))
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    centred = x.astype(np.int64) - get_int(attrs, "x_zp", 0)
    total = np.sum(centred, axis=axes, keepdims=bool(get_int(attrs, "keepdims", 1)))
    return [np.asarray(mean(np.asarray(total), count, attrs))]
