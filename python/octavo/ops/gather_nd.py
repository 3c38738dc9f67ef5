"""GatherND: the slices that index vectors name."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y[b.., i..] = x[b.., indices[b.., i..]], b over the first `batch_dims` axes of both.

    Inputs: x, indices (int32 or int64) `[.., q]`, negative from the end. Source: ONNX GatherND-13.
    """
    x, indices, batch = need(inputs, 0), need(inputs, 1), get_int(attrs, "batch_dims", 0)
    y = np.empty((*indices.shape[:-1], *x.shape[batch + indices.shape[-1] :]), x.dtype)
    for place in np.ndindex(indices.shape[:-1]):
        y[place] = x[place[:batch] + tuple(int(v) for v in indices[place])]
    return [y]
