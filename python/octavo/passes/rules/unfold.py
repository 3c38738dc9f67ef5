"""Convolutions and pools as gathers and products, for what the core's own do not serve: weights known at run time only,
one or three dimensions and more, the indices of a maximum. Spatial sizes must be known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from octavo.ir import Shape
from octavo.passes.context import F32, S8, S32, S64, U8, Context, Refuse, Rule
from octavo.passes.images import geometry, kernel_shape
from octavo.passes.match import ints
from octavo.passes.rules.composed import Writer
from octavo.passes.rules.products import literal, transposed_geometry

LARGEST = 1 << 22  # entries of an index table
Axes = Sequence[tuple[np.ndarray, np.ndarray]]  # for every axis: position [tap, output], and whether it is one


def first_of(rule: Rule, other: Rule) -> Rule:
    """The rule, or the other one where it refuses; the first one's reason when both do."""

    def either(c: Context) -> None:
        try:
            rule(c)
        except (Refuse, LookupError) as reason:
            c.patch.nodes.clear()
            try:
                other(c)
            except (Refuse, LookupError):
                raise Refuse(str(reason)) from None

    return either


def known(shape: Shape, what: str) -> list[int]:
    if any(not isinstance(d, int) for d in shape):
        raise Refuse(f"{what} are known only at run time")
    return [int(d) for d in shape if isinstance(d, int)]


def table(axes: Axes, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions `[taps, outputs]` in a tensor of these sizes (one past it where there is none), and where."""
    n = len(sizes)
    flat, valid = np.zeros([1] * (2 * n), np.int64), np.ones([1] * (2 * n), bool)
    if np.prod([float(position.size) for position, _ in axes]) > LARGEST:
        raise Refuse("its index table would be too large")
    for a, (position, inside) in enumerate(axes):
        shape = [1] * (2 * n)
        shape[a], shape[n + a] = position.shape
        flat = flat * sizes[a] + position.reshape(shape)
        valid = valid & inside.reshape(shape)
    taps = int(np.prod(flat.shape[:n]))
    flat = np.where(valid, flat, np.prod(sizes, dtype=np.int64)).reshape(taps, -1)
    return flat.astype(np.int64), valid.reshape(taps, -1)


def gathered(w: Writer, x: str, index: np.ndarray, size: int, fill: str) -> str:
    """x `[N, C, size]` at every entry of the index, `fill` where that is `size`: `[N, C, taps, outputs]`."""
    shape, dtype = w.shape(x), w.graph.dtype(x)
    if (index == size).any():
        pads = w.const([0, 0, 0, 0, 0, 1], np.int64)
        x = w.emit("Pad", [x, pads, fill], dtype, (*shape[:2], size + 1), mode="constant")
    return w.emit("Gather", [x, w.const(index, np.int64)], dtype, (*shape[:2], *index.shape), axis=2)


class Windows:
    """The windows of a Conv or pool node over an image of known size."""

    def __init__(self, c: Context, kernel: list[int]) -> None:
        shape = c.graph.shape(c.x) or ()
        self.sizes = known(shape[2:], "its image's sizes")
        if len(kernel) != len(self.sizes) or not kernel:
            raise Refuse("its kernel does not match its input's rank")
        g = geometry(c.graph, c.node, kernel)
        n, self.out = len(kernel), list[int]()
        axes, padded = [], []
        for a, (d, k) in enumerate(zip(self.sizes, kernel)):
            stride, dilation, before, after = g["strides"][a], g["dilations"][a], g["pads"][a], g["pads"][n + a]
            room = d + before + after - (k - 1) * dilation - 1
            if room < 0 or stride < 1 or dilation < 1 or before < 0 or after < 0:
                raise Refuse("its window does not fit")
            outputs = (-(-room // stride) if c.attr("ceil_mode", 0) else room // stride) + 1
            if c.attr("ceil_mode", 0) and (outputs - 1) * stride >= d + before:  # none begins in the padding at the end
                outputs -= 1
            position = np.arange(outputs) * stride - before + np.arange(k)[:, None] * dilation
            axes.append((position, (position >= 0) & (position < d)))
            padded.append((position, (position >= -before) & (position < d + after)))
            self.out.append(outputs)
        self.size = int(np.prod(self.sizes))
        self.index, self.inside = table(axes, self.sizes)
        self.padded = table(padded, self.sizes)[1]

    def of(self, w: Writer, x: str, fill: str) -> str:
        return gathered(w, w.reshape(x, [0, 0, -1]), self.index, self.size, fill)


def add_bias(c: Context, w: Writer, y: str, k: int) -> None:
    """The last step: y plus input k, one number a channel."""
    if not c.node.input(k):
        return c.emit("Identity", [y])
    w.binary("Add", y, w.unsqueeze(c.node.inputs[k], list(range(1, len(w.shape(y)) - 1))), c.y)


def conv(c: Context) -> None:
    """Windows as columns, times the weights: y `[N, group, O / group, pixels]`."""
    integers = c.node.op == "ConvInteger"
    if integers and not (c.dtype(0) in (U8, S8) and c.dtype(1) in (U8, S8)):
        raise Refuse("its operands are not 8-bit integers")
    if not integers:
        c.need_f32(0, 1, 2)
    w = Writer(c)
    weights, group = known(w.shape(c.node.inputs[1]), "its weights' sizes"), int(c.attr("group", 1))
    view = Windows(c, weights[2:])
    depth = int(np.prod(weights[1:]))
    if group < 1 or weights[0] % group or w.shape(c.x)[1] != weights[1] * group:
        raise Refuse("its group does not divide its channels")
    fill = w.like(0, c.x)
    if integers and c.node.input(2):
        fill = w.reshape(c.node.inputs[2], [])
    turned = integers and bool(c.node.input(3)) and w.shape(c.node.inputs[3]) not in ((), (1,))
    if turned and group > 1:
        raise Refuse("its grouped weights have several zero points")
    pixels = view.index.shape[1]
    columns = w.reshape(view.of(w, c.x, fill), [0, group, depth, pixels])
    rows = w.reshape(c.node.inputs[1], [group, weights[0] // group, depth])
    shape: Shape = (w.shape(c.x)[0], group, weights[0] // group, pixels)
    if integers:
        zeros = [c.node.input(3), c.node.input(2)]
        sides = [rows, columns]
        if turned:  # a zero point a column is what the product has: columns and rows change places
            sides = [c.patch.transpose(columns, [0, 1, 3, 2]), c.patch.transpose(rows, [0, 2, 1])]
            zeros, shape = zeros[::-1], (shape[0], 1, pixels, weights[0])
        y = w.emit("MatMulInteger", [*sides, *zeros[: 2 if zeros[1] else 1 if zeros[0] else 0]], S32, shape)
        if turned:
            y = c.patch.transpose(y, [0, 1, 3, 2])
        return c.emit("Reshape", [y, c.const_ints([0, weights[0], *view.out], "shape")])
    y = w.emit("MatMul", [rows, columns], F32, shape, **literal(c))
    add_bias(c, w, w.reshape(y, [0, weights[0], *view.out]), 2)


def max_pool(c: Context) -> None:
    if c.dtype() not in (F32, U8, S8):
        raise Refuse(f"the core does not pool {c.dtype()}")
    w, view = Writer(c), Windows(c, kernel_shape(c.graph, c.node))
    least = -np.inf if c.dtype() == F32 else np.iinfo(c.dtype()).min
    columns = view.of(w, c.x, w.like(least, c.x))
    shape = [0, 0, *view.out]
    w.reshape(w.reduce("Max", columns, [2], keep=False), shape, c.y)
    if len(c.node.outputs) < 2 or not c.node.outputs[1]:
        return
    # Where the maximum was: its tap names an entry of the index table; then the image's plane is added.
    lead, pixels = w.shape(columns)[:2], view.index.shape[1]
    best = w.emit("ArgMax", [columns], S64, (*lead, pixels), axis=2, keepdims=0)
    entry = w.binary("Add", w.binary("Mul", best, w.const(pixels, np.int64)), w.const(np.arange(pixels), np.int64))
    places = view.index
    if c.attr("storage_order", 0):
        where = np.unravel_index(np.minimum(places, view.size - 1), view.sizes)
        places = np.asarray(np.ravel_multi_index(where, view.sizes, order="F"))
    at = w.emit("Gather", [w.const(places.reshape(-1), np.int64), entry], S64, (*lead, pixels), axis=0)
    channels = w.unsqueeze(w.length(c.x, 1), [0])
    plane = w.binary("Add", w.binary("Mul", w.index(best, 0), channels), w.index(best, 1))
    total = w.binary("Add", at, w.binary("Mul", plane, w.const(view.size, np.int64)))
    w.reshape(total, shape, c.node.outputs[1])


def average_pool(c: Context) -> None:
    c.need_f32()
    w, view = Writer(c), Windows(c, kernel_shape(c.graph, c.node))
    total = w.reduce("Sum", view.of(w, c.x, w.like(0, c.x)), [2], keep=False)
    counted = view.padded if c.attr("count_include_pad", 0) else view.inside
    mean = w.binary("Div", total, w.const(counted.sum(0), np.float32))
    w.reshape(mean, [0, 0, *view.out], c.y)


# -- the other way round: columns added up to an image -----------------------------------------------------------------


def folded(w: Writer, columns: str, kernel: list[int], sizes: list[int], out: list[int], g: dict[str, Any]) -> str:
    """Columns `[N, C, taps * pixels]` of windows at `sizes` positions => `[N, C, outputs]`, overlaps added."""
    axes = []
    for a, (k, d, q) in enumerate(zip(kernel, sizes, out)):
        stride, dilation, before = g["strides"][a], g["dilations"][a], g["pads"][a]
        if stride < 1 or dilation < 1 or q < 1:
            raise Refuse("its window does not fit")
        steps = np.arange(q) + before - np.arange(k)[:, None] * dilation
        axes.append((steps // stride, (steps >= 0) & (steps % stride == 0) & (steps // stride < d)))
    position, valid = table(axes, sizes)
    pixels, taps = int(np.prod(sizes)), position.shape[0]
    index = np.where(valid, position + np.arange(taps)[:, None] * pixels, taps * pixels)
    return w.reduce("Sum", gathered(w, columns, index, taps * pixels, w.const(0, np.float32)), [2], keep=False)


def conv_transpose(c: Context) -> None:
    """The weights, transposed, times the pixels; then each pixel's window is added to the output."""
    c.need_f32(0, 1, 2)
    w = Writer(c)
    weights, group = known(w.shape(c.node.inputs[1]), "its weights' sizes"), int(c.attr("group", 1))
    shape = w.shape(c.x)
    sizes, kernel = known(shape[2:], "its image's sizes"), weights[2:]
    if len(sizes) != len(kernel) or group < 1 or weights[0] % group or shape[1] != weights[0]:
        raise Refuse("its weights do not fit its input")
    g = transposed_geometry(c, np.broadcast_to(np.float32(0), weights))
    n, channels = len(kernel), weights[1] * group
    out = [
        s * (d - 1) + e + (k - 1) * dil + 1 - before - after
        for s, d, e, k, dil, before, after in zip(
            g["strides"], sizes, g["output_padding"], kernel, g["dilations"], g["pads"][:n], g["pads"][n:]
        )
    ]
    pixels, wide = int(np.prod(sizes)), int(np.prod(weights[1:]))
    rows = c.patch.transpose(w.reshape(c.node.inputs[1], [group, weights[0] // group, wide]), [0, 2, 1])
    image = w.reshape(c.x, [0, group, weights[0] // group, pixels])
    columns = w.emit("MatMul", [rows, image], F32, (shape[0], group, wide, pixels), **literal(c))
    y = folded(w, w.reshape(columns, [0, channels, int(np.prod(kernel)) * pixels]), kernel, sizes, out, g)
    add_bias(c, w, w.reshape(y, [0, channels, *out]), 2)


def col2im(c: Context) -> None:
    c.need_f32()
    w, shape = Writer(c), Writer(c).shape(c.x)
    out, kernel = (ints(c.graph, c.node, "", k) or [] for k in (1, 2))
    n = len(kernel)
    g = {
        "strides": c.attr("strides", None) or [1] * n,
        "dilations": c.attr("dilations", None) or [1] * n,
        "pads": c.attr("pads", None) or [0] * (2 * n),
    }
    taps = int(np.prod(kernel))
    (wide,) = known(shape[1:2], "its channels")
    if len(shape) != 3 or len(out) != n or not n or wide % taps:
        raise Refuse("its block_shape does not fit its input")
    sizes = [
        (d + g["pads"][a] + g["pads"][n + a] - (k - 1) * g["dilations"][a] - 1) // g["strides"][a] + 1
        for a, (d, k) in enumerate(zip(out, kernel))
    ]
    columns = w.reshape(c.x, [0, wide // taps, taps * int(np.prod(sizes))])
    w.reshape(folded(w, columns, kernel, sizes, out, g), [0, wide // taps, *out], c.y)


RULES: dict[str, Rule] = {
    "Conv": conv,
    "ConvInteger": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Col2Im": col2im,
}
