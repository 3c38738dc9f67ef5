"""Cast: change of element type."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need
from ._integer import integer_dtype_range

# ONNX's TensorProto.DataType.
DTYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
}


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = x as dtype `to` (ONNX's number).

    Float to integer truncates toward zero and saturates, NaN gives 0; integer to integer keeps the low bits; to bool
    is x != 0 (NaN is true); to a float rounds half to even. Source: ONNX Cast-21, which leaves overflow open.
    """
    x, dtype = need(inputs, 0), np.dtype(DTYPES[get_int(attrs, "to")])
    if dtype == np.bool_:
        return [np.asarray(x != 0)]
    if not (np.issubdtype(x.dtype, np.floating) and np.issubdtype(dtype, np.integer)):
        with np.errstate(over="ignore"):
            return [x.astype(dtype)]
    lo, hi = integer_dtype_range(dtype)
    whole = np.trunc(np.where(np.isnan(x), 0, x).astype(np.float64))
    inside = (whole >= lo) & (whole < float(hi + 1))
    y = np.where(inside, whole, 0).astype(dtype)
    return [np.where(inside, y, np.where(whole < lo, lo, hi).astype(dtype)).astype(dtype)]
