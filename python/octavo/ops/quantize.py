"""Quantize: float32 to uint8 with parameters known when the plan is made."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, get_ints, get_str, need, optional
from ._integer import quantize_value


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = clamp(rne(fl(x / s)) + y_zp, lo, hi), then transposed by `perm` when that is given.

    Inputs: x float32; s float32 [C] along `axis`? (else attribute `y_scale`). Output: uint8.
    NaN gives clamp(y_zp), or ValueError when `graph_input` is set. Source: ONNX QuantizeLinear-13.
    """
    x, scale = need(inputs, 0), optional(inputs, 1)
    if get_int(attrs, "graph_input", 0) and np.isnan(x).any():
        raise ValueError(f"{get_str(attrs, 'source')} contains NaN")
    if scale is None:
        scale = np.asarray(get_f32(attrs, "y_scale"))
    else:
        axis = get_int(attrs, "axis", 1) % x.ndim
        scale = scale.reshape([-1 if k == axis else 1 for k in range(x.ndim)])
    with np.errstate(all="ignore"):
        quotient = (x / scale).astype(np.float32)
    y = quantize_value(quotient, get_int(attrs, "y_zp", 0), get_int(attrs, "lo", 0), get_int(attrs, "hi", 255))
    y = np.asarray(y).astype(np.uint8)
    return [np.ascontiguousarray(y.transpose(get_ints(attrs, "perm"))) if "perm" in attrs else y]
