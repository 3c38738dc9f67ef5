"""Range: an arithmetic sequence."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y[i] = start + i * delta, max(ceil((limit - start) / delta), 0) elements.

    Inputs: start, limit, delta scalars of one dtype (float32, int32, int64). Source: ONNX Range-11.
    """
    start, limit, delta = (need(inputs, k).reshape(())[()] for k in range(3))
    count = max(int(np.ceil((np.float64(limit) - np.float64(start)) / np.float64(delta))), 0)
    return [np.asarray(start + np.arange(count).astype(start.dtype) * delta, start.dtype)]
