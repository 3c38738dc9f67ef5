"""ONNX operators that are a handful of plan operators: masks, counts, norms and rarer elementwise functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.ir import Shape
from octavo.passes.context import F32, S64, Context, Refuse, Rule
from octavo.passes.images import geometry, kernel_shape
from octavo.passes.match import broadcast_shape, normal_axes, permuted, to_channels_first, to_channels_last

BOOL = np.dtype(bool)
COMPARISONS = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}


class Writer:
    """Writes plan nodes one after the other; the last one's result is to be the node's output (`out=c.y`)."""

    def __init__(self, c: Context) -> None:
        self.c, self.graph, self.patch = c, c.graph, c.patch

    def shape(self, x: str) -> Shape:
        shape = self.graph.shape(x)
        if shape is None:
            raise Refuse(f"the rank of '{x}' is not known")
        return shape

    def const(self, array: Any, dtype: Any) -> str:
        return self.graph.new_const(f"{self.c.y}/const", np.asarray(array, dtype))

    def like(self, value: Any, x: str) -> str:
        """A scalar of x's dtype."""
        return self.const(value, self.graph.dtype(x))

    def emit(self, op: str, inputs: list[str], dtype: Any, shape: Shape, out: str | None = None, **attrs: Any) -> str:
        return self.patch.emit(op, inputs, dtype, shape, attrs, out)

    def unary(self, fn: str, x: str, out: str | None = None, **attrs: Any) -> str:
        return self.emit("Unary", [x], self.graph.dtype(x), self.shape(x), out, fn=fn, **attrs)

    def binary(self, fn: str, a: str, b: str, out: str | None = None) -> str:
        shape = broadcast_shape(self.shape(a), self.shape(b))
        assert shape is not None
        dtype = BOOL if fn in COMPARISONS else self.graph.dtype(a)
        return self.emit("Binary", [a, b], dtype, shape, out, fn=fn)

    def where(self, condition: str, a: str, b: str, out: str | None = None) -> str:
        shape = broadcast_shape(broadcast_shape(self.shape(condition), self.shape(a)), self.shape(b))
        assert shape is not None
        return self.emit("Where", [condition, a, b], self.graph.dtype(a), shape, out)

    def reduce(self, fn: str, x: str, axes: list[int], out: str | None = None, keep: bool = True) -> str:
        shape = self.shape(x)
        kept = tuple(1 if k in axes else d for k, d in enumerate(shape) if keep or k not in axes)
        return self.emit("Reduce", [x], self.graph.dtype(x), kept, out, fn=fn, axes=axes, keepdims=int(keep))

    def cast(self, x: str, dtype: Any, out: str | None = None) -> str:
        from octavo.onnx_import import element_type

        if self.graph.dtype(x) == dtype:
            return x if out is None else self.emit("Identity", [x], dtype, self.shape(x), out)
        return self.emit("Cast", [x], dtype, self.shape(x), out, to=element_type(dtype))

    def reshape(self, x: str, dims: list[int], out: str | None = None) -> str:
        """dims as ONNX: 0 keeps, -1 is what is left."""
        shape = self.shape(x)
        to = tuple(shape[k] if d == 0 else None if d < 0 else d for k, d in enumerate(dims))
        return self.emit("Reshape", [x, self.const(dims, np.int64)], self.graph.dtype(x), to, out)

    def reshape_like(self, x: str, other: str, out: str | None = None) -> str:
        shape = self.shape(other)
        size = self.emit("Shape", [other], S64, (len(shape),))
        return self.emit("Reshape", [x, size], self.graph.dtype(x), shape, out)

    def unsqueeze(self, x: str, axes: list[int], out: str | None = None) -> str:
        shape = list(self.shape(x))
        for axis in sorted(axes):
            shape.insert(axis, 1)
        return self.emit("Unsqueeze", [x], self.graph.dtype(x), tuple(shape), out, axes=sorted(axes))

    def squeeze(self, x: str, axes: list[int], out: str | None = None) -> str:
        shape = tuple(d for k, d in enumerate(self.shape(x)) if k not in axes)
        return self.emit("Squeeze", [x], self.graph.dtype(x), shape, out, axes=sorted(axes))

    def length(self, x: str, axis: int) -> str:
        """The number of elements along an axis: an int64 scalar."""
        d = self.shape(x)[axis]
        if isinstance(d, int):
            return self.const(d, np.int64)
        return self.squeeze(self.emit("Shape", [x], S64, (1,), start=axis, end=axis + 1), [0])

    def count(self, limit: str) -> str:
        """0, 1, ... up to an int64 scalar."""
        return self.emit("Range", [self.const(0, np.int64), limit, self.const(1, np.int64)], S64, (None,))

    def index(self, x: str, axis: int) -> str:
        """Every element's index along an axis, broadcastable to x."""
        shape = self.shape(x)
        return self.unsqueeze(self.count(self.length(x, axis)), list(range(1, len(shape) - axis)))


def is_nan(c: Context) -> None:
    w = Writer(c)
    x = w.cast(c.x, F32)
    c.emit("Unary", [w.binary("Equal", x, x)], {"fn": "Not"})


def is_inf(c: Context) -> None:
    if c.dtype() == np.float64:
        raise Refuse("the core looks for infinities in float32 and float16")
    w, up, down = Writer(c), c.attr("detect_positive", 1), c.attr("detect_negative", 1)
    x = w.cast(c.x, F32)
    if up and down:
        return void(w.binary("Equal", w.unary("Abs", x), w.like(np.inf, x), c.y))
    bound = np.inf if up else -np.inf if down else np.nan  # nothing equals NaN
    w.binary("Equal", x, w.like(bound, x), c.y)


def void(_: object) -> None:
    """For rules that return early."""


def mean(c: Context) -> None:
    w, total = Writer(c), c.x
    for other in c.node.inputs[1:]:
        total = w.binary("Add", total, other)
    w.binary("Div", total, w.like(len(c.node.inputs), c.x), c.y)


def swish(c: Context) -> None:
    """x * sigmoid(alpha * x)"""
    c.need_f32()
    alpha = np.float32(c.attr("alpha", 1.0))
    if alpha == 1:
        return c.emit("Unary", [c.x], {"fn": "Silu"})
    w = Writer(c)
    w.binary("Mul", c.x, w.unary("Sigmoid", w.binary("Mul", c.x, w.like(alpha, c.x))), c.y)


def hardmax(c: Context) -> None:
    axis = normal_axes([int(c.attr("axis", -1 if c.graph.opset >= 13 else 1))], c.rank())[0]
    w, x = Writer(c), c.x
    several = c.graph.opset < 13 and axis != c.rank() - 1
    if several:  # before operator set 13: over all axes from `axis` on, as one
        x, axis = w.emit("Flatten", [x], c.dtype(), (None, None), axis=axis), 1
    shape = tuple(1 if k == axis else d for k, d in enumerate(w.shape(x)))
    best = w.emit("ArgMax", [x], S64, shape, axis=axis, keepdims=1)
    hit = w.cast(w.binary("Equal", w.index(x, axis), best), c.dtype(), None if several else c.y)
    if several:
        w.reshape_like(hit, c.x, c.y)


def diagonal(w: Writer, x: str, k: str) -> str:
    """column - row - k of the last two axes, int64."""
    rank = len(w.shape(x))
    return w.binary("Sub", w.binary("Sub", w.index(x, rank - 1), w.index(x, rank - 2)), k)


def trilu(c: Context) -> None:
    w, zero = Writer(c), Writer(c).const(0, np.int64)
    k = w.reshape(c.node.inputs[1], []) if c.node.input(1) else zero
    fn = "GreaterOrEqual" if c.attr("upper", 1) else "LessOrEqual"
    w.where(w.binary(fn, diagonal(w, c.x, k), zero), c.x, w.like(0, c.x), c.y)


def eye_like(c: Context) -> None:
    w = Writer(c)
    if c.rank() != 2:
        raise Refuse("EyeLike of other than a matrix")
    at = diagonal(w, c.x, w.const(int(c.attr("k", 0)), np.int64))
    w.cast(w.binary("Equal", at, w.const(0, np.int64)), c.graph.dtype(c.y), c.y)


def one_hot(c: Context) -> None:
    """Equal(index, 0 .. depth-1), and one of the two values."""
    w, rank = Writer(c), c.rank()
    axis = normal_axes([int(c.attr("axis", -1))], rank + 1)[0]
    depth = w.cast(w.reshape(c.node.inputs[1], []), S64)
    index = w.cast(c.x, S64)
    wrapped = w.where(w.binary("Less", index, w.const(0, np.int64)), w.binary("Add", index, depth), index)
    places = w.unsqueeze(w.count(depth), list(range(1, rank + 1 - axis)))
    hit = w.binary("Equal", w.unsqueeze(wrapped, [axis]), places)
    values, ends = c.node.inputs[2], []
    for k in (1, 0):
        part = w.emit("Gather", [values, w.const(k, np.int64)], c.dtype(2), (), axis=0)
        ends.append(part)
    w.where(hit, ends[0], ends[1], c.y)


def reverse_sequence(c: Context) -> None:
    """The first `lens` entries along the time axis backwards, by gathering."""
    w, time, batch = Writer(c), int(c.attr("time_axis", 0)), int(c.attr("batch_axis", 1))
    rank = c.rank()
    time, batch = normal_axes([time, batch], rank)
    at = w.index(c.x, time)
    lens = w.unsqueeze(w.cast(c.node.inputs[1], S64), list(range(1, rank - batch)))
    back = w.binary("Sub", w.binary("Sub", lens, w.const(1, np.int64)), at)
    index = w.where(w.binary("Less", at, lens), back, at)
    size = w.emit("Shape", [c.x], S64, (rank,))
    whole = w.emit("Expand", [index, size], S64, w.shape(c.x))
    c.emit("GatherElements", [c.x, whole], {"axis": time})


def dropout(c: Context) -> None:
    """Inference: the input, and a mask of ones."""
    training = c.graph.const(c.node.input(2))
    if c.node.input(2) and (training is None or training.reshape(-1)[0]):
        ratio = c.graph.const(c.node.input(1))
        if ratio is None or float(ratio.reshape(-1)[0]) != 0:
            raise Refuse("training mode")
    w = Writer(c)
    c.emit("Identity", [c.x])
    if len(c.node.outputs) > 1 and c.node.outputs[1]:
        mask = c.node.outputs[1]
        size = w.emit("Shape", [c.x], S64, (c.rank(),))
        w.emit("Expand", [w.const(1, c.graph.dtype(mask)), size], c.graph.dtype(mask), w.shape(c.x), mask)


# -- norms -------------------------------------------------------------------------------------------------------------


def lp_normalization(c: Context) -> None:
    """x / ||x||, and 0 where the norm is 0."""
    c.need_f32()
    axis = normal_axes([int(c.attr("axis", -1))], c.rank())[0]
    w = Writer(c)
    norm = w.reduce(f"L{power(c)}", c.x, [axis])
    zero = w.const(0, np.float32)
    w.where(w.binary("Equal", norm, zero), zero, w.binary("Div", c.x, norm), c.y)


def power(c: Context) -> int:
    p = int(c.attr("p", 2))
    if p not in (1, 2):
        raise Refuse(f"p = {p}")
    return p


def global_lp_pool(c: Context) -> None:
    c.need_f32()
    axes = list(range(2, c.rank()))
    w, p = Writer(c), int(c.attr("p", 2))
    if p in (1, 2):
        return void(w.reduce(f"L{p}", c.x, axes, c.y))
    raised = w.binary("Pow", w.unary("Abs", c.x), w.const(p, np.float32))
    w.binary("Pow", w.reduce("Sum", raised, axes), w.const(1 / p, np.float32), c.y)


def lp_pool(c: Context) -> None:
    """The p-th root of a window's sum of |x|^p: its mean, with the padding counted, times its size."""
    c.need_f32()
    if c.rank() not in (3, 4):
        raise Refuse("the core pools in one and two dimensions")
    if c.attr("ceil_mode", 0):
        raise Refuse("ceil_mode")
    kernel, p = kernel_shape(c.graph, c.node), int(c.attr("p", 2))
    w, shape = Writer(c), Writer(c).shape(c.y)
    x = w.unary("Abs", c.x)
    if p != 1:
        x = w.binary("Mul", x, x) if p == 2 else w.binary("Pow", x, w.const(p, np.float32))
    perm = to_channels_last(len(shape))
    attrs = {"kernel_shape": kernel, **geometry(c.graph, c.node, kernel), "count_include_pad": 1, "ceil_mode": 0}
    mean = w.emit("AveragePool", [c.patch.transpose(x, perm)], F32, permuted(shape, perm) or (), **attrs)
    total = w.binary("Mul", mean, w.const(np.prod(kernel), np.float32))
    if p != 1:
        total = w.unary("Sqrt", total) if p == 2 else w.binary("Pow", total, w.const(1 / p, np.float32))
    c.patch.transpose(total, to_channels_first(len(shape)), c.y)


def lrn(c: Context) -> None:
    """x / (bias + alpha / size * sum of squares over `size` neighbouring channels) ^ beta."""
    c.need_f32()
    if c.rank() < 3:
        raise Refuse("LRN of fewer than three dimensions")
    w, size = Writer(c), int(c.attr("size", 1))
    # Channels as the rows of an image: [N, C, pixels, 1], channels-last.
    squares = w.reshape(w.binary("Mul", c.x, c.x), [0, 0, -1, 1])
    attrs: dict[str, Any] = {
        "kernel_shape": [size, 1], "strides": [1, 1], "dilations": [1, 1],
        "pads": [(size - 1) // 2, 0, size - 1 - (size - 1) // 2, 0], "count_include_pad": 1, "ceil_mode": 0,
    }  # fmt: skip
    mean = w.emit("AveragePool", [squares], F32, w.shape(squares), **attrs)
    alpha, bias, beta = (w.like(c.attr(n, v), c.x) for n, v in (("alpha", 1e-4), ("bias", 1.0), ("beta", 0.75)))
    scaled = w.binary("Add", w.binary("Mul", mean, alpha), bias)
    root = w.binary("Pow", scaled, beta)
    w.binary("Div", c.x, w.reshape_like(root, c.x), c.y)


def instance_normalization(c: Context) -> None:
    """LayerNormalization of every image's channels, then one scale and bias a channel."""
    c.need_f32()
    w, rank = Writer(c), c.rank()
    flat = w.reshape(c.x, [0, 0, -1])
    normal = w.emit("LayerNormalization", [flat], F32, w.shape(flat), axis=2, epsilon=float(c.attr("epsilon", 1e-5)))
    whole = w.reshape_like(normal, c.x)
    scale, bias = (w.unsqueeze(c.node.inputs[k], list(range(1, rank - 1))) for k in (1, 2))
    w.binary("Add", w.binary("Mul", whole, scale), bias, c.y)


def batch_normalization(c: Context) -> None:
    """With statistics computed at run time: (x - mean) / sqrt(var + epsilon) * scale + bias."""
    c.need_f32(0, 1, 2, 3, 4)
    if c.attr("training_mode", 0) or any(c.node.outputs[1:]) or not c.attr("spatial", 1):
        raise Refuse("training mode, or operator sets before 9")
    w, rank = Writer(c), c.rank()
    scale, bias, mean, var = (w.unsqueeze(n, list(range(1, rank - 1))) for n in c.node.inputs[1:5])
    deviation = w.unary("Sqrt", w.binary("Add", var, w.like(c.attr("epsilon", 1e-5), c.x)))
    normal = w.binary("Div", w.binary("Sub", c.x, mean), deviation)
    w.binary("Add", w.binary("Mul", normal, scale), bias, c.y)


RULES: dict[str, Rule] = {
    "IsNaN": is_nan,
    "IsInf": is_inf,
    "Mean": mean,
    "Swish": swish,
    "Hardmax": hardmax,
    "Trilu": trilu,
    "EyeLike": eye_like,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
    "Dropout": dropout,
    "LpNormalization": lp_normalization,
    "GlobalLpPool": global_lp_pool,
    "LpPool": lp_pool,
    "LRN": lrn,
    "InstanceNormalization": instance_normalization,
    "BatchNormalization": batch_normalization,
}
