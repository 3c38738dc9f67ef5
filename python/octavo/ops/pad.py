"""Pad: a border around a tensor."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_str, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inputs: x; pads int64 [2 * axes] (all begins, then all ends; negative crops); value scalar? (default 0); axes
    int64?. `mode`: constant, reflect, edge or wrap. Any dtype. Source: ONNX Pad-21.
    """
    x, pads = need(inputs, 0), [int(p) for p in need(inputs, 1)]
    value, given = optional(inputs, 2), optional(inputs, 3)
    axes = [int(a) % x.ndim for a in given] if given is not None else list(range(x.ndim))
    widths = [(0, 0)] * x.ndim
    for k, axis in enumerate(axes):
        widths[axis] = (pads[k], pads[k + len(axes)])
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True))]
    grow = [(max(a, 0), max(b, 0)) for a, b in widths]
    mode = get_str(attrs, "mode", "constant")
    if mode == "constant":
        fill = x.dtype.type(0) if value is None else value.reshape(())[()]
        return [np.pad(x, grow, mode="constant", constant_values=fill)]
    if mode == "reflect":
        return [np.pad(x, grow, mode="reflect")]
    return [np.pad(x, grow, mode="edge") if mode == "edge" else np.pad(x, grow, mode="wrap")]
