"""Static quantization of transformers: what stays float, masks, attention on integers, channels of unequal size."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import octavo
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
