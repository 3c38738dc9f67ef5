"""What quantize() refuses, in words that say what to mend, and the odd tensors that it takes in its stride."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from small_models import model, tensor
from test_quantize import Reader, convnet, outputs, samples, sqnr
from test_verify import changed


def two_inputs() -> onnx.ModelProto:
    """left, right [N, 6] -> left W + right V, each quantized."""
    rng = np.random.default_rng(2)
    w, v = (rng.normal(0, 0.3, (6, 4)).astype(np.float32) for _ in range(2))
    nodes = [
        helper.make_node("MatMul", ["left", "w"], ["a"], "first"),
        helper.make_node("MatMul", ["right", "v"], ["b"], "second"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    return model(
        nodes, [tensor("left", ["N", 6]), tensor("right", ["N", 6])], [tensor("y", ["N", 4])], {"w": w, "v": v}
    )


def pairs(count: int = 8, right: float = 1.0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    draw = lambda: rng.normal(0, 1, (2, 6)).astype(np.float32)  # noqa: E731
    return [{"left": draw(), "right": draw() * np.float32(right)} for _ in range(count)]


# -- empty calibration -------------------------------------------------------------------------------------------------


def empty(kind: str, folder: Path) -> object:
    none = np.zeros((0, 3, 12, 12), np.float32)
    if kind == "npz":
        np.savez(folder / "none.npz", x=none)
        return folder / "none.npz"
    return {"list": [], "iterator": iter([]), "array": none, "reader": Reader([]), "folder": folder}[kind]


@pytest.mark.parametrize("kind", ["list", "iterator", "array", "reader", "npz", "folder"])
def test_empty_calibration(kind: str, tmp_path: Path) -> None:
    with pytest.raises(octavo.InvalidArgument, match=r"no calibration data: give at least one|there are no pictures"):
        octavo.quantize(convnet(), empty(kind, tmp_path), tmp_path / "q.onnx")
    assert not (tmp_path / "q.onnx").exists()


def test_samples_without_elements() -> None:
    with pytest.raises(octavo.InvalidArgument, match=r"never computes 'x'.*holds no elements in any sample"):
        octavo.quantize(convnet(), [{"x": np.zeros((0, 3, 12, 12), np.float32)}] * 3)


# -- an input that calibration never exercises -------------------------------------------------------------------------


def test_an_input_that_is_left_out() -> None:
    with pytest.raises(octavo.InvalidArgument, match=r"calibration sample 0: .*right"):
        octavo.quantize(two_inputs(), [{"left": f["left"]} for f in pairs()])


def test_an_input_that_is_always_zero() -> None:
    with pytest.raises(octavo.InvalidArgument, match="never exercises input 'right': it is 0 in every sample"):
        octavo.quantize(two_inputs(), pairs(right=0.0))
    report = octavo.quantize(two_inputs(), pairs(right=0.0), exclude=["second"])  # what does not read integers may
    assert "second" in {layer.name for layer in report.float_layers}
    once = pairs(right=0.0)
    once[-1] = pairs(1)[0]
    octavo.quantize(two_inputs(), once)


# -- values that are not finite ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite(value: float) -> None:
    data = samples(4)
    data[2]["x"][0, 1, 3, 4] = value
    with pytest.raises(octavo.InvalidModel, match=r"sample 2: the input has values in 'x' that are not finite.*Check"):
        octavo.quantize(convnet(), data)


@pytest.mark.parametrize(("weights", "node"), [("w1", "clip1"), ("w3", "project")])
def test_activations_that_overflow(weights: str, node: str) -> None:
    net = changed(convnet(), weights, lambda w: (w * 0 + 3e38).astype(np.float32))
    if weights == "w1":  # without the clip that hides it
        next(n for n in net.graph.node if n.name == "clip1").op_type = "Relu"
        del next(n for n in net.graph.node if n.name == "clip1").input[1:]
    with pytest.raises(octavo.InvalidModel, match=rf"sample 0: node '{node}' \(\w+\) computes values in .* not finite"):
        octavo.quantize(net, [{"x": np.abs(f["x"]) + 1} for f in samples(4)])


def test_a_node_that_overflows_may_be_excluded_from_integers() -> None:
    net = changed(convnet(), "w4", lambda w: (w * 0 + 3e38).astype(np.float32))
    data = [{"x": np.abs(f["x"]) + 1} for f in samples(4)]
    octavo.quantize(net, data, exclude=["head"])  # its result is the model's and never quantized


# -- constant tensors, channels without a range ------------------------------------------------------------------------


def test_constant_activations_are_exact_enough() -> None:
    """A layer whose weights are all zero gives its bias everywhere."""
    net = changed(convnet(), "w2", lambda w: w * 0)
    net = changed(changed(net, "b3", lambda b: b * 0 + 3), "w3", lambda w: w * 0)
    report = octavo.quantize(net, samples())
    assert sqnr(outputs(net, samples(4, seed=9)), outputs(report.model, samples(4, seed=9))) > 25


def test_tensors_that_are_zero_are_named() -> None:
    net = changed(convnet(), "w2", lambda w: w * 0)  # the depthwise layer has no bias
    report = octavo.quantize(net, samples())
    notes = [text for name, text in report.notes if name == "clip2"]
    assert notes and "0 in every calibration sample" in notes[0]
    assert sqnr(outputs(net, samples(4, seed=9)), outputs(report.model, samples(4, seed=9))) > 20


@pytest.mark.parametrize("options", [{}, {"per_channel": False}, {"weight_bits": 4}, {"symmetric": True}], ids=str)
@pytest.mark.parametrize("weights", ["w1", "w2", "w3"])
def test_channels_without_a_range(weights: str, options: dict) -> None:
    def dead(w: np.ndarray) -> np.ndarray:
        w[2] = 0
        w[5] = np.float32(1e-42)  # subnormal
        return w

    net = changed(convnet(), weights, dead)
    report = octavo.quantize(net, samples(), **options)
    onnx.checker.check_model(report.model)
    scales = [onnx.numpy_helper.to_array(t) for t in report.model.graph.initializer if t.name.endswith("/scale")]
    assert all(np.isfinite(s).all() and (s > 0).all() for s in scales)
    least = 8 if options.get("weight_bits") == 4 else 18
    assert sqnr(outputs(net, samples(4, seed=9)), outputs(report.model, samples(4, seed=9))) > least


# -- where it is written -----------------------------------------------------------------------------------------------


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    read = []
    data = (read.append(1) or sample for sample in samples(2))  # type: ignore[func-returns-value]
    for target in (tmp_path / "folder", tmp_path / "absent" / "q.onnx", tmp_path / "file" / "q.onnx"):
        with pytest.raises(octavo.IoError, match="cannot write"):
            octavo.quantize(convnet(), data, target, rounding="nearest")
    with pytest.raises(octavo.InvalidArgument, match="path to write to"):
        octavo.quantize(convnet(), data, 3)  # type: ignore[arg-type]
    assert not read  # told before the work, not after it
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


def test_data_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "q.onnx").write_bytes(b"old")

    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield samples(1)[0]
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="camera"):
        octavo.quantize(convnet(), broken(), tmp_path / "q.onnx")
    assert (tmp_path / "q.onnx").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


# -- options -----------------------------------------------------------------------------------------------------------


def test_unknown_options_and_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, data = convnet(), samples(2)
    for options, words in [
        ({"methud": "mse"}, "no option 'methud': did you mean method"),
        ({"zzz": 1}, "no option 'zzz': there are"),
        ({"method": "best"}, "method should be"),
        ({"layer_bits": {"nothing": 8}}, "no such node"),
    ]:
        with pytest.raises(octavo.InvalidArgument, match=words):
            octavo.quantize(net, data, **options)  # type: ignore[arg-type]
    onnx.save(net, tmp_path / "f.onnx")
    np.savez(tmp_path / "d.npz", x=np.concatenate([f["x"] for f in data]))
    arguments = [
        "quantize",
        str(tmp_path / "f.onnx"),
        "--calibration",
        str(tmp_path / "d.npz"),
        "-o",
        str(tmp_path / "q"),
    ]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--methud", "mse"])
    assert stopped.value.code == 2 and "--methud" in capsys.readouterr().err
    assert main([*arguments, "--exclude", "nothing"]) == 1
    assert "no such node" in capsys.readouterr().err and not (tmp_path / "q").exists()
