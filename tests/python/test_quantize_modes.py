"""octavo.quantize beyond 8-bit static: weight-only files, few bits, other spellings. They run elsewhere, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from octavo.compress.nearest import fitted, integers
from octavo.compress.scheme import WeightScheme
from octavo.report.verify import verify
from small_models import model, tensor
from test_quantize import convnet, samples, sqnr

FEEDS = dict[str, np.ndarray]


def at(net: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A model whose nodes mean the same in an older operator set."""
    net.opset_import[0].version = opset
    net.ir_version = 8
    return net


def mixed(scale: float = 0.15) -> onnx.ModelProto:
    """ids [T] -> Gather, MatMul -> u; x [N, 48, 6, 6] -> Conv 3x3, Relu, Conv 1x1, mean, Gemm, + mean of u -> y."""
    rng = np.random.default_rng(17)
    normal = lambda *shape: rng.normal(0, scale, shape).astype(np.float32)  # noqa: E731
    constants = {
        "table": normal(40, 64), "up": normal(64, 32), "w1": normal(64, 48, 3, 3), "b1": normal(64),
        "w2": normal(32, 64, 1, 1), "w3": normal(32, 32), "tiny": normal(32, 4),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], "embed"),
        helper.make_node("MatMul", ["e", "up"], ["u"], "up"),
        helper.make_node("ReduceMean", ["u"], ["t"], "words", keepdims=1),
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["a1"], "relu"),
        helper.make_node("Conv", ["a1", "w2"], ["c2"], "second"),
        helper.make_node("GlobalAveragePool", ["c2"], ["pooled"], "mean"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w3"], ["g"], "head", transB=1),
        helper.make_node("Add", ["g", "t"], ["sum"], "add"),
        helper.make_node("MatMul", ["sum", "tiny"], ["y"], "last"),
    ]
    inputs = [tensor("x", ["N", 48, 6, 6]), tensor("ids", ["T"], onnx.TensorProto.INT64)]
    return model(nodes, inputs, [tensor("y", ["N", 4]), tensor("u", ["T", 32])], constants)


def feeds(count: int = 8, seed: int = 1) -> list[FEEDS]:
    rng = np.random.default_rng(seed)
    draw = lambda: rng.normal(0, 1, (1, 48, 6, 6)).astype(np.float32)  # noqa: E731
    return [{"x": draw(), "ids": rng.integers(0, 40, 5)} for _ in range(count)]


def results(run: Any, data: list[FEEDS]) -> np.ndarray:
    return np.concatenate([np.concatenate([a.reshape(-1) for a in run(f)]) for f in data])


def here(net: Any) -> Any:
    session = octavo.Session(net)
    return lambda f: session.run(None, f)


def there(net: onnx.ModelProto, literal: bool = False) -> Any:
    """onnxruntime; literal: as the file says, where it would else quantize the operands of restored weights too."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    options = ort.SessionOptions()
    if literal:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(net.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda f: session.run(None, f)


# -- weight-only -------------------------------------------------------------------------------------------------------

WEIGHT_ONLY: list[tuple[dict[str, Any], float, set[str]]] = [  # options, least SQNR in dB, types of the weights
    ({}, 38, {"INT8"}),
    ({"weight_symmetric": False}, 38, {"UINT8"}),
    ({"per_channel": False}, 34, {"INT8"}),
    ({"power_of_two": True}, 34, {"INT8"}),
    ({"weight_bits": 7}, 32, {"INT8"}),
    ({"opset": 13}, 38, {"INT8"}),
    ({"block_size": 16}, 38, {"INT8"}),
    ({"weight_bits": 16}, 80, {"INT16"}),
    ({"weight_bits": 16, "weight_symmetric": False, "block_size": 16}, 80, {"UINT16"}),
    ({"weight_bits": "float16"}, 60, {"FLOAT16"}),
    ({"weight_bits": "float16", "opset": 13}, 60, {"FLOAT16"}),
    ({"weight_bits": 4}, 13, {"INT4"}),
    ({"weight_bits": 4, "weight_symmetric": False}, 13, {"UINT4"}),
    ({"weight_bits": 4, "block_size": 16}, 15, {"INT4"}),
    ({"weight_bits": 4, "block_size": 16, "weight_symmetric": False}, 15, {"UINT4"}),
    ({"weight_bits": 2, "opset": 25}, 3, {"INT2"}),
    ({"weight_bits": 2, "opset": 25, "block_size": 16, "weight_symmetric": False}, 3, {"UINT2"}),
    ({"weight_bits": "ternary"}, 2, {"INT4"}),
    ({"weight_bits": "ternary", "opset": 13}, 2, {"INT8"}),
    ({"weight_bits": "ternary", "opset": 25, "block_size": 16}, 2, {"INT2"}),
    ({"weight_bits": "binary"}, 1, {"INT4"}),
    ({"weight_bits": 1, "opset": 25}, 1, {"INT2"}),
]


def stored_types(net: onnx.ModelProto) -> set[str]:
    """Types of the constants of at least 256 elements."""
    large = [
        t for t in net.graph.initializer if np.prod(t.dims) >= 256 and not t.name.rpartition("/")[2].startswith("scale")
    ]
    return {onnx.TensorProto.DataType.Name(t.data_type) for t in large}


@pytest.mark.parametrize(("options", "least", "types"), WEIGHT_ONLY, ids=str)
def test_weight_only_is_small_and_close(options: dict[str, Any], least: float, types: set[str]) -> None:
    net, data = at(mixed(), 13) if options.get("opset") == 13 else mixed(), feeds()
    report = octavo.quantize(net, mode="weight_only", **options)
    assert report.model.opset_import[0].version == options.get("opset", 21)
    onnx.checker.check_model(report.model, full_check=True)
    assert stored_types(report.model) == types
    want, got = results(here(net), data), results(here(report.model), data)
    assert sqnr(want, got) > least
    assert sqnr(results(there(report.model, literal=True), data), got) > 90
    assert sqnr(results(there(report.model), data), got) > 40
    kinds = {layer.name: (layer.kind, layer.weights, layer.reason) for layer in report.layers}
    assert set(kinds) == {"embed", "up", "first", "second", "head", "last"}
    assert kinds.pop("last") == ("float", "", "its weights are fewer than 256")
    assert {kind for kind, _, _ in kinds.values()} == {"weight_only"}
    bits = {"INT2": 2, "UINT2": 2, "INT4": 4, "UINT4": 4, "INT8": 8, "UINT8": 8}.get(next(iter(types)), 16)
    blocks = 0 if not options.get("block_size") else 48 / 16
    weights = 40 * 64 + 64 * 32 + 64 * 48 * 9 + 32 * 64 + 32 * 32
    assert report.bytes_after < weights * (bits + 2 * blocks) / 8 + 8000
    assert report.samples == 0


@pytest.mark.parametrize("options", [o for o, _, types in WEIGHT_ONLY if not types & {"INT2", "UINT2"}], ids=str)
def test_openvino_reads_weight_only_files(options: dict[str, Any]) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino (compare extra) is not installed")
    report = octavo.quantize(at(mixed(), 13), mode="weight_only", **options)
    core = openvino.Core()
    precise = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}  # else to 8 bits, by itself
    compiled = core.compile_model(core.read_model(report.model.SerializeToString()), "CPU", precise)
    data = feeds(2)
    peer = results(lambda f: [compiled(f)[k] for k in range(2)], data)
    assert sqnr(peer, results(here(report.model), data)) > 60


def test_weights_stay_small_in_memory(tmp_path: Path) -> None:
    """A plan holds what the file holds: no float constant of a weight's size."""
    for options in ({}, {"weight_bits": 4, "block_size": 16}, {"weight_bits": "float16"}, {"weight_bits": "binary"}):
        report = octavo.quantize(mixed(), mode="weight_only", **options)
        session = octavo.Session(report.model)
        session.save(tmp_path / "plan.octavo")
        assert (tmp_path / "plan.octavo").stat().st_size < report.bytes_after + 4000


@pytest.mark.parametrize("mode", ["static", "weight_only"])
def test_float16_weights_are_quantized_like_others(mode: str) -> None:
    net, data = mixed(), feeds()
    half = octavo.quantize(net, mode="weight_only", weight_bits="float16").model
    report = octavo.quantize(half, data, mode=mode)
    assert sum(layer.kind == "float" for layer in report.layers) <= 2
    assert sqnr(results(here(net), data), results(here(report.model), data)) > 20


def test_blocks_where_they_fit() -> None:
    report = octavo.quantize(mixed(), mode="weight_only", weight_bits=4, block_size=20)
    told = {layer.name: layer.weights for layer in report.layers}
    assert told["first"] == "int4, 16 a scale"  # 48 channels: the largest divisor up to 20
    assert told["up"] == told["embed"] == told["second"] == told["head"] == "int4, 16 a scale"
    wide = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "wide")],
        [tensor("x", ["N", 200])],
        [tensor("y", ["N", 8])],
        {"w": np.ones((200, 8), np.float32)},
    )
    for size, took in (
        (32, "20 a scale"),
        (19, "a scale a channel"),
        (40, "40 a scale"),
        (25, "25 a scale"),
        (26, "20 a scale"),
    ):
        (layer,) = octavo.quantize(wide, mode="weight_only", block_size=size).layers
        assert layer.weights == f"int8, {took}"
    whole = octavo.quantize(mixed(), mode="weight_only", weight_bits=4, block_size=48).layers
    assert {layer.name: layer.weights for layer in whole}["first"] == "int4, a scale a channel"


def test_calibration_makes_few_bits_better() -> None:
    net, fresh = mixed(), feeds(16, seed=5)
    want = results(here(net), fresh)

    def quality(calibration: Any, **options: Any) -> float:
        report = octavo.quantize(net, calibration, mode="weight_only", weight_bits=4, **options)
        return sqnr(want, results(here(report.model), fresh))

    for options in ({}, {"block_size": 16}, {"block_size": 16, "weight_symmetric": False}, {"power_of_two": True}):
        assert quality(feeds(32), **options) > quality(None, **options) + 0.5, options
    assert quality(feeds(4), rounding="nearest") == quality(None)


def test_shared_weights_are_stored_once() -> None:
    rng = np.random.default_rng(3)
    table = rng.normal(0, 1, (64, 32)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], "embed"),
        helper.make_node("Gemm", ["e", "table"], ["y"], "score", transB=1),
    ]
    net = model(nodes, [tensor("ids", ["T"], onnx.TensorProto.INT64)], [tensor("y", ["T", 64])], {"table": table})
    data = [{"ids": np.array([1, 5, 63])}]
    report = octavo.quantize(net, data, mode="weight_only")
    assert [layer.kind for layer in report.layers] == ["weight_only"] * 2
    assert sum(t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2 for t in report.model.graph.initializer) == 1
    assert sqnr(results(here(net), data), results(here(report.model), data)) > 35
    net.graph.output.append(tensor("table", [64, 32]))
    with pytest.raises(octavo.Unsupported, match="nothing to quantize"):
        octavo.quantize(net, mode="weight_only")


# -- levels and their types --------------------------------------------------------------------------------------------


def test_levels_follow_the_papers() -> None:
    w = np.random.default_rng(1).normal(0, 1, (6, 40)).astype(np.float32)
    w[2] = 0
    for axis, rows in ((0, w), (1, w.T)):
        binary = WeightScheme.of("binary", True)
        params = fitted(rows, axis, binary)
        mean = np.abs(w).mean(1)
        assert np.allclose(params.scale, np.maximum(mean, 2.0**-100), rtol=1e-6)
        assert np.array_equal(integers(rows, params, binary), np.where(rows < 0, -1, 1))
        ternary = WeightScheme.of("ternary", True)
        params = fitted(rows, axis, ternary)
        kept = np.abs(w) > 0.7 * mean[:, None]
        alpha = [np.abs(r[k]).mean() if k.any() else 2.0**-100 for r, k in zip(w, kept)]
        assert np.allclose(params.scale, alpha, rtol=1e-6)
        q = integers(rows, params, ternary)
        assert np.array_equal(q if axis == 0 else q.T, np.sign(w) * kept)


def test_types_that_hold_the_integers() -> None:
    for bits, symmetric, opset, name in [
        (4, True, 13, "int8"), (4, True, 21, "int4"), (4, False, 25, "uint4"), (2, True, 21, "int4"),
        (2, True, 25, "int2"), (2, False, 25, "uint2"), (7, True, 25, "int8"), (8, False, 21, "uint8"),
        (16, True, 21, "int16"), ("binary", True, 23, "int4"), ("ternary", True, 25, "int2"),
    ]:  # fmt: skip
        scheme = WeightScheme.of(bits, True, symmetric)
        assert scheme.stored(opset).name == name
        lo, hi = scheme.limits
        assert np.array([lo, hi]).astype(scheme.stored(opset)).astype(np.int64).tolist() == [lo, hi]


@pytest.mark.parametrize("block", [0, 5])
@pytest.mark.parametrize("bits", [8, 4, 2, "ternary", "binary"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_integers_and_scales_restore_the_weights(bits: int | str, symmetric: bool, block: int) -> None:
    if isinstance(bits, str) and not symmetric:
        return
    w = np.random.default_rng(1).normal(0, 1, (6, 10, 2)).astype(np.float32)
    scheme = WeightScheme.of(bits, True, symmetric)
    params = fitted(w, 1, scheme, block, clip=True)
    q = integers(w, params, scheme)
    assert q.min() >= scheme.limits[0] and q.max() <= scheme.limits[1]
    worst = {8: 0.01, 4: 0.35, 2: 0.95, "ternary": 1.0, "binary": 1.0}[bits]
    assert np.sqrt(((params.dequantize(q) - w) ** 2).mean()) < worst


# -- few bits in static mode -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "least", "name"),
    [
        ({"weight_bits": 4}, 13, "INT4"), ({"weight_bits": 4, "opset": 13}, 13, "INT8"),
        ({"weight_bits": 2}, 2, "INT4"), ({"weight_bits": 2, "opset": 25}, 2, "INT4"),
        ({"weight_bits": "ternary"}, 2, "INT4"), ({"weight_bits": "binary"}, 0, "INT4"),
        ({"weight_symmetric": False}, 20, "UINT8"), ({"weight_bits": 4, "weight_symmetric": False}, 13, "UINT4"),
        ({"power_of_two": True}, 18, "INT8"), ({"weight_bits": 7}, 20, "INT8"),
    ],
    ids=str,
)  # fmt: skip
def test_static_files_hold_few_bits_as_such(options: dict[str, Any], least: float, name: str) -> None:
    report = octavo.quantize(at(convnet(), 13), samples(), **options)
    written = {t.name: t for t in report.model.graph.initializer}
    nodes = {n.output[0]: n for n in report.model.graph.node}
    for layer in ("first", "depthwise", "project", "head"):
        node = next(n for n in report.model.graph.node if n.name == layer)
        weights = written[nodes[node.input[1]].input[0]]
        assert onnx.TensorProto.DataType.Name(weights.data_type) == name
        if options.get("weight_bits") == 7:
            assert np.abs(onnx.numpy_helper.to_array(weights)).max() <= 63
        if options.get("power_of_two"):
            scale = onnx.numpy_helper.to_array(written[nodes[node.input[1]].input[1]])
            assert np.array_equal(np.log2(scale), np.rint(np.log2(scale)))
    session = octavo.Session(report.model)
    assert not session.notes and not {s.op for s in session.steps} & {"Conv", "MatMul"}
    fresh = samples(8, seed=9)
    got = results(here(report.model), fresh)
    assert sqnr(results(here(convnet()), fresh), got) > least
    assert sqnr(results(there(report.model), fresh), got) > 25
    assert all(layer.weights for layer in report.layers if layer.op in ("Conv", "Gemm"))


# -- 16-bit activations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"symmetric": True}, {"weight_bits": 4}, {"power_of_two": True}, {"method": "entropy"}, {"opset": 25}],
    ids=str,
)
@pytest.mark.parametrize("activations", ["uint16", "int16"])
def test_16_bit_activations(activations: str, options: dict[str, Any]) -> None:
    report = octavo.quantize(convnet(), samples(), activations=activations, **options)
    types = {t.name: t.data_type for t in report.model.graph.initializer}
    quantizers = [n for n in report.model.graph.node if n.op_type == "QuantizeLinear"]
    assert {onnx.TensorProto.DataType.Name(types[n.input[2]]) for n in quantizers} == {activations.upper()}
    assert not {s.op for s in octavo.Session(report.model).steps} & {"Python"}
    fresh = samples(8, seed=9)
    want, got = results(here(convnet()), fresh), results(here(report.model), fresh)
    assert sqnr(want, got) > (13 if options.get("weight_bits") == 4 else 40)
    assert sqnr(results(there(report.model, literal=True), fresh), got) > 80
    assert sqnr(results(there(report.model), fresh), got) > 40
    assert {layer.kind for layer in report.layers} == {"int16"}
    assert {layer.reason for layer in report.layers} == {"octavo computes with 16-bit operands in float"}


def test_scales_that_are_powers_of_two() -> None:
    report = octavo.quantize(convnet(), samples(), power_of_two=True)
    written = {t.name: onnx.numpy_helper.to_array(t) for t in report.model.graph.initializer}
    scales = [
        written[n.input[1]] for n in report.model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    assert len(scales) > 10
    # A bias is in units of the product of two scales, which is a power of two as well.
    assert all(np.array_equal(np.log2(s), np.rint(np.log2(s))) for s in scales)


# -- quantized operators -----------------------------------------------------------------------------------------------


def zoo() -> onnx.ModelProto:
    """One node of every operator that the quantized spelling knows, between two layers."""
    rng = np.random.default_rng(23)
    normal = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float32)  # noqa: E731
    constants = {
        "w1": normal(8, 3, 3, 3), "b1": normal(8), "w2": normal(8, 8, 3, 3), "w3": normal(8, 16, 1, 1),
        "b3": normal(8), "c": normal(8, 1, 1), "m": normal(16, 12), "mb": normal(12), "v": normal(12, 5),
        "g": normal(6, 5), "gb": normal(6), "e": normal(8, 4),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "scales": np.array([1, 1, 2, 2], np.float32),
        "flat": np.array([0, 16], np.int64), "lo": np.float32(-0.5), "hi": np.float32(1.5),
        "starts": np.array([0], np.int64), "ends": np.array([8], np.int64), "axes": np.array([2], np.int64),
    }  # fmt: skip
    make, nearest = helper.make_node, {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], "conv", pads=[1, 1, 1, 1]),
        make("LeakyRelu", ["c1"], ["l1"], "leaky", alpha=0.1),
        make("Conv", ["l1", "w2"], ["c2"], "wide", pads=[1, 1, 1, 1], strides=[2, 2]),
        make("Clip", ["c2", "lo", "hi"], ["k2"], "clip"),
        make("Resize", ["k2", "", "scales"], ["r2"], "resize", mode="nearest", **nearest),
        make("Add", ["l1", "r2"], ["a"], "add"),
        make("Sigmoid", ["a"], ["s"], "sigmoid"),
        make("Mul", ["s", "l1"], ["p"], "mul"),
        make("Concat", ["p", "a"], ["cat"], "concat", axis=1),
        make("MaxPool", ["cat"], ["pool"], "max", kernel_shape=[2, 2], strides=[2, 2]),
        make("Pad", ["pool", "pads"], ["padded"], "pad"),
        make("AveragePool", ["padded"], ["ap"], "average", kernel_shape=[3, 3], count_include_pad=1),
        make("Conv", ["ap", "w3", "b3"], ["c3"], "narrow"),
        make("Mul", ["c3", "c"], ["scaled"], "scale"),
        make("Transpose", ["scaled"], ["t"], "transpose", perm=[0, 2, 3, 1]),
        make("Slice", ["t", "starts", "ends", "axes"], ["sl"], "slice"),
        make("GlobalAveragePool", ["cat"], ["gap"], "mean"),
        make("Reshape", ["gap", "flat"], ["f"], "reshape"),
        make("MatMul", ["f", "m"], ["fm"], "product"),
        make("Add", ["fm", "mb"], ["fb"], "bias"),
        make("Relu", ["fb"], ["fr"], "relu"),
        make("MatMul", ["fr", "v"], ["fv"], "second"),
        make("Gemm", ["fv", "g", "gb"], ["y"], "head", transB=1),
        make("MatMul", ["sl", "e"], ["u"], "last"),
        make("MatMul", ["scaled", "scaled"], ["z"], "square"),
    ]  # fmt: skip
    outputs = [tensor("y", ["N", 6]), tensor("z", ["N", 8, 6, 6]), tensor("u", ["N", 6, 6, 4])]
    return at(model(nodes, [tensor("x", ["N", 3, 12, 12])], outputs, constants), 13)


@pytest.mark.parametrize("options", [{}, {"activations": "int8"}, {"symmetric": True}, {"per_channel": False}], ids=str)
def test_every_quantized_operator(options: dict[str, Any]) -> None:
    report = octavo.quantize(zoo(), samples(), format="qoperator", **options)
    kinds = [n.op_type for n in report.model.graph.node]
    wanted = {"QLinearConv", "QLinearLeakyRelu", "QLinearAdd", "QLinearSigmoid", "QLinearMul", "QLinearConcat", "QGemm"}
    wanted |= {"QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearMatMul", "MatMulIntegerToFloat"}
    assert wanted <= set(kinds)
    assert not {"Conv", "Gemm", "Add", "Mul", "Sigmoid", "LeakyRelu"} & set(kinds)
    assert kinds.count("MatMul") == 1  # whose result is float
    names = {n.name for n in report.model.graph.node}
    assert {"conv", "resize", "max", "pad", "transpose", "slice", "product", "second", "head"} <= names
    fresh = samples(8, seed=9)
    got = results(here(report.model), fresh)
    assert sqnr(results(there(report.model), fresh), got) > 60
    as_pairs = octavo.quantize(zoo(), samples(), **options).model
    assert sqnr(results(here(as_pairs), fresh), got) > 30
    assert not {s.op for s in octavo.Session(report.model).steps} & {"Python", "Conv"}


@pytest.mark.parametrize(
    "options",
    [{}, {"activations": "int8"}, {"symmetric": True}, {"weight_bits": 4}, {"opset": 13},
     {"weight_symmetric": False, "per_channel": False}],
    ids=str,
)  # fmt: skip
def test_quantized_operators_compute_the_same(options: dict[str, Any]) -> None:
    net, fresh = at(convnet(), 13), samples(8, seed=9)
    report = octavo.quantize(net, samples(), format="qoperator", **options)
    onnx.checker.check_model(report.model, full_check=True)
    assert not report.notes and "DequantizeLinear" not in {n.op_type for n in report.model.graph.node}
    got = results(here(report.model), fresh)
    assert np.array_equal(got, results(here(octavo.quantize(net, samples(), **options).model), fresh))
    assert sqnr(results(there(report.model), fresh), got) > 45


def test_what_has_no_quantized_operator_is_told() -> None:
    report = octavo.quantize(zoo(), samples(), format="qoperator")
    told = dict(report.notes)
    assert "its result is float" in told.pop("square") and not told


# -- verify ------------------------------------------------------------------------------------------------------------


def test_verify_judges_layers_whose_weights_alone_are_small() -> None:
    data = feeds(4)
    net = mixed()
    coarse = verify(net, octavo.quantize(net, mode="weight_only", weight_bits=4, block_size=16).model, data)
    alone = {e.node: e.alone for e in coarse.layers}
    assert all(15 < (alone[name] or 0) < 30 for name in ("embed", "up", "first", "second", "head"))
    assert {e.node for e in coarse.layers if e.cause == "its weights have few bits"} >= {
        "up",
        "first",
        "second",
        "head",
    }
    half = verify(net, octavo.quantize(net, mode="weight_only", weight_bits="float16").model, data)
    assert min(e.alone for e in half.layers if e.alone is not None) > 60 and not half.diagnosed()


def test_verify_finds_the_quantities_of_quantized_operators() -> None:
    net, data = at(convnet(), 13), samples(4)
    pairs = verify(net, octavo.quantize(net, samples()).model, data)
    operators = verify(net, octavo.quantize(net, samples(), format="qoperator").model, data)
    assert {e.tensor for e in operators.layers} >= {"x", "a1", "a2", "sum", "y"}
    alone = {e.tensor: e.alone for e in pairs.layers}
    assert all(abs((e.alone or 0) - (alone[e.tensor] or 0)) < 1 for e in operators.layers if e.tensor != "y")


# -- errors ------------------------------------------------------------------------------------------------------------


def test_bad_combinations_say_what_to_mend(tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"old")
    only = {"mode": "weight_only"}
    for options, words in [
        ({"mode": "weights"}, "mode should be one of static, dynamic, weight_only"),
        ({}, "mode='static' needs calibration data"),
        (only | {"activations": "int8"}, "activations is about activations"),
        (only | {"method": "mse"}, "method is about activations"),
        (only | {"weight_bits": 2}, "weights of 2 bits need opset=25"),
        (only | {"weight_bits": 4, "opset": 13}, "weights of 4 bits need opset=21"),
        (only | {"weight_bits": 16, "opset": 19}, "weights of 16 bits need opset=21"),
        (only | {"weight_bits": 5}, "weight_bits should be"),
        (only | {"weight_bits": "int4"}, "weight_bits should be"),
        (only | {"block_size": 32, "per_channel": False}, "block_size and per_channel=False exclude"),
        (only | {"block_size": 32, "opset": 20}, "block_size needs opset=21"),
        (only | {"block_size": 1}, "block_size should be 2 or more"),
        (only | {"block_size": -32}, "block_size should be 2 or more"),
        (only | {"weight_bits": "float16", "block_size": 32}, "block_size is about integers"),
        (only | {"weight_bits": "float16", "weight_symmetric": False}, "weight_symmetric is about integers"),
        (only | {"weight_bits": "binary", "weight_symmetric": False}, "binary weights are symmetric"),
        (only | {"exclude": ["nothing"]}, "no such node"),
        (only | {"op_types": ["Softmax"]}, "nothing to quantize"),
        ({"block_size": 32}, "block_size is for mode='weight_only'"),
        ({"weight_bits": "float16"}, "is for mode='weight_only'"),
        ({"weight_bits": 16}, "is for mode='weight_only'"),
        ({"format": "onnx"}, "format should be one of qdq, qoperator"),
        (only | {"format": "qoperator"}, "format='qoperator' is for mode='static'"),
        ({"format": "qoperator", "block_size": 32}, "block_size is for mode='weight_only'"),
        ({"format": "qoperator", "activations": "int16"}, "format='qoperator' has no activations of int16"),
        ({"format": "qoperator", "weight_symmetric": False}, "one zero point for all weights"),
        ({"activations": "int16", "opset": 20}, "activations='int16' needs opset=21"),
    ]:  # fmt: skip
        with pytest.raises(octavo.Error, match=words):
            octavo.quantize(mixed(), None, target, **options)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_weights_that_cannot_be_held_stay_float() -> None:
    net = mixed()
    for name, value in (("w1", np.inf), ("w3", 1e5)):
        held = next(t for t in net.graph.initializer if t.name == name)
        array = onnx.numpy_helper.to_array(held).copy()
        array.flat[3] = value
        held.CopyFrom(onnx.numpy_helper.from_array(array, name))
    report = octavo.quantize(net, mode="weight_only", weight_bits="float16", exclude=["embed"], op_types=["Gemm", "Conv", "Gather"])  # fmt: skip  # noqa: E501
    assert {layer.name: layer.reason for layer in report.float_layers} == {
        "first": "its weights are not finite", "head": "its weights exceed float16", "embed": "excluded",
        "up": "MatMul is not among the operators to quantize", "last": "MatMul is not among the operators to quantize",
    }  # fmt: skip


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_needs_no_data_for_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(mixed(), tmp_path / "float.onnx")
    arguments = ["quantize", str(tmp_path / "float.onnx"), "-o", str(tmp_path / "small.onnx")]
    assert main([*arguments, "--mode", "weight_only", "--weight-bits", "4", "--block-size", "16"]) == 0
    text = capsys.readouterr().out
    assert "5 nodes keep small weights, 1 stay float" in text and "int4, 16 a scale" in text
    assert main([*arguments, "--mode", "weight_only", "--weight-bits", "float16", "--json"]) == 0
    assert {layer["weights"] for layer in json.loads(capsys.readouterr().out)["layers"]} == {"float16", ""}
    assert main(["inspect", str(tmp_path / "small.onnx")]) == 0
    text = capsys.readouterr().out
    assert "5 nodes weight_only (weights float16)" in text and "activations" not in text
    assert main(["explain", str(tmp_path / "small.onnx"), "--dim", "N=1", "--dim", "T=3"]) == 0
    assert "its weights alone are stored small" in capsys.readouterr().out
    assert main(arguments) == 1
    assert "needs calibration data" in capsys.readouterr().err
