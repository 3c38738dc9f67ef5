"""ScatterElements: single elements replaced, or joined with updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_str, need

REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": np.maximum,
    "min": np.minimum,
}


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = x, then y[i with `axis` replaced by indices[i]] = updates[i] (or joined by `reduction`), i row-major.

    Inputs: x, indices (int32 or int64, negative from the end), updates of x's dtype and the indices' shape.
    `reduction`: none, add, mul, max, min; integers wrap. Source: ONNX ScatterElements-18.
    """
    x, indices, updates = (need(inputs, k) for k in range(3))
    axis, join = get_int(attrs, "axis", 0), REDUCTIONS[get_str(attrs, "reduction", "none")]
    y = x.copy()
    with np.errstate(all="ignore"):
        for place in np.ndindex(indices.shape):
            to = list(place)
            to[axis] = int(indices[place])
            y[tuple(to)] = join(y[tuple(to)], updates[place])
    return [y]
