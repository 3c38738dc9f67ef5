"""Sliding windows over channels-last images, shared by the convolutions and the pools."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._attributes import Array, Attributes, get_int, get_ints


class Geometry:
    """Kernel, strides, dilations, pads and output size of a 2-D window.

    A one-dimensional operator (`[N, W, C]`) is a two-dimensional one of height 1.
    """

    def __init__(self, size: tuple[int, int], kernel: list[int], attrs: Attributes, one_d: bool) -> None:
        def pair(key: str) -> tuple[int, int]:
            values = get_ints(attrs, key, [1] * (1 if one_d else 2))
            return (1, values[0]) if one_d else (values[0], values[1])

        self.kernel = (1, kernel[0]) if one_d else (kernel[0], kernel[1])
        self.strides, self.dilations = pair("strides"), pair("dilations")
        pads = get_ints(attrs, "pads", [0] * (2 if one_d else 4))
        self.begin = (0, pads[0]) if one_d else (pads[0], pads[1])
        self.end = (0, pads[1]) if one_d else (pads[2], pads[3])
        ceil = bool(get_int(attrs, "ceil_mode", 0))
        self.size = size
        self.out = tuple(self._out(axis, ceil) for axis in (0, 1))

    def _out(self, axis: int, ceil: bool) -> int:
        extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        room = self.size[axis] + self.begin[axis] + self.end[axis] - extent
        stride = self.strides[axis]
        if not ceil:
            return room // stride + 1
        out = -(-room // stride) + 1
        # A window that would start in the right padding is dropped (ONNX, MaxPool-22).
        return out - 1 if (out - 1) * stride >= self.size[axis] + self.begin[axis] else out

    def padded(self, x: Array, fill: float) -> Array:
        """x [N, H, W, C] with its border, and enough beyond it for the last window of ceil_mode."""
        widths = [(0, 0)]
        for axis in (0, 1):
            extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            reach = (self.out[axis] - 1) * self.strides[axis] + extent
            widths.append((self.begin[axis], max(self.end[axis], reach - self.begin[axis] - self.size[axis], 0)))
        return np.pad(x, [*widths, (0, 0)], constant_values=fill)

    def taps(self, padded: Array) -> Iterator[tuple[int, int, Array]]:
        """For each kernel position (i, j), what every window holds there: [N, OH, OW, C]."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                top, left = i * self.dilations[0], j * self.dilations[1]
                bottom = top + (self.out[0] - 1) * self.strides[0] + 1
                right = left + (self.out[1] - 1) * self.strides[1] + 1
                yield i, j, padded[:, top : bottom : self.strides[0], left : right : self.strides[1], :]

    def counts(self, include_pad: bool) -> Array:
        """How many pixels each window averages over, [1, OH, OW, 1] int64: the real ones, or with `include_pad` those
        of the padded image (never what ceil_mode adds beyond it)."""
        ones = np.ones((1, *self.size, 1), np.int64)
        if include_pad:
            pads = [(0, 0), (self.begin[0], self.end[0]), (self.begin[1], self.end[1]), (0, 0)]
            whole = np.pad(ones, pads, constant_values=1)
            grown = self.padded(ones, 0)
            grown[:, : whole.shape[1], : whole.shape[2]] = 1
        else:
            grown = self.padded(ones, 0)
        total = np.zeros((1, self.out[0], self.out[1], 1), np.int64)
        for _, _, tap in self.taps(grown):
            total += tap
        return total


def as_image(x: Array) -> Array:
    """[N, W, C] -> [N, 1, W, C]; [N, H, W, C] unchanged."""
    return x[:, None] if x.ndim == 3 else x


def convolve(x: Array, w: Array, attrs: Attributes, fill: float, accumulate: type) -> Array:
    """sum_{i,j,c} x[n, p*s + i*d - pad, .., g*C/group + c] * w[o, i, j, c] in dtype `accumulate`, [N, (OH,) OW, O].

    x: [N, (H,) W, C]; w: [O, (kH,) kW, C/group]; pixels outside the image hold `fill`.
    """
    one_d = x.ndim == 3
    image, filters = as_image(x), as_image(w)
    group = get_int(attrs, "group", 1)
    geometry = Geometry((image.shape[1], image.shape[2]), list(w.shape[1:-1]), attrs, one_d)
    padded: Array = geometry.padded(image, fill).astype(accumulate)
    filters = filters.astype(accumulate)
    out, depth = filters.shape[0], filters.shape[3]
    y: Array = np.zeros((image.shape[0], geometry.out[0], geometry.out[1], out), accumulate)
    per = out // group
    for i, j, tap in geometry.taps(padded):
        for g in range(group):
            part = tap[..., g * depth : (g + 1) * depth]
            y[..., g * per : (g + 1) * per] += part @ filters[g * per : (g + 1) * per, i, j, :].T
    return y[:, 0] if one_d else y
