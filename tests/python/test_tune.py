"""tune: what loses on integers is left in float, where that makes the whole faster. The clock is the tests' own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from octavo.compress import tune
from octavo.compress.record import TUNE, read_record, record_text
from octavo.engine import Session
from octavo.report.explain import explain, explain_text
from small_models import model, tensor
from test_budget import agreeing, agreement, rows, wide
from test_quantize import convnet, samples

Cost = Callable[[str, str], float]  # (operator, name of a step) -> milliseconds
FLOATS = ("Conv", "MatMul", "Reduce", "Unary", "Binary")
BORDERS = ("Quantize", "Dequantize")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cost], None]:
    """Sets what steps take; a network takes what its steps take together."""

    def use(cost: Cost) -> None:
        class Fake(tune.Clock):
            def steps(self, sessions: Sequence[Session]) -> list[list[float]]:
                return [[cost(s["op"], s["name"]) for s in session.plan.steps] for session in sessions]

            def whole(self, sessions: Sequence[Session]) -> list[float]:
                return [sum(times) for times in self.steps(sessions)]

        monkeypatch.setattr(tune, "Clock", Fake)

    return use


def spoiled(border: float) -> Cost:
    """Float layers take twice their integer form, but for the depthwise one, whose integers take nine times as long."""

    def cost(op: str, name: str) -> float:
        if op in BORDERS:
            return border if "first" not in name else 0.0
        if "depthwise" in name:
            return 9.0 if op.startswith("Q") else 1.0
        return 2.0 if op in FLOATS else 1.0

    return cost


def sines() -> onnx.ModelProto:
    """x [N, 8] -> product, Sin, product, Sin, then two products and a Relu, which hand integers to each other -> y."""
    rng = np.random.default_rng(1)
    weights = {f"w{k}": rng.normal(0, 0.5, (8, 8)).astype(np.float32) for k in range(4)}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m0"], "zero"),
        helper.make_node("Sin", ["m0"], ["s0"], "sin0"),
        helper.make_node("MatMul", ["s0", "w1"], ["m1"], "one"),
        helper.make_node("Sin", ["m1"], ["s1"], "sin1"),
        helper.make_node("MatMul", ["s1", "w2"], ["m2"], "two"),
        helper.make_node("Relu", ["m2"], ["r2"], "relu"),
        helper.make_node("MatMul", ["r2", "w3"], ["y"], "three"),
    ]
    return model(nodes, [tensor("x", ["N", 8])], [tensor("y", ["N", 8])], weights)


def vectors() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    return [{"x": rng.normal(0, 1, (1, 8)).astype(np.float32)} for _ in range(16)]


def test_a_layer_that_loses_is_left_float_and_the_file_says_so(clock: Callable[[Cost], None], tmp_path: Path) -> None:
    clock(spoiled(border=0.5))
    path = tmp_path / "tuned.onnx"
    report = octavo.quantize(convnet(), samples(), path, tune=True)
    left = {layer.name: layer.reason for layer in report.float_layers}
    assert set(left) == {"depthwise", "clip2"}
    assert left["depthwise"] == "left float by tune: 9.0000 ms on integers against 1.0000"
    assert report.tune is not None
    times = {t.layer: (t.integer_ms, t.float_ms) for t in report.tune.layers}
    assert times["depthwise"] == (9.0, 1.0) and times["first"] == (1.0, 3.0)  # with the Transpose before it
    first, *_, last = report.tune.trials
    assert not first.left_float and len(last.left_float) == len(times)
    assert report.tune.trials[report.tune.chosen].ms == min(t.ms for t in report.tune.trials) < first.ms
    metadata = Session(path).plan.metadata
    record = read_record(metadata, TUNE)
    assert record["left_float"] == {"depthwise": [9.0, 1.0]} and record["isa"] == Session(path).isa
    assert record["cpu"] and record["threads"] == Session(path).threads
    assert "1 layers left float; depthwise" in record_text(metadata)[1]
    told = explain(str(path), rounds=1)
    assert "quantize left it float: left float by tune: 9.0000 ms" in explain_text(told)
    assert json.loads(json.dumps(report.as_dict()))["tune"]["chosen"] == report.tune.chosen


def test_an_exclusion_that_makes_the_whole_slower_is_not_kept(clock: Callable[[Cost], None]) -> None:
    clock(spoiled(border=20.0))  # the Q and DQ around a float layer cost more than it saves
    report = octavo.quantize(convnet(), samples(), tune=True)
    assert report.tune is not None and report.tune.trials[1].left_float == ["depthwise"]
    whole = report.tune.trials[0].ms
    assert report.tune.trials[1].ms > whole
    chosen = report.tune.trials[report.tune.chosen]
    assert chosen.ms <= whole and chosen.left_float != ["depthwise"]


def test_a_region_that_loses_by_its_borders_is_left_float(clock: Callable[[Cost], None]) -> None:
    def cost(op: str, name: str) -> float:
        if op in BORDERS:
            return 0.5
        return {"MatMul": 1.5, "QGemm": 1.0}.get(op, 0.1)

    clock(cost)
    report = octavo.quantize(sines(), vectors(), tune=True)
    left = {layer.name: layer.reason for layer in report.float_layers if layer.op == "MatMul"}
    assert set(left) == {"zero", "one"}  # Q, product, sine against product with sine; the last two share a Q
    assert set(left.values()) == {"left float by tune: with its Q and DQ 1.6000 ms on integers against 1.5000"}


def test_when_the_float_model_is_fastest_it_is_the_result(clock: Callable[[Cost], None]) -> None:
    clock(lambda op, name: 1.0 if op.startswith("Q") or op in BORDERS else 0.1)
    report = octavo.quantize(convnet(), samples(), tune=True)
    assert report.tune is not None and report.tune.chosen == len(report.tune.trials) - 1
    assert not any("Quantize" in n.op_type for n in report.model.graph.node)
    assert {layer.name for layer in report.float_layers} >= {
        "first",
        "depthwise",
        "project",
        "residual",
        "mean",
        "head",
    }
    want = Session(convnet()).run(None, samples()[0])[0]
    assert np.allclose(Session(report.model).run(None, samples()[0])[0], want, rtol=1e-5, atol=1e-6)


def test_nothing_is_left_float_where_integers_win(clock: Callable[[Cost], None]) -> None:
    clock(lambda op, name: 0.1 if op.startswith("Q") else 1.0)
    tuned = octavo.quantize(convnet(), samples(), tune=True)
    plain = octavo.quantize(convnet(), samples())
    assert not tuned.float_layers and tuned.tune is not None and tuned.tune.chosen == 0
    del tuned.model.metadata_props[:], plain.model.metadata_props[:]
    assert tuned.model.SerializeToString() == plain.model.SerializeToString()


def test_layers_set_by_hand_are_not_changed(clock: Callable[[Cost], None]) -> None:
    clock(lambda op, name: 9.0 if "depthwise" in name else 0.1 if op.startswith("Q") else 1.0)
    report = octavo.quantize(convnet(), samples(), tune=True, layer_bits={"depthwise": 4})
    assert not report.float_layers
    assert report.tune is not None and "depthwise" not in {t.layer for t in report.tune.layers}


def test_the_fastest_mix_that_keeps_a_budget(clock: Callable[[Cost], None]) -> None:
    """Layer 3 is the one that costs accuracy least for the time it saves; layer 1 saves next to nothing."""
    saved = {"layer0": 1.0, "layer1": 0.01, "layer2": 1.0, "layer3": 5.0}

    def cost(op: str, name: str) -> float:
        if op in ("MatMul", "QGemm"):
            return 1.0 + (op == "MatMul") * next(ms for layer, ms in saved.items() if layer in name)
        return 0.001

    clock(cost)
    net, data = wide(), rows()
    every = octavo.quantize(net, data, weight_bits=2, rounding="nearest")
    drop = 0.8 * (100 - agreement(net, every.model, data))
    report = octavo.quantize(
        net, data, max_drop=drop, weight_bits=2, rounding="nearest", prefer="speed", metric=agreeing
    )
    left = {layer.name for layer in report.float_layers}
    assert "layer1" in left and "layer3" not in left
    assert 100 - agreement(net, report.model, data) <= drop
    assert report.tune is not None and report.budget is not None and report.budget.prefer == "speed"


def test_the_real_clock_times_every_layer() -> None:
    report = octavo.quantize(sines(), vectors(), tune=True)
    assert report.tune is not None
    assert all(t.integer_ms > 0 and t.float_ms > 0 for t in report.tune.layers)
    assert report.tune.trials[report.tune.chosen].ms == min(t.ms for t in report.tune.trials)


def test_the_command(clock: Callable[[Cost], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock(spoiled(border=0.5))
    onnx.save(convnet(), tmp_path / "float.onnx")
    np.savez(tmp_path / "data.npz", x=np.concatenate([f["x"] for f in samples()]))
    command = ["quantize", str(tmp_path / "float.onnx"), "--calibration", str(tmp_path / "data.npz"), "--tune"]
    assert main([*command, "-o", str(tmp_path / "out.onnx")]) == 0
    text = capsys.readouterr().out
    assert "1 of 6 layers left float" in text and "depthwise" in text
    assert main([*command, "-o", str(tmp_path / "out.onnx"), "--mode", "weight_only"]) == 1
    assert "tune is for mode='static'" in capsys.readouterr().err
