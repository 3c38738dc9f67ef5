"""Quantized single-operator graphs: octavo and onnxruntime differ by at most one step, on every dtype mix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import TensorProto

import octavo
from networks import Net

ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")


def onnxruntime_run(model: object, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def check(net: Net, value: str, scale: float, zp: int, dtype: str) -> None:
    kind = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}[dtype]
    net.output(net.q(value, scale, zp, dtype), kind)
    model, feeds = net.build()
    ours = octavo.Session(model, threads=1)
    assert not ours.python_steps, ours.python_steps
    got, want = ours.run(None, feeds)[0], onnxruntime_run(model, feeds)[0]
    assert got.dtype == want.dtype and got.shape == want.shape
    difference = np.abs(got.astype(np.int32) - want.astype(np.int32))
    assert difference.max(initial=0) <= 1, f"differs by {difference.max()} in {(difference > 1).sum()} elements"
    assert len(np.unique(want)) > 4, "the test image saturates: it would prove nothing"


def quantized_input(
    net: Net, shape: list[int], dtype: str, name: str = "x", scale: float = 1 / 32, zp: int = 11
) -> str:
    info = np.iinfo(dtype)
    return net.dq(net.input(name, net.stream.ints(int(info.min), int(info.max), shape, dtype)), scale, zp, dtype)


MIXES = list(itertools.product(["uint8", "int8"], ["uint8", "int8"], [True, False]))
CONVS = {
    "1x1": ([8, 5, 1, 1], {}),
    "3x3": ([9, 5, 3, 3], {"pads": [1, 1, 1, 1]}),
    "3x3 stride 2": ([4, 5, 3, 3], {"strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "dilated": ([6, 5, 3, 3], {"dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    "depthwise": ([5, 1, 3, 3], {"group": 5, "pads": [1, 1, 1, 1]}),
    "depthwise 5x5": ([5, 1, 5, 5], {"group": 5, "pads": [2, 2, 2, 2], "strides": [2, 2]}),
    "grouped": ([10, 1, 3, 3], {"group": 5}),
    "asymmetric kernel": ([7, 5, 1, 3], {"pads": [0, 1, 0, 1]}),
}


@pytest.mark.parametrize("x_dtype,w_dtype,per_channel", MIXES)
@pytest.mark.parametrize("shape,attrs", CONVS.values(), ids=CONVS)
def test_conv(shape: list[int], attrs: dict, x_dtype: str, w_dtype: str, per_channel: bool) -> None:
    net = Net("conv", 100)
    x = quantized_input(net, [2, 5, 11, 9], x_dtype)
    weight = {"dtype": w_dtype, "per_channel": per_channel, "zp": 0 if w_dtype == "int8" else 131}
    y = net.qconv(x, 1 / 32, shape, weight, **attrs)
    check(net, y, 0.25, 5, x_dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_conv_1d(dtype: str) -> None:
    net = Net("conv1d", 101)
    check(
        net,
        net.qconv(quantized_input(net, [2, 6, 30], dtype), 1 / 32, [7, 6, 5], pads=[2, 1], strides=[2]),
        0.25,
        3,
        dtype,
    )


@pytest.mark.parametrize("x_dtype,w_dtype,per_channel", MIXES)
@pytest.mark.parametrize("shape", [[7, 40], [3, 5, 40], [1, 40]])
def test_matmul(shape: list[int], x_dtype: str, w_dtype: str, per_channel: bool) -> None:
    net = Net("matmul", 102)
    x = quantized_input(net, shape, x_dtype)
    zp = 0 if w_dtype == "int8" else 120
    values = net.const(net.stream.ints(int(np.iinfo(w_dtype).min), int(np.iinfo(w_dtype).max), [40, 23], w_dtype))
    if per_channel:
        scales = net.const((net.stream.ints(1, 30, [23], "int64") / 4096).astype(np.float32))
        w = net.op("DequantizeLinear", values, scales, net.const(np.full(23, zp, w_dtype)), axis=1)
    else:
        w = net.dq(values, 1 / 256, zp, w_dtype)
    check(net, net.op("MatMul", x, w), 0.5, 7, x_dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("trans", [0, 1])
def test_gemm(dtype: str, trans: int) -> None:
    net = Net("gemm", 103)
    x = quantized_input(net, [6, 30], dtype)
    w = net.dq(net.const(net.stream.ints(-127, 127, [12, 30] if trans else [30, 12], "int8")), 1 / 128, 0, "int8")
    b = net.op("DequantizeLinear", net.const(net.stream.ints(-500, 500, [12], "int32")), net.const(1 / 4096, "float32"))
    check(net, net.op("Gemm", x, w, b, transB=trans), 0.5, -3 if dtype == "int8" else 130, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_matmul_of_activations(dtype: str) -> None:
    net = Net("matmul2", 104)
    a = quantized_input(net, [2, 3, 9, 17], dtype, "a", 1 / 32, 7 if dtype == "int8" else 130)
    b = quantized_input(net, [2, 3, 17, 6], dtype, "b", 1 / 64, -2 if dtype == "int8" else 120)
    check(net, net.op("MatMul", a, b), 0.25, 2 if dtype == "int8" else 110, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("shapes", [([2, 3, 5, 7], [2, 3, 5, 7]), ([2, 3, 5, 7], [1, 3, 1, 1]), ([4, 6], [6])])
def test_add_mul(op: str, shapes: tuple[list[int], list[int]], dtype: str) -> None:
    net = Net(op, 105)
    a = quantized_input(net, shapes[0], dtype, "a", 1 / 32, 4)
    b = quantized_input(net, shapes[1], dtype, "b", 1 / 48, 9)
    check(net, net.op(op, a, b), 0.0625, 10, dtype)


UNARY = {
    "Relu": {}, "Sigmoid": {}, "Tanh": {}, "HardSigmoid": {}, "HardSwish": {}, "LeakyRelu": {"alpha": 0.1}, "Erf": {},
    "Exp": {}, "Gelu": {}, "Elu": {},
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str, dtype: str) -> None:
    net = Net(op, 106)
    x = quantized_input(net, [3, 300], dtype, scale=1 / 40, zp=20)
    check(net, net.op(op, x, **UNARY[op]), 1 / 50, 15, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_pools(dtype: str) -> None:
    for op, attrs in {
        "MaxPool": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 0]},
        "AveragePool": {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 0, 1, 1]},
        "GlobalAveragePool": {},
    }.items():
        net = Net(op, 107)
        check(net, net.op(op, quantized_input(net, [2, 19, 9, 8], dtype), **attrs), 1 / 40, 9, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_concat_softmax_resize_transpose(dtype: str) -> None:
    net = Net("concat", 108)
    a = quantized_input(net, [1, 5, 6, 6], dtype, "a")
    b = quantized_input(net, [1, 3, 6, 6], dtype, "b", 1 / 20, 3)
    check(net, net.op("Concat", a, b, axis=1), 1 / 24, 8, dtype)
    net = Net("softmax", 109)
    check(
        net,
        net.op("Softmax", quantized_input(net, [4, 30], dtype), axis=-1),
        1 / 256,
        0 if dtype == "uint8" else -128,
        dtype,
    )
    net = Net("resize", 110)
    x = quantized_input(net, [1, 3, 5, 6], dtype)
    y = net.op(
        "Resize",
        x,
        "",
        net.const([1, 1, 2, 2], "float32"),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    check(net, y, 1 / 32, 11, dtype)
    net = Net("transpose", 111)
    check(net, net.op("Transpose", quantized_input(net, [2, 3, 4, 5], dtype), perm=[0, 2, 3, 1]), 1 / 32, 11, dtype)
