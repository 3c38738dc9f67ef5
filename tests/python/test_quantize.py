"""octavo.quantize: what it writes runs on integers here and elsewhere, close to the float model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from octavo.compress.calibrate import collect
from octavo.compress.data import Calibration
from octavo.compress.equalize import equalize
from octavo.compress.histogram import HALF, Histogram
from octavo.compress.place import place
from octavo.compress.prepare import prepare
from octavo.compress.ranges import METHODS
from octavo.compress.scheme import ActivationScheme, WeightScheme
from octavo.onnx_export import export_model
from small_models import model, tensor

U8 = ActivationScheme(np.dtype(np.uint8))


def convnet(clip: float = 6.0) -> onnx.ModelProto:
    """x [N, 3, 12, 12] -> conv, clip, depthwise, clip, residual 1x1s, mean, gemm -> y [N, 5]; batch norms in it."""
    rng = np.random.default_rng(5)
    normal = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float32)  # noqa: E731
    spread = np.exp(rng.normal(0, 1.2, 8)).astype(np.float32)  # channels of very different size
    constants = {
        "w1": normal(8, 3, 3, 3) * spread[:, None, None, None], "b1": normal(8),
        "scale": rng.uniform(0.5, 2, 8).astype(np.float32), "shift": normal(8), "mean": normal(8),
        "var": rng.uniform(0.5, 2, 8).astype(np.float32),
        "w2": normal(8, 1, 3, 3), "w3": normal(8, 8, 1, 1), "b3": normal(8), "w4": normal(8, 5), "b4": normal(5),
        "lo": np.float32(0), "hi": np.float32(clip),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "scale", "shift", "mean", "var"], ["n1"], "norm"),
        helper.make_node("Clip", ["n1", "lo", "hi"], ["a1"], "clip1"),
        helper.make_node("Conv", ["a1", "w2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Clip", ["c2", "lo", "hi"], ["a2"], "clip2"),
        helper.make_node("Conv", ["a2", "w3", "b3"], ["c3"], "project"),
        helper.make_node("Add", ["c3", "a1"], ["sum"], "residual"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "mean"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["y"], "head"),
    ]
    return model(nodes, [tensor("x", ["N", 3, 12, 12])], [tensor("y", ["N", 5])], constants)


def samples(count: int = 16, seed: int = 1) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(0, 1, (1, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


def sqnr(want: np.ndarray, got: np.ndarray) -> float:
    return 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum())


def outputs(net: object, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
    session = octavo.Session(net)
    return np.concatenate([session.run(None, f)[0] for f in feeds])


@pytest.mark.parametrize(
    "options",
    [
        {}, {"activations": "int8"}, {"symmetric": True}, {"per_channel": False}, {"weight_bits": 7},
        {"rounding": "nearest"}, {"bias_correction": False}, {"opset": 13}, *({"method": m} for m in METHODS),
    ],
    ids=str,
)  # fmt: skip
def test_runs_on_integers_close_to_the_float_model(options: dict) -> None:
    report = octavo.quantize(convnet(), samples(), **options)
    onnx.checker.check_model(report.model)
    session = octavo.Session(report.model)
    kinds = {step.op for step in session.steps}
    assert {"QConv", "QReduceMean", "QGemm"} <= kinds and not kinds & {"Conv", "MatMul", "Binary", "Unary", "Python"}
    assert not session.notes
    fresh = samples(8, seed=9)
    # Entropy clips the long tails of this network hard; that is what the method does.
    least = 10 if options.get("method") == "entropy" else 20
    assert sqnr(outputs(convnet(), fresh), outputs(report.model, fresh)) > least
    assert not report.float_layers


@pytest.mark.parametrize("options", [{}, {"activations": "int8"}, {"opset": 13}, {"per_channel": False}], ids=str)
def test_other_runtimes_read_it(options: dict) -> None:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    report = octavo.quantize(convnet(), samples(), **options)
    peer = ort.InferenceSession(report.model.SerializeToString(), providers=["CPUExecutionProvider"])
    session = octavo.Session(report.model)
    for feeds in samples(8, seed=3):
        want, got = peer.run(None, feeds)[0], session.run(None, feeds)[0]
        assert sqnr(want, got) > 45  # a rounding apart here and there at most


def test_same_result_every_time_and_names_are_kept() -> None:
    first, second = (octavo.quantize(convnet(), samples()).model.SerializeToString() for _ in range(2))
    assert first == second
    written = onnx.load_model_from_string(first)
    names = {n.name for n in written.graph.node}
    assert {"first", "clip1", "depthwise", "clip2", "project", "residual", "mean", "flatten", "head"} <= names
    tensors = {out for n in written.graph.node for out in n.output}
    assert {"a1", "a2", "sum", "pooled", "y"} <= tensors  # quantities keep the names of the float model


def test_each_option_does_its_work() -> None:
    fresh = samples(16, seed=11)
    want = outputs(convnet(), fresh)

    def error(**options: object) -> float:
        return -sqnr(want, outputs(octavo.quantize(convnet(), samples(32), **options).model, fresh))  # type: ignore[arg-type]

    coarse = {"weight_bits": 4, "bias_correction": False}
    assert error(weight_bits=4) < error(**coarse, rounding="adaptive") < error(**coarse, rounding="nearest")
    tensorwise = {"per_channel": False, "rounding": "nearest", "bias_correction": False}
    assert error(**tensorwise, equalize=True) < error(**tensorwise, equalize=False)


def test_equalization_changes_no_result_of_the_float_model() -> None:
    for clip in (6.0, 1.0):
        graph, _ = prepare(convnet(clip), 21)
        session = octavo.Session(export_model(graph), optimize=False)
        data = samples()
        want = np.concatenate([session.run(None, f)[0] for f in data])
        assert equalize(graph, session, Calibration(data, session.get_inputs())) == 1
        assert np.allclose(outputs(export_model(graph), data), want, rtol=1e-4, atol=1e-5)
        weights = graph.const(next(n for n in graph if n.name == "depthwise").inputs[1])
        before = prepare(convnet(clip), 21)[0]
        old = before.const(next(n for n in before if n.name == "depthwise").inputs[1])
        assert weights is not None and old is not None and not np.array_equal(weights, old)


def test_weights_that_layers_share_are_not_equalized() -> None:
    rng = np.random.default_rng(4)
    w = (rng.normal(0, 0.3, (3, 3, 1, 1)) * np.array([1, 20, 0.1]).reshape(3, 1, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c1"], "one"),
        helper.make_node("Relu", ["c1"], ["a1"], "relu1"),
        helper.make_node("Conv", ["a1", "w"], ["c2"], "two"),
        helper.make_node("Relu", ["c2"], ["a2"], "relu2"),
        helper.make_node("Conv", ["a2", "v"], ["y"], "three"),
    ]
    v = rng.normal(0, 0.3, (4, 3, 1, 1)).astype(np.float32)
    net = model(nodes, [tensor("x", ["N", 3, 12, 12])], [tensor("y", ["N", 4, 12, 12])], {"w": w, "v": v})
    graph, _ = prepare(net, 21)
    session = octavo.Session(export_model(graph), optimize=False)
    data = samples(4)
    equalize(graph, session, Calibration(data, session.get_inputs()))
    assert np.allclose(outputs(export_model(graph), data), outputs(net, data), rtol=1e-4, atol=1e-5)


def test_excluded_nodes_and_operators_stay_float() -> None:
    report = octavo.quantize(convnet(), samples(), exclude=["depthwise"])
    reasons = {layer.name: layer.reason for layer in report.float_layers}
    assert reasons == {"depthwise": "excluded", "clip2": "its operand is not quantized"}
    steps = {(step.name, step.op) for step in octavo.Session(report.model, optimize=False).steps}
    assert ("depthwise", "Conv") in steps and ("head", "QGemm") in steps
    report = octavo.quantize(convnet(), samples(), op_types=["Conv"])
    assert {"Add", "GlobalAveragePool", "Gemm"} <= {layer.op for layer in report.float_layers}
    assert {layer.name for layer in report.layers if layer.kind == "int8"} >= {"first", "depthwise", "project"}


def test_a_correction_reaches_a_layer_without_a_bias() -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    net = model([helper.make_node("Conv", ["x", "w"], ["y"], "one")], [tensor("x", ["N", 3, 12, 12])], [tensor("y", None)], {"w": w})  # type: ignore[arg-type]  # fmt: skip  # noqa: E501
    data = [{"x": f["x"] + np.float32(2)} for f in samples(8)]
    want = outputs(net, data)
    errors = []
    for correction in (True, False):
        written = octavo.quantize(net, data, weight_bits=4, rounding="nearest", bias_correction=correction).model
        assert next(len(n.input) for n in written.graph.node if n.name == "one") == (3 if correction else 2)
        errors.append(np.abs((outputs(written, data) - want).mean((0, 2, 3))).max())
    assert errors[0] < 0.2 * errors[1]


def test_a_branch_may_read_what_an_identity_handed_on() -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)

    def branch(op: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op, ["same"], [f"of_{op}"])], op, [], [tensor(f"of_{op}", None)])  # type: ignore[arg-type,list-item]  # fmt: skip

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Identity", ["c"], ["same"], "identity"),
        helper.make_node("If", ["flag"], ["y"], "if", then_branch=branch("Neg"), else_branch=branch("Abs")),
    ]
    inputs = [tensor("x", ["N", 3, 12, 12]), tensor("flag", [], onnx.TensorProto.BOOL)]
    net = model(nodes, inputs, [tensor("y", None)], {"w": w})  # type: ignore[arg-type]
    data = [{**feeds, "flag": np.array(k % 2 == 0)} for k, feeds in enumerate(samples(4))]
    assert sqnr(outputs(net, data), outputs(octavo.quantize(net, data).model, data)) > 30


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv"])
def test_a_bias_added_by_a_node_of_its_own_is_no_8_bit_tensor(op: str) -> None:
    rng = np.random.default_rng(2)
    w, v, b = (rng.normal(0, 0.3, shape).astype(np.float32) for shape in ((6, 8), (8, 4), (8,)))
    b[7] = 60  # one step of eight bits would swallow the others
    shape = ["N", 6]
    if op == "Conv":
        w, v, b, shape = w.T[:, :, None, None], v.T[:, :, None, None], b.reshape(1, 8, 1, 1), ["N", 6, 3, 3]
    nodes = [
        helper.make_node(op, ["x", "w"], ["m"], "one"),
        helper.make_node("Add", ["m", "b"], ["s"], "add"),
        helper.make_node("Relu", ["s"], ["r"], "relu"),
        helper.make_node(op, ["r", "v"], ["y"], "two"),
    ]
    net = model(nodes, [tensor("x", shape)], [tensor("y", None)], {"w": w, "v": v, "b": b})  # type: ignore[arg-type]
    data = [{"x": rng.normal(0, 1, (2, 6, 3, 3)[: len(shape)]).astype(np.float32)} for _ in range(8)]
    for correction in (True, False):
        written = octavo.quantize(net, data, bias_correction=correction).model
        session = octavo.Session(written)
        assert not {step.op for step in session.steps} & {"Binary", "QAdd"} and not session.notes
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in written.graph.initializer}
        (read,) = [name for n in written.graph.node if n.name == "add" for name in n.input if name in constants]
        assert constants[read].dtype == np.float32 and np.allclose(constants[read], b, atol=0.1)
        assert next(len(n.input) for n in written.graph.node if n.name == "one") == 2  # not added twice


def test_functions_of_one_tensor_become_one_table() -> None:
    rng = np.random.default_rng(2)
    constants = {
        "w": rng.normal(0, 0.3, (6, 3, 1, 1)).astype(np.float32),
        "v": rng.normal(0, 0.3, (4, 6, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "one"),
        helper.make_node("Sigmoid", ["c"], ["s"], "sigmoid"),
        helper.make_node("Mul", ["c", "s"], ["silu"], "mul"),
        helper.make_node("Conv", ["silu", "v"], ["y"], "two"),
    ]
    net = model(nodes, [tensor("x", ["N", 3, 12, 12])], [tensor("y", ["N", 4, 12, 12])], constants)
    report = octavo.quantize(net, samples())
    assert [s.op for s in octavo.Session(report.model).steps if s.op != "Transpose"][:3] == [
        "Quantize",
        "QConv",
        "QConv",
    ]
    fresh = samples(4, seed=8)
    assert sqnr(outputs(net, fresh), outputs(report.model, fresh)) > 25


# -- calibration data --------------------------------------------------------------------------------------------------


def test_functions_of_an_older_model_are_written_out() -> None:
    net = convnet()
    net.opset_import[0].version = 17
    net.ir_version = 8
    opsets = [helper.make_opsetid("", 17)]
    net.functions.append(helper.make_function("local", "Same", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets))  # fmt: skip  # noqa: E501
    net.opset_import.append(helper.make_opsetid("local", 1))
    node = next(n for n in net.graph.node if n.name == "clip1")
    node.CopyFrom(helper.make_node("Same", ["n1"], ["a1"], "same", domain="local"))
    data = samples()
    assert sqnr(outputs(net, data), outputs(octavo.quantize(net, data).model, data)) > 20


def test_outputs_that_are_sequences_stay_sequences() -> None:
    net = convnet()
    net.graph.node.append(helper.make_node("SequenceConstruct", ["pooled", "flat"], ["both"], "pair"))
    net.graph.output.append(helper.make_tensor_sequence_value_info("both", onnx.TensorProto.FLOAT, None))
    written = octavo.quantize(net, samples()).model
    assert written.graph.output[1].type.HasField("sequence_type")
    assert [len(octavo.Session(written).run(None, f)[1]) for f in samples(2)] == [2, 2]


class Reader:
    """onnxruntime's CalibrationDataReader."""

    def __init__(self, data: list[dict[str, np.ndarray]]) -> None:
        self.left = iter(data)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def test_every_kind_of_data_gives_the_same_model(tmp_path: Path) -> None:
    data = samples(6)
    np.savez(tmp_path / "named.npz", x=np.concatenate([f["x"] for f in data]))
    np.savez(tmp_path / "inputs.npz", inputs=np.concatenate([f["x"] for f in data]))

    def generator() -> Iterator[dict[str, np.ndarray]]:
        yield from data

    want = octavo.quantize(convnet(), data).model.SerializeToString()
    for source in (
        [[f["x"]] for f in data], generator(), Reader(data), np.concatenate([f["x"] for f in data]),
        tmp_path / "named.npz", str(tmp_path / "inputs.npz"),
    ):  # fmt: skip
        assert octavo.quantize(convnet(), source).model.SerializeToString() == want
    assert octavo.quantize(convnet(), data + samples(3, seed=4), limit=6).model.SerializeToString() == want


def test_computed_scales_of_resize_stay_float() -> None:
    net = convnet()
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Cast", ["shape"], ["sizes"], "cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Div", ["sizes", "sizes"], ["ones"], "one"),
        helper.make_node("Mul", ["ones", "factors"], ["scales"], "scales"),
        helper.make_node("Resize", ["a1", "", "scales"], ["wide"], "resize", mode="nearest"),
        helper.make_node("Conv", ["wide", "w3"], ["z"], "last"),
    ]
    net.graph.node.extend(nodes)
    net.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 1.7, 3.3], np.float32), "factors"))
    net.graph.output.append(tensor("z", ["N", 8, "H", "W"]))  # type: ignore[arg-type]
    written = octavo.quantize(net, samples()).model
    want, got = (octavo.Session(m).run(["z"], samples(1, seed=7)[0])[0] for m in (net, written))
    assert got.shape == want.shape == (1, 8, 20, 39) and sqnr(want, got) > 20


def test_a_histogram_does_not_depend_on_order_and_counts_everything() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, s, 1000).astype(np.float32) for s in (1e-3, 100.0, 1.0)] + [np.zeros(10, np.float32)]
    one, two = Histogram(), Histogram()
    for part in parts:
        assert one.add(part)
    for part in parts[::-1]:
        assert two.add(part)
    assert one.width == two.width and np.array_equal(one.counts, two.counts)
    assert one.counts.sum() == one.total == 3010
    everything = np.concatenate(parts)
    edges = (np.arange(2 * HALF + 1) - HALF) * one.width
    assert np.array_equal(one.counts, np.histogram(everything, edges)[0])
    assert (one.lo, one.hi) == (everything.min(), everything.max())
    assert not one.add(np.array([np.inf], np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_methods_cover_what_they_should(method: str) -> None:
    rng = np.random.default_rng(1)
    h = Histogram()
    h.add(np.append(rng.normal(0, 1, 1_000_000), 60.0).astype(np.float32))
    lo, hi = METHODS[method](h, U8)
    assert h.lo <= lo < -2 and hi > 2
    assert hi == h.hi if method == "minmax" else hi < 30  # one outlier is not worth a tenfold step
    positive = Histogram()
    positive.add(np.abs(rng.normal(0, 1, 10_000)).astype(np.float32))
    assert METHODS[method](positive, U8)[0] >= 0


def test_parameters_hold_zero_exactly() -> None:
    for lo, hi in ((-1.0, 2.0), (0.5, 3.0), (-4.0, -1.0), (0.0, 0.0), (-1e-30, 1e-30), (-1e30, 1e30)):
        for scheme in (U8, ActivationScheme(np.dtype(np.int8)), ActivationScheme(np.dtype(np.uint8), True),
                       ActivationScheme(np.dtype(np.int8), True, True)):  # fmt: skip
            params = scheme.params(lo, hi)
            assert params.dequantize(params.quantize(np.zeros(1, np.float32))) == 0
            ends = np.array([lo, hi], np.float32)
            off = np.abs(params.through(ends) - ends)
            assert (off <= params.scale * 0.5001).all()
            assert np.array_equal(params.through(ends), params.dequantize(params.quantize(ends)))
    assert WeightScheme(4).limits == (-7, 7) and WeightScheme(7).limits == (-63, 63)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("least", [-np.inf, float(np.finfo(np.float32).min)])
def test_a_mask_of_infinities_stays_float(least: float) -> None:
    rng = np.random.default_rng(8)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"], "query"),
        helper.make_node("Transpose", ["q"], ["k"], "turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["s"], "scores"),
        helper.make_node("Add", ["s", "mask"], ["m"], "mask"),
        helper.make_node("Softmax", ["m"], ["p"], "softmax"),
        helper.make_node("MatMul", ["p", "q"], ["y"], "mix"),
    ]
    constants = {"w": rng.normal(0, 0.3, (8, 8)).astype(np.float32), "mask": np.triu(np.full((5, 5), least, np.float32), 1)}  # fmt: skip  # noqa: E501
    net = model(nodes, [tensor("x", [1, 5, 8])], [tensor("y", [1, 5, 8])], constants)
    data = [{"x": rng.normal(0, 1, (1, 5, 8)).astype(np.float32)} for _ in range(8)]
    assert sqnr(outputs(net, data), outputs(octavo.quantize(net, data).model, data)) > 25


def test_bad_requests_say_what_to_mend(tmp_path: Path) -> None:
    net, data = convnet(), samples(2)
    nan = [{"x": np.full((1, 3, 12, 12), np.nan, np.float32)}]
    for call, words in [
        (lambda: octavo.quantize(net, []), "no calibration data"),
        (lambda: octavo.quantize(net, iter([])), "no calibration data"),
        (lambda: octavo.quantize(net, nan), "sample 0.*not finite"),
        (lambda: octavo.quantize(net, [{"y": data[0]["x"]}]), "sample 0.*y"),
        (lambda: octavo.quantize(net, tmp_path / "absent"), "not there"),
        (lambda: octavo.quantize(net, tmp_path), "no pictures"),
        (lambda: octavo.quantize(net, 3), "calibration data is"),
        (lambda: octavo.quantize(net, data, exclude=["nothing"]), "no such node"),
        (lambda: octavo.quantize(net, data, method="best"), "method should be"),
        (lambda: octavo.quantize(net, data, activations="int4"), "activations should be"),
        (lambda: octavo.quantize(net, data, weight_bits=5), "weight_bits should be"),
        (lambda: octavo.quantize(net, data, rounding="up"), "rounding should be"),
        (lambda: octavo.quantize(net, data, opset=12), "opset should be"),
        (lambda: octavo.quantize(net, data, symetric=True), "no option 'symetric': did you mean symmetric"),
        (lambda: octavo.quantize(net, data, op_types=["Softmax"]), "nothing to quantize"),
        (lambda: octavo.quantize(octavo.quantize(net, data).model, data), "quantized already"),
        (lambda: octavo.quantize(net, data, tmp_path / "no" / "out.onnx"), "cannot write"),
    ]:
        with pytest.raises(octavo.Error, match=words):
            call()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save_model", full)
    with pytest.raises(octavo.IoError, match="No space left"):
        octavo.quantize(convnet(), samples(2), target)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("shape", [(), (1,), (8,), (1, 1), (1, 8), (4, 1), (4, 8), (8, 1)], ids=str)
@pytest.mark.parametrize("options", [{}, {"bias_correction": False}, {"per_channel": False}], ids=str)
def test_every_shape_of_a_bias(shape: tuple[int, ...], options: dict) -> None:
    rng = np.random.default_rng(6)
    rows = 8 if shape == (8, 1) else 4
    constants = {"w": rng.normal(0, 0.3, (8, 6)), "b": rng.normal(0, 1, shape), "v": rng.normal(0, 0.3, (8, 3))}
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "one", transB=1),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "v"], ["y"], "two"),
    ]
    floats = {name: np.asarray(a, np.float32) for name, a in constants.items()}
    net = model(nodes, [tensor("x", [rows, 6])], [tensor("y", [rows, 3])], floats)
    data = [{"x": rng.normal(0, 1, (rows, 6)).astype(np.float32)} for _ in range(8)]
    assert sqnr(outputs(net, data), outputs(octavo.quantize(net, data, **options).model, data)) > 25


@pytest.mark.parametrize("correction", [True, False])
def test_a_computed_bias_is_kept(correction: bool) -> None:
    rng = np.random.default_rng(6)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "one"),
        helper.make_node("GlobalAveragePool", ["a"], ["mean"], "mean"),
        helper.make_node("Reshape", ["mean", "flat"], ["bias"], "reshape"),
        helper.make_node("Conv", ["x", "v", "bias"], ["y"], "two"),
    ]
    w, v = (rng.normal(0, 0.3, (4, 3, 1, 1)).astype(np.float32) for _ in range(2))
    net = model(nodes, [tensor("x", [1, 3, 12, 12])], [tensor("y", [1, 4, 12, 12])], {"w": w, "v": v, "flat": np.array([4])})  # fmt: skip  # noqa: E501
    data = [{"x": f["x"] + np.float32(k)} for k, f in enumerate(samples(8))]
    assert sqnr(outputs(net, data), outputs(octavo.quantize(net, data, bias_correction=correction).model, data)) > 30


def test_dead_and_constant_channels_and_large_biases() -> None:
    net = convnet()
    w1 = next(t for t in net.graph.initializer if t.name == "w1")
    w = onnx.numpy_helper.to_array(w1).copy()
    w[2] = 0
    w[3] *= 1e-9
    w1.CopyFrom(onnx.numpy_helper.from_array(w, "w1"))
    b1 = next(t for t in net.graph.initializer if t.name == "b1")
    b1.CopyFrom(onnx.numpy_helper.from_array(np.linspace(-4, 4, 8).astype(np.float32), "b1"))
    report = octavo.quantize(net, samples())
    session = octavo.Session(report.model)
    assert not session.notes and {s.op for s in session.steps} & {"QConv"}
    fresh = samples(8, seed=9)
    assert sqnr(outputs(net, fresh), outputs(report.model, fresh)) > 20


def test_damaged_archives_and_limits_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    np.savez_compressed(file, x=np.concatenate([f["x"] for f in samples(4)]))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[200:260] = bytes(60)
    for damaged in (b"", whole[:300], bytes(flipped)):
        file.write_bytes(damaged)
        with pytest.raises(octavo.IoError, match="cannot read"):
            octavo.quantize(convnet(), file)
    with pytest.raises(octavo.InvalidArgument, match="limit should be 1 or more"):
        octavo.quantize(convnet(), samples(), limit=-1)


def test_inputs_whose_squares_overflow_keep_the_nearest_weights() -> None:
    rng = np.random.default_rng(3)
    net = model([helper.make_node("MatMul", ["x", "w"], ["y"], "one")], [tensor("x", ["N", 6])], [tensor("y", ["N", 3])], {"w": rng.normal(0, 1e-20, (6, 3)).astype(np.float32)})  # fmt: skip  # noqa: E501
    data = [{"x": rng.normal(0, 1e20, (4, 6)).astype(np.float32)} for _ in range(4)]
    assert sqnr(outputs(net, data), outputs(octavo.quantize(net, data).model, data)) > 30


def test_calibration_memory_is_that_of_one_sample() -> None:
    import tracemalloc

    graph, _ = prepare(convnet(), 21)
    session = octavo.Session(export_model(graph), optimize=False)
    names = place(graph).tensors

    def peak(count: int) -> int:
        def stream() -> Iterator[dict[str, np.ndarray]]:
            for k in range(count):
                yield samples(1, seed=k)[0]

        tracemalloc.start()
        collect(graph, session, names, Calibration(stream(), session.get_inputs()))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(4)
    assert peak(256) < 1.2 * peak(32)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(convnet(), tmp_path / "float.onnx")
    np.savez(tmp_path / "data.npz", x=np.concatenate([f["x"] for f in samples(8)]))
    arguments = [
        str(tmp_path / "float.onnx"),
        "--calibration",
        str(tmp_path / "data.npz"),
        "-o",
        str(tmp_path / "q.onnx"),
    ]
    assert main(["quantize", *arguments, "--limit", "4", "--exclude", "head"]) == 0
    text = capsys.readouterr().out
    assert "4 samples" in text and "float: head (Gemm): excluded" in text
    assert main(["quantize", *arguments, "--json", "--method", "minmax"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 8 and report["options"]["method"] == "minmax"
    assert {layer["kind"] for layer in report["layers"]} == {"int8"}
    assert octavo.Session(tmp_path / "q.onnx").run(None, samples(1)[0])[0].shape == (1, 5)
    assert main(["quantize", str(tmp_path / "float.onnx"), "--calibration", "absent.npz", "-o", "x.onnx"]) == 1
    assert "not there" in capsys.readouterr().err


def test_pictures_calibrate(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow (image extra) is not installed")
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (20, 16, 3), np.uint8)
        image.fromarray(pixels).save(tmp_path / f"{k}.png")
    report = octavo.quantize(convnet(), tmp_path)
    assert report.samples == 3


def test_weights_stored_sparse_are_refused_by_name() -> None:
    dense = np.zeros((600, 8), np.float32)
    dense[::50] = 1
    at = np.flatnonzero(dense)
    sparse = helper.make_sparse_tensor(
        onnx.numpy_helper.from_array(dense.reshape(-1)[at], "w"),
        onnx.numpy_helper.from_array(at.astype(np.int64)),
        list(dense.shape),
    )
    net = model([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], [tensor("x", [1, 600])], [tensor("y", [1, 8])])
    net.graph.sparse_initializer.append(sparse)
    with pytest.raises(octavo.Unsupported, match="stored sparse"):
        octavo.quantize(net, np.ones((2, 600), np.float32))


# -- layers no range serves --------------------------------------------------------------------------------------------


def test_a_layer_that_no_range_serves_stays_float() -> None:
    """A depthwise layer whose channels differ a thousandfold: one range keeps the large ones or the small ones."""
    rng = np.random.default_rng(3)
    spread = (1000.0 ** np.linspace(-1, 1, 8)).astype(np.float32)
    w1 = rng.normal(0, 0.3, (8, 3, 1, 1)).astype(np.float32) * spread.reshape(-1, 1, 1, 1)
    w2 = rng.normal(0, 0.3, (8, 1, 3, 3)).astype(np.float32) / spread.reshape(-1, 1, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], "wide"),
        helper.make_node("Sigmoid", ["c1"], ["s1"], "sigmoid"),
        helper.make_node("Mul", ["c1", "s1"], ["a1"], "silu"),
        helper.make_node("Conv", ["a1", "w2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["c2"], ["a2"], "relu"),
        helper.make_node("Conv", ["a2", "w3"], ["y"], "last"),
    ]
    w3 = rng.normal(0, 0.3, (4, 8, 1, 1)).astype(np.float32)
    net = model(nodes, [tensor("x", ["N", 3, 12, 12])], [tensor("y", ["N", 4, 12, 12])], {"w1": w1, "w2": w2, "w3": w3})
    fresh = samples(8, seed=9)
    want = outputs(net, fresh)
    kept = octavo.quantize(net, samples())
    reasons = {layer.name: layer.reason for layer in kept.float_layers}
    assert "less than least_sqnr=20" in reasons["depthwise"] and "wide" not in reasons and "last" not in reasons
    all_integers = octavo.quantize(net, samples(), least_sqnr=None)
    assert "depthwise" not in {layer.name for layer in all_integers.float_layers}
    assert sqnr(want, outputs(kept.model, fresh)) > sqnr(want, outputs(all_integers.model, fresh)) + 10
    points = {"metric": lambda session: 0.0, "max_drop": 1.0}  # any mix will do, but for least_sqnr
    budget = octavo.quantize(net, samples(), **points)
    reasons = {layer.name: layer.reason for layer in budget.float_layers}
    assert "less than least_sqnr=20" in reasons["depthwise"] and "wide" not in reasons and "last" not in reasons
    assert not octavo.quantize(net, samples(), **points, least_sqnr=None).float_layers
    forced = octavo.quantize(net, samples(), layer_bits={"depthwise": 8})  # what is asked for by name is done
    assert "depthwise" not in {layer.name for layer in forced.float_layers}
