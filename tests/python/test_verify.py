"""octavo verify: quantities are matched, errors measured, and deliberately broken models diagnosed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import octavo
from octavo.cli import main
from octavo.report.verify import VerifyReport, verify, verify_text
from small_models import model, tensor
from test_quantize import convnet, outputs, samples, sqnr


def changed(net: onnx.ModelProto, name: str, change: object) -> onnx.ModelProto:
    """The model with one constant replaced by change(constant)."""
    copy = onnx.ModelProto()
    copy.CopyFrom(net)
    found = next(t for t in copy.graph.initializer if t.name == name)
    found.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(found).copy()), name))  # type: ignore[operator]
    return copy


def starting(net: onnx.ModelProto, start: str) -> str:
    return next(t.name for t in net.graph.initializer if t.name.startswith(start))


def named(report: VerifyReport, node: str) -> object:
    return next(e for e in report.layers if e.node == node)


def test_a_good_model_has_small_errors_and_no_causes() -> None:
    net = convnet()
    report = verify(net, octavo.quantize(net, samples()).model, samples(8, seed=3))
    assert [e.node for e in report.layers] == [
        "input x", "clip1", "clip2", "project", "residual", "mean", "flatten", "head",
    ]  # fmt: skip
    assert report.samples == 8 and report.agreement == 1.0
    assert all(e.sqnr > 25 and e.cosine > 0.999 for e in report.layers)
    assert all(e.alone is None or e.alone >= e.sqnr - 1 for e in report.layers)  # errors accumulate
    assert not [e.cause for e in report.layers if e.cause]


def test_the_figures_are_what_they_say() -> None:
    net, feeds = convnet(), samples(4, seed=3)
    model = octavo.quantize(net, samples()).model
    report = verify(net, model, feeds)
    literal = octavo.Session(model, literal=True)
    want, got = outputs(net, feeds), np.concatenate([literal.run(None, f)[0] for f in feeds])
    head = named(report, "head")
    assert head.sqnr == pytest.approx(sqnr(want.astype(np.float64), got.astype(np.float64)), abs=1e-3)  # type: ignore[attr-defined]
    assert head.worst == pytest.approx(np.abs(want - got).max())  # type: ignore[attr-defined]


def test_a_channel_a_hundred_times_the_others() -> None:
    net = changed(
        convnet(), "w1", lambda w: w * np.where(np.arange(8) == 5, 100, 1).reshape(-1, 1, 1, 1).astype(w.dtype)
    )
    model = octavo.quantize(net, samples(), per_channel=False, equalize=False, bias_correction=False).model
    report = verify(net, model, samples(8, seed=3))
    found = named(report, "clip1")
    assert "weights of channel 5 are" in found.cause and "per_channel=True" in found.mend  # type: ignore[attr-defined]
    better = verify(net, octavo.quantize(net, samples()).model, samples(8, seed=3))
    assert named(better, "clip1").alone > found.alone + 10  # type: ignore[attr-defined]


def test_wrong_preprocessing_in_calibration() -> None:
    net = convnet()
    large = [{"x": f["x"] * 100} for f in samples()]
    small = [{"x": f["x"] / 100} for f in samples()]
    report = verify(net, octavo.quantize(net, small).model, samples(8, seed=3))
    assert "the model's input is clipped" in named(report, "input x").cause  # type: ignore[attr-defined]
    report = verify(net, octavo.quantize(net, large).model, samples(8, seed=3))
    found = named(report, "input x")
    assert "of the model's input are wasted" in found.cause and "preprocessing" in found.mend  # type: ignore[attr-defined]


def test_a_range_much_too_wide() -> None:
    """As when a ReLU6 went missing before calibration."""
    net = convnet(1.0)
    model = octavo.quantize(net, samples(), method="minmax").model
    wide = changed(model, starting(model, "a2/scale"), lambda s: s * np.float32(20))
    found = named(verify(net, wide, samples(8, seed=3)), "clip2")
    assert "integers of the layer's result are wasted" in found.cause and "ReLU6" in found.mend  # type: ignore[attr-defined]


def test_a_range_too_narrow() -> None:
    net = convnet()
    model = octavo.quantize(net, samples(), method="minmax").model
    narrow = changed(model, starting(model, "a2/scale"), lambda s: s / np.float32(4))
    found = named(verify(net, narrow, samples(8, seed=3)), "clip2")
    assert "of the layer's result is clipped" in found.cause and found.clipped > 0.002  # type: ignore[attr-defined]


def test_an_overflowing_bias() -> None:
    net = convnet()
    model = octavo.quantize(net, samples()).model
    full = changed(
        model, starting(model, "b3/quantized"), lambda q: np.where(np.arange(8) == 3, 2**31 - 1, q).astype(q.dtype)
    )
    found = named(verify(net, full, samples(8, seed=3)), "project")
    assert "bias of channel 3 overflows int32" in found.cause  # type: ignore[attr-defined]


def test_a_layer_is_not_blamed_for_the_one_before_it() -> None:
    net = convnet()
    coarse = octavo.quantize(net, samples()).model
    bias = starting(coarse, "b3/quantized")
    coarse = changed(coarse, bias, lambda q: np.where(np.arange(8) == 3, 2**31 - 1, q).astype(q.dtype))
    # The addition behind it loses much by itself, so that it needs a cause of its own.
    coarse = changed(coarse, starting(coarse, "sum/scale"), lambda s: (s * 40).astype(s.dtype))
    report = verify(net, coarse, samples(8, seed=3))
    assert "bias of channel 3" in named(report, "project").cause  # type: ignore[attr-defined]
    assert "bias" not in named(report, "residual").cause  # type: ignore[attr-defined]


def test_models_of_onnxruntimes_quantizer_are_matched(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization", reason="onnxruntime (test extra) is not installed")
    net = convnet()
    onnx.save(net, tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(samples())

        def get_next(self) -> dict | None:
            return next(self.left, None)

    quantization.quantize_static(tmp_path / "float.onnx", tmp_path / "q.onnx", Reader())
    report = verify(net, tmp_path / "q.onnx", samples(4, seed=3))
    assert {"project", "residual", "mean"} <= {e.node for e in report.layers}
    assert sum(e.alone is not None for e in report.layers) >= 4


def with_qdq(net: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The model with Q and DQ on every named tensor, as other quantizers place them."""
    result = onnx.ModelProto()
    result.CopyFrom(net)
    graph, nodes = result.graph, list(onnx.ModelProto.FromString(net.SerializeToString()).graph.node)
    del graph.node[:]
    for name, value in (("S", np.float32(0.05)), ("Z", np.uint8(128))):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))

    def pair(name: str) -> None:
        graph.node.append(onnx.helper.make_node("QuantizeLinear", [name, "S", "Z"], [f"{name}_q"], f"{name}_q"))
        graph.node.append(onnx.helper.make_node("DequantizeLinear", [f"{name}_q", "S", "Z"], [f"{name}_dq"], f"{name}_dq"))  # fmt: skip  # noqa: E501

    pair("x")
    for node in nodes:
        inputs = [f"{name}_dq" if name in names else name for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
        graph.node.append(node)
        if node.output[0] in names:
            pair(node.output[0])
    return result


def test_quantized_values_inside_a_function_written_out() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Div", ["x", "root"], ["a"], "div"), make("Erf", ["a"], ["e"], "erf"),
        make("Add", ["e", "one"], ["p"], "add"), make("Mul", ["x", "p"], ["g"], "mul"),
        make("Mul", ["g", "half"], ["y"], "half"),
    ]  # fmt: skip
    constants = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    net = model(nodes, [tensor("x", [1, 8])], [tensor("y", [1, 8])], constants)
    data = [{"x": np.linspace(-2, 2, 8, dtype=np.float32)[None]}]
    report = verify(net, with_qdq(net, ["x", "a", "e", "p", "g"]), data)
    assert {"a", "e", "p", "g"} <= {e.tensor for e in report.layers}


def test_empty_outputs_and_a_long_float_tail() -> None:
    make = onnx.helper.make_node
    nodes = [make("Slice", ["x", "zero", "zero"], ["none"], "none"), make("Relu", ["x"], ["t0"], "relu")]
    nodes += [make("Sin", [f"t{k}"], [f"t{k + 1}"], f"sin{k}") for k in range(600)]
    outputs = [tensor("none", [0, 8]), tensor("t600", [1, 8])]
    net = model(nodes, [tensor("x", [1, 8])], outputs, {"zero": np.array([0])})
    report = verify(net, with_qdq(net, ["x"]), [np.ones((1, 8), np.float32)])
    assert report.agreement is None and report.layers[-1].tensor == "t600" and report.layers[-1].alone is not None


def test_unrelated_models_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = convnet()
    with pytest.raises(octavo.InvalidArgument, match="no quantized tensor"):
        verify(net, net, samples(1))
    onnx.save(net, tmp_path / "float.onnx")
    onnx.save(octavo.quantize(net, samples(), weight_bits=2, bias_correction=False).model, tmp_path / "q.onnx")
    np.savez(tmp_path / "data.npz", x=np.concatenate([f["x"] for f in samples(4)]))
    arguments = ["verify", str(tmp_path / "float.onnx"), str(tmp_path / "q.onnx"), "--data", str(tmp_path / "data.npz")]
    assert main([*arguments, "--top", "3"]) == 0
    text = capsys.readouterr().out
    assert "4 samples" in text and "few bits" in text and len(text.split("\n\n")[0].splitlines()) == 5
    assert main([*arguments, "--json", "--limit", "2"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 2 and report["layers"][0]["node"] == "input x"


def test_the_text_is_sorted_by_what_each_layer_loses() -> None:
    net = convnet()
    report = verify(net, octavo.quantize(net, samples()).model, samples(2, seed=3))
    own = [e.alone for e in report.worst_first() if e.alone is not None]
    assert own == sorted(own)
    assert verify_text(report).splitlines()[2].startswith(report.worst_first()[0].node)
