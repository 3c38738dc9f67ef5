"""The accuracy budget: kept, monotone, accounted for; impossible ones name the layers that stop them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from octavo.compress.budget import Move, checked_mix, hull
from octavo.compress.data import Calibration, Part
from octavo.compress.judge import Judge, logits
from octavo.compress.options import Options
from octavo.compress.place import place
from octavo.compress.prepare import prepare
from octavo.compress.units import Unit, units_of
from octavo.demo import DATA, load_test_images
from octavo.ir import Node
from small_models import model, tensor
from test_quantize import convnet, outputs, samples, sqnr

FASHION = DATA / "fashion_float.onnx"


def wide(classes: int = 10) -> onnx.ModelProto:
    """x [N, 32] -> four products of 64, the second of which does not take coarse rounding -> [N, classes]."""
    rng = np.random.default_rng(3)
    sizes = [32, 64, 64, 64, classes]
    weights = {
        f"w{k}": rng.normal(0, 0.2, (a, b)).astype(np.float32) for k, (a, b) in enumerate(itertools.pairwise(sizes))
    }
    weights["w0"][:, ::7] /= 12
    weights["w1"][::7] *= 12  # one scale an output serves weights of very different size, which matter alike
    nodes, name = [], "x"
    for k in range(4):
        nodes.append(helper.make_node("MatMul", [name, f"w{k}"], [f"m{k}" if k < 3 else "y"], f"layer{k}"))
        if k < 3:
            nodes.append(helper.make_node("Relu", [f"m{k}"], [f"r{k}"], f"relu{k}"))
            name = f"r{k}"
    return model(nodes, [tensor("x", ["N", 32])], [tensor("y", ["N", classes])], weights)


def rows(count: int = 128, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(0, 1, (1, 32)).astype(np.float32)} for _ in range(count)]


def agreement(net: onnx.ModelProto, other: onnx.ModelProto, data: list) -> float:
    return 100 * float(np.mean(outputs(net, data).argmax(1) == outputs(other, data).argmax(1)))


def test_the_budget_is_kept_and_a_looser_one_is_never_larger() -> None:
    net, data = wide(), rows()
    sizes = []
    for drop in (0.0, 1.0, 2.0, 4.0, 8.0, 20.0, 60.0):
        report = octavo.quantize(net, data, max_drop=drop, rounding="nearest")
        assert 100 - agreement(net, report.model, data) <= drop
        budget = report.budget
        assert budget is not None
        point = budget.points[budget.chosen]
        assert point.met and point.drop == pytest.approx(100 - agreement(net, report.model, data))
        assert len(budget.points) <= 2 + 2 * (1 + 4)  # float and 8 bits; two paths of at most 11 moves, halved
        sizes.append(report.bytes_after)
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 0.75 * sizes[0]


def test_what_keeps_a_budget_has_the_sensitive_layer_in_more_bits() -> None:
    net, data = wide(), rows()
    every = octavo.quantize(net, data, weight_bits=4, rounding="nearest")
    drop = 0.5 * (100 - agreement(net, every.model, data))
    assert drop > 1
    report = octavo.quantize(net, data, max_drop=drop, rounding="nearest", mix=(8, 4))
    budget = report.budget
    assert budget is not None
    few = {s.layer: s.sqnr for s in budget.sensitivities if s.bits == 4}
    assert min(few, key=lambda k: few[k]) == "layer1"
    weights = {layer.name: layer.weights[:4] for layer in report.layers if layer.weights}
    assert weights["layer1"] == "int8" and "int4" in weights.values()
    assert budget.stops[0] == "layer1"


def agreeing(session: octavo.Session) -> float:
    got = np.concatenate([session.run(None, f)[0] for f in rows()])
    return 100 * float(np.mean(got.argmax(1) == outputs(wide(), rows()).argmax(1)))


def test_a_float_layer_says_that_the_budget_wants_it_so() -> None:
    net, data = wide(), rows()
    every = octavo.quantize(net, data, weight_bits=2, rounding="nearest")
    drop = 0.8 * (100 - agreement(net, every.model, data))
    report = octavo.quantize(net, data, max_drop=drop, rounding="nearest", mix=(2, "float"), metric=agreeing)
    left = [layer for layer in report.float_layers if layer.op == "MatMul"]
    assert left and all("left float to keep max_drop=" in layer.reason for layer in left)
    relus = {layer.name: layer.kind for layer in report.layers if layer.op == "Relu"}
    for layer in left[:3]:  # what is fused with a layer goes where it goes
        if layer.name != "layer3":
            assert relus[layer.name.replace("layer", "relu")] == "float"


def test_a_budget_that_no_mix_keeps_names_the_layers_and_writes_nothing(tmp_path: Path) -> None:
    net, data = wide(), rows()
    old = tmp_path / "old.onnx"
    old.write_bytes(b"as it was")
    with pytest.raises(
        octavo.Unsupported, match=r"max_drop=0.*the best of 1 tried loses .* 'layer\d' \([\d.]+ dB"
    ) as e:
        octavo.quantize(net, data, old, max_drop=0, weight_bits=2, rounding="nearest", mix=(2,))
    assert "let layers stay float" in str(e.value)
    with pytest.raises(octavo.Unsupported, match=r"max_drop=-1: .*The layers that stop it"):
        octavo.quantize(net, data, old, max_drop=-1)  # better than the float model by its own measure
    assert old.read_bytes() == b"as it was" and len(list(tmp_path.iterdir())) == 1


def test_labels_and_metric_are_what_points_are_counted_in() -> None:
    images, labels, _ = load_test_images()
    x = (images.reshape(-1, 1, 1, 28, 28) / np.float32(255)).astype(np.float32)
    name = octavo.Session(FASHION).get_inputs()[0].name
    data = [{name: image} for image in x[:96]]

    def right(session: octavo.Session) -> float:
        return sum(int(session.run(None, f)[0].argmax() == n) for f, n in zip(data, labels)) / 0.96

    by_labels = octavo.quantize(FASHION, data, max_drop=2.0, labels=labels[:96])
    by_metric = octavo.quantize(FASHION, data, max_drop=2.0, metric=right)
    before, after = right(octavo.Session(FASHION)), right(octavo.Session(by_labels.model))
    assert before - after <= 2.0
    for report, measure in ((by_labels, "accuracy"), (by_metric, "metric")):
        budget = report.budget
        assert budget is not None and budget.measure == measure
        assert budget.float_score == pytest.approx(before)
        point = budget.points[budget.chosen]
        assert point.score == pytest.approx(right(octavo.Session(report.model))) and (point.expected is None) == (
            measure == "metric"
        )


def test_the_expectation_is_what_noise_does_to_margins() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, (4000, 8)).astype(np.float32)
    net = model([helper.make_node("Identity", ["x"], ["y"], "same")], [tensor("x", ["N", 8])], [tensor("y", ["N", 8])])
    session = octavo.Session(net)
    truth = np.where(rng.random(4000) < 0.8, x.argmax(1), 3)
    for labels in (None, truth):
        judge = Judge(session, Calibration([{"x": x}], session.get_inputs()), labels=labels)
        assert judge.expected(0.0) == (0, 0)
        for sigma in (0.3, 1.0):
            noise = rng.normal(0, sigma / np.sqrt(2), x.shape) * x.std(1, keepdims=True)  # differences of two: sigma
            drop = judge.exact - 100 * np.mean((x + noise).argmax(1) == judge.truth)
            expected, error = judge.expected(sigma)
            assert abs(expected - drop) < 2 and 0 < error < 1
    assert np.allclose(logits(np.array([[0.25, 0.75]])), np.log([[0.25, 0.75]]))


def test_noise_is_measured_on_samples_that_calibrated_nothing() -> None:
    """Weights rounded for 24 samples of 64 inputs fit these very samples: the count on them is blind to the loss."""
    net, data, fresh = wide(), rows(24), rows(512, seed=7)
    report = octavo.quantize(net, data, max_drop=60.0, weight_bits=4, mix=(4,))
    assert report.budget is not None
    point = report.budget.points[report.budget.chosen]
    lost = 100 - agreement(net, report.model, fresh)
    assert point.expected is not None and abs(point.expected - lost) < 6
    own = octavo.quantize(net, data, max_drop=60.0, weight_bits=4, mix=(4,), tune_data=fresh)
    assert own.budget is not None
    judged = own.budget.points[own.budget.chosen]
    assert judged.drop == pytest.approx(lost) and judged.expected is not None and judged.expected > lost / 2


def test_part_of_the_data() -> None:
    whole = Calibration(rows(9), octavo.Session(wide()).get_inputs())
    part = Part(whole, lambda k: k % 3 == 2)
    assert [f["x"][0, 0] for f in part] == [f["x"][0, 0] for f in rows(9)][2::3] and part.total == 3


def test_tuning_data_of_its_own() -> None:
    net, calibration, tune = wide(), rows(32), rows(128, seed=9)
    report = octavo.quantize(net, calibration, max_drop=3.0, tune_data=tune, rounding="nearest")
    assert report.samples == 32 and report.budget is not None and report.budget.rows == 128
    assert 100 - agreement(net, report.model, tune) <= 3.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0] * 8}, "there are 8 labels for 16 samples"),
        ({"labels": [5] * 16}, "label 5 is none of the model's 5 classes"),
        ({"labels": [0.5] * 16}, "whole numbers"),
        ({"labels": True}, "labels=True takes those of the data"),
        ({"labels": [0] * 16, "metric": len}, "a metric or labels, not both"),
        ({"metric": lambda session: float("nan")}, "metric should return a finite number.*nan"),
        ({"metric": lambda session: "good"}, "metric should return a finite number.*'good'"),
        ({"metric": 3}, "int cannot"),
        ({"max_drop": float("inf")}, "max_drop should be a number"),
        ({"max_drop": None, "labels": [0] * 16}, "labels goes with max_drop"),
        ({"prefer": "beauty"}, "prefer should be one of"),
        ({"mix": ("float",)}, "mix names bits"),
        ({"mix": (8, 8)}, "each once"),
        ({"mix": (5,)}, "mix should hold bits"),
        ({"mix": 4}, "mix should be a list"),
        ({"mix": (8, [4])}, "mix should hold bits"),
        ({"max_drop": "1"}, "max_drop should be a number"),
        ({"label_offset": 1}, "label_offset goes with labels"),
        ({"label_offset": "1", "labels": [0] * 16}, "label_offset should be a whole number"),
        ({"labels": [[1], [2, 3]]}, "lists of different lengths"),
        ({"mode": "weight_only"}, "max_drop is for mode='static'"),
    ],
)
def test_wrong_arguments_are_named(options: dict, message: str) -> None:
    with pytest.raises(octavo.InvalidArgument, match=message):
        octavo.quantize(convnet(), samples(), **{"max_drop": 1.0, **options})


def test_outputs_that_are_no_classes_need_a_metric() -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "one")]
    net = model(nodes, [tensor("x", ["N", 3, 12, 12])], [tensor("y", ["N", 4, 10, 10])], {"w": w})
    with pytest.raises(octavo.InvalidArgument, match=r"no row of classes.*give metric="):
        octavo.quantize(net, samples(), max_drop=1.0)
    want = outputs(net, samples())
    db = octavo.quantize(net, samples(), max_drop=170.0, metric=lambda s: min(200.0, closeness(want, s)))
    assert db.budget is not None and db.budget.float_score == 200


def closeness(want: np.ndarray, session: octavo.Session) -> float:
    got = np.concatenate([session.run(None, f)[0] for f in samples()])
    return 200.0 if np.array_equal(want, got) else float(sqnr(want, got))


def test_layers_set_by_hand_stay_as_they_are() -> None:
    report = octavo.quantize(wide(), rows(), max_drop=60.0, layer_bits={"layer0": 8, "layer2": "float"})
    found = {layer.name: layer.weights[:4] or layer.kind for layer in report.layers if layer.op == "MatMul"}
    assert found == {"layer0": "int8", "layer1": "int4", "layer2": "float", "layer3": "int4"}


def test_units_hold_what_is_fused() -> None:
    graph, _ = prepare(convnet(), 21)
    units = units_of(graph, place(graph))
    assert [[n.name for n in u.nodes] for u in units] == [
        ["first", "clip1"], ["depthwise", "clip2"], ["project"], ["residual"], ["mean"], ["head"],
    ]  # fmt: skip
    assert [u.weights for u in units] == [216, 72, 64, 0, 0, 40]


def test_moves_follow_the_lower_hull() -> None:
    unit = Unit(Node("Conv", [], [], {}, "one"), [], 10, 1)
    moves = hull(unit, [("float", 0.0, 0.0), (8, 3.0, 3.0), (4, 4.0, 3.1)])
    assert moves == [Move(unit, 4, 4.0, 3.1)]  # 8 bits lie above the line from float to 4
    moves = hull(unit, [("float", 0.0, 0.0), (8, 3.0, 0.1), (4, 3.5, 2.1)])
    assert [(m.bits, m.saves) for m in moves] == [(8, 3.0), (4, 0.5)]
    assert hull(unit, [("float", 0.0, 0.0), (8, -1.0, 0.1)]) == []  # saves nothing


def test_bits_that_the_file_cannot_store_smaller_are_not_tried() -> None:
    assert checked_mix(None, Options(), 21, "size") == [8, 4, "float"]
    assert checked_mix(None, Options(opset=13), 13, "size") == [8, "float"]
    assert checked_mix((2, "float", 8), Options(), 21, "size") == [8, 2, "float"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(wide(), tmp_path / "float.onnx")
    x = np.concatenate([f["x"] for f in rows()])
    labels = outputs(wide(), rows()).argmax(1)
    np.savez(tmp_path / "data.npz", x=x, labels=labels)
    command = ["quantize", str(tmp_path / "float.onnx"), "--calibration", str(tmp_path / "data.npz")]
    command += ["-o", str(tmp_path / "out.onnx"), "--rounding", "nearest"]
    assert main([*command, "--max-drop", "3", "--labels"]) == 0
    text = capsys.readouterr().out
    assert "Budget: 3 points of accuracy; 128 rows" in text and "* " in text
    assert main([*command, "--max-drop", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["budget"]
    assert report["measure"] == "agreement" and report["points"][report["chosen"]]["met"]
    assert {s["layer"] for s in report["sensitivities"]} == {f"layer{k}" for k in range(4)}
    assert main([*command, "--max-drop", "-2"]) == 1
    assert "The layers that stop it" in capsys.readouterr().err
