"""QSoftmax: softmax of bytes in integers."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need
from ._fixed import exp_negative, high, pair, reciprocal_above_one, rounded_shift, scaled

INTEGER_BITS = 5  # of the differences
SUM_BITS = 12  # of the sum of exponentials


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """softmax along the last axis, in units of 1/256: y = clamp(shifted(exp(d) / sum exp(d))), d = x - max x.

    d enters as scaled(d, fixed) with five integer bits; d < diff_min gives 0 and does not count in the sum.
    Input: x uint8 [.., K]. Output: uint8, x's shape. At most 4096 elements along the axis: the sum has 12 integer bits.
    Source: TensorFlow Lite's reference SOFTMAX of 8-bit tensors.
    """
    x = need(inputs, 0).astype(np.int64)
    if x.size == 0:
        return [x.astype(np.uint8)]
    d = x - x.max(axis=-1, keepdims=True)
    counts = d >= get_int(attrs, "diff_min")
    e = exp_negative(scaled(np.where(counts, d, 0), *pair(attrs, "fixed")), INTEGER_BITS)
    total = np.where(counts, rounded_shift(e, SUM_BITS), 0).sum(axis=-1, keepdims=True)
    bits = np.frompyfunc(int.bit_length, 1, 1)(total).astype(np.int64)
    inverse = reciprocal_above_one((total << (32 - bits)) - 2**31)
    over_unit = SUM_BITS - (32 - bits)
    y = rounded_shift(high(inverse, e), over_unit + 31 - 8)
    return [np.where(counts, np.minimum(y, 255), 0).astype(np.uint8)]
