"""Deliberately broken models: octavo verify names the layer, the cause and the mend, and the mend mends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import octavo
from octavo.report.verify import LayerError, VerifyReport, verify
from test_quantize import convnet, samples
from test_verify import changed, named, starting

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from models import SHARED, Listed, listed_models

Feeds = list[dict[str, np.ndarray]]
LOUD = 4  # times the usual samples: the clips of convnet are reached


def loud(count: int = 16, seed: int = 1) -> Feeds:
    return [{"x": f["x"] * np.float32(LOUD)} for f in samples(count, seed)]


def times(channel: int, factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """One output channel (axis 0) of weights scaled."""

    def change(w: np.ndarray) -> np.ndarray:
        w[channel] *= np.float32(factor)
        return w

    return change


def first_cause(report: VerifyReport) -> LayerError:
    found = report.diagnosed()
    assert found, "nothing was diagnosed"
    return found[0]


# -- one channel's weights x 100 ---------------------------------------------------------------------------------------

LAYERS = [("w1", 5, "clip1"), ("w2", 3, "clip2"), ("w3", 2, "project")]


@pytest.mark.parametrize(("weights", "channel", "layer"), LAYERS)
def test_one_channels_weights_times_a_hundred(weights: str, channel: int, layer: str) -> None:
    net = changed(convnet(), weights, times(channel, 100))
    plain = {"equalize": False, "bias_correction": False}
    model = octavo.quantize(net, samples(), per_channel=False, **plain).model
    report = verify(net, model, samples(8, seed=3))
    found = first_cause(report)
    assert found.node == layer and f"weights of channel {channel} are" in found.cause
    assert "one scale serves all" in found.cause and "per_channel=True" in found.mend
    mended = named(verify(net, octavo.quantize(net, samples(), **plain).model, samples(8, seed=3)), layer)
    assert mended.typical > found.typical + 2 and "weights" not in mended.cause  # type: ignore[attr-defined,operator]


def test_a_channel_that_drowns_the_others_in_the_result() -> None:
    """Weights per channel do not help where the results of all channels still share a scale."""
    net = changed(convnet(), "w3", times(2, 100))
    report = verify(net, octavo.quantize(net, samples()).model, samples(8, seed=3))
    found = next(e for e in report.diagnosed() if e.node == "project")
    assert found.alone is not None and found.alone > 30  # the large channel alone decides this figure
    assert found.typical is not None and found.typical < 20
    assert "channel 2 of its result reaches" in found.cause and "(exclude 'residual')" in found.mend
    better = verify(net, octavo.quantize(net, samples(), exclude=["residual"]).model, samples(8, seed=3))
    assert "project" not in {e.node for e in better.diagnosed()}


def test_a_product_with_one_large_column() -> None:
    net = changed(convnet(), "w4", lambda w: w * np.where(np.arange(5) == 1, 100, 1).astype(w.dtype))
    options = {"per_channel": False, "rounding": "nearest", "bias_correction": False}
    report = verify(net, octavo.quantize(net, samples(), **options).model, samples(8, seed=3))
    found = next(e for e in report.diagnosed() if e.node == "head")
    assert "weights of channel 1 are" in found.cause and "per_channel=True" in found.mend


def test_equalized_tensors_are_compared_with_their_scaled_selves() -> None:
    """Equalization changes what a name stands for; the model says by how much, and verify heeds it."""
    net = changed(convnet(), "w3", times(2, 100))
    even = octavo.quantize(net, samples(), equalize=True).model
    assert any(p.key == "octavo.scaled" for p in even.metadata_props)
    report = verify(net, even, samples(8, seed=3))
    assert named(report, "clip2").alone > 30 and named(report, "project").alone > 30  # type: ignore[attr-defined]
    assert all("equalize" not in e.mend for e in report.diagnosed())  # that has been done
    for damaged in ("", "{", "[1]", '{"a2": "x"}', '{"a2": [1, 2]}', '{"a2": {}}'):
        copy = onnx.ModelProto.FromString(even.SerializeToString())
        next(p for p in copy.metadata_props if p.key == "octavo.scaled").value = damaged
        verify(net, copy, samples(1, seed=3))


# -- a missing ReLU6 ---------------------------------------------------------------------------------------------------


def without(net: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with a node taken out; what read its result reads its operand."""
    result = onnx.ModelProto.FromString(net.SerializeToString())
    node = next(n for n in result.graph.node if n.name == name)
    source, target = node.input[0], node.output[0]
    result.graph.node.remove(node)
    for reader in result.graph.node:
        reader.input[:] = [source if x == target else x for x in reader.input]
    return result


def identity(net: onnx.ModelProto, name: str) -> onnx.ModelProto:
    result = onnx.ModelProto.FromString(net.SerializeToString())
    node = next(n for n in result.graph.node if n.name == name)
    node.op_type = "Identity"
    del node.input[1:]
    return result


def blown(net: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The Clip goes up to a million."""
    result = onnx.ModelProto.FromString(net.SerializeToString())
    next(n for n in result.graph.node if n.name == name).input[2] = "million"
    result.graph.initializer.append(numpy_helper.from_array(np.float32(1e6), "million"))
    return result


@pytest.mark.parametrize("clip", ["clip1", "clip2"])
@pytest.mark.parametrize("spoil", [without, identity])
def test_a_clip_that_went_missing(spoil: Callable[[onnx.ModelProto, str], onnx.ModelProto], clip: str) -> None:
    net, calibration, fresh = convnet(2.0), loud(), loud(8, seed=3)
    report = verify(net, octavo.quantize(spoil(net, clip), calibration).model, fresh)
    found = first_cause(report)
    assert f"lacks Clip '{clip}' to [0, 2]" in found.cause and "clips (ReLU6) in place" in found.mend
    reads = {"clip1": {"clip2", "residual"}, "clip2": {"project"}}[clip]
    assert found.node in reads  # the layers that read what the clip no longer clips
    assert not verify(net, octavo.quantize(net, calibration).model, fresh).diagnosed()


@pytest.mark.parametrize("clip", ["clip1", "clip2"])
def test_a_clip_with_a_blown_range(clip: str) -> None:
    net = convnet(2.0)
    found = first_cause(verify(net, octavo.quantize(blown(net, clip), loud()).model, loud(8, seed=3)))
    assert found.node == clip and f"Clip '{clip}' goes to [0, 1e+06]" in found.cause and "to [0, 2]" in found.cause


@pytest.mark.parametrize("factor", [2, 4, 20])
@pytest.mark.parametrize(("clip", "value"), [("clip1", "a1"), ("clip2", "a2")])
def test_integers_far_beyond_a_clip(clip: str, value: str, factor: float) -> None:
    """The range was measured before the clip, or without it."""
    net = convnet(2.0)
    model = octavo.quantize(net, loud(), method="minmax").model
    wide = changed(model, starting(model, f"{value}/scale"), lambda s: s * np.float32(factor))
    found = first_cause(verify(net, wide, loud(8, seed=3)))
    assert found.node == clip and "wasted" in found.cause and f"Clip '{clip}' ends at 2" in found.cause
    assert "ReLU6" in found.mend


def pair(net: onnx.ModelProto, value: str, scale: float, zero: int) -> onnx.ModelProto:
    """The model with QuantizeLinear and DequantizeLinear behind a value that nothing quantizes."""
    result = onnx.ModelProto.FromString(net.SerializeToString())
    graph, q, dq = result.graph, f"{value}_q", f"{value}_dq"
    for reader in graph.node:
        reader.input[:] = [dq if x == value else x for x in reader.input]
    at = next(k for k, n in enumerate(graph.node) if value in n.output) + 1
    names = [f"{value}_s", f"{value}_z"]
    graph.initializer.extend([numpy_helper.from_array(np.float32(scale), names[0]), numpy_helper.from_array(np.uint8(zero), names[1])])  # fmt: skip  # noqa: E501
    graph.node.insert(at, onnx.helper.make_node("QuantizeLinear", [value, *names], [q], q))
    graph.node.insert(at + 1, onnx.helper.make_node("DequantizeLinear", [q, *names], [dq], dq))
    return result


def test_a_result_quantized_before_its_clip() -> None:
    net = convnet(1.0)
    model = octavo.quantize(net, loud()).model
    early = pair(model, "c2", 60 / 255, 128)  # a depthwise result over [-30, 30], of which the clip keeps [0, 1]
    found = named(verify(net, early, loud(8, seed=3)), "clip2")
    assert "before it, of which it keeps [0, 1]" in found.cause and "behind the clip" in found.mend  # type: ignore[attr-defined]


def test_a_clip_that_the_integers_stand_for_is_not_missed(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization", reason="onnxruntime (test extra) is not installed")
    net = convnet(2.0)
    folded = onnx.load_model_from_string(octavo.quantize(net, loud(), method="minmax").model.SerializeToString())
    assert [n for n in folded.graph.node if n.op_type == "Clip"]
    onnx.save(net, tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(loud())

        def get_next(self) -> dict | None:
            return next(self.left, None)

    quantization.quant_pre_process(tmp_path / "float.onnx", tmp_path / "ready.onnx", skip_symbolic_shape=True)
    quantization.quantize_static(
        tmp_path / "ready.onnx", tmp_path / "q.onnx", Reader(), activation_type=quantization.QuantType.QUInt8
    )
    assert not [n for n in onnx.load(tmp_path / "q.onnx").graph.node if n.op_type == "Clip"]
    report = verify(net, tmp_path / "q.onnx", loud(8, seed=3))
    assert not [e for e in report.diagnosed() if "lacks" in e.cause or "clipped" in e.cause]
    assert all(e.alone is None or e.alone > 20 for e in report.layers)


# -- an overflowing bias -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wraps", [False, True], ids=["clamped", "wrapped"])
def test_next_to_no_weights_and_a_large_bias(wraps: bool) -> None:
    net = changed(convnet(), "w3", times(3, 1e-8))
    net = changed(net, "b3", lambda b: np.where(np.arange(8) == 3, 50, b).astype(b.dtype))
    model = octavo.quantize(net, samples()).model
    # octavo widens the scale of the weights.
    assert not [e for e in verify(net, model, samples(8, seed=3)).diagnosed() if "bias" in e.cause]
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weight_scale, bias, bias_scale = (starting(model, s) for s in ("w3/scale", "b3/quantized", "b3/scale"))
    # The scale another quantizer gives the channel: of its greatest weight.
    w = next(numpy_helper.to_array(t) for t in net.graph.initializer if t.name == "w3")
    ratio = np.abs(w[3]).max() / 127 / constants[weight_scale][3]
    want = np.rint(constants[bias][3] / ratio)
    assert want > 2**31

    def narrow(s: np.ndarray) -> np.ndarray:
        s[3] *= np.float32(ratio)
        return s

    naive = changed(changed(model, weight_scale, narrow), bias_scale, narrow)
    value = np.int64(want).astype(np.int32) if wraps else np.iinfo(np.int32).max
    naive = changed(naive, bias, lambda q: np.where(np.arange(8) == 3, value, q).astype(q.dtype))
    found = first_cause(verify(net, naive, samples(8, seed=3)))
    assert found.node == "project" and found.cause == "the bias of channel 3 overflows int32"
    assert "octavo.quantize, which widens it" in found.mend


# -- wrong preprocessing -----------------------------------------------------------------------------------------------


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 3, 12, 12)).astype(np.float32)


PREPARED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "-1 to 1": lambda p: p / np.float32(127.5) - 1,
    "0 to 1": lambda p: p / np.float32(255),
    "0 to 255": lambda p: p,
}


@pytest.mark.parametrize("right", PREPARED)
@pytest.mark.parametrize("wrong", PREPARED)
def test_wrong_preprocessing(right: str, wrong: str) -> None:
    net = convnet()
    calibration = [{"x": x} for x in PREPARED[wrong](pixels(16, 0))]
    data = [{"x": x} for x in PREPARED[right](pixels(8, 1))]
    report = verify(net, octavo.quantize(net, calibration).model, data)
    if right == wrong:
        assert not [e for e in report.diagnosed() if e.node == "input x"]
        return
    found = first_cause(report)
    cut = right == "0 to 255" or right == "-1 to 1"  # the integers do not reach as high, or as low
    assert found.node == "input x" and ("is clipped" if cut else "are wasted") in found.cause
    assert found.mend == "calibrate with the preprocessing that the model is used with"
    assert all(e.mend == "mend the input x first" for e in report.diagnosed()[1:] if "integers cover" in e.cause)


# -- the same on a real network ----------------------------------------------------------------------------------------

needs_shared = pytest.mark.skipif(SHARED is None, reason="the shared folder with real models is not there")


@pytest.fixture(scope="module")
def mobilenet() -> tuple[Listed, onnx.ModelProto, Feeds, Feeds]:
    """(entry, model, calibration, data)"""
    pytest.importorskip("PIL", reason="pillow (image extra) is not installed")
    entry = next(m for m in listed_models() if m.name == "mobilenet_v2_1.0_224")
    feeds = entry.real_inputs(4)
    return entry, onnx.load(entry.path), feeds[:2], feeds[2:]


QUICK = {"rounding": "nearest", "bias_correction": False, "method": "minmax"}


def weights_of(net: onnx.ModelProto, node: str, number: int = 1) -> str:
    return next(n.input[number] for n in net.graph.node if n.name == node)


@needs_shared
def test_a_large_channel_of_mobilenet(mobilenet: tuple[Listed, onnx.ModelProto, Feeds, Feeds]) -> None:
    _, net, calibration, data = mobilenet
    layer = next(n for n in net.graph.node if n.name == "Conv_26")
    broken = changed(net, layer.input[1], times(7, 100))
    model = octavo.quantize(broken, calibration, per_channel=False, equalize=False, **QUICK).model
    found = next(e for e in verify(broken, model, data).diagnosed() if e.node == "Conv_26")
    assert "weights of channel 7 are" in found.cause and "per_channel=True" in found.mend


@needs_shared
def test_a_missing_clip_of_mobilenet(mobilenet: tuple[Listed, onnx.ModelProto, Feeds, Feeds]) -> None:
    _, net, calibration, data = mobilenet
    clips = [n.name for n in net.graph.node if n.op_type == "Clip"]
    clip = clips[3]
    report = verify(net, octavo.quantize(without(net, clip), calibration, **QUICK).model, data)
    found = first_cause(report)
    assert f"lacks Clip '{clip}' to [0, 6]" in found.cause and "ReLU6" in found.mend
    report = verify(net, octavo.quantize(blown(net, clip), calibration, **QUICK).model, data)
    assert f"Clip '{clip}' goes to" in named(report, clip).cause  # type: ignore[attr-defined]


@needs_shared
@pytest.mark.parametrize("swap", [False, True], ids=["x/255 for [-1, 1]", "[-1, 1] for x/255"])
def test_wrong_preprocessing_of_mobilenet(mobilenet: tuple[Listed, onnx.ModelProto, Feeds, Feeds], swap: bool) -> None:
    entry, net, right, data = mobilenet
    name = entry.entry["input"]["name"]
    wrong = [{name: (f[name] + 1) / 2} for f in right]
    if swap:
        right, wrong, data = wrong, right, [{name: (f[name] + 1) / 2} for f in data]
    model = octavo.quantize(net, wrong, **QUICK).model
    found = first_cause(verify(net, model, data))
    assert found.node == f"input {name}" and "preprocessing" in found.mend
    if swap:
        return
    model = octavo.quantize(net, right, **QUICK).model
    assert f"input {name}" not in {e.node for e in verify(net, model, data).diagnosed()}
