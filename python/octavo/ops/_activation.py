"""The fused epilogue of the float operators: bias, residual, activation, each stage rounded to float32."""

from __future__ import annotations

import numpy as np

from . import unary
from ._attributes import Array, Attributes, get_str


def activation(y: Array, attrs: Attributes) -> Array:
    """act(y) by the attributes `act`, `act_alpha`, `act_beta`, `act_lo`, `act_hi`; y itself when `act` is empty."""
    fn = get_str(attrs, "act")
    if not fn:
        return y
    parameters: dict[str, object] = {"fn": fn}
    for key in ("alpha", "beta", "lo", "hi"):
        if f"act_{key}" in attrs:
            parameters[key] = attrs[f"act_{key}"]
    return unary.reference([y], parameters)[0]


def epilogue(y: Array, bias: Array | None, z: Array | None, attrs: Attributes) -> Array:
    """act((y + bias) + z) of float32 y; bias lies along the last axis, z has y's shape."""
    with np.errstate(all="ignore"):
        if bias is not None:
            y = (y + bias).astype(np.float32)
        if z is not None:
            y = (y + z).astype(np.float32)
    return activation(y, attrs)
