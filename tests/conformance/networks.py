"""Seeded networks that together use every plan operator: the same bytes on every machine, now and later.

Weights come from a splitmix64 stream and are small integers over powers of two: they too are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

Feeds = dict[str, np.ndarray]


class Stream:
    """splitmix64 (Steele, Lea, Flood 2014): numbers that no library version can change."""

    def __init__(self, seed: int) -> None:
        self.state = np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)

    def bits(self, n: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            z = self.state + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            if n:
                self.state = z[-1]
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return z ^ (z >> np.uint64(31))

    def ints(self, low: int, high: int, shape: Sequence[int], dtype: str) -> np.ndarray:
        """Integers in [low, high]."""
        n = int(np.prod(shape, dtype=np.int64))
        return (self.bits(n) % np.uint64(high - low + 1)).astype(np.int64).reshape(shape).__add__(low).astype(dtype)

    def floats(self, shape: Sequence[int], scale: float = 1.0) -> np.ndarray:
        """Multiples of scale / 2048 in [-2 scale, 2 scale], scale a power of two."""
        return (self.ints(-4096, 4096, shape, "int64") / 2048.0 * scale).astype(np.float32)


class Net:
    """Writes one ONNX graph. Methods return value names."""

    def __init__(self, name: str, seed: int, opset: int = 21) -> None:
        self.name, self.opset = name, opset
        self.stream = Stream(seed)
        self.nodes: list = []
        self.initializers: list = []
        self.inputs: list = []
        self.outputs: list = []
        self.feeds: Feeds = {}
        self.options: dict[str, str] = {}  # what its Session needs beside the model
        self.count = 0

    def fresh(self, hint: str) -> str:
        self.count += 1
        return f"{hint}_{self.count}"

    def const(self, array: np.ndarray | float | int, dtype: str | None = None) -> str:
        name = self.fresh("const")
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return name

    def op(self, op_type: str, *inputs: str, outputs: int = 1, domain: str = "", **attrs: object) -> str | list[str]:
        names = [self.fresh(op_type.lower()) for _ in range(outputs)]
        node = helper.make_node(op_type, list(inputs), names, name=f"{op_type}_{self.count}", domain=domain, **attrs)
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def input(self, name: str, array: np.ndarray, dims: Sequence[int | str] | None = None) -> str:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, array.shape if dims is None else dims))
        self.feeds[name] = array
        return name

    def output(self, value: str, kind: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(value, kind, None))

    def q(self, x: str, scale: float, zp: int, dtype: str = "uint8") -> str:
        return self.op("QuantizeLinear", x, self.const(scale, "float32"), self.const(zp, dtype))

    def dq(self, x: str, scale: float, zp: int, dtype: str = "uint8") -> str:
        return self.op("DequantizeLinear", x, self.const(scale, "float32"), self.const(zp, dtype))

    def qdq(self, x: str, scale: float, zp: int, dtype: str = "uint8") -> str:
        return self.dq(self.q(x, scale, zp, dtype), scale, zp, dtype)

    def weight(
        self, shape: Sequence[int], dtype: str = "int8", per_channel: bool = True, zp: int = 0
    ) -> tuple[str, np.ndarray]:
        """A dequantized weight [O, ...] and its scales."""
        info = np.iinfo(dtype)
        values = self.stream.ints(max(info.min, -127), info.max, shape, dtype)
        channels = shape[0] if per_channel else 1
        scales = (self.stream.ints(8, 40, [channels], "int64") / 8192.0).astype(np.float32)
        zps = np.full(channels, zp, dtype)
        if per_channel:
            w = self.op("DequantizeLinear", self.const(values), self.const(scales), self.const(zps), axis=0)
        else:
            w = self.op("DequantizeLinear", self.const(values), self.const(scales[0]), self.const(zps[0]))
        return w, scales

    def qconv(self, x: str, x_scale: float, shape: Sequence[int], weight: dict | None = None, **attrs: object) -> str:
        w, scales = self.weight(shape, **(weight or {}))
        bias = self.stream.ints(-2000, 2000, [shape[0]], "int32")
        bias_scale = (np.float32(x_scale) * scales).astype(np.float32)
        if len(scales) == 1:
            b = self.op("DequantizeLinear", self.const(bias), self.const(bias_scale[0]))
        else:
            b = self.op("DequantizeLinear", self.const(bias), self.const(bias_scale), axis=0)
        return self.op("Conv", x, w, b, **attrs)

    def build(self) -> tuple[ModelProto, Feeds]:
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        domains = sorted({node.domain for node in self.nodes} - {""})
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        # fills in the outputs' shapes
        return shape_inference.infer_shapes(model, strict_mode=not domains), self.feeds


def mobile() -> Net:
    """u8 QDQ: stem, depthwise 3x3 and 5x5, pointwise, residual, Clip, pooling, classifier, softmax."""
    n = Net("mobile", 1)
    x = n.input("image", n.stream.floats([2, 3, 33, 35]), ["N", 3, 33, 35])
    x = n.qdq(x, 1 / 32, 120)
    x = n.op(
        "Clip",
        n.qconv(x, 1 / 32, [24, 3, 3, 3], strides=[2, 2], pads=[0, 1, 1, 1]),
        n.const(0.0, "float32"),
        n.const(6.0, "float32"),
    )
    x = n.qdq(x, 6 / 255, 0)
    d = n.qdq(n.op("Relu", n.qconv(x, 6 / 255, [24, 1, 3, 3], group=24, pads=[1, 1, 1, 1])), 1 / 24, 0)
    d = n.qdq(n.qconv(d, 1 / 24, [24, 24, 1, 1]), 1 / 16, 131)
    x = n.qdq(n.op("Add", d, x), 1 / 12, 100)
    x = n.qdq(n.qconv(x, 1 / 12, [40, 24, 1, 1], weight={"dtype": "uint8", "per_channel": False, "zp": 119}), 1 / 8, 90)
    x = n.qdq(
        n.qconv(
            x, 1 / 8, [40, 1, 5, 5], group=40, strides=[2, 2], pads=[2, 2, 2, 2], weight={"dtype": "uint8", "zp": 3}
        ),
        1 / 4,
        128,
    )
    x = n.qdq(n.qconv(x, 1 / 4, [64, 10, 3, 3], group=4, dilations=[2, 2], pads=[2, 2, 2, 2]), 1 / 2, 126)
    x = n.qdq(n.op("GlobalAveragePool", x), 1 / 4, 125)
    x = n.op("Flatten", x)
    x = n.qdq(x, 1 / 4, 125)
    w, _ = n.weight([64, 20], per_channel=False)
    x = n.qdq(n.op("MatMul", x, w), 1 / 2, 127)
    n.output(n.op("Softmax", x, axis=-1))
    return n


def squeeze() -> Net:
    """s8 QDQ: concat with unequal scales, max and average pools, tables, multiplication, pass-through operators."""
    n = Net("squeeze", 2)
    x = n.input("image", n.stream.ints(-128, 127, [1, 8, 20, 18], "int8"), ["N", 8, "H", "W"])
    x = n.dq(x, 1 / 64, -3, "int8")
    a = n.qdq(n.op("Relu", n.qconv(x, 1 / 64, [16, 8, 1, 1])), 1 / 128, -128, "int8")
    b = n.qdq(n.qconv(x, 1 / 64, [24, 8, 3, 3], pads=[1, 1, 1, 1]), 1 / 32, 5, "int8")
    x = n.qdq(n.op("Concat", a, b, axis=1), 1 / 40, -20, "int8")
    x = n.qdq(n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), 1 / 40, -20, "int8")
    gate = n.qdq(
        n.op("Sigmoid", n.qdq(n.op("ReduceMean", x, n.const([2, 3], "int64"), keepdims=1), 1 / 48, 0, "int8")),
        1 / 256,
        -128,
        "int8",
    )
    x = n.qdq(n.op("Mul", x, gate), 1 / 64, -10, "int8")
    x = n.qdq(n.op("HardSwish", x), 1 / 50, -100, "int8")
    x = n.qdq(n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 1 / 60, -100, "int8")
    x = n.qdq(
        n.op("LeakyRelu", n.qdq(n.op("Transpose", x, perm=[0, 2, 3, 1]), 1 / 60, -100, "int8"), alpha=0.125),
        1 / 60,
        -90,
        "int8",
    )
    x = n.op("Reshape", n.q(x, 1 / 60, -90, "int8"), n.const([0, -1], "int64"))
    n.output(x, TensorProto.INT8)
    return n


def attention() -> Net:
    """u8 QDQ transformer block: activation x activation MatMul, 3-D fully connected, float islands."""
    n = Net("attention", 3)
    x = n.input("tokens", n.stream.floats([2, 9, 32]), ["N", "T", 32])
    x = n.qdq(x, 1 / 64, 128)

    def heads(perm: list[int]) -> str:
        w, _ = n.weight([32, 32], per_channel=False)
        y = n.qdq(n.op("Add", n.op("MatMul", x, w), n.const(n.stream.floats([32]))), 1 / 16, 130)
        return n.op("Transpose", n.op("Reshape", y, n.const([0, 0, 4, 8], "int64")), perm=perm)

    q, k, v = (n.qdq(heads(p), 1 / 16, 130) for p in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    s = n.qdq(n.op("MatMul", q, k), 1 / 4, 120)
    s = n.op("Softmax", n.op("Div", s, n.const(8.0**0.5, "float32")), axis=-1)
    y = n.qdq(n.op("MatMul", n.qdq(s, 1 / 255, 0), v), 1 / 32, 128)
    y = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), n.const([0, 0, 32], "int64"))
    y = n.op("Add", n.qdq(y, 1 / 32, 128), x)
    y = n.op("LayerNormalization", y, n.const(n.stream.floats([32])), n.const(n.stream.floats([32])), axis=-1)
    n.output(n.op("Gelu", y))
    return n


def attention_f32() -> Net:
    """Float attention with a mask, as exporters write it out; Gelu by its definition."""
    n = Net("attention_f32", 8)
    x = n.input("tokens", n.stream.floats([2, 9, 32]), ["N", "T", 32])
    mask = n.input("mask", n.stream.floats([2, 1, 1, 9]), ["N", 1, 1, "T"])

    def heads(perm: list[int]) -> str:
        y = n.op("MatMul", x, n.const(n.stream.floats([32, 32])))
        return n.op("Transpose", n.op("Reshape", y, n.const([0, 0, 4, 8], "int64")), perm=perm)

    s = n.op("MatMul", heads([0, 2, 1, 3]), heads([0, 2, 3, 1]))
    s = n.op("Add", n.op("Div", s, n.const(8.0**0.5, "float32")), mask)
    y = n.op("MatMul", n.op("Softmax", s, axis=-1), heads([0, 2, 1, 3]))
    y = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), n.const([0, 0, 32], "int64"))
    e = n.op("Add", n.op("Erf", n.op("Div", y, n.const(2.0**0.5, "float32"))), n.const(1.0, "float32"))
    n.output(n.op("Mul", n.op("Mul", y, e), n.const(0.5, "float32")))
    return n


def dynamic() -> Net:
    """Dynamic quantization: DynamicQuantizeLinear, MatMulInteger (also with zero points), int8 table, s32 output."""
    n = Net("dynamic", 4)
    ids = n.input("ids", n.stream.ints(0, 49, [3, 7], "int64"), ["N", "T"])
    table = n.op("Gather", n.dq(n.const(n.stream.ints(-128, 127, [50, 24], "int8")), 1 / 32, 2, "int8"), ids)
    q, scale, zp = n.op("DynamicQuantizeLinear", table, outputs=3)
    w = n.const(n.stream.ints(-128, 127, [24, 33], "int8"))
    acc = n.op("MatMulInteger", q, w, zp, n.const(0, "int8"))
    y = n.op("Mul", n.op("Cast", acc, to=TensorProto.FLOAT), n.op("Mul", scale, n.const(1 / 256, "float32")))
    y = n.op("Add", y, n.const(n.stream.floats([33])))
    n.output(n.op("Relu", y))
    q2, _, zp2 = n.op("DynamicQuantizeLinear", y, outputs=3)
    n.output(
        n.op(
            "MatMulInteger",
            q2,
            n.const(n.stream.ints(0, 255, [33, 5], "uint8")),
            zp2,
            n.const([1, 255, 128, 7, 0], "uint8"),
        ),
        TensorProto.INT32,
    )
    return n


def floats() -> Net:
    """Float images: 1-D, 2-D, transposed convolutions, BatchNormalization, PRelu, Resize, pools, reductions."""
    n = Net("floats", 5)
    x = n.input("image", n.stream.floats([2, 6, 17, 19]), ["N", 6, "H", "W"])
    x = n.op(
        "Conv", x, n.const(n.stream.floats([16, 6, 3, 3], 0.125)), n.const(n.stream.floats([16])), pads=[1, 1, 1, 1]
    )
    bn = [n.const(np.abs(n.stream.floats([16])) + np.float32(0.5)) for _ in range(4)]
    x = n.op("PRelu", n.op("BatchNormalization", x, *bn), n.const(n.stream.floats([16, 1, 1])))
    y = n.op("Conv", x, n.const(n.stream.floats([16, 1, 3, 3], 0.25)), group=16, pads=[1, 1, 1, 1])
    x = n.op("Add", n.op("Sigmoid", y), x)
    x = n.op(
        "ConvTranspose",
        x,
        n.const(n.stream.floats([16, 5, 2, 2], 0.125)),
        n.const(n.stream.floats([5])),
        strides=[2, 2],
    )
    x = n.op(
        "Resize",
        x,
        "",
        n.const([1, 1, 0.5, 0.5], "float32"),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    x = n.op("MaxPool", n.op("Tanh", x), kernel_shape=[2, 2], strides=[1, 1])
    x = n.op("AveragePool", x, kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1)
    z = n.op(
        "ReduceMean",
        n.op(
            "Pow",
            n.op("Exp", n.op("Clip", x, n.const(-2.0, "float32"), n.const(2.0, "float32"))),
            n.const(0.5, "float32"),
        ),
        n.const([3], "int64"),
        keepdims=0,
    )
    z = n.op("Conv", z, n.const(n.stream.floats([7, 5, 3], 0.25)), pads=[2, 0], dilations=[1])
    z = n.op(
        "Div", n.op("Erf", z), n.op("Sqrt", n.op("ReduceSum", n.op("Mul", z, z), n.const([1], "int64"), keepdims=1))
    )
    n.output(z)
    n.output(n.op("ReduceMax", x, n.const([1, 2], "int64")))
    return n


def movement() -> Net:
    """Everything that moves, selects, casts and counts."""
    n = Net("movement", 6)
    x = n.input("x", n.stream.floats([4, 6, 8]), ["A", 6, 8])
    i = n.input("i", n.stream.ints(-4, 3, [4, 6, 8], "int64"), ["A", 6, 8])
    a, b = n.op("Split", x, n.const([2, 4], "int64"), axis=1, outputs=2)
    p = n.op("Pad", a, n.const([0, 1, 2, 0, 0, 1], "int64"), n.const(0.5, "float32"), mode="constant")
    s = n.op(
        "Slice",
        p,
        n.const([1, -1], "int64"),
        n.const([3, -9], "int64"),
        n.const([1, 2], "int64"),
        n.const([1, -2], "int64"),
    )
    n.output(
        n.op(
            "Concat",
            s,
            n.op("Slice", b, n.const([0, 0], "int64"), n.const([2, 4], "int64"), n.const([1, 2], "int64")),
            axis=2,
        )
    )
    shape = n.op("Shape", x)
    first = n.op("Gather", shape, n.const([0], "int64"))
    full = n.op("Concat", first, n.const([2, 4, 6], "int64"), axis=0)
    y = n.op("Reshape", x, full)
    y = n.op("DepthToSpace", n.op("Transpose", y, perm=[0, 2, 1, 3]), blocksize=2)
    n.output(n.op("SpaceToDepth", n.op("Tile", y, n.const([1, 2, 1, 1], "int64")), blocksize=2))
    n.output(n.op("GatherElements", x, i, axis=1 - 1), TensorProto.FLOAT)
    mask = n.op("Less", x, n.op("Expand", n.const(0.25, "float32"), shape))
    n.output(
        n.op(
            "Where",
            mask,
            n.op("Neg", x),
            n.op("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([7.0], np.float32))),
        )
    )
    n.output(n.op("ArgMax", x, axis=2, keepdims=0), TensorProto.INT64)
    n.output(n.op("ArgMin", x, axis=1), TensorProto.INT64)
    n.output(
        n.op("Add", n.op("Cast", i, to=TensorProto.INT32), n.op("Cast", n.op("Size", x), to=TensorProto.INT32)),
        TensorProto.INT32,
    )
    n.output(
        n.op("Range", n.const(0, "int64"), n.op("Squeeze", first, n.const([0], "int64")), n.const(1, "int64")),
        TensorProto.INT64,
    )
    n.output(n.op("Unsqueeze", n.op("Flatten", x, axis=2), n.const([0], "int64")))
    n.output(n.op("Identity", x))
    return n


def literal_leftovers() -> Net:
    """Quantization nobody recognises: run-time scales, 16-bit and blocked forms, a table from u8 to float."""
    n = Net("leftovers", 7)
    x = n.input("x", n.stream.floats([5, 16]), ["N", 16])
    s = n.input("s", np.array(0.03125, np.float32))
    q = n.op("QuantizeLinear", x, s, n.const(100, "uint8"))
    n.output(n.op("DequantizeLinear", q, s, n.const(100, "uint8")))
    q16 = n.op("QuantizeLinear", x, n.const(1 / 4096, "float32"), n.const(-5, "int16"))
    n.output(n.op("DequantizeLinear", q16, n.const(1 / 4096, "float32"), n.const(-5, "int16")))
    w = n.const(n.stream.ints(-128, 127, [16, 6], "int8"))
    blocks = n.const((n.stream.ints(1, 9, [4, 6], "int64") / 64).astype(np.float32))
    n.output(n.op("MatMul", x, n.op("DequantizeLinear", w, blocks, axis=0, block_size=4)))
    n.output(n.op("Tanh", n.qdq(x, 1 / 64, 128)))
    return n


def qoperators() -> Net:
    """QLinear operators of ONNX and onnxruntime, u8 and s8, and ConvInteger with a zero point known at run time."""
    n = Net("qoperators", 8, opset=17)
    for dtype, low, zero in (("uint8", 0, 120), ("int8", -128, -9)):
        info = (n.const(1 / 16, "float32"), n.const(zero, dtype))
        wide = (n.const(1 / 8, "float32"), n.const(zero + 3, dtype))
        x = n.input(f"image_{dtype}", n.stream.ints(low, low + 255, [2, 9, 12, 11], dtype), ["N", 9, 12, 11])

        def conv(x: str, shape: Sequence[int], info=info, dtype=dtype, **attrs: object) -> str:
            w = n.const(n.stream.ints(-127, 127, shape, "int8"))
            scales = (n.stream.ints(8, 40, [shape[0]], "int64") / 8192.0).astype(np.float32)
            bias = n.const(n.stream.ints(-2000, 2000, [shape[0]], "int32"))
            zeros = n.const(np.zeros(shape[0], np.int8))
            return n.op("QLinearConv", x, *info, w, n.const(scales), zeros, *info, bias, **attrs)

        def ms(op: str, *inputs: str, **attrs: object) -> str:
            return n.op(op, *inputs, domain="com.microsoft", **attrs)

        y = ms("QLinearAdd", conv(x, [9, 9, 3, 3], pads=[1, 1, 1, 1]), *info, x, *info, *wide)
        z = ms("QLinearAdd", y, *wide, conv(y, [9, 1, 3, 3], group=9, pads=[1, 1, 1, 1]), *info, *wide)
        per_channel = n.const(n.stream.ints(low, low + 255, [9, 1, 1], dtype))
        z = ms("QLinearAdd", per_channel, *wide, z, *wide, *info)
        z = ms("QLinearMul", z, *info, y, *wide, n.const(2.0, "float32"), n.const(zero - 7, dtype))
        p = ms("QLinearAveragePool", z, *wide, *wide, kernel_shape=[4, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        p = ms("QLinearLeakyRelu", p, *wide, *info, alpha=0.25)
        q = ms("QLinearConcat", *info, p, *info, ms("QLinearSigmoid", p, *info, *wide), *wide, axis=1)
        n.output(n.op("DequantizeLinear", ms("QLinearGlobalAveragePool", q, *info, *info), *info))
        n.output(n.op("DequantizeLinear", q, *info))
        zp = n.input(f"zero_{dtype}", np.array(zero, dtype))
        w = n.const(n.stream.ints(-127, 127, [4, 3, 3, 3], "int8"))
        n.output(
            n.op(
                "ConvInteger", n.op("Slice", x, *(n.const([v], "int64") for v in (0, 3, 1))), w, zp, pads=[1, 2, 0, 1]
            ),
            TensorProto.INT32,
        )
    return n


def small_weights() -> Net:
    """Weights restored where they are used: int4 in blocks, int8 a channel, a codebook, float16, blocks of int2."""
    n = Net("small_weights", 8)
    ids = n.input("ids", n.stream.ints(0, 49, [2, 7], "int64"), ["N", "T"])
    image = n.input("image", n.stream.floats([1, 8, 9, 10]), ["B", 8, "H", "W"])

    def scales(shape: list[int]) -> str:
        return n.const((n.stream.ints(1, 31, shape, "int64") / 256).astype(np.float32))

    int4 = n.const(n.stream.ints(0, 15, [64, 48], "uint8").astype(ml_dtypes.uint4))
    zeros = n.const(n.stream.ints(0, 15, [2, 48], "uint8").astype(ml_dtypes.uint4))
    table = n.op("DequantizeLinear", n.const(n.stream.ints(-2, 1, [50, 64], "int8").astype(ml_dtypes.int2)),
                 scales([50, 4]), axis=1, block_size=16)  # fmt: skip
    x = n.op("Gather", table, ids)
    x = n.op("MatMul", x, n.op("DequantizeLinear", int4, scales([2, 48]), zeros, axis=0, block_size=32))
    x = n.op("Relu", n.op("Add", x, n.const(n.stream.floats([48]))))
    codes = n.const(n.stream.ints(0, 15, [48, 33], "uint8").astype(ml_dtypes.uint4))
    index = n.op("Cast", codes, to=TensorProto.INT32)
    x = n.op("MatMul", x, n.op("Gather", n.const(n.stream.floats([16])), index))
    n.output(x)
    w = n.op("DequantizeLinear", n.const(n.stream.ints(-128, 127, [33, 8, 3, 3], "int8")), scales([33]), axis=0)
    y = n.op("Cast", n.op("Conv", image, w, pads=[1, 1, 1, 1]), to=TensorProto.FLOAT16)
    half = n.const((n.stream.floats([20, 33, 1, 1]) / 8).astype(np.float16))
    y = n.op("Conv", y, half, n.const(n.stream.floats([20]).astype(np.float16)))
    n.output(n.op("Tanh", y), TensorProto.FLOAT16)
    return n


def fixed() -> Net:
    """requantize="fixed": convolutions, means, addition, subtraction, product, tables, concat, softmax; s8 and u8."""
    n = Net("fixed", 8)
    n.options = {"requantize": "fixed"}
    x = n.dq(n.input("image", n.stream.ints(-128, 127, [2, 8, 17, 19], "int8"), ["N", 8, "H", "W"]), 1 / 50, -3, "int8")
    x = n.qdq(n.op("Relu", n.qconv(x, 1 / 50, [32, 8, 3, 3], strides=[2, 2], pads=[1] * 4)), 1 / 9, -128, "int8")
    d = n.qdq(n.op("Relu", n.qconv(x, 1 / 9, [32, 1, 3, 3], group=32, pads=[1] * 4)), 1 / 7, -128, "int8")
    d = n.qdq(n.qconv(d, 1 / 7, [32, 32, 1, 1]), 1 / 3, 5, "int8")
    x = n.qdq(n.op("Add", d, x), 1 / 2.5, -20, "int8")
    p = n.qdq(n.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4), 1 / 2.5, -20, "int8")
    s = n.qdq(n.op("Sub", x, p), 1 / 3.7, 11, "int8")
    x = n.qdq(n.op("Concat", s, p, axis=1), 1 / 1.7, 3, "int8")
    g = n.qdq(n.op("Sigmoid", n.qdq(n.op("GlobalAveragePool", x), 1 / 11, 9, "int8")), 1 / 256, -128, "int8")
    x = n.qdq(n.op("Mul", x, g), 1 / 2, -7, "int8")
    x = n.qdq(n.op("LeakyRelu", x, alpha=0.1), 1 / 1.3, -90, "int8")
    u = n.qdq(x, 0.77, 70)
    u = n.qdq(n.qconv(u, 0.77, [24, 64, 1, 1], weight={"dtype": "uint8", "per_channel": False, "zp": 119}), 3.3, 128)
    u = n.qdq(n.op("ReduceMean", u, n.const([2, 3], "int64"), keepdims=0), 1.9, 111)
    w, _ = n.weight([24, 10], per_channel=False)
    u = n.qdq(n.op("MatMul", u, w), 0.4, 127)
    n.output(n.qdq(n.op("Softmax", u, axis=-1), 1 / 256, 0))
    n.output(n.q(x, 1 / 1.3, -90, "int8"), TensorProto.INT8)
    return n


def selection() -> Net:
    """What searches, gathers, scatters and samples by data, and recurrent networks."""
    n = Net("selection", 9)
    x = n.input("x", n.stream.floats([5, 3, 8]), ["T", 3, 8])
    whole = [n.const(n.stream.floats(s, 0.25)) for s in ([2, 24, 8], [2, 24, 6], [2, 48])]
    y, last, cell = n.op("LSTM", x, *whole, hidden_size=6, direction="bidirectional", outputs=3)
    n.output(y)
    n.output(cell)
    for before, seed in ((0, [[1, 21, 8], [1, 21, 7], [1, 42]]), (1, [[1, 21, 8], [1, 21, 7], [1, 42]])):
        parts = [n.const(n.stream.floats(s, 0.25)) for s in seed]
        n.output(n.op("GRU", x, *parts, hidden_size=7, linear_before_reset=before, outputs=2)[1])
    parts = [n.const(n.stream.floats(s, 0.25)) for s in ([1, 9, 8], [1, 9, 9])]
    n.output(n.op("RNN", x, *parts, hidden_size=9, direction="reverse", outputs=2)[0])
    best, where = n.op("TopK", last, n.const([4], "int64"), axis=2, outputs=2)
    n.output(n.op("CumSum", n.op("CumSum", best, n.const(2, "int64")), n.const(0, "int64"), exclusive=1, reverse=1))
    n.output(n.op("ScatterElements", last, where, best, axis=2, reduction="add"))
    at = n.const(n.stream.ints(0, 1, [4, 2], "int64"))
    n.output(n.op("ScatterND", last, at, n.op("GatherND", last, at), reduction="mul"))
    image = n.input("image", n.stream.floats([2, 3, 9, 7]), ["N", 3, 9, 7])
    grid = n.input("grid", n.stream.floats([2, 5, 6, 2], 0.5), ["N", 5, 6, 2])
    for mode, padding in (("linear", "zeros"), ("cubic", "border"), ("nearest", "reflection")):
        n.output(n.op("GridSample", image, grid, mode=mode, padding_mode=padding))
    boxes = n.input("boxes", n.stream.floats([1, 20, 4]), [1, 20, 4])
    scores = n.input("scores", n.stream.floats([1, 2, 20]), [1, 2, 20])
    limits = n.const([6], "int64"), n.const([0.3], "float32"), n.const([-0.5], "float32")
    n.output(n.op("NonMaxSuppression", boxes, scores, *limits), TensorProto.INT64)
    found = n.op("NonZero", n.op("Greater", x, n.const(0.75, "float32")))
    n.output(n.op("GatherND", x, n.op("Transpose", found)))
    return n


NETWORKS: dict[str, Callable[[], Net]] = {
    f.__name__: f
    for f in (
        mobile,
        squeeze,
        attention,
        attention_f32,
        dynamic,
        floats,
        movement,
        literal_leftovers,
        qoperators,
        small_weights,
        fixed,
        selection,
    )
}
