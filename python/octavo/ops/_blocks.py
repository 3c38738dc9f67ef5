"""How ONNX spreads quantization parameters over a tensor: one, one per channel, or one per block."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, get_int


def spread(parameter: Array, x: Array, attrs: Attributes) -> Array:
    """`parameter` in a shape that broadcasts against x.

    Scalar: for all of x. [C]: along `axis`. Rank of x with block_size > 0: each value serves `block_size` neighbours
    along `axis`. Source: ONNX QuantizeLinear-21.
    """
    block = get_int(attrs, "block_size", 0)
    if parameter.size == 1 and block == 0:
        return parameter.reshape(())
    axis = get_int(attrs, "axis", 1) % x.ndim
    if block:
        repeated = np.repeat(parameter, block, axis=axis)
        return np.take(repeated, np.arange(x.shape[axis]), axis=axis)
    return parameter.reshape([-1 if k == axis else 1 for k in range(x.ndim)])
