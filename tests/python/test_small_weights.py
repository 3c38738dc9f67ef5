"""Weights that stay small in memory: restored inside MatMul, Conv, Gather, with the bytes of restoring them first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import octavo
from octavo import ops
from octavo.ops._restore import pack, unpack, weights
from octavo.ops.cast import DTYPES
from one_step import Array, OneStep, check, same
from small_models import model, tensor
from weight_only import Restored, codebook, integer_codebook, linear, restored_first, weight_only

CODES = [2, 3, 4, 5, 10, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28]
SCHEMES: dict[str, Callable[[str, Array, str], Restored]] = {
    "int8": linear("int8", 0),
    "int8 columns": linear("int8", 1),
    "int4": linear("int4", 0),
    "int4 blocks": linear("int4", 0, 32),
    "int4 blocks across": linear("int4", 1, 16),
    "int2": linear("int2", 0),
    "codebook": codebook,
    "int8 codebook": integer_codebook,
}


def codes(rng: np.random.Generator, number: int, shape: tuple[int, ...]) -> Array:
    dtype = np.dtype(DTYPES[number])
    if dtype.itemsize == 2:
        return rng.normal(0, 100, shape).astype(np.float32).astype(dtype)
    bits = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2, 27: 6, 28: 6}.get(number, 8)
    drawn = rng.integers(0, 1 << bits, shape).astype(np.uint8).view(dtype)
    with np.errstate(all="ignore"):
        finite = np.isfinite(drawn.astype(np.float32))
    return np.where(finite.reshape(shape), drawn.view(np.uint8), 0).astype(np.uint8).view(dtype)


def stored(rng: np.random.Generator, number: int, shape: tuple[int, ...]) -> tuple[list[Array | None], dict[str, Any]]:
    """[codes, scale, zp, table] and attributes of random weights of one code type."""
    attrs: dict[str, Any] = {"w_type": number, "w_shape": list(shape)}
    q = codes(rng, number, shape)
    rows, columns = shape[0], int(np.prod(shape[1:]))
    scale = zp = table = None
    if rng.integers(4):
        block = [int(rng.choice([1, rows, rng.integers(1, rows + 3)])), int(rng.choice([1, columns, 32, 5]))]
        grid = -(-rows // block[0]) * -(-columns // block[1])
        scale = rng.uniform(0.01, 0.2, grid).astype(np.float32)
        attrs["w_block"] = block
        count = 1 if rng.integers(2) else grid
        zp = [None, rng.integers(0, 256, count).astype(np.uint8), rng.integers(-128, 128, count).astype(np.int8),
              rng.normal(0, 3, count).astype(np.float32)][rng.integers(4)]  # fmt: skip
    if number in (2, 21, 25) and rng.integers(2):
        table = rng.normal(0, 1, {2: 256, 21: 16, 25: 4}[number]).astype(np.float32)
    return [pack(q), scale, zp, table], attrs


def sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[list[Array | None], dict[str, Any]]:
    """[elements, starts, columns] and attributes of random sparse weights, with empty and full rows among them."""
    keep = rng.uniform(0, 1, (shape[0], int(np.prod(shape[1:])))) < rng.choice([0, 0.1, 1], (shape[0], 1))
    starts = np.concatenate([[0], keep.sum(1).cumsum()]).astype(np.int32)
    columns = np.nonzero(keep)[1].astype(rng.choice([np.uint16, np.int32]))
    values = rng.normal(0, 1, columns.size).astype(np.float32)
    return [values, starts, columns], {"w_type": 1, "w_sparse": 1, "w_shape": list(shape)}


def both(op: str, small: list[Array | None], dense: list[Array | None], attrs: dict[str, Any], restore: dict[str, Any],
         at: list[int]) -> None:  # fmt: skip
    """The step over stored weights gives the bytes of the step over the weights restored by numpy."""
    example = ops.reference(op, dense, attrs)
    constants = [k for k, v in enumerate(small) if k in at and v is not None]
    got = OneStep(op, small, {**attrs, **restore}, example, constants).run(small)
    fixed = [k for k in at or range(1, len(dense)) if k < len(dense) and dense[k] is not None]
    expected = OneStep(op, dense, attrs, example, fixed).run(dense)
    same(got[0], expected[0], f"{op} {restore}")


@pytest.mark.parametrize("number", CODES)
def test_matmul(number: int) -> None:
    rng = np.random.default_rng(number)
    for trans in (0, 1):
        m, k, n = int(rng.choice([1, 3, 70])), int(rng.choice([1, 37, 300])), int(rng.choice([1, 15, 33, 70]))
        weight, restore = stored(rng, number, (n, k) if trans else (k, n))
        w = weights([*weight], restore, 0, 1)
        x, bias, z = (rng.normal(0, 1, s).astype(np.float32) for s in ((m, k), (n,), (m, n)))
        attrs = {"trans_b": trans, "act": "Relu"}
        both("MatMul", [x, weight[0], bias, z, *weight[1:]], [x, w, bias, z], attrs, restore, [1, 4, 5, 6])


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("kind", ["plain", "grouped", "depthwise", "1d"])
def test_conv(number: int, kind: str) -> None:
    rng = np.random.default_rng(number)
    group = {"grouped": 2, "depthwise": 19}.get(kind, 1)
    channels, outputs = {"plain": (5, 35), "grouped": (6, 70), "depthwise": (19, 19), "1d": (4, 17)}[kind]
    size, d = ((9,), 1) if kind == "1d" else ((7, 6), 2)
    kernel = (3,) * d if rng.integers(2) or kind == "depthwise" else (1,) * d
    weight, restore = stored(rng, number, (outputs, *kernel, channels // group))
    w = weights([*weight], restore, 0, 1)
    x, bias = rng.normal(0, 1, (2, *size, channels)).astype(np.float32), rng.normal(0, 1, outputs).astype(np.float32)
    attrs = {"group": group, "pads": [kernel[0] // 2] * 2 * d, "strides": [1 + int(rng.integers(2))] * d}
    both("Conv", [x, weight[0], bias, None, *weight[1:]], [x, w, bias], attrs, restore, [1, 4, 5, 6])


@pytest.mark.parametrize("kind", ["plain", "grouped", "depthwise", "1d"])
def test_conv_with_computed_weights(kind: str) -> None:
    rng = np.random.default_rng(1)
    group = {"grouped": 2, "depthwise": 19}.get(kind, 1)
    channels, outputs = {"plain": (5, 35), "grouped": (6, 70), "depthwise": (19, 19), "1d": (4, 17)}[kind]
    size, d = ((9,), 1) if kind == "1d" else ((7, 6), 2)
    shape = (outputs, *(3,) * d, channels // group)
    x, w, bias = (rng.normal(0, 1, s).astype(np.float32) for s in ((2, *size, channels), shape, (outputs,)))
    attrs = {"group": group, "pads": [1] * 2 * d, "act": "Relu"}
    run_time = {"w_type": 1, "w_shape": list(shape)}
    both("Conv", [x, w, bias], [x, w, bias], attrs, run_time, [])
    for literal in ({}, {"acc64": 1}):
        expected = OneStep("Conv", [x, w, bias], {**attrs, **literal}, [x], [1, 2]).run([x, w, bias])
        step = OneStep("Conv", [x, w, bias], {**attrs, **literal, **run_time}, [x])
        same(step.run([x, w, bias])[0], expected[0], kind)
    with pytest.raises(octavo.Error, match="w_shape declares"):
        step.run([x, w[1:], bias])


@pytest.mark.parametrize("number", CODES)
def test_gather(number: int) -> None:
    rng = np.random.default_rng(number)
    for shape in ((50, 33), (7, 3, 5)):
        weight, restore = stored(rng, number, shape)
        indices = rng.integers(-shape[0], shape[0], (3, 4)).astype(np.int64)
        check("Gather", [weight[0], indices, *weight[1:]], {"axis": 0, **restore}, constants=[0, 2, 3, 4])


@pytest.mark.parametrize("seed", range(8))
def test_sparse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = int(rng.choice([1, 70])), int(rng.choice([2, 37, 300])), int(rng.choice([2, 33, 70]))
    trans = seed % 2
    weight, restore = sparse(rng, (n, k) if trans else (k, n))
    x = rng.normal(0, 1, (m, k)).astype(np.float32)
    small, dense = [x, weight[0], None, None, *weight[1:]], [x, weights([*weight], restore, 0, 1)]
    both("MatMul", small, dense, {"trans_b": trans}, restore, [1, 4, 5])
    weight, restore = sparse(rng, (35, 3, 3, 6))
    x = rng.normal(0, 1, (1, 6, 5, 6)).astype(np.float32)
    small, dense = [x, weight[0], None, None, *weight[1:]], [x, weights([*weight], restore, 0, 1)]
    both("Conv", small, dense, {"pads": [1, 1, 1, 1]}, restore, [1, 4, 5])
    weight, restore = sparse(rng, (20, 7))
    indices = rng.integers(-20, 20, 9).astype(np.int64)
    check("Gather", [weight[0], indices, *weight[1:]], {"axis": 0, **restore}, constants=[0, 2, 3])


@pytest.mark.parametrize("starts, columns, words", [
    ([0, 1], [0, 1, 2], "3 starts"), ([0, 2, 9], [0, 1, 2], "from 0 to 3"), ([0, 5, 3], [0, 1, 2], "ascend"),
    ([0, 2, 3], [1, 0, 2], "ascend"), ([0, 2, 3], [0, 4, 2], "ascend"), ([0, 2, 3], [0, -1, 2], "ascend"),
    ([0, 2, 3], [0, 1], "one each"), ([1, 2, 3], [0, 1, 2], "from 0 to 3"),
])  # fmt: skip
def test_hostile_sparse_weights_are_refused(starts: list[int], columns: list[int], words: str) -> None:
    attrs = {"w_type": 1, "w_sparse": 1, "w_shape": [2, 4]}
    x, values = np.zeros((1, 2), np.float32), np.zeros(3, np.float32)
    inputs = [x, values, None, None, np.array(starts, np.int32), np.array(columns, np.int32)]
    with pytest.raises(octavo.Error, match=words):
        OneStep("MatMul", inputs, attrs, [np.zeros((1, 4), np.float32)], constants=[1, 4, 5])


@pytest.mark.parametrize("coordinates", [False, True])
def test_sparse_initializers_stay_sparse(coordinates: bool) -> None:
    net, rng = network(), np.random.default_rng(11)
    made = onnx.ModelProto()
    made.CopyFrom(net)
    for t in list(made.graph.initializer):
        w = onnx.numpy_helper.to_array(t)
        if w.ndim < 2:
            continue
        w = np.where(rng.uniform(0, 1, w.shape) < 0.8, np.float32(0), w)
        t.CopyFrom(onnx.numpy_helper.from_array(w, t.name))
    small = onnx.ModelProto()
    small.CopyFrom(made)
    for t in list(small.graph.initializer):
        w = onnx.numpy_helper.to_array(t)
        if w.ndim < 2:
            continue
        at = np.argwhere(w) if coordinates else np.flatnonzero(w)
        values = onnx.numpy_helper.from_array(w[w != 0], t.name)
        indices = onnx.numpy_helper.from_array(at.astype(np.int64), f"{t.name}/at")
        small.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, list(w.shape)))
        small.graph.initializer.remove(t)
    expected = octavo.Session(made).run(None, feeds())
    for options in ({"threads": 1}, {"optimize": False}, {"isa": "scalar", "threads": 2}):
        session = octavo.Session(small, **options)
        for got, want in zip(session.run(None, feeds()), expected, strict=True):
            same(got, want, f"{options}")
    assert sum(bool(step["attrs"].get("w_sparse")) for step in session.plan.steps) == 5
    literal = octavo.Session(small, literal=True).run(None, feeds())
    for got, want in zip(literal, octavo.Session(made, literal=True).run(None, feeds()), strict=True):
        same(got, want, "literal")


@pytest.mark.parametrize("number", CODES)
def test_every_code_is_the_number_numpy_has(number: int) -> None:
    dtype = np.dtype(DTYPES[number])
    bits = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2, 27: 6, 28: 6}.get(number, 8 * dtype.itemsize)
    q = np.arange(1 << bits).astype(np.uint16 if dtype.itemsize == 2 else np.uint8).view(dtype).reshape(2, -1)
    attrs = {"axis": 0, "w_type": number, "w_shape": list(q.shape)}
    with np.errstate(invalid="ignore"):
        check("Gather", [pack(q), np.array([1, 0], np.int64)], attrs, constants=[0])


@pytest.mark.parametrize("number", CODES)
def test_packing(number: int) -> None:
    for n in (1, 2, 3, 4, 5, 64):
        q = codes(np.random.default_rng(n), number, (1, n))
        assert unpack(pack(q), q.dtype, [1, n]).tobytes() == q.tobytes()
        if number in (21, 22, 25, 26):
            assert pack(q).tobytes() == onnx.numpy_helper.from_array(q).raw_data


BAD = [
    ({"w_type": 1}, "cannot be stored"), ({"w_type": 99}, "cannot be stored"), ({"w_type": -3}, "cannot be stored"),
    ({"w_shape": [4]}, "w_shape"), ({"w_shape": [4, -6]}, "w_shape"), ({"w_shape": [2**40, 2**40]}, "w_shape"),
    ({"w_shape": [4, 7]}, "bytes"), ({"w_block": [1]}, "w_block"), ({"w_block": [0, 6]}, "w_block"),
    ({"w_block": [1, 1]}, "scales"), ({"w_block": [2**62, 2**62]}, "scales"), ({"acc64": 1}, "acc64"),
]  # fmt: skip


@pytest.mark.parametrize("change, words", BAD)
def test_hostile_attributes_are_refused(change: dict[str, Any], words: str) -> None:
    q, scale = np.zeros(24, np.uint8), np.ones(4, np.float32)
    attrs = {"w_type": 2, "w_shape": [4, 6], "w_block": [1, 6], **change}
    x = np.zeros((1, 4), np.float32)
    with pytest.raises(octavo.Error, match=words):
        OneStep("MatMul", [x, q, None, None, scale], attrs, [np.zeros((1, 6), np.float32)], constants=[1, 4])


@pytest.mark.parametrize("extra, words", [
    ([None, np.zeros(4, np.uint8)], "need scales"),
    ([np.ones(4, np.float32), np.zeros(3, np.uint8)], "differ in number"),
    ([np.ones(4, np.float32), np.zeros(4, np.int32)], "zero points"),
    ([None, None, np.zeros(255, np.float32)], "table"),
])  # fmt: skip
def test_hostile_inputs_are_refused(extra: list[Array | None], words: str) -> None:
    attrs = {"w_type": 2, "w_shape": [4, 6], "w_block": [1, 6]}
    inputs = [np.zeros((1, 4), np.float32), np.zeros(24, np.uint8), None, None, *extra]
    constants = [k for k in range(1, len(inputs)) if inputs[k] is not None]
    with pytest.raises(octavo.Error, match=words):
        OneStep("MatMul", inputs, attrs, [np.zeros((1, 6), np.float32)], constants=constants)


def network() -> onnx.ModelProto:
    """ids -> Gather -> MatMul -> Gemm; image -> Conv 3x3 -> Conv 1x1: weights of every reader."""
    rng = np.random.default_rng(5)

    def w(*shape: int) -> Array:
        return rng.normal(0, 0.2, shape).astype(np.float32)

    constants = {
        "table": w(40, 64), "w1": w(64, 96), "b1": w(96), "w2": w(33, 96), "b2": w(33), "k1": w(32, 32, 3, 3),
        "k2": w(64, 32, 1, 1), "flat": np.array([-1, 96], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], "embed"),
        helper.make_node("MatMul", ["e", "w1"], ["h"], "first"),
        helper.make_node("Add", ["h", "b1"], ["hb"], "bias"),
        helper.make_node("Relu", ["hb"], ["hr"], "relu"),
        helper.make_node("Reshape", ["hr", "flat"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], "second", transB=1),
        helper.make_node("Conv", ["image", "k1"], ["c1"], "conv3", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c1", "k2"], ["features"], "conv1"),
    ]
    return model(
        nodes,
        [tensor("ids", ["N", "T"], TensorProto.INT64), tensor("image", [1, 32, 9, 8])],
        [tensor("logits", ["M", 33]), tensor("features", [1, 64, 9, 8])],
        constants,
    )


def feeds() -> dict[str, Array]:
    rng = np.random.default_rng(6)
    return {"ids": rng.integers(0, 40, (2, 5)), "image": rng.normal(0, 1, (1, 32, 9, 8)).astype(np.float32)}


@pytest.mark.parametrize("name", SCHEMES)
def test_outputs_equal_restoring_first(name: str) -> None:
    small = weight_only(network(), SCHEMES[name])
    expected = octavo.Session(restored_first(small), threads=1).run(None, feeds())
    for options in ({"threads": 1}, {"threads": 2}, {"optimize": False}, {"isa": "scalar"}):
        session = octavo.Session(small, **options)
        assert session.python_steps == []
        for got, want in zip(session.run(None, feeds()), expected, strict=True):
            same(got, want, f"{name} {options}")
    # Scales across the channels of a 3x3 convolution do not lie side by side: its weights alone become floats.
    spread = 4 * 32 * 32 * 9 if name in ("int8 columns", "int4 blocks across") else 0
    constants = sum(v["bytes"] for v in session.plan.values if v["constant"])
    assert constants - spread < 1.1 * sum(len(t.raw_data) for t in small.graph.initializer) + 256


@pytest.mark.parametrize("name", SCHEMES)
def test_a_transposed_weight_stays_small(name: str) -> None:
    """As exporters write linear layers: MatMul(x, Transpose(DequantizeLinear(w)))."""
    w = np.random.default_rng(3).normal(0, 0.2, (80, 64)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"], "matmul"),
    ]
    net = model(nodes, [tensor("x", ["N", 64])], [tensor("y", ["N", 80])], {"w": w})
    small = weight_only(net, SCHEMES[name])
    x = np.random.default_rng(4).normal(0, 1, (3, 64)).astype(np.float32)
    expected = octavo.Session(restored_first(small)).run(None, {"x": x})
    for options in ({"threads": 1}, {"optimize": False}, {"isa": "scalar"}):
        session = octavo.Session(small, **options)
        assert [step["op"] for step in session.plan.steps] == ["MatMul"]
        same(session.run(None, {"x": x})[0], expected[0], f"{name} {options}")
        constants = sum(v["bytes"] for v in session.plan.values if v["constant"])
        assert constants < 1.1 * sum(len(t.raw_data) for t in small.graph.initializer) + 256


@pytest.mark.parametrize("name", SCHEMES)
def test_literal_mode_still_runs(name: str) -> None:
    small = weight_only(network(), SCHEMES[name])
    literal = octavo.Session(small, literal=True).run(None, feeds())
    for got, want in zip(octavo.Session(small).run(None, feeds()), literal, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_saved_plan_keeps_weights_small(tmp_path: Any) -> None:
    small = weight_only(network(), SCHEMES["int4 blocks"])
    session = octavo.Session(small)
    session.save(tmp_path / "net.octavo")
    elements = 40 * 64 + 64 * 96 + 33 * 96 + 64 * 32 * 10
    assert (tmp_path / "net.octavo").stat().st_size < elements * 0.75 + 4096
    loaded = octavo.Session(tmp_path / "net.octavo")
    for got, want in zip(loaded.run(None, feeds()), session.run(None, feeds()), strict=True):
        same(got, want, "saved")


def test_integer_activations_keep_integer_weights() -> None:
    """Weights beside a quantized activation still become integer steps, codebooks included."""
    for scheme in (linear("int8", 0), integer_codebook):
        net = weight_only(network(), scheme)
        constants = {"qs": np.float32(0.05), "qz": np.uint8(128)}
        net.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items())
        conv = next(n for n in net.graph.node if n.name == "conv3")
        conv.input[0] = "image_d"
        at = list(net.graph.node).index(conv)
        net.graph.node.insert(at, helper.make_node("DequantizeLinear", ["image_q", "qs", "qz"], ["image_d"], "idq"))
        net.graph.node.insert(at, helper.make_node("QuantizeLinear", ["image", "qs", "qz"], ["image_q"], "iq"))
        assert "QConv" in [step["op"] for step in octavo.Session(net).plan.steps]
