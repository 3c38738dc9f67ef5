"""Conv: float convolution with a fused epilogue."""

from __future__ import annotations

import numpy as np

from ._activation import epilogue
from ._attributes import Array, Attributes, Inputs, need, optional
from ._restore import weights
from ._window import convolve


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = act((sum_{i,j,c} x * w + bias) + z), the sum in float64 and rounded once.

    Inputs: x float32 [N, H, W, C]; w float32 [O, kH, kW, C/group], or stored small (inputs 4 to 6); bias float32 [O]?;
    z float32, shape of y?. One
    dimension less for the 1-D form. Output: float32 [N, OH, OW, O].
    The core sums by one float32 fma chain from 0 with (i, j, c) ascending: it agrees within K * 2^-24 * sum |x||w|
    before the activation; with `acc64` it does what this function does. Source: ONNX Conv-22.
    """
    with np.errstate(over="ignore"):
        y = convolve(need(inputs, 0), weights(inputs, attrs, 1, 4), attrs, 0.0, np.float64).astype(np.float32)
    return [epilogue(y, optional(inputs, 2), optional(inputs, 3), attrs)]
