"""GridSample: images read at the points of a grid."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, get_str, need


def _reflect(x: Array, low: float, high: float) -> Array:
    size = high - low
    if not size > 0:
        return np.full_like(x, low)
    away = np.where(x < low, low - x, np.where(x > high, x - high, 0.0))
    times = np.floor(away / size)
    rest = away - times * size
    return np.where(away == 0, x, np.where((x < low) == (times % 2 == 0), low + rest, high - rest))


def _cubic(x: Array) -> list[Array]:
    a, u = -0.75, 1.0 - x
    return [
        ((a * (x + 1.0) - 5.0 * a) * (x + 1.0) + 8.0 * a) * (x + 1.0) - 4.0 * a,
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        ((a + 2.0) * u - (a + 3.0)) * u * u + 1.0,
        ((a * (u + 1.0) - 5.0 * a) * (u + 1.0) + 8.0 * a) * (u + 1.0) - 4.0 * a,
    ]


def _taps(v: Array, n: int, attrs: Attributes) -> list[tuple[Array, Array]]:
    """(index, -1 outside; weight) of every tap along one axis."""
    align, mode = get_int(attrs, "align_corners", 0), get_str(attrs, "mode", "linear")
    padding = get_str(attrs, "padding_mode", "zeros")
    low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
    x = (v + 1.0) / 2.0 * (n - 1) if align else ((v + 1.0) * n - 1.0) / 2.0
    x = np.where(x > -1e12, np.minimum(x, 1e12), -1e12)
    if mode == "nearest":
        x = np.rint(x)
    if padding == "border":
        x = np.where((x < low) | (x > high), np.clip(x, 0.0, n - 1.0), x)
    if padding == "reflection":
        x = _reflect(x, low, high)

    def inside(i: Array) -> Array:
        if padding == "zeros":
            return np.where((i >= 0) & (i < n), i, -1)
        if padding == "reflection":
            i = np.trunc(_reflect(i.astype(np.float64), low, high)).astype(np.int64)
        return np.clip(i, 0, n - 1)

    if mode == "nearest":
        return [(inside(np.trunc(x).astype(np.int64)), np.ones_like(x))]
    first = np.floor(x)
    part = x - first
    weights = [1.0 - part, part] if mode == "linear" else _cubic(part)
    base = first.astype(np.int64) - (mode == "cubic")
    return [(inside(base + k), w) for k, w in enumerate(weights)]


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y[n, c, o..] = x[n, c] interpolated at grid[n, o..], whose coordinates in [-1, 1] name the last axis first.

    Inputs: x float32 `[N, C, 1 to 3 axes]`, grid float32 `[N, sizes.., axes]`. `mode` nearest, linear, cubic;
    `padding_mode` zeros, border, reflection; `align_corners`. In float64, rounded once. Source: ONNX GridSample-22.
    """
    x, grid = need(inputs, 0), need(inputs, 1).astype(np.float64)
    axes = x.ndim - 2
    with np.errstate(all="ignore"):
        taps = [_taps(grid[..., axes - 1 - a], x.shape[2 + a], attrs) for a in range(axes)]
        image = np.arange(x.shape[0]).reshape(-1, *[1] * axes)

        def total(axis: int, index: tuple[Array, ...], outside: Array) -> Array:
            if axis == axes:
                place = (image, *index)
                value = np.moveaxis(x, 1, -1)[place].astype(np.float64)
                return np.where(outside[..., None], 0.0, value)
            y = np.zeros((*grid.shape[:-1], x.shape[1]))
            for at, weight in taps[axis]:
                y = y + weight[..., None] * total(axis + 1, (*index, np.maximum(at, 0)), outside | (at < 0))
            return y

        y = total(0, (), np.zeros(grid.shape[:-1], bool))
        return [np.ascontiguousarray(np.moveaxis(y, -1, 1)).astype(np.float32)]
