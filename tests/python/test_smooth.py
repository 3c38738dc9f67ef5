"""Static quantization of transformers: what stays float, masks, attention on integers, channels of unequal size."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import octavo
from octavo.compress.data import Calibration
from octavo.compress.options import Options
from octavo.compress.prepare import prepare
from octavo.compress.smooth import smooth
from octavo.onnx_export import export_model
from small_models import model, tensor
from small_transformer import DEPTH, sentences, transformer
from test_quantize_dynamic import outputs, sqnr


def whole(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Sentences of different lengths, none padded."""
    return [
        {name: array[:1, : int(f["attention_mask"][0].sum())] for name, array in f.items()}
        for f in sentences(count, seed)
        if f["attention_mask"][0].all()
    ]


def test_attention_runs_on_integers_and_additions_before_float_steps_stay_float() -> None:
    report = octavo.quantize(transformer(), sentences(24))
    onnx.checker.check_model(report.model, full_check=True)
    kinds = {layer.name: layer.kind for layer in report.layers}
    assert [kinds[f"0/{n}"] for n in ("query", "scores", "mix", "up", "gelu/erf", "gelu/half", "down")] == ["int8"] * 7
    reasons = {layer.name: layer.reason for layer in report.float_layers}
    assert reasons["0/mask"] == reasons["0/residual1"] == reasons["0/div"] == "its result is read in float"
    session = octavo.Session(report.model)
    steps = Counter(step.op for step in session.steps)
    assert (steps["QMatMul"], steps["QGemm"], steps["MatMul"]) == (2 * DEPTH, 6 * DEPTH + 1, 0)
    assert not session.notes
    assert kinds["words"] == "int8"  # its table, which onnxruntime's quantizers make int8 as well
    stored = {tuple(i.dims): i.data_type for i in report.model.graph.initializer}
    assert stored[90, 32] == onnx.TensorProto.INT8
    softmax = next(layer for layer in report.layers if layer.name == "0/mix")
    assert (softmax.lo, softmax.hi, softmax.method) == (0.0, pytest.approx(1.0), "softmax")


def test_a_mask_that_calibration_never_used_still_masks() -> None:
    net = transformer()
    made = octavo.quantize(net, whole(40)).model
    padded = [f for f in sentences(40, seed=9) if not f["attention_mask"].all()]
    want, got = outputs(net, padded), outputs(made, padded)
    real = [f["attention_mask"][..., None] for f in padded]
    assert sqnr([a * m for a, m in zip(want, real)], [b * m for b, m in zip(got, real)]) > 22


@pytest.mark.parametrize("options", [{}, {"activations": "int8"}, {"per_channel": False}], ids=str)
def test_close_to_the_float_model_and_to_onnxruntime(options: dict) -> None:
    ort = pytest.importorskip("onnxruntime")
    net, unseen = transformer(), sentences(12, seed=5)
    made = octavo.quantize(net, iter(sentences(24)), **options).model  # ragged, read once
    want, got = outputs(net, unseen), outputs(made, unseen)
    assert sqnr(want, got) > 22
    theirs = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert sqnr([theirs.run(None, f)[0] for f in unseen], got) > 30
    plain = octavo.Session(made, optimize=False)
    assert all((plain.run(None, f)[0] == y).all() for f, y in zip(unseen, got))


def test_sums_of_a_length_known_at_run_time() -> None:
    """The step itself refuses sums that int32 could not hold."""
    constants = {"s": np.float32(0.05), "a0": np.uint8(0), "b0": np.uint8(255), "y0": np.uint8(200)}
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "s", "a0"], ["ra"]),
        helper.make_node("DequantizeLinear", ["b", "s", "b0"], ["rb"]),
        helper.make_node("MatMul", ["ra", "rb"], ["r"], "product"),
        helper.make_node("QuantizeLinear", ["r", "s", "y0"], ["y"]),
    ]
    u8 = onnx.TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("a", u8, [1, "K"]), helper.make_tensor_value_info("b", u8, ["K", 2])],
        [helper.make_tensor_value_info("y", u8, [1, 2])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    session = octavo.Session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))
    assert [step.op for step in session.steps] == ["QMatMul"]
    largest = (2**31 - 1) // (255 * 255)
    for k, value in ((3, 254), (largest, 0)):
        a, b = np.full((1, k), 255, np.uint8), np.full((k, 2), value, np.uint8)
        want = np.clip(np.rint(np.float32(k * 255 * (value - 255)) * np.float32(0.05)) + 200, 0, 255)
        assert (session.run(None, [a, b])[0] == want).all()
    with pytest.raises(octavo.Error, match=f"product.*a sum of {largest + 1} products may not fit int32"):
        session.run(None, [np.zeros((1, largest + 1), np.uint8), np.zeros((largest + 1, 2), np.uint8)])


def gated(op: str) -> onnx.ModelProto:
    """x [N, 8] -> dense -> SiLU or GELU, written out -> dense. The first product's results reach far below zero."""
    rng = np.random.default_rng(4)
    w = rng.normal(0, 1, (8, 32)).astype(np.float32)
    w[:, :3] *= 12  # outputs whose negative side is large, and nothing behind the function
    constants = {
        "w": w,
        "b": np.where(np.arange(32) < 3, -60.0, 0.5).astype(np.float32),
        "w2": rng.normal(0, 1, (32, 4)).astype(np.float32),
    }
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"], "first"), helper.make_node("Add", ["p", "b"], ["h"], "bias")]
    if op == "silu":
        nodes += [
            helper.make_node("Sigmoid", ["h"], ["s"], "sigmoid"),
            helper.make_node("Mul", ["h", "s"], ["g"], "gate"),
        ]
    else:
        constants |= {"root2": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
        nodes += [
            helper.make_node("Div", ["h", "root2"], ["d"], "div"),
            helper.make_node("Erf", ["d"], ["e"], "erf"),
            helper.make_node("Add", ["e", "one"], ["a"], "one more"),
            helper.make_node("Mul", ["h", "a"], ["m"], "twice"),
            helper.make_node("Mul", ["m", "half"], ["g"], "gate"),
        ]
    nodes.append(helper.make_node("MatMul", ["g", "w2"], ["y"], "second"))
    return model(nodes, [tensor("x", ["N", 8])], [tensor("y", ["N", 4])], constants)


@pytest.mark.parametrize("op", ["silu", "gelu"])
def test_the_range_before_a_function_is_judged_behind_it(op: str) -> None:
    net, rng = gated(op), np.random.default_rng(1)
    feeds = [{"x": rng.normal(0, 0.5, (4, 8)).astype(np.float32)} for _ in range(40)]
    want = outputs(net, feeds[20:])
    results = {}
    for method in ("auto", "mse", "minmax"):
        report = octavo.quantize(net, feeds[:20], method=method)
        results[method] = sqnr(want, outputs(report.model, feeds[20:]))
        gate = next(layer for layer in report.layers if layer.name in ("sigmoid", "div"))
        if method == "auto":
            assert gate.method == "function" and gate.lo is not None and gate.lo > -12
            assert [step.op for step in octavo.Session(report.model).steps] == ["Quantize", "QGemm", "QGemm"]
        else:
            assert gate.lo is not None and gate.lo < -20
    assert results["auto"] > max(results["mse"], results["minmax"]) + 1.5


def smoothed(net: onnx.ModelProto, feeds: list, **options: object) -> tuple[octavo.ir.Graph, list[tuple[str, float]]]:
    chosen = Options.of(options)
    graph, _ = prepare(net, 21)
    session = octavo.Session(export_model(graph), optimize=False)
    return graph, smooth(graph, session, Calibration(feeds, session.get_inputs()), chosen)


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_smoothing_changes_no_result_of_the_float_model(alpha: float | None) -> None:
    net, feeds = transformer(outliers=25.0), sentences(12)
    graph, done = smoothed(net, feeds, smooth=alpha)
    norms = ["norm0:out", *(f"{k}/norm{n}:out" for k in range(DEPTH) for n in (1, 2))]
    assert [name for name, _ in done] == norms and all(a == alpha or alpha is None for _, a in done)
    assert sqnr(outputs(net, feeds), outputs(export_model(graph), feeds)) > 100
    ranges: dict[str, np.ndarray] = {}
    session = octavo.Session(export_model(graph), optimize=False)

    def see(name: str, x: np.ndarray) -> None:
        ranges[name] = np.abs(x).max(tuple(range(x.ndim - 1)))

    smooth_ones = {name.partition("/smooth")[0]: name for name in session.values if "/smooth" in name}
    names = [name for n in norms[:-1] for name in (n, smooth_ones[n])]
    session.observe(feeds[0], names, see)
    for n in norms[:-1]:  # the residual additions read the tensor as it was, the products a smooth one
        uneven, even = (ranges[name].max() / np.median(ranges[name]) for name in (n, smooth_ones[n]))
        assert even < 0.5 * uneven
    assert norms[-1] not in smooth_ones  # nothing but the product reads it


@pytest.mark.parametrize(("mode", "gain"), [("static", 1.5), ("dynamic", 3)])
def test_smoothing_helps_where_channels_differ_and_is_left_where_they_do_not(mode: str, gain: float) -> None:
    net, seen, unseen = transformer(outliers=25.0), sentences(24), sentences(24, seed=7)
    want = outputs(net, unseen)
    rest = {"least_sqnr": None} if mode == "static" else {}  # all layers on integers
    plain, best = (octavo.quantize(net, seen, mode=mode, smooth=s, **rest).model for s in (0, None))
    assert sqnr(want, outputs(best, unseen)) > sqnr(want, outputs(plain, unseen)) + gain
    ort = pytest.importorskip("onnxruntime")
    theirs = ort.InferenceSession(best.SerializeToString(), providers=["CPUExecutionProvider"])
    got = outputs(best, unseen)  # a sum rounded otherwise moves an integer by one here and there
    assert sqnr([theirs.run(None, f)[0] for f in unseen], got) > sqnr(want, got) + 8
    assert not smoothed(gated("silu"), [{"x": np.ones((1, 8), np.float32)}])[1]


def test_gain_and_shift_written_out_are_smoothed_and_excluded_products_read_the_old_tensor() -> None:
    rng = np.random.default_rng(3)
    gain = np.ones(16, np.float32)
    gain[3] = 40
    constants = {"gain": gain, "shift": rng.normal(0, 0.1, 16).astype(np.float32)}
    constants |= {f"w{k}": rng.normal(0, 0.2, (16, 16)).astype(np.float32) for k in range(3)}
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["scaled"], "scaled"),
        helper.make_node("Add", ["shift", "scaled"], ["n"], "shifted"),
        *(helper.make_node("MatMul", ["n", f"w{k}"], [f"p{k}"], f"p{k}") for k in range(3)),
        helper.make_node("Sum", ["p0", "p1", "p2"], ["y"], "sum"),
    ]
    net = model(nodes, [tensor("x", ["N", 16])], [tensor("y", ["N", 16])], constants)
    feeds = [{"x": rng.normal(0, 1, (6, 16)).astype(np.float32)} for _ in range(8)]
    graph, done = smoothed(net, feeds, exclude=["p1"])
    assert [name for name, _ in done] == ["n"]
    assert {n.name: n.inputs[0].partition(".")[0] for n in graph.nodes if n.op == "MatMul"} == {
        "p0": "n/smooth",
        "p1": "n",
        "p2": "n/smooth",
    }
    assert sqnr(outputs(net, feeds), outputs(export_model(graph), feeds)) > 100


def test_an_alpha_out_of_range_is_refused() -> None:
    with pytest.raises(octavo.InvalidArgument, match="smooth should be an alpha from 0"):
        octavo.quantize(transformer(), sentences(2), smooth=1.5)
    with pytest.raises(octavo.InvalidArgument, match="smooth is about activations"):
        octavo.quantize(transformer(), mode="weight_only", smooth=0.5)
