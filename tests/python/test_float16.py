"""float16 and bfloat16 models: they load, keep their types outside, compute in float32 inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import octavo
from one_step import Array, same
from small_models import model, tensor
from test_small_weights import feeds, network

HALF = {TensorProto.FLOAT16: np.dtype(np.float16), TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}


def narrowed(net: ModelProto, kind: int) -> ModelProto:
    """The model with every float32 made 16-bit."""
    made = ModelProto()
    made.CopyFrom(net)

    def narrow(t: TensorProto) -> None:
        most = float(ml_dtypes.finfo(HALF[kind]).max)
        a = np.clip(numpy_helper.to_array(t), -most, most)
        t.CopyFrom(numpy_helper.from_array(a.astype(HALF[kind]), t.name))

    for t in made.graph.initializer:
        if t.data_type == TensorProto.FLOAT:
            narrow(t)
    for v in [*made.graph.input, *made.graph.output, *made.graph.value_info]:
        if v.type.tensor_type.elem_type == TensorProto.FLOAT:
            v.type.tensor_type.elem_type = kind
    for node in made.graph.node:
        for a in node.attribute:
            if a.name == "value" and a.t.data_type == TensorProto.FLOAT:
                narrow(a.t)
            if node.op_type == "Cast" and a.name == "to" and a.i == TensorProto.FLOAT:
                a.i = kind
    return made


def widened(net: ModelProto) -> ModelProto:
    """A 16-bit model in float32: its weights exactly as they are."""
    made = ModelProto()
    made.CopyFrom(net)
    for t in made.graph.initializer:
        if t.data_type in HALF:
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float32), t.name))
    for v in [*made.graph.input, *made.graph.output, *made.graph.value_info]:
        if v.type.tensor_type.elem_type in HALF:
            v.type.tensor_type.elem_type = TensorProto.FLOAT
    return made


@pytest.mark.parametrize("kind", HALF)
def test_computes_in_float32(kind: int) -> None:
    small = narrowed(network(), kind)
    given = {k: v.astype(HALF[kind]) if v.dtype == np.float32 else v for k, v in feeds().items()}
    wide = {k: v.astype(np.float32) if v.dtype == HALF[kind] else v for k, v in given.items()}
    expected = octavo.Session(widened(small)).run(None, wide)
    for options in ({"threads": 1}, {"optimize": False}, {"isa": "scalar"}):
        session = octavo.Session(small, **options)
        assert session.python_steps == []
        assert [o.dtype for o in session.get_outputs()] == [HALF[kind]] * 2
        for got, want in zip(session.run(None, given), expected, strict=True):
            same(got, want.astype(HALF[kind]), str(options))
    constants = sum(v["bytes"] for v in session.plan.values if v["constant"])
    assert constants < 1.05 * sum(len(t.raw_data) for t in small.graph.initializer)


def test_an_explicit_cast_rounds() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], "down", to=TensorProto.FLOAT16),
        helper.make_node("Add", ["h", "h"], ["d"], "double"),
        helper.make_node("Cast", ["d"], ["y"], "up", to=TensorProto.FLOAT),
    ]
    net = model(nodes, [tensor("x", [3])], [tensor("y", [3])])
    x = np.array([1.00049, 40000.0, 2049.0], np.float32)
    with np.errstate(over="ignore"):
        expected = (x.astype(np.float16) + x.astype(np.float16)).astype(np.float32)
    same(octavo.Session(net).run(None, {"x": x})[0], expected, "rounded")
    assert np.isinf(expected[1])


def test_operators_outside_read_and_write_16_bits() -> None:
    """A node the pass does not know, and a constant that is an output."""
    one = numpy_helper.from_array(np.ones(1, np.float16))
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["c"], "fill", value=one),
        helper.make_node("Mul", ["c", "x"], ["m"], "mul"),
        helper.make_node("Bernoulli", ["p"], ["b"], "outside", seed=1.0, dtype=TensorProto.FLOAT16),
        helper.make_node("Add", ["m", "b"], ["y"], "add"),
    ]  # fmt: skip
    inputs = [tensor("x", [2], TensorProto.FLOAT16), tensor("p", [2], TensorProto.FLOAT16)]
    net = model(nodes, inputs, [tensor("y", [2], TensorProto.FLOAT16)], {"shape": np.array([2], np.int64)})
    x = np.array([0.5, -3], np.float16)
    (y,) = octavo.Session(net).run(None, {"x": x, "p": np.ones(2, np.float16)})
    same(y, x + np.float16(1), "mixed")


@pytest.mark.parametrize("name", ["paraphrase_minilm_l3", "squeezenet1.1", "cifar10_resnet20", "mobilenet_v2_1.0_224"])
def test_real_models_beside_onnxruntime(name: str, shared_models: Path) -> None:
    net = onnx.load(shared_models / f"{name}.onnx")
    rng = np.random.default_rng(1)
    half: ModelProto = narrowed(net, TensorProto.FLOAT16)
    session = octavo.Session(half)
    given: dict[str, Any] = {}
    for info in session.get_inputs():
        dims = [d if isinstance(d, int) else 1 for d in info.shape]
        if info.dtype == np.int64:
            given[info.name] = rng.integers(1, 4900, (1, 16)) if "id" in info.name else np.ones((1, 16), np.int64)
        else:
            given[info.name] = rng.normal(0, 1, dims).astype(np.float16)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    peer = ort.InferenceSession(half.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for got, want in zip(session.run(None, given), peer.run(None, given), strict=True):
        assert got.dtype == want.dtype and np.isfinite(want).all()
        error: Array = np.abs(got.astype(np.float32) - want.astype(np.float32))
        assert error.max() <= 4e-3 * np.abs(want.astype(np.float32)).max()
