"""Reduce: sums, means and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_ints, get_str, need, optional


def _least(dtype: np.dtype[Any]) -> float | int:
    return -np.inf if np.issubdtype(dtype, np.floating) else int(np.iinfo(dtype).min)


def _greatest(dtype: np.dtype[Any]) -> float | int:
    return np.inf if np.issubdtype(dtype, np.floating) else int(np.iinfo(dtype).max)


def _mean(x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    total = np.asarray(np.sum(x, axis=axes, keepdims=keep, dtype=x.dtype))
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    if np.issubdtype(x.dtype, np.floating):
        return np.asarray(total / count)
    if count == 0:
        return total
    return np.asarray(np.sign(total) * (np.abs(total) // count)).astype(x.dtype)


FUNCTIONS: dict[str, Callable[[Array, tuple[int, ...], bool], Array]] = {
    "Mean": _mean,
    "Sum": lambda x, axes, keep: np.asarray(np.sum(x, axis=axes, keepdims=keep, dtype=x.dtype)),
    "Max": lambda x, axes, keep: np.asarray(np.max(x, axis=axes, keepdims=keep, initial=_least(x.dtype))),
    "Min": lambda x, axes, keep: np.asarray(np.min(x, axis=axes, keepdims=keep, initial=_greatest(x.dtype))),
    "Prod": lambda x, axes, keep: np.asarray(np.prod(x, axis=axes, keepdims=keep, dtype=x.dtype)),
    "SumSquare": lambda x, axes, keep: np.asarray(np.sum(x * x, axis=axes, keepdims=keep, dtype=x.dtype)),
    "L1": lambda x, axes, keep: np.asarray(np.sum(np.abs(x), axis=axes, keepdims=keep, dtype=x.dtype)),
    "L2": lambda x, axes, keep: np.sqrt(np.asarray(np.sum(x * x, axis=axes, keepdims=keep, dtype=x.dtype))),
}


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = fn over `axes` (attribute, or input 1 int64); none means all, or nothing with `noop_with_empty_axes`.

    Input: x float32, float64 or an integer. Output: the same dtype, reduced axes kept as 1 or dropped (`keepdims`).
    float32 is summed here in float64 and rounded once; the core sums in 16 virtual lanes (docs/arithmetic.md). Integers
    wrap, and their mean truncates toward zero. Source: ONNX ReduceMean-18 and its sisters.
    """
    x, given = need(inputs, 0), optional(inputs, 1)
    axes = [int(a) for a in given] if given is not None else get_ints(attrs, "axes", [])
    if not axes and get_int(attrs, "noop_with_empty_axes", 0):
        return [x]
    normal = tuple(axis % x.ndim for axis in axes) if axes else tuple(range(x.ndim))
    wide = x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x
    with np.errstate(all="ignore"):
        y = FUNCTIONS[get_str(attrs, "fn")](wide, normal, bool(get_int(attrs, "keepdims", 1)))
        return [np.asarray(y).astype(x.dtype)]
