"""Weights stored small, restored to float32: what MatMul, Conv and Gather read with the attribute `w_type`."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_ints, need, optional
from .cast import DTYPES

TWO_BITS = {np.dtype(ml_dtypes.uint2), np.dtype(ml_dtypes.int2)}
FOUR_BITS = {np.dtype(t) for t in (ml_dtypes.uint4, ml_dtypes.int4, ml_dtypes.float4_e2m1fn)}


def bits_of(dtype: np.dtype[Any]) -> int:
    """Bits of one packed element."""
    return 2 if dtype in TWO_BITS else 4 if dtype in FOUR_BITS else 8 * dtype.itemsize


def pack(array: Array) -> Array:
    """Elements in row-major order without gaps, the first in the low bits: uint8 [ceil(n * bits / 8)]."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    bits = bits_of(array.dtype)
    if bits >= 8:
        return flat
    each = 8 // bits
    padded = np.zeros(-(-flat.size // each) * each, np.uint8)
    padded[: flat.size] = flat & ((1 << bits) - 1)
    packed = padded[::each].copy()
    for k in range(1, each):
        packed |= padded[k::each] << np.uint8(k * bits)
    return packed


def unpack(packed: Array, dtype: np.dtype[Any], shape: list[int]) -> Array:
    """The opposite of pack()."""
    bits, count = bits_of(dtype), int(np.prod(shape, dtype=np.int64))
    if bits >= 8:
        return packed.view(dtype).reshape(shape)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed[:, np.newaxis] >> shifts & np.uint8((1 << bits) - 1)).reshape(-1)[:count]
    return codes.view(dtype).reshape(shape)


def weights(inputs: Inputs, attrs: Attributes, codes: int, extra: int) -> Array:
    """The float32 weights [w_shape] of a step whose input `codes` may be stored small; input `codes` itself otherwise.

    W[r, c] = fl(fl(value(code) - zp[p]) * scale[p]), p = (r // w_block[0], c // w_block[1]); value(code) is the number
    a code of dtype w_type stands for, or table[code]. Scale (float32 [ceil(R / w_block[0]), ceil(C / w_block[1])]), zp
    (uint8, int8 or float32, as many or one) and table (float32 [2^bits]) are the inputs from `extra` on, all optional.
    With `w_sparse`, input `codes` holds the elements that are not zero, and those from `extra` on are where each row
    starts and the elements' columns. Source: ONNX DequantizeLinear-25, Gather-13, SparseTensorProto.
    """
    stored = need(inputs, codes)
    if "w_type" not in attrs or (get_int(attrs, "w_type") == 1 and not get_int(attrs, "w_sparse", 0)):
        return stored  # float32, constant or computed
    shape = get_ints(attrs, "w_shape")
    if get_int(attrs, "w_sparse", 0):
        full = np.zeros((shape[0], int(np.prod(shape[1:]))), np.float32)
        full[np.repeat(np.arange(shape[0]), np.diff(need(inputs, extra))), need(inputs, extra + 1)] = stored
        return full.reshape(shape)
    q = unpack(stored, np.dtype(DTYPES[get_int(attrs, "w_type")]), shape)
    scale, zero, table = (optional(inputs, k) for k in range(extra, extra + 3))
    value = q.astype(np.float32) if table is None else table[q.astype(np.int64)]
    if scale is None:
        return value
    value = value.reshape(shape[0], -1)
    rows, columns = get_ints(attrs, "w_block")
    r, c = (np.arange(n) // b for n, b in zip(value.shape, (rows, columns)))
    grid = (int(r[-1]) + 1, int(c[-1]) + 1)
    with np.errstate(all="ignore"):
        if zero is not None:
            zero = zero.astype(np.float32)
            value = value - (zero.reshape(()) if zero.size == 1 else zero.reshape(grid)[np.ix_(r, c)])
        return np.asarray(value * scale.reshape(grid)[np.ix_(r, c)], np.float32).reshape(shape)
