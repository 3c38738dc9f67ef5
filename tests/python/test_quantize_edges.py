"""octavo.quantize on what is unusual: shared weights, empty samples, values that are not finite, loose arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from octavo.compress.blocks import find_blocks
from octavo.compress.equalize import find_pairs
from octavo.compress.options import Options
from octavo.compress.prepare import prepare
from small_models import model, tensor
from test_quantize import convnet, outputs, samples, sqnr

RNG = np.random.default_rng(3)
node = helper.make_node


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.3, shape).astype(np.float32)


def drawn(*shape: int, count: int = 6) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    return [{"x": rng.normal(0, 1, shape).astype(np.float32)} for _ in range(count)]


def in_onnxruntime(net: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    session = ort.InferenceSession(net.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, f)[0] for f in feeds])


def test_a_large_bias_that_a_node_of_its_own_adds_is_not_learned_away() -> None:
    constants = {"w": normal(8, 3, 3, 3), "b": 5 * normal(1, 8, 1, 1), "w2": normal(6, 8, 1, 1)}
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv", pads=[1] * 4),
        node("Add", ["c", "b"], ["s"], "add"),
        node("Relu", ["s"], ["r"], "relu"),
        node("Conv", ["r", "w2"], ["y"], "conv2"),
    ]
    net = model(nodes, [tensor("x", ["N", 3, 8, 8])], [tensor("y", ["N", 6, 8, 8])], constants)
    feeds = drawn(2, 3, 8, 8)
    report = octavo.quantize(net, feeds, weight_bits=4)
    assert sqnr(outputs(net, feeds), outputs(report.model, feeds)) > 20


def test_nodes_written_for_shared_weights_have_names_of_their_own() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "first"),
        node("Relu", ["a"], ["r"], "relu"),
        node("MatMul", ["r", "w"], ["y"], "second"),
    ]
    net = model(nodes, [tensor("x", [2, 5, 20])], [tensor("y", [2, 5, 20])], {"w": normal(20, 20)})
    feeds = drawn(2, 5, 20)
    report = octavo.quantize(net, feeds)
    names = [n.name for n in report.model.graph.node]
    assert len(names) == len(set(names))
    assert sqnr(outputs(net, feeds), in_onnxruntime(report.model, feeds)) > 30


@pytest.mark.parametrize(
    "options", [{}, {"mode": "dynamic"}, {"weight_bits": 4}, {"per_channel": False}, {"max_drop": 50.0}], ids=str
)
def test_samples_without_elements_are_passed_over(options: dict[str, Any]) -> None:
    empty = [{"x": np.zeros((0, 3, 12, 12), np.float32)}]
    if "max_drop" in options:
        options = {**options, "tune_data": samples()}
    with_empty = octavo.quantize(convnet(), [*empty, *samples(), *empty], **options)
    without = octavo.quantize(convnet(), samples(), **options)
    got, want = outputs(with_empty.model, samples()), outputs(without.model, samples())
    if "weight_bits" in options:  # learned from crops, which are drawn by the number of the sample
        assert sqnr(want, got) > 25
    else:
        assert np.array_equal(got, want)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["w", "b"])
def test_layers_with_values_that_are_not_finite_stay_float(bad: float, where: str) -> None:
    constants = {"w1": normal(20, 16), "b1": normal(20), "w": normal(32, 20), "b": normal(32)}
    constants[where][3] = bad
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], "first", transB=1),
        node("Gemm", ["h", "w", "b"], ["y"], "second", transB=1),
    ]
    net = model(nodes, [tensor("x", ["N", 16])], [tensor("y", ["N", 32])], constants)
    feeds = drawn(4, 16)
    report = octavo.quantize(net, feeds)
    assert [(n.name, n.reason) for n in report.float_layers] == [("second", "its weights are not finite")]
    want, got = outputs(net, feeds), outputs(report.model, feeds)
    assert np.array_equal(np.isfinite(want), np.isfinite(got))
    assert sqnr(want[:, 4:], got[:, 4:]) > 30


def test_weights_that_are_not_finite_or_also_an_output_are_not_equalized() -> None:
    for spoilt, pairs in ((None, 1), ("w2", 0), ("inf", 0)):
        constants = {"w": normal(8, 3, 1, 1), "w2": normal(4, 8, 1, 1)}
        if spoilt == "inf":
            constants["w"][2] = np.inf
        nodes = [
            node("Conv", ["x", "w"], ["c"], "conv"),
            node("Relu", ["c"], ["r"], "relu"),
            node("Conv", ["r", "w2"], ["y"], "conv2"),
        ]
        shown = [tensor("y", ["N", 4, 4, 4])] + ([tensor("w2", [4, 8, 1, 1])] if spoilt == "w2" else [])
        graph, _ = prepare(model(nodes, [tensor("x", ["N", 3, 4, 4])], shown, constants), 21)
        assert len(find_pairs(graph)) == pairs


def test_a_bias_whose_unit_float32_does_not_hold_stays_float() -> None:
    tiny = np.float32(1e-30)
    constants = {"w1": tiny * normal(20, 16), "b1": np.zeros(20, np.float32), "w": normal(32, 20)}
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], "first", transB=1),
        node("Gemm", ["h", "w"], ["y"], "second", transB=1),
    ]
    net = model(nodes, [tensor("x", ["N", 16])], [tensor("y", ["N", 32])], constants)
    feeds = [{"x": f["x"] * tiny} for f in drawn(4, 16)]
    with np.errstate(all="raise", under="ignore"):
        report = octavo.quantize(net, feeds, bias_correction=False)
    assert ("first", "its bias exceeds int32 in units of its scales and stays float") in report.notes
    assert np.abs(outputs(report.model, feeds)).max() < 1e-20


def test_a_pool_with_dilations_stays_float() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("AveragePool", ["c"], ["p"], "pool", kernel_shape=[2, 2], dilations=[2, 2]),
        node("Conv", ["p", "w2"], ["y"], "conv2"),
    ]
    constants = {"w": normal(8, 3, 1, 1), "w2": normal(8, 8, 1, 1)}
    net = model(nodes, [tensor("x", ["N", 3, 9, 9])], [tensor("y", ["N", 8, 7, 7])], constants)
    feeds = drawn(2, 3, 9, 9)
    for form in ("qdq", "qoperator"):
        report = octavo.quantize(net, feeds, format=form)
        assert [n.name for n in report.float_layers] == ["pool"]
        assert sqnr(outputs(net, feeds), in_onnxruntime(report.model, feeds)) > 30


def test_what_is_excluded_gets_no_quantized_operator() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("Sigmoid", ["c"], ["s"], "sigmoid"),
        node("Conv", ["c", "w2"], ["d"], "conv2"),
        node("Conv", ["s", "w2"], ["e"], "conv3"),
        node("Add", ["d", "e"], ["y"], "add"),
    ]
    constants = {"w": normal(8, 3, 1, 1), "w2": normal(8, 8, 1, 1)}
    net = model(nodes, [tensor("x", ["N", 3, 9, 9])], [tensor("y", ["N", 8, 9, 9])], constants)
    feeds = drawn(2, 3, 9, 9)
    forms = {}
    for exclude in ([], ["sigmoid"]):
        report = octavo.quantize(net, feeds, format="qoperator", exclude=exclude)
        forms[len(exclude)] = {n.op_type for n in report.model.graph.node}
        assert sqnr(outputs(net, feeds), in_onnxruntime(report.model, feeds)) > 30
    assert "QLinearSigmoid" in forms[0] and "QLinearSigmoid" not in forms[1] and "Sigmoid" in forms[1]


def test_options_may_be_iterators_sets_and_numbers_of_numpy() -> None:
    names = ["first", "project"]
    report = octavo.quantize(convnet(), samples(4), exclude=(n for n in names), weight_bits=np.int64(8))
    assert set(names) <= {n.name for n in report.float_layers}
    assert report.as_dict()["options"]["weight_bits"] == 8
    assert Options(op_types={"Relu", "Conv", "Gemm"}).as_dict()["op_types"] == ["Conv", "Gemm", "Relu"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": "first"}, "exclude should be a list of names, not 'first'"),
        ({"exclude": None}, "exclude should be a list"),
        ({"op_types": "Conv"}, "op_types should be a list of names"),
        ({"op_types": [3]}, "3 is none"),
        ({"layer_bits": [("first", 4)]}, "layer_bits should map names"),
        ({"layer_bits": {"first": True}}, "not 'True'"),
        ({"weight_bits": True}, "weight_bits should be"),
        ({"weight_bits": 8.0}, "weight_bits should be"),
        ({"opset": "21"}, "opset should be a whole number"),
        ({"mode": "weight_only", "block_size": "32"}, "block_size should be a whole number"),
        ({"least_sqnr": "20"}, "least_sqnr should be a number"),
        ({"limit": 2.0}, "a whole number, not 2.0"),
    ],
)
def test_values_of_another_type_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(octavo.InvalidArgument, match=message):
        octavo.quantize(convnet(), samples(4), **options)


def test_labels_of_batches_are_cut_with_the_samples() -> None:
    data = [{"x": np.concatenate([a["x"], b["x"]])} for a, b in zip(samples(16)[::2], samples(16)[1::2])]
    truth = outputs(convnet(), data).argmax(1)
    report = octavo.quantize(convnet(), data, limit=4, max_drop=50.0, labels=truth)
    assert report.budget is not None and report.budget.rows == 8 and report.budget.float_score == 100.0
    with pytest.raises(octavo.InvalidArgument, match="there are 15 labels for 16 samples"):
        octavo.quantize(convnet(), data, max_drop=50.0, labels=truth[:15])


def test_names_of_folded_nodes_do_not_depend_on_the_order_of_a_set() -> None:
    constants = {"w": normal(8, 3, 1, 1), "s": np.ones(8, np.float32), "z": normal(8), "v": 1 + normal(8) ** 2}
    nodes = [
        node("Conv", ["x", "w"], ["c"], "a+b"),
        node("BatchNormalization", ["c", "s", "z", "z", "v"], ["n"], "norm"),
        node("Relu", ["n"], ["y"], "a"),
    ]
    net = model(nodes, [tensor("x", ["N", 3, 4, 4])], [tensor("y", ["N", 8, 4, 4])], constants)
    report = octavo.quantize(net, drawn(1, 3, 4, 4))
    assert [n.name for n in report.layers] == ["a+b", "a"]


def test_the_usual_mix_of_few_bits_names_them_once() -> None:
    report = octavo.quantize(convnet(), samples(), weight_bits=4, rounding="nearest", max_drop=100.0)
    assert report.budget is not None and report.budget.points[report.budget.chosen].met


def test_what_follows_a_float_layer_says_so() -> None:
    report = octavo.quantize(convnet(), samples(), layer_bits={"depthwise": "float"}, exclude=["mean"])
    reasons = {n.name: n.reason for n in report.float_layers}
    assert reasons["depthwise"] == "layer_bits says so" and reasons["mean"] == "excluded"
    assert reasons["clip2"] == "it follows 'depthwise', which stays float"


def encoder(bad: float | None = None) -> onnx.ModelProto:
    """ids [1, T] -> Gather, LayerNormalization, MatMul -> y [1, T, 16]."""
    constants = {"table": normal(40, 32), "gain": 1 + normal(32), "shift": normal(32), "w": normal(32, 16)}
    if bad is not None:
        constants["w"][3, 3] = bad
    nodes = [
        node("Gather", ["table", "ids"], ["e"], "embed"),
        node("LayerNormalization", ["e", "gain", "shift"], ["n"], "norm", axis=-1),
        node("MatMul", ["n", "w"], ["u"], "product"),
        node("Relu", ["u"], ["y"], "relu"),
    ]
    ids = tensor("ids", [1, "T"], onnx.TensorProto.INT64)
    return model(nodes, [ids], [tensor("y", [1, "T", 16])], constants)


def words(*lengths: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(6)
    return [{"ids": rng.integers(0, 40, (1, n))} for n in lengths]


def test_smoothing_passes_over_what_says_nothing() -> None:
    net = encoder(np.inf)
    with pytest.raises(octavo.Unsupported, match="nothing to quantize"):
        octavo.quantize(net, words(4, 5), op_types=["MatMul"])
    report = octavo.quantize(net, words(4, 5), mode="dynamic", smooth=0.5)
    want, got = outputs(net, words(7))[..., [0, 1, 2]], outputs(report.model, words(7))[..., [0, 1, 2]]
    assert sqnr(want, got) > 25  # the table is small integers; the columns beside the infinite one are numbers
    with pytest.raises(octavo.InvalidArgument, match="never computes"):
        octavo.quantize(encoder(), words(0, 0), op_types=["MatMul"])
    with pytest.raises(octavo.InvalidArgument, match="needs calibration data"):
        octavo.quantize(encoder(), mode="dynamic", smooth=0.5)
    with pytest.raises(octavo.InvalidArgument, match="smooth should be an alpha"):
        octavo.quantize(encoder(), words(4), smooth="0.5")


def test_a_table_that_layer_bits_leave_float_is_stored_so() -> None:
    report = octavo.quantize(encoder(), words(4, 5), layer_bits={"embed": "float"})
    assert {n.name: n.kind for n in report.layers}["embed"] == "float"
    held = {t.name: onnx.numpy_helper.to_array(t) for t in report.model.graph.initializer}
    assert any(a.shape == (40, 32) and a.dtype == np.float32 for a in held.values())


def test_rows_of_changing_length_are_no_classes() -> None:
    nodes = [node("Conv", ["x", "w"], ["c"], "conv"), node("ReduceMean", ["c", "axis"], ["y"], "mean", keepdims=0)]
    constants = {"w": normal(8, 3, 1), "axis": np.array([1])}
    net = model(nodes, [tensor("x", ["N", 3, "L"])], [tensor("y", ["N", "L"])], constants)
    with pytest.raises(octavo.InvalidArgument, match="rows of 5 and 7 elements"):
        octavo.quantize(net, [*drawn(1, 3, 5), *drawn(1, 3, 7)], max_drop=1.0)


@pytest.mark.parametrize("options", [{}, {"format": "qoperator"}, {"mode": "dynamic"}], ids=str)
def test_nodes_of_one_name_are_told_apart(options: dict[str, Any]) -> None:
    net = convnet()
    for n in net.graph.node:
        n.name = "same"
    report = octavo.quantize(net, samples(), exclude=["same.4"], **options)
    names = [n.name for n in report.layers]
    assert len(names) == len(set(names)) and [n.op for n in report.layers if n.name == "same.4"] == ["Conv"]
    assert {n.name: n.reason for n in report.float_layers}["same.4"] == "excluded"
    assert sqnr(outputs(net, samples()), in_onnxruntime(report.model, samples())) > 25


def test_a_page_needs_the_float_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at, data = str(tmp_path / "m.onnx"), str(tmp_path / "data.npz")
    onnx.save(convnet(), at)
    np.savez(data, x=np.concatenate([f["x"] for f in samples(4)]))
    command = ["quantize", at, "--calibration", data, "-o", at, "--layer", "head=ternary"]
    assert main([*command, "--html", str(tmp_path / "page.html")]) == 1
    assert "write to another file" in capsys.readouterr().err
    assert main(command) == 0
    assert "nodes run on integers" in capsys.readouterr().out
    assert any(n.op_type == "QuantizeLinear" for n in onnx.load(at).graph.node)


def test_the_same_file_in_every_process(tmp_path: Path) -> None:
    onnx.save(convnet(), tmp_path / "m.onnx")
    code = (
        "import sys, octavo; octavo.quantize(sys.argv[1], None, sys.argv[2], mode='dynamic', op_types={'Conv', 'Gemm'})"
    )
    files = []
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.onnx"
        command = [sys.executable, "-c", code, str(tmp_path / "m.onnx"), str(out)]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        files.append(out.read_bytes())
    assert files[0] == files[1]


def test_nodes_that_one_was_written_out_as_have_names_of_their_own() -> None:
    nodes = [
        node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"], "norm"),
        node("Conv", ["n", "w"], ["c"], "conv"),
        node("BatchNormalization", ["x", "g", "b", "m", "v"], ["k"], "other"),
        node("Add", ["c", "k"], ["y"], "add"),
    ]
    constants = {"g": 1 + normal(3), "b": normal(3), "m": normal(3), "v": 1 + normal(3) ** 2, "w": normal(3, 3, 1, 1)}
    net = model(nodes, [tensor("x", ["N", 3, 5, 5])], [tensor("y", ["N", 3, 5, 5])], constants)
    feeds = drawn(2, 3, 5, 5)
    for exclude in ([], ["norm"]):
        report = octavo.quantize(net, feeds, exclude=exclude)
        names = [n.name for n in report.model.graph.node]
        assert len(names) == len(set(names))
        assert all(n.kind == "float" for n in report.layers if n.name in exclude)
        assert sqnr(outputs(net, feeds), in_onnxruntime(report.model, feeds)) > 30


def test_a_range_suits_all_that_read_its_tensor() -> None:
    """Clip reads but a part of it: the output and what stays float read all."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("Clip", ["c", "lo", "hi"], ["s"], "clip"),
        node("Conv", ["s", "w2"], ["d"], "conv2"),
        node("Softmax", ["c"], ["m"], "float"),
        node("Add", ["d", "m"], ["y"], "add"),
    ]
    constants = {"w": 4 * normal(8, 3, 1, 1), "w2": normal(8, 8, 1, 1), "lo": np.float32(-0.1), "hi": np.float32(0.1)}
    for shown in (["y"], ["y", "c"]):
        net = model(nodes, [tensor("x", ["N", 3, 5, 5])], [tensor(o, ["N", 8, 5, 5]) for o in shown], constants)
        feeds = drawn(2, 3, 5, 5)
        report = octavo.quantize(net, feeds)
        for name in shown:
            want, got = (octavo.Session(m).run([name], feeds[0])[0] for m in (net, report.model))
            assert sqnr(want, got) > 25


def test_outputs_inside_a_block_are_kept_while_it_learns() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], "conv1"),
        node("Add", ["a", "a"], ["twice"], "add"),
        node("Conv", ["a", "w2"], ["b"], "conv2"),
        node("Conv", ["b", "w3"], ["y"], "conv3"),
    ]
    constants = {"w": normal(8, 3, 1, 1), "w2": normal(8, 8, 1, 1), "w3": normal(4, 8, 1, 1)}
    shown = [tensor("y", ["N", 4, 5, 5]), tensor("twice", ["N", 8, 5, 5]), tensor("b", ["N", 8, 5, 5])]
    net = model(nodes, [tensor("x", ["N", 3, 5, 5])], shown, constants)
    feeds = drawn(2, 3, 5, 5)
    report = octavo.quantize(net, feeds, weight_bits=4)
    for name in ("y", "twice", "b"):
        want, got = (octavo.Session(m).run([name], feeds[0])[0] for m in (net, report.model))
        assert sqnr(want, got) > 15
    graph, _ = prepare(net, 21)
    ends = {block.exit for block in find_blocks(graph, {"x", "a", "b", "y"})}
    assert ends == {"a", "b", "y"}
