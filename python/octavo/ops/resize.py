"""Resize: interpolation, one axis after the other."""

from __future__ import annotations

import math

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_f32, get_int, get_str, need, optional


def _source(i: int, scale: float, size: int, out: int, mode: str) -> float:
    """Where output coordinate i lies in the input."""
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        wide = scale * size  # not rounded down to `out`: onnx's node tests ask for it
        return 0.0 if wide == 1 else i * (size - 1) / (wide - 1)
    if mode == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if out > 1 else 0.0
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - out / (scale * size)) + (i + 0.5) / scale - 0.5
    if mode == "half_pixel":
        return (i + 0.5) / scale - 0.5
    raise ValueError(f"coordinate_transformation_mode {mode!r}")


def _nearest(x: float, mode: str) -> int:
    if mode == "round_prefer_floor":
        return math.ceil(x - 0.5)
    if mode == "round_prefer_ceil":
        return math.floor(x + 0.5)
    return math.floor(x) if mode == "floor" else math.ceil(x)


def _cubic(t: float, a: float) -> list[float]:
    """Keys 1981: weights of the pixels at -1, 0, 1, 2 for a point at t in [0, 1)."""
    return [
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
        ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
    ]


def _matrix(size: int, out: int, scale: float, attrs: Attributes) -> Array:
    """The [out, size] matrix that resizes one axis."""
    mode = get_str(attrs, "mode", "nearest")
    transform = get_str(attrs, "coordinate_transformation_mode", "half_pixel")
    matrix = np.zeros((out, size))
    for i in range(out):
        x = _source(i, scale, size, out, transform)
        if mode == "nearest":
            taps = [(_nearest(x, get_str(attrs, "nearest_mode", "round_prefer_floor")), 1.0)]
        elif mode == "linear":
            first = math.floor(x)
            taps = [(first, 1 - (x - first)), (first + 1, x - first)]
        else:
            first = math.floor(x)
            a = float(get_f32(attrs, "cubic_coeff_a", -0.75))
            taps = [(first + k - 1, weight) for k, weight in enumerate(_cubic(x - first, a))]
        if get_int(attrs, "exclude_outside", 0) and mode != "nearest":
            inside = [(k, weight) for k, weight in taps if 0 <= k < size]
            total = sum(weight for _, weight in inside)
            taps = [(k, weight / total) for k, weight in inside]
        for k, weight in taps:
            matrix[i, min(max(k, 0), size - 1)] += weight
    return matrix


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y[p] = sum of x around source(p), separably per axis; an axis that keeps its size is copied.

    Inputs: x (float32; any dtype for nearest); sizes int64 [rank]? (whole output shape) or scales float32 [rank]?
    (out = floor(in * scale)). Output: x's dtype. float64 here, rounded once. Source: ONNX Resize-19.
    """
    x, sizes, scales = need(inputs, 0), optional(inputs, 1), optional(inputs, 2)
    y = x if get_str(attrs, "mode", "nearest") == "nearest" else x.astype(np.float64)
    for axis in range(x.ndim):
        size = x.shape[axis]
        if sizes is not None and sizes.size:
            out = int(sizes[axis])
            scale = out / size if size else 1.0
        elif scales is not None:
            scale = float(scales[axis])
            out = math.floor(size * scale)
        else:
            raise ValueError("Resize needs sizes or scales")
        if out == size and scale == 1.0:
            continue
        matrix = _matrix(size, out, scale, attrs)
        if get_str(attrs, "mode", "nearest") == "nearest":
            y = np.take(y, np.argmax(matrix, axis=1), axis=axis)
        else:
            y = np.moveaxis(np.tensordot(matrix, y, axes=(1, axis)), 0, axis)
    return [np.ascontiguousarray(y).astype(x.dtype)]
