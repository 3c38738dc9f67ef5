"""Small ONNX models for the tests of the public face."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def tensor(name: str, shape: list[int | str], kind: int = FLOAT) -> object:
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray] | None = None) -> ModelProto:
    initializers = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def float_net() -> ModelProto:
    """x [N, 4] -> hidden = relu(x W), twice = hidden + hidden [N, 3]."""
    w = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "product"),
        helper.make_node("Relu", ["product"], ["hidden"], "relu"),
        helper.make_node("Add", ["hidden", "hidden"], ["twice"], "add"),
    ]
    return model(nodes, [tensor("x", ["N", 4])], [tensor("hidden", ["N", 3]), tensor("twice", ["N", 3])], {"w": w})


def float_reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
    hidden = np.maximum(x @ w, 0)
    return hidden, hidden + hidden


def quantized_net(side: int | str = 8) -> ModelProto:
    """image [N, 3, side, side] -> Q, DQ, Conv with int8 weights, Q, DQ -> y [N, 4, side, side]."""
    rng = np.random.default_rng(7)
    constants = {
        "sx": np.float32(1 / 64),
        "zx": np.uint8(128),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "sw": np.float32(1 / 256),
        "zw": np.int8(0),
        "sy": np.float32(1 / 16),
        "zy": np.uint8(120),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "sx", "zx"], ["xq"], "quantize"),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"], "x_dequantize"),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], "w_dequantize"),
        helper.make_node("Conv", ["xd", "wd"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "sy", "zy"], ["yq"], "y_quantize"),
        helper.make_node("DequantizeLinear", ["yq", "sy", "zy"], ["y"], "y_dequantize"),
    ]
    shape: list[int | str] = ["N", 3, side, side]
    return model(nodes, [tensor("image", shape)], [tensor("y", ["N", 4, side, side])], constants)


def float_image_net(side: int) -> ModelProto:
    """image [N, 3, side, side] -> Conv, Relu -> y [N, 4, side / 4, side / 4]."""
    rng = np.random.default_rng(11)
    constants = {"w": rng.normal(0, 0.2, (4, 3, 4, 4)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv", strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    return model(
        nodes, [tensor("image", ["N", 3, side, side])], [tensor("y", ["N", 4, side // 4, side // 4])], constants
    )


def two_inputs() -> ModelProto:
    """left, right [rows, 2] -> left - right."""
    nodes = [helper.make_node("Sub", ["left", "right"], ["difference"], "sub")]
    return model(
        nodes, [tensor("left", ["rows", 2]), tensor("right", ["rows", 2])], [tensor("difference", ["rows", 2])]
    )


def one_of(kind: int, shape: list[int | str]) -> ModelProto:
    """x -> y = x, of any type and shape."""
    nodes = [helper.make_node("Identity", ["x"], ["y"], "identity")]
    return model(nodes, [tensor("x", shape, kind)], [tensor("y", shape, kind)])


def with_python_step() -> ModelProto:
    """x [3, 3] -> its determinant, which the core does not compute."""
    nodes = [helper.make_node("Det", ["x"], ["d"], "the_det")]
    return model(nodes, [tensor("x", [3, 3])], [tensor("d", [])])
