"""quantize(mode="dynamic"): what onnxruntime's dynamic quantization spells, run on octavo's fused integer steps."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from small_models import model, tensor
from small_transformer import DEPTH, sentences, transformer


def outputs(net: object, feeds: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    session = octavo.Session(net)
    return [session.run(None, f)[0] for f in feeds]


def sqnr(want: list[np.ndarray], got: list[np.ndarray]) -> float:
    noise = sum(float(((a - b) ** 2).sum()) for a, b in zip(want, got))
    return 10 * float(np.log10(sum(float((a * a).sum()) for a in want) / noise))


@pytest.mark.parametrize(
    ("options", "least"),
    [({}, 32), ({"per_channel": False}, 25), ({"weight_bits": 7}, 28), ({"opset": 13}, 32)],
    ids=str,
)
def test_every_product_takes_the_fused_integer_path(options: dict, least: float) -> None:
    net, feeds = transformer(), sentences(12)
    report = octavo.quantize(net, mode="dynamic", **options)
    onnx.checker.check_model(report.model, full_check=True)
    assert sqnr(outputs(net, feeds), outputs(report.model, feeds)) > least
    steps = Counter(step.op for step in octavo.Session(report.model).steps)
    assert steps["QGemmDynamic"] == 6 * DEPTH + 1
    assert not steps["MatMul"] and not steps["MatMulInteger"]
    kinds = {layer.name: layer.kind for layer in report.layers}
    assert kinds["words"] == "int8" and kinds["0/query"] == "int8"
    assert [layer.reason for layer in report.float_layers] == ["both its operands are computed"] * (2 * DEPTH)
    stored = [sum(len(i.raw_data) for i in m.graph.initializer) for m in (net, report.model)]
    assert stored[1] < 0.35 * stored[0]


def test_one_quantization_serves_all_readers_and_names_are_kept() -> None:
    net = transformer()
    made = octavo.quantize(net, mode="dynamic").model
    readers = Counter(n.input[0] for n in made.graph.node if n.op_type == "MatMulInteger")
    assert sorted(readers.values()) == sorted([3, 1, 1, 1] * DEPTH + [1])
    assert sum(n.op_type == "DynamicQuantizeLinear" for n in made.graph.node) == len(readers)
    assert {n.name for n in net.graph.node} - {"result"} <= {n.name for n in made.graph.node}
    results = {out for n in made.graph.node for out in n.output}
    assert {out for n in net.graph.node if n.op_type == "MatMul" for out in n.output} <= results


@pytest.mark.parametrize("optimize", [True, False])
def test_the_same_as_onnxruntime_and_openvino(optimize: bool) -> None:
    ort = pytest.importorskip("onnxruntime")
    openvino = pytest.importorskip("openvino")
    made = octavo.quantize(transformer(), mode="dynamic").model
    ours = octavo.Session(made, optimize=optimize)
    theirs = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    core = openvino.Core()
    vino = core.compile_model(core.read_model(made.SerializeToString()), "CPU")
    for feed in sentences(6):
        want = theirs.run(None, feed)[0]
        np.testing.assert_allclose(ours.run(None, feed)[0], want, rtol=0, atol=0.01 * np.abs(want).max())
        np.testing.assert_allclose(vino(feed)[0], want, rtol=0, atol=0.03 * np.abs(want).max())


def one_layer(op: str, shape: tuple[int, ...], **attrs: object) -> tuple[onnx.ModelProto, np.ndarray]:
    rng = np.random.default_rng(8)
    conv = op == "Conv"
    w = rng.normal(0, 0.3, shape).astype(np.float32)
    outputs = shape[0] if conv or attrs.get("transB") else shape[-1]
    inputs = ["x", "w"] + ([] if op == "MatMul" else ["b"])
    node = helper.make_node(op, inputs, ["y"], "layer", **attrs)
    dims: list[int | str] = ["N", 6, 9, 7] if conv else ["N", 12]
    b = rng.normal(0, 1, outputs).astype(np.float32)
    net = model([node], [tensor("x", dims)], [tensor("y", ["N", *[None] * (len(dims) - 1)])], {"w": w, "b": b})
    return net, rng.normal(0.4, 1, (3, *dims[1:])).astype(np.float32)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("op", "shape", "attrs"),
    [
        ("MatMul", (12, 5), {}),
        ("Gemm", (12, 5), {}),
        ("Gemm", (5, 12), {"transB": 1}),
        ("Conv", (8, 6, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
        ("Conv", (6, 3, 3, 3), {"group": 2, "dilations": [2, 2]}),
    ],
)
def test_a_layer_is_the_formula_it_stands_for(op: str, shape: tuple[int, ...], attrs: dict, per_channel: bool) -> None:
    """Everything between the float operand and the float result is exact, so onnxruntime agrees to a rounding."""
    ort = pytest.importorskip("onnxruntime")
    net, x = one_layer(op, shape, **attrs)
    made = octavo.quantize(net, mode="dynamic", per_channel=per_channel).model
    got = octavo.Session(made).run(None, {"x": x})[0]
    want = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    real = octavo.Session(net).run(None, {"x": x})[0]
    assert np.abs(got - real).max() < 0.03 * np.abs(real).max()


def test_tables_are_stored_as_integers_and_shared_ones_stay() -> None:
    rng = np.random.default_rng(2)
    words, small, shared = (rng.normal(0, 1, s).astype(np.float32) for s in ((40, 12), (3, 12), (30, 12)))
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["a"], "words"),
        helper.make_node("Gather", ["words", "ids"], ["a2"], "words again"),
        helper.make_node("Gather", ["small", "which"], ["b"], "small"),
        helper.make_node("Gather", ["shared", "ids"], ["c"], "shared"),
        helper.make_node("Sum", ["a", "a2", "b", "c"], ["d"], "sum"),
        helper.make_node("Transpose", ["shared"], ["turned"], "turn"),
        helper.make_node("MatMul", ["d", "turned"], ["y"], "head"),
    ]
    constants = {"words": words, "small": small, "shared": shared}
    inputs = [tensor("ids", ["N"], onnx.TensorProto.INT64), tensor("which", [], onnx.TensorProto.INT64)]
    net = model(nodes, inputs, [tensor("y", ["N", 30])], constants)
    report = octavo.quantize(net, mode="dynamic")
    kinds = {layer.name: (layer.kind, layer.reason) for layer in report.layers}
    assert kinds["words"] == kinds["words again"] == ("int8", "")
    assert kinds["small"] == ("float", "its table is small")
    sizes = {i.name: i.data_type for i in report.model.graph.initializer if list(i.dims) == [40, 12]}
    assert list(sizes.values()) == [onnx.TensorProto.INT8]  # once, for both readers
    ids = np.arange(30)
    want, got = (octavo.Session(m).run(None, [ids, np.int64(1)])[0] for m in (net, report.model))
    assert np.abs(want - got).max() < 0.03 * np.abs(want).max()


def test_calibration_rounds_weights_better_than_nearest() -> None:
    net, seen, unseen = transformer(), sentences(24, seed=3), sentences(24, seed=4)
    want = outputs(net, unseen)
    nearest = octavo.quantize(net, mode="dynamic", per_channel=False)
    adaptive = octavo.quantize(net, iter(seen), mode="dynamic", per_channel=False)  # ragged, read once
    assert (nearest.samples, adaptive.samples) == (0, 24)
    assert sqnr(want, outputs(adaptive.model, unseen)) > sqnr(want, outputs(nearest.model, unseen)) + 0.5
    again = octavo.quantize(net, seen, mode="dynamic", per_channel=False)
    assert again.model.SerializeToString() == adaptive.model.SerializeToString()
    plain = octavo.quantize(net, seen, mode="dynamic", per_channel=False, rounding="nearest", smooth=0)
    assert plain.model.graph == nearest.model.graph


def test_excluded_nodes_and_operators_stay_float() -> None:
    report = octavo.quantize(transformer(), mode="dynamic", exclude=["0/query"], op_types=["MatMul"])
    reasons = {layer.name: layer.reason for layer in report.float_layers}
    assert reasons["0/query"] == "excluded"
    assert reasons["words"] == "Gather is not among the operators to quantize"
    ops = {n.name: n.op_type for n in report.model.graph.node}
    assert (ops["0/query"], ops["0/key"]) == ("MatMul", "MatMulInteger")


def test_sums_that_int32_could_not_hold_and_weights_that_are_not_finite_stay_float() -> None:
    rng = np.random.default_rng(0)
    long = rng.normal(0, 1, (70_000, 2)).astype(np.float32)
    broken = np.full((2, 3), np.inf, np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "long"], ["h"], "long"),
        helper.make_node("MatMul", ["h", "broken"], ["k"], "broken"),
        helper.make_node("MatMul", ["k", "w"], ["y"], "fine"),
    ]
    constants = {"long": long, "broken": broken, "w": rng.normal(0, 1, (3, 4)).astype(np.float32)}
    net = model(nodes, [tensor("x", ["N", 70_000])], [tensor("y", ["N", 4])], constants)
    reasons = {layer.name: layer.reason for layer in octavo.quantize(net, mode="dynamic").layers}
    expected = {"long": "its sums could exceed int32", "broken": "its weights are not finite", "fine": ""}
    assert reasons == expected


def test_bad_requests_say_what_to_mend() -> None:
    net = transformer()
    with pytest.raises(octavo.InvalidArgument, match="mode should be one of static, dynamic, weight_only"):
        octavo.quantize(net, mode="dynamical")
    with pytest.raises(
        octavo.InvalidArgument, match="needs calibration data; mode='dynamic' and mode='weight_only' do without"
    ):
        octavo.quantize(net)
    with pytest.raises(octavo.InvalidArgument, match="weights of 8 or 7 bits, not 4"):
        octavo.quantize(net, mode="dynamic", weight_bits=4)
    with pytest.raises(octavo.InvalidArgument, match="its products take signed weights"):
        octavo.quantize(net, mode="dynamic", weight_symmetric=False)
    with pytest.raises(octavo.InvalidArgument, match="method is about calibrated activations"):
        octavo.quantize(net, mode="dynamic", method="mse")
    with pytest.raises(octavo.InvalidArgument, match="exclude names 'nobody'"):
        octavo.quantize(net, mode="dynamic", exclude=["nobody"])
    with pytest.raises(octavo.Unsupported, match="nothing to quantize"):
        octavo.quantize(net, mode="dynamic", op_types=["Conv"])
    with pytest.raises(octavo.InvalidArgument, match="no calibration data"):
        octavo.quantize(net, [], mode="dynamic")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(transformer(), source)
    arguments = ["quantize", str(source), "--mode", "dynamic", "-o", str(target), "--json"]
    assert main([*arguments, "--op-type", "MatMul", "--exclude", "0/key"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["options"]["mode"] == "dynamic" and told["samples"] == 0
    kinds = {layer["name"]: layer["kind"] for layer in told["layers"]}
    assert (kinds["0/query"], kinds["0/key"], kinds["words"]) == ("int8", "float", "float")
    assert main(["explain", str(target)]) == 0
    assert "QGemmDynamic" in capsys.readouterr().out
    assert main(["quantize", str(source), "-o", str(target)]) != 0
    assert "needs calibration data" in capsys.readouterr().err
