"""ScatterND: slices replaced, or joined with updates."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_str, need
from .scatter_elements import REDUCTIONS


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = x, then y[indices[i]] = updates[i] (or joined by `reduction`) for every index vector i, in order.

    Inputs: x, indices (int32 or int64) `[.., q]`, updates `[.., x.shape[q:]]`. Source: ONNX ScatterND-18.
    """
    x, indices, updates = (need(inputs, k) for k in range(3))
    join = REDUCTIONS[get_str(attrs, "reduction", "none")]
    y = x.copy()
    with np.errstate(all="ignore"):
        for place in np.ndindex(indices.shape[:-1]):
            to = tuple(int(v) for v in indices[place])
            y[to] = join(y[to], updates[place])
    return [y]
