"""Convolutions and products with their gradients: what reconstruction learns by. Images are channels-last here.

A convolution is a product a tap of its kernel, so that nothing is laid out anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from octavo.compress.write import channel_axis
from octavo.ir import Graph, Node
from octavo.passes.images import geometry

CACHE = 1 << 19  # bytes of a few images that several passes go over


class Product:
    """A Conv or Gemm. Its weights are kept as w [groups, taps, inputs, outputs], depthwise ones as [taps, channels]."""

    def __init__(self, graph: Graph, node: Node) -> None:
        """Raises LookupError where padding is known at run time only."""
        w = graph.const(node.inputs[1])
        assert w is not None
        self.conv = node.op == "Conv"
        self.groups = int(node.attrs.get("group", 1)) if self.conv else 1
        self.shape, self.axis = w.shape, channel_axis(node, w)
        self.kernel = w.shape[2:] if self.conv else ()
        n = len(self.kernel)
        where = geometry(graph, node, list(self.kernel)) if self.conv else {"strides": [], "dilations": [], "pads": []}
        self.strides, self.dilations, pads = where["strides"], where["dilations"], where["pads"]
        self.pads = list(zip(pads[:n], pads[n:]))
        self.outputs = w.shape[self.axis]
        self.depthwise = self.conv and self.groups == w.shape[0] and w.shape[1] == 1

    def packed(self, w: np.ndarray) -> np.ndarray:
        """The node's weights as they are kept here."""
        if self.depthwise:
            return np.ascontiguousarray(w.reshape(self.outputs, -1).T)
        if not self.conv:
            return np.ascontiguousarray(np.moveaxis(w, self.axis, -1))[None, None]
        split = w.reshape(self.groups, self.outputs // self.groups, w.shape[1], -1)
        return np.ascontiguousarray(split.transpose(0, 3, 2, 1))

    def unpacked(self, w: np.ndarray) -> np.ndarray:
        """As the node has them."""
        if self.depthwise:
            return w.T.reshape(self.shape)
        if not self.conv:
            return np.moveaxis(w[0, 0], -1, self.axis)
        return w.transpose(0, 3, 2, 1).reshape(self.shape)

    def taps(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """Where in the padded input of this shape each tap of the kernel looks."""
        sizes = [
            (d - (k - 1) * dil - 1) // s + 1
            for d, k, dil, s in zip(shape[1:-1], self.kernel, self.dilations, self.strides)
        ]
        for offset in itertools.product(*map(range, self.kernel)):
            starts = [o * d for o, d in zip(offset, self.dilations)]
            ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, sizes, self.strides)]
            yield (slice(None), *map(slice, starts, ends, self.strides))

    def forward(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """x [N, ..., inputs] -> [N, ..., outputs]."""
        if not self.conv:
            return x @ w[0, 0] + bias
        if self.depthwise:
            return np.concatenate([self.filtered(self.padded(part), w, bias) for part in self.parts(x)])
        x = self.padded(x)
        y: np.ndarray | None = None
        for k, at in enumerate(self.taps(x.shape)):
            part = self.multiply(x[at], w[:, k])
            y = part if y is None else np.add(y, part, out=y)
        assert y is not None
        y += bias
        return y

    def padded(self, x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, 0), *self.pads, (0, 0)]) if any(map(any, self.pads)) else x

    def parts(self, *arrays: np.ndarray) -> list[Any]:
        """Along the batch, so small that the passes over one stay in the cache."""
        count = max(1, CACHE // max(1, arrays[0][:1].nbytes))
        parts = [tuple(a[k : k + count] for a in arrays) for k in range(0, len(arrays[0]), count)]
        return parts if len(arrays) > 1 else [part for (part,) in parts]

    def filtered(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """A depthwise convolution of padded images."""
        taps = list(self.taps(x.shape))
        y = x[taps[0]] * w[0]
        part = np.empty_like(y)
        for k, at in enumerate(taps[1:], 1):
            y += np.multiply(x[at], w[k], out=part)
        y += bias
        return y

    def multiply(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """x [..., groups * inputs] by w [groups, inputs, outputs]."""
        return np.matmul(self.grouped(x), w).transpose(1, 0, 2).reshape(*x.shape[:-1], -1)

    def grouped(self, x: np.ndarray) -> np.ndarray:
        """[groups, rows, channels of a group]."""
        rows = np.ascontiguousarray(x).reshape(-1, self.groups, x.shape[-1] // self.groups)
        return rows.transpose(1, 0, 2)

    def backward(
        self, x: np.ndarray, w: np.ndarray, dy: np.ndarray, wanted: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Gradients of w, of the bias and, where wanted, of x."""
        flat = dy.reshape(-1, dy.shape[-1])
        dbias = np.ones(len(flat), np.float32) @ flat
        if not self.conv:
            rows = x.reshape(-1, x.shape[-1])
            return (rows.T @ flat)[None, None], dbias, dy @ w[0, 0].T if wanted else None
        if self.depthwise:
            dw = np.zeros_like(w)
            found = [self.filtered_back(a, w, dw, g, wanted) for a, g in self.parts(x, dy)]
            return dw, dbias, np.concatenate(found) if wanted else None
        dw, dx = self.dense_back(x, w, dy, wanted)
        return dw, dbias, dx

    def dense_back(
        self, x: np.ndarray, w: np.ndarray, dy: np.ndarray, wanted: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        inner, x = x.shape, self.padded(x)
        dw, dx = np.empty_like(w), np.zeros_like(x) if wanted else None
        back = self.grouped(dy)
        for k, at in enumerate(self.taps(x.shape)):
            dw[:, k] = np.matmul(self.grouped(x[at]).transpose(0, 2, 1), back)
            if dx is not None:
                part = np.matmul(back, w[:, k].transpose(0, 2, 1))
                dx[at] += part.transpose(1, 0, 2).reshape(*dy.shape[:-1], x.shape[-1])
        return dw, None if dx is None else self.cropped(dx, inner)

    def cropped(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """What is left of padded images without the padding."""
        at = (slice(None), *(slice(a, a + n) for (a, _), n in zip(self.pads, shape[1:-1])))
        return x[at]

    def filtered_back(self, x: np.ndarray, w: np.ndarray, dw: np.ndarray, dy: np.ndarray, wanted: bool) -> Any:
        """Of a depthwise convolution: adds to dw, returns the gradient of x (where wanted)."""
        inner, x = x.shape, self.padded(x)
        dx, part = np.zeros_like(x) if wanted else None, np.empty_like(dy)
        ones = np.ones(dy.size // dy.shape[-1], np.float32)
        for k, at in enumerate(self.taps(x.shape)):
            dw[k] += ones @ np.multiply(x[at], dy, out=part).reshape(len(ones), -1)
            if dx is not None:
                dx[at] += np.multiply(dy, w[k], out=part)
        return dx if dx is None else self.cropped(dx, inner)
