"""Seeded random small graphs of operators that small networks use, in float; random_forms.py quantizes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper


class Writer:
    """Nodes and constants of a graph under way, with the shape of every value."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.choice([13, 17, 21]))
        self.symbolic = self.chance(0.5)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.inputs: list[ValueInfoProto] = []
        self.feeds: dict[str, np.ndarray] = {}

    def pick(self, *options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def const(self, array: Any, dtype: Any = None) -> str:
        name, array = f"c{len(self.constants)}", np.asarray(array, dtype)
        self.constants[name] = array.astype(np.float32) if array.dtype == np.float64 else array
        return name

    def input(self, shape: Sequence[int]) -> str:
        name = f"x{len(self.inputs)}"
        dims: list[Any] = ["N", *shape[1:]] if self.symbolic else list(shape)
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        self.feeds[name], self.shapes[name] = self.normal(*shape), tuple(shape)
        return name

    def op(self, kind: str, *inputs: str, shape: Sequence[int] | None = None, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(self.nodes)}", **attrs))
        self.shapes[name] = tuple(self.shapes[inputs[0]] if shape is None else shape)
        return name


# ---- growing a float graph: each takes a value and returns a new one, or None where it does not apply --------------


def windows(w: Writer, size: Sequence[int], least: int = 1) -> tuple[dict[str, Any], list[int]]:
    """Attributes of a random window over an image and the image's new size."""
    kernel = [min(w.pick(1, 2, 3, 3, 5), s) for s in size]
    kernel = [max(k, min(least, s)) for k, s in zip(kernel, size)]
    dilations = [w.pick(1, 1, 2) if (k - 1) * 2 + 1 <= s else 1 for k, s in zip(kernel, size)]
    strides = [w.pick(1, 1, 2, 3) for _ in size]
    begin = [int(w.rng.integers(0, (k + 1) // 2)) for k in kernel]
    end = [int(w.rng.integers(0, (k + 1) // 2)) for k in kernel]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    out = [(s + b + e - x) // t + 1 for s, b, e, x, t in zip(size, begin, end, extent, strides)]
    return {"kernel_shape": kernel, "dilations": dilations, "strides": strides, "pads": begin + end}, out


def conv(w: Writer, x: str) -> str | None:
    n, c, *size = w.shapes[x]
    attrs, out = windows(w, size)
    group = w.pick(1, 1, c, *[g for g in (2, 3) if c % g == 0])
    o = group * int(w.rng.integers(1, 24 // group + 2)) if group > 1 else int(w.rng.integers(1, 33))
    depth = c // group * int(np.prod(attrs["kernel_shape"]))
    weights = w.const(w.normal(o, c // group, *attrs["kernel_shape"]) / np.sqrt(depth))
    bias = [w.const(w.normal(o) * 0.3)] if w.chance(0.7) else []
    y = w.op("Conv", x, weights, *bias, shape=(n, o, *out), group=group, **attrs)
    return activation(w, y) if w.chance(0.5) else y


def conv_transpose(w: Writer, x: str) -> str | None:
    n, c, *size = w.shapes[x]
    kernel, strides = [w.pick(1, 2, 3) for _ in size], [w.pick(1, 2) for _ in size]
    pads = [int(w.rng.integers(0, k)) for k in kernel]
    out = [(s - 1) * t + k - 2 * p for s, t, k, p in zip(size, strides, kernel, pads)]
    if min(out) < 1 or max(out) > 30:
        return None
    group = w.pick(1, 1, c)
    o = int(w.rng.integers(1, 12 // min(group, 6)))
    weights = w.const(w.normal(c, o, *kernel) / np.sqrt(c * np.prod(kernel)))
    return w.op("ConvTranspose", x, weights, shape=(n, o * group, *out), group=group, strides=strides, pads=pads * 2)


def pixels(w: Writer, x: str) -> str | None:
    n, c, *size = w.shapes[x]
    if len(size) == 2 and c % 4 == 0:
        mode = w.pick("DCR", "CRD")
        return w.op("DepthToSpace", x, shape=(n, c // 4, size[0] * 2, size[1] * 2), blocksize=2, mode=mode)
    if len(size) == 2 and size[0] % 2 == size[1] % 2 == 0:
        return w.op("SpaceToDepth", x, shape=(n, c * 4, size[0] // 2, size[1] // 2), blocksize=2)
    return None


def pool(w: Writer, x: str) -> str | None:
    n, c, *size = w.shapes[x]
    kind = w.pick("MaxPool", "AveragePool")
    attrs, out = windows(w, size, 2)
    if kind == "AveragePool":
        attrs["count_include_pad"] = int(w.rng.integers(0, 2))
        if any(d > 1 for d in attrs["dilations"]):
            attrs["dilations"] = [1] * len(size)
            ends = zip(size, attrs["pads"][: len(size)], attrs["pads"][len(size) :], attrs["kernel_shape"])
            out = [(s + b + e - k) // t + 1 for (s, b, e, k), t in zip(ends, attrs["strides"])]
        del attrs["dilations"]
    return w.op(kind, x, shape=(n, c, *out), **attrs)


def global_pool(w: Writer, x: str) -> str | None:
    n, c, *size = w.shapes[x]
    return w.op(w.pick("GlobalAveragePool", "GlobalMaxPool"), x, shape=(n, c, *[1] * len(size)))


def activation(w: Writer, x: str) -> str | None:
    kinds = ["Relu", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "Elu", "Softplus", "Erf", "PRelu"]
    kind = w.pick(*kinds, *(["HardSwish"] if w.opset >= 14 else []), *(["Gelu"] if w.opset >= 20 else []))
    if kind == "Clip":
        return w.op("Clip", x, w.const(w.pick(0.0, -1.0), np.float32), w.const(w.pick(6.0, 1.5), np.float32))
    if kind == "PRelu":
        shape = [w.shapes[x][1], *[1] * (len(w.shapes[x]) - 2)] if len(w.shapes[x]) > 1 else [1]
        return w.op("PRelu", x, w.const(w.normal(*shape)))
    return w.op(kind, x, **({"alpha": 0.125} if kind in ("LeakyRelu", "Elu") else {}))


def arithmetic(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    kind = w.pick("Add", "Add", "Mul", "Mul", "Sub", "Max", "Min")
    others = [v for v, s in w.shapes.items() if v != x and len(s) == len(shape) and fits(s, shape)]
    if others and w.chance(0.7):
        y = w.pick(*others)
    else:
        keep = [d if a and w.chance(0.6) else 1 for a, d in enumerate(shape)]  # nothing spans the batch
        y = w.const(w.normal(*(keep if w.chance(0.7) else keep[int(w.rng.integers(0, len(keep))) :])))
        if kind == "Mul" and w.chance(0.3):
            kind, w.constants[y] = "Div", np.abs(w.constants[y]) + np.float32(0.5)
    return w.op(kind, *((x, y) if kind == "Div" or w.chance(0.5) else (y, x)), shape=shape)


def fits(other: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether `other` broadcasts to `shape`."""
    return len(other) <= len(shape) and all(o in (1, s) for o, s in zip(reversed(other), reversed(shape)))


def concat(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    axis = int(w.rng.integers(1, len(shape)))
    alike = [v for v, s in w.shapes.items() if len(s) == len(shape) and s[:axis] == shape[:axis]]
    parts = [v for v in alike if w.shapes[v][axis + 1 :] == shape[axis + 1 :]]
    chosen = [x, *(w.pick(*parts) for _ in range(w.pick(1, 1, 2)))]
    total = sum(w.shapes[v][axis] for v in chosen)
    if total > 96:
        return None
    return w.op("Concat", *chosen, shape=[*shape[:axis], total, *shape[axis + 1 :]], axis=axis)


def split(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    axis = int(w.rng.integers(1, len(shape)))
    if shape[axis] < 2:
        return None
    first = int(w.rng.integers(1, shape[axis]))
    y = w.op("Split", x, w.const([first, shape[axis] - first], np.int64), axis=axis)
    w.nodes[-1].output.append(y + "b")
    w.shapes[y] = (*shape[:axis], first, *shape[axis + 1 :])
    w.shapes[y + "b"] = (*shape[:axis], shape[axis] - first, *shape[axis + 1 :])
    return w.pick(y, y + "b")


def cut(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    axis = int(w.rng.integers(1, len(shape)))
    step = w.pick(1, 1, 2, -1)
    start, end = (0, shape[axis]) if step > 0 else (shape[axis] - 1, -(2**31))
    if step == 1 and shape[axis] > 2:
        start = int(w.rng.integers(0, 2))
        end = shape[axis] - int(w.rng.integers(0, 2))
    length = shape[axis] if step == -1 else -(-(end - start) // step)
    parts = [w.const([v], np.int64) for v in (start, end, axis, step)]
    return w.op("Slice", x, *parts, shape=[*shape[:axis], length, *shape[axis + 1 :]])


def pad(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    mode = w.pick("constant", "constant", "reflect", "edge")
    most = [0, *(min(2, d - 1) if mode == "reflect" else 2 for d in shape[1:])]
    around = np.array([[int(w.rng.integers(0, m + 1)) for m in most] for _ in range(2)])
    grown = [d + int(b + e) for d, b, e in zip(shape, *around)]
    return w.op("Pad", x, w.const(around.reshape(-1), np.int64), shape=grown, mode=mode)


def resize(w: Writer, x: str) -> str | None:
    n, c, *size = w.shapes[x]
    mode, scale = w.pick("nearest", "nearest", "linear"), w.pick(2.0, 2.0, 1.5)
    out = [int(np.floor(s * scale)) for s in size]
    if max(out) > 30:
        return None
    style = w.pick("half_pixel", "asymmetric") if mode == "linear" else "asymmetric"
    scales = w.const([1, 1, *[scale] * len(size)], np.float32)
    attrs = {"mode": mode, "coordinate_transformation_mode": style, "nearest_mode": "floor"}
    return w.op("Resize", x, "", scales, shape=(n, c, *out), **attrs)


def transpose(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    perm = [0, *(1 + w.rng.permutation(len(shape) - 1))] if w.chance(0.9) else list(w.rng.permutation(len(shape)))
    if perm[0] != 0:  # the batch goes and comes back, as around operators of other layouts
        y = w.op("Transpose", x, shape=[shape[p] for p in perm], perm=[int(p) for p in perm])
        return w.op("Transpose", w.op("Relu", y), shape=shape, perm=[int(p) for p in np.argsort(perm)])
    return w.op("Transpose", x, shape=[shape[p] for p in perm], perm=[int(p) for p in perm])


def reshape(w: Writer, x: str) -> str | None:
    n, *rest = w.shapes[x]
    total = int(np.prod(rest))
    kind = w.pick("Reshape", "Reshape", "Flatten", "Unsqueeze")
    if kind == "Flatten":
        return w.op("Flatten", x, shape=(n, total))
    if kind == "Unsqueeze" and len(rest) < 3:
        return w.op("Unsqueeze", x, w.const([2], np.int64), shape=(n, rest[0], 1, *rest[1:]))
    divisors = [d for d in range(1, 33) if total % d == 0]
    first = w.pick(*divisors)
    if w.chance(0.5):
        return w.op("Reshape", x, w.const([0, first, -1], np.int64), shape=(n, first, total // first))
    second = w.pick(*[d for d in divisors if total // first % d == 0])
    shape = (n, first, second, total // first // second)
    return w.op("Reshape", x, w.const([0, *shape[1:3], -1], np.int64), shape=shape)


def reduce(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    kind = w.pick("ReduceMean", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2")
    axes = sorted({int(a) for a in w.rng.integers(1, len(shape), 2)})
    keep = int(w.rng.integers(0, 2)) if len(shape) - len(axes) > 1 else 1
    out = [1 if a in axes else d for a, d in enumerate(shape) if keep or a not in axes]
    if w.opset >= 18 or kind == "ReduceSum":
        return w.op(kind, x, w.const(axes, np.int64), shape=out, keepdims=keep)
    return w.op(kind, x, shape=out, axes=axes, keepdims=keep)


def product(w: Writer, x: str) -> str | None:
    *lead, k = w.shapes[x]
    o = int(w.rng.integers(1, 40))
    if k > 512:
        return None
    weights = w.normal(k, o) / np.float32(np.sqrt(k))
    if len(lead) == 1 and w.chance(0.6):
        trans = int(w.rng.integers(0, 2))
        bias = [w.const(w.normal(o) * 0.3)] if w.chance(0.7) else []
        return w.op("Gemm", x, w.const(weights.T if trans else weights), *bias, shape=(*lead, o), transB=trans)
    y = w.op("MatMul", x, w.const(weights), shape=(*lead, o))
    return w.op("Add", y, w.const(w.normal(o) * 0.3)) if w.chance(0.5) else y


def attention(w: Writer, x: str) -> str | None:
    *lead, t, k = w.shapes[x]
    if len(lead) < 1 or t * t > 900:
        return None
    perm = [*range(len(lead)), len(lead) + 1, len(lead)]
    other = w.op("Transpose", x, shape=(*lead, k, t), perm=perm)
    return w.op("MatMul", x, other, shape=(*lead, t, t))


def normalize(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    if w.opset >= 17 and shape[-1] >= 4 and w.chance(0.5):
        scale, shift = w.const(1 + w.normal(shape[-1]) * 0.2), w.const(w.normal(shape[-1]))
        return w.op("LayerNormalization", x, scale, shift, axis=-1)
    return w.op("Softmax", x, axis=w.pick(-1, -1, 1))


def select(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    mask = w.const(w.rng.random((1, *shape[1:])) < 0.5)
    return w.op("Where", mask, x, w.const(w.normal(1)), shape=shape)


def gather(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    axis = int(w.rng.integers(1, len(shape)))
    picks = w.rng.integers(0, shape[axis], int(w.rng.integers(1, 9)))
    return w.op("Gather", x, w.const(picks, np.int64), shape=[*shape[:axis], len(picks), *shape[axis + 1 :]], axis=axis)


def repeat(w: Writer, x: str) -> str | None:
    shape = w.shapes[x]
    times = [1, *(w.pick(1, 1, 2) for _ in shape[1:])]
    return w.op("Tile", x, w.const(times, np.int64), shape=[d * t for d, t in zip(shape, times)])


IMAGES = [conv, conv, conv, conv, conv, pool, pool, global_pool, resize, conv_transpose, pixels]
ANY = [activation, activation, arithmetic, arithmetic, arithmetic, concat, split, cut, pad, transpose, reshape, reduce,
       product, product, attention, normalize, select, gather, repeat]  # fmt: skip


def grow(seed: int) -> Writer:
    w = Writer(seed)
    n, c = w.pick(1, 2, 3), w.pick(1, 3, 4, 8, 12, 16, 17)
    size = [int(s) for s in w.rng.integers(3, 15, w.pick(2, 2, 2, 1))]
    x = w.input([n, c, *size] if w.chance(0.8) else [n, int(w.rng.integers(4, 80))])
    if w.chance(0.3):
        w.input(w.shapes[x])
    for _ in range(int(w.rng.integers(2, 9))):
        shape = w.shapes[x]
        image = len(shape) in (3, 4) and int(np.prod(shape[2:])) > 1
        rules = ANY + IMAGES * 2 if image else ANY
        y = w.pick(*rules)(w, x)
        if y is not None and int(np.prod(w.shapes[y])) <= 20_000:
            x = y
        elif y is not None:
            while w.nodes and y in w.nodes[-1].output:
                for name in w.nodes.pop().output:
                    w.shapes.pop(name, None)
            break
    if not w.nodes:
        w.op("Relu", x)
    return w
