"""LayerNormalization."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_float, get_int, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """mu = mean(x), v = mean((x - mu)^2) over the axes from `axis` on; y = (x - mu) / sqrt(v + epsilon) * scale + bias.

    Inputs: x float32; scale float32 (shape of those axes)?; bias float32?. Output: float32, x's shape. float64 here,
    rounded once. Source: ONNX LayerNormalization-17 (Ba et al. 2016).
    """
    x, scale, bias = need(inputs, 0).astype(np.float64), optional(inputs, 1), optional(inputs, 2)
    axes = tuple(range(get_int(attrs, "axis", -1) % x.ndim, x.ndim))
    with np.errstate(all="ignore"):
        centred = x - np.mean(x, axis=axes, keepdims=True)
        variance = np.mean(centred * centred, axis=axes, keepdims=True)
        y = centred / np.sqrt(variance + float(np.float32(get_float(attrs, "epsilon", 1e-5))))
        if scale is not None:
            y = y * scale
        if bias is not None:
            y = y + bias
        return [y.astype(np.float32)]
