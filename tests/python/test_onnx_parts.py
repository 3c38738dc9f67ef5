"""Large weights stay in the mapped file until the plan takes them: what is read is what protobuf would read."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import octavo
from octavo.onnx_import import import_model
from octavo.onnx_parts import LARGE, without_large
from small_models import model, tensor


def net(*weights: np.ndarray) -> ModelProto:
    constants = {f"w{k}": w for k, w in enumerate(weights)}
    nodes = [helper.make_node("Identity", [n], [f"y{k}"], f"id{k}") for k, n in enumerate(constants)]
    outputs = [tensor(f"y{k}", list(w.shape), helper.np_dtype_to_tensor_dtype(w.dtype)) for k, w in enumerate(weights)]
    return model(nodes, [tensor("x", [1])], outputs, constants)


def weights() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 256, (300, 301)).astype(np.uint8)
    return [
        rng.normal(0, 1, (80, 81)).astype(np.float32),
        bits,
        (bits & 15).view(ml_dtypes.int4),
        (bits & 3).view(ml_dtypes.uint2),
        rng.normal(0, 1, (130, 131)).astype(np.float16),
        rng.normal(0, 1, 9000).astype(np.float32),  # a vector
        rng.normal(0, 1, (2, 2)).astype(np.float32),
    ]


def test_large_matrices_are_left_out() -> None:
    proto = net(*weights())
    rest, raw = without_large(memoryview(proto.SerializeToString()))
    assert sorted(raw) == ["w0", "w1", "w2", "w3", "w4"]
    assert len(rest) < 9000 * 4 + LARGE
    kept = onnx.load_model_from_string(rest)
    for before, after in zip(proto.graph.initializer, kept.graph.initializer, strict=True):
        if before.name in raw:
            assert bytes(raw[before.name]) == before.raw_data and not after.raw_data
            after.raw_data = before.raw_data
    assert kept == proto


@pytest.mark.parametrize("form", ["path", "bytes", "proto", "external", "textproto"])
def test_every_form_of_a_model_gives_the_same_constants(form: str, tmp_path: Path) -> None:
    proto, expected = net(*weights()), weights()
    path = tmp_path / ("net.textproto" if form == "textproto" else "net.onnx")
    if form == "external":
        onnx.save(proto, path, save_as_external_data=True, size_threshold=0)
    elif form in ("path", "textproto"):
        onnx.save(proto, path)
    given = {"bytes": proto.SerializeToString(), "proto": proto}.get(form, path)
    graph = import_model(given)
    for k, want in enumerate(expected):
        got = graph.const(f"w{k}")
        assert got is not None and got.dtype == want.dtype and got.tobytes() == want.tobytes(), k
    for got, want in zip(octavo.Session(given).run(None, {"x": np.zeros(1, np.float32)}), expected, strict=True):
        assert got.tobytes() == want.tobytes()


def test_weights_of_other_domains_are_there_to_be_read() -> None:
    """A DynamicQuantizeLSTM's weights are restored while it is spelled out, before anything is a constant."""
    hidden, size = 128, 64
    rng = np.random.default_rng(5)
    constants = {
        "W": rng.integers(-99, 99, (1, size, 4 * hidden)).astype(np.int8),
        "R": rng.integers(-99, 99, (1, hidden, 4 * hidden)).astype(np.int8),
        "B": np.zeros((1, 8 * hidden), np.float32),
        "s": np.full(1, 1 / 512, np.float32),
        "z": np.zeros(1, np.int8),
    }
    inputs = ["x", "W", "R", "B", "", "", "", "", "s", "z", "s", "z"]
    node = helper.make_node("DynamicQuantizeLSTM", inputs, ["y"], "lstm", domain="com.microsoft", hidden_size=hidden)
    proto = model([node], [tensor("x", [3, 1, size])], [tensor("y", [3, 1, 1, hidden])], constants)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    x = {"x": rng.normal(0, 1, (3, 1, size)).astype(np.float32)}
    (first,), (second,) = (octavo.Session(m).run(None, x) for m in (proto, proto.SerializeToString()))
    assert first.shape == (3, 1, 1, hidden) and first.any() and first.tobytes() == second.tobytes()


def test_damage_is_reported_as_before() -> None:
    data = net(*weights()).SerializeToString()
    for cut in (1, 30, len(data) // 2, len(data) - 1):
        with pytest.raises(octavo.Error):
            octavo.Session(data[:cut])
    rng = np.random.default_rng(4)
    for _ in range(100):
        bad = bytearray(data[:4000])
        bad[int(rng.integers(len(bad)))] = int(rng.integers(256))
        with pytest.raises(octavo.Error):
            octavo.Session(bytes(bad))


def test_raw_data_of_another_size_is_refused() -> None:
    proto = net(np.zeros((100, 100), np.float32))
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-8]
    with pytest.raises(octavo.InvalidModel, match="'w0'"):
        octavo.Session(proto.SerializeToString())


def test_two_weights_of_one_name() -> None:
    proto = net(np.zeros((100, 100), np.float32))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((100, 100), np.float32), "w0"))
    (first,) = octavo.Session(proto).run(None, {"x": np.zeros(1, np.float32)})
    (second,) = octavo.Session(proto.SerializeToString()).run(None, {"x": np.zeros(1, np.float32)})
    assert first.tobytes() == second.tobytes()
