"""onnxruntime's weight-only operators against onnxruntime, and against the same weights restored first."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import octavo
from octavo.ops._restore import pack
from one_step import Array, same
from small_models import tensor

TYPES = {2: ml_dtypes.uint2, 4: ml_dtypes.uint4, 8: np.uint8}


def model(nodes: list, inputs: list, outputs: list, constants: dict[str, Array]) -> ModelProto:
    initializers = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def onnxruntime(net: ModelProto, feeds: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(net.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)


def packed_rows(q: Array, bits: int) -> Array:
    """Each row in bytes of its own."""
    return np.stack([pack(row.astype(TYPES[bits])) for row in q.reshape(-1, q.shape[-1])])


@pytest.mark.parametrize("bits, block, k", [(4, 32, 96), (4, 16, 40), (8, 32, 64), (2, 32, 96), (4, 128, 70)])
@pytest.mark.parametrize("zeros", ["none", "packed", "float"])
def test_matmul_nbits(bits: int, block: int, k: int, zeros: str) -> None:
    rng = np.random.default_rng(bits * k)
    n, blocks = 33, -(-k // block)
    q = rng.integers(0, 1 << bits, (n, blocks * block))
    scale = rng.uniform(0.01, 0.1, (n, blocks)).astype(np.float32)
    b = packed_rows(q.reshape(n * blocks, block), bits).reshape(n, blocks, -1)
    constants = {"b": b, "s": scale.reshape(-1), "bias": rng.normal(0, 1, n).astype(np.float32)}
    zp = np.full((n, blocks), 1 << (bits - 1), np.float32)
    name = ""
    if zeros == "packed":
        points = rng.integers(0, 1 << bits, (n, blocks))
        constants["z"], zp, name = packed_rows(points, bits).reshape(-1), points.astype(np.float32), "z"
    elif zeros == "float":
        zp, name = rng.uniform(0, 3, (n, blocks)).astype(np.float32), "z"
        constants["z"] = zp
    node = helper.make_node("MatMulNBits", ["x", "b", "s", name, "", "bias"], ["y"], "m", domain="com.microsoft", K=k,
                            N=n, bits=bits, block_size=block)  # fmt: skip
    net = model([node], [tensor("x", ["B", "T", k])], [tensor("y", ["B", "T", n])], constants)
    x = rng.normal(0, 1, (2, 3, k)).astype(np.float32)
    session = octavo.Session(net)
    assert session.python_steps == [] and "w_type" in session.plan.steps[0]["attrs"]
    (y,) = session.run(None, {"x": x})
    w = ((q.astype(np.float32) - np.repeat(zp, block, 1)) * np.repeat(scale, block, 1))[:, :k]
    dense = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "bias"], ["y"])]
    restored = model(dense, list(net.graph.input), list(net.graph.output), {"w": w.T, "bias": constants["bias"]})
    same(y, octavo.Session(restored).run(None, {"x": x})[0], "restored first")
    same(y, octavo.Session(net, optimize=False, isa="scalar").run(None, {"x": x})[0], "scalar, not optimized")
    if (bits, zeros) not in {(2, "float"), (8, "float"), (2, "packed"), (2, "none")}:  # not in every onnxruntime
        (expected,) = onnxruntime(net, {"x": x})
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    literal = octavo.Session(net, literal=True).run(None, {"x": x})[0]
    np.testing.assert_allclose(y, literal, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["uint4", "int4", "uint8", "uint8 of 4 bits"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_gather_block_quantized(kind: str, zeros: bool, half: bool) -> None:
    rng = np.random.default_rng(3)
    rows, columns, block = 20, 64, 16
    bits = 8 if kind == "uint8" else 4
    low = -8 if kind == "int4" else 0
    q = rng.integers(low, low + (1 << bits), (rows, columns))
    points = rng.integers(low, low + (1 << bits), (rows, columns // block))
    if kind == "uint8 of 4 bits":
        data, zp = packed_rows(q, 4), packed_rows(points, 4)
    else:
        dtype = {"uint4": ml_dtypes.uint4, "int4": ml_dtypes.int4, "uint8": np.uint8}[kind]
        data, zp = (
            q.astype(np.int8 if low else np.uint8).astype(dtype),
            points.astype(np.int8 if low else np.uint8).astype(dtype),
        )
    scale = rng.uniform(0.01, 0.1, points.shape).astype(np.float16 if half else np.float32)
    constants = {"d": data, "s": scale, **({"z": zp} if zeros else {})}
    inputs = ["d", "i", "s", *(["z"] if zeros else [])]
    node = helper.make_node("GatherBlockQuantized", inputs, ["y"], "g", domain="com.microsoft", block_size=block,
                            gather_axis=0, quantize_axis=1, bits=bits)  # fmt: skip
    kind_of = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    net = model([node], [tensor("i", ["A", "B"], 7)], [tensor("y", ["A", "B", columns], kind_of)], constants)
    indices = rng.integers(0, rows, (3, 2))
    session = octavo.Session(net)
    assert session.python_steps == [] and "w_type" in session.plan.steps[0]["attrs"]
    (y,) = session.run(None, {"i": indices})
    (expected,) = onnxruntime(net, {"i": indices})
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.astype(np.float32), expected.astype(np.float32), rtol=2e-3 if half else 1e-6)


def test_what_is_not_read_is_reported_by_name() -> None:
    constants = {"b": np.zeros((8, 1, 16), np.uint8), "s": np.ones(8, np.float32), "g": np.zeros(32, np.int32)}
    node = helper.make_node("MatMulNBits", ["x", "b", "s", "", "g"], ["y"], "grouped", domain="com.microsoft", K=32,
                            N=8, bits=4, block_size=32)  # fmt: skip
    net = model([node], [tensor("x", [1, 32])], [tensor("y", [1, 8])], constants)
    with pytest.raises(octavo.Error, match="grouped"):
        octavo.Session(net)
