"""Split: a tensor cut along an axis."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_ints, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Sizes along `axis` from input 1 (int64) or attribute `split`, else `num_outputs` parts of ceil(size / parts), the
    last one smaller. Source: ONNX Split-18.
    """
    x, given, axis = need(inputs, 0), optional(inputs, 1), get_int(attrs, "axis", 0)
    if given is not None:
        sizes = [int(n) for n in given]
    elif "split" in attrs:
        sizes = get_ints(attrs, "split")
    else:
        parts = get_int(attrs, "num_outputs")
        size = -(-x.shape[axis] // parts)
        sizes = [min(size, max(x.shape[axis] - k * size, 0)) for k in range(parts)]
    return [part.copy() for part in np.split(x, np.cumsum(sizes)[:-1], axis=axis)]
