"""octavo bench: figures, batches, and peers that take turns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import octavo
from octavo.cli import main
from octavo.cli.commands import show_progress
from octavo.report import peers
from octavo.report.bench import bench, bench_text, latency, time_interleaved
from small_models import float_net, one_of, quantized_net, two_inputs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(quantized_net(), "int8.onnx")
    onnx.save(float_net(), "float.onnx")
    onnx.save(two_inputs(), "two.onnx")
    onnx.save(one_of(onnx.TensorProto.FLOAT, [3, "M"]), "fixed.onnx")
    return tmp_path


def test_runs_take_turns_and_the_first_call_of_a_turn_does_not_count() -> None:
    calls: list[str] = []
    seen: list[tuple[int, int]] = []
    times = time_interleaved(
        [lambda: calls.append("a"), lambda: calls.append("b")], 3, lambda k, n: seen.append((k, n)), round_s=1e-9
    )
    assert [len(t) for t in times] == [3, 3] and seen == [(0, 3), (1, 3), (2, 3)]
    assert "".join(calls[-12:]) == "aabb" * 3  # one call to settle and one that counts, three times each


def test_latency() -> None:
    figures = latency([int(k * 1e6) for k in range(100, 0, -1)])
    assert figures == {"median_ms": 50.5, "min_ms": 1.0, "p99_ms": 99.0, "runs": 100}
    assert latency([7_000_000])["p99_ms"] == 7.0


def test_batch(folder: Path) -> None:
    (figures,) = bench("int8.onnx", threads=1, rounds=1, batch=3)["models"]
    assert figures["batch"] == 3 and figures["min_ms"] <= figures["median_ms"] <= figures["p99_ms"]
    assert bench("two.onnx", threads=1, rounds=1, batch=4)["models"][0]["batch"] == 4
    for arguments in ({"batch": 2}, {"batch": 0}):
        with pytest.raises(octavo.InvalidArgument, match="batch"):
            bench("fixed.onnx", rounds=1, **arguments)
    with pytest.raises(octavo.InvalidArgument, match="batch cannot be 2"):
        bench("int8.onnx", rounds=1, batch=2, dims=[("N", 3)])


@pytest.mark.parametrize("peer", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("model", ["int8.onnx", "float.onnx"])
def test_peers_take_turns(folder: Path, capsys: pytest.CaptureFixture[str], peer: str, model: str) -> None:
    pytest.importorskip(peer, reason=f"{peer} (bench extra) is not installed")
    report = bench(model, threads=1, rounds=2, compare=[peer])
    (entry,) = report["peers"]
    assert entry["engine"] == peer and entry["version"] and entry["runs"] >= 2
    ours = report["models"][0]
    assert entry["ratio"] == pytest.approx(ours["median_ms"] / entry["median_ms"], abs=0.001) == report["ratio"]
    assert main(["bench", model, "--threads", "1", "--rounds", "1", "--compare", peer, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and json.loads(out)["peers"][0]["engine"] == peer
    assert f"{peer}" in bench_text(report) and "octavo / peer" in bench_text(report)


def test_a_peer_computes_the_same_model(folder: Path) -> None:
    """What is timed reads the inputs that were bound."""
    pytest.importorskip("onnxruntime")
    x = np.ones((2, 4), np.float32)
    run = peers.prepare("onnxruntime", "float.onnx", {"x": x}, 1)
    binding = run.__closure__[0].cell_contents  # type: ignore[attr-defined]
    run()
    got = binding.copy_outputs_to_cpu()[0]
    np.testing.assert_allclose(got, octavo.run("float.onnx", x)[0], rtol=1e-5)


def test_a_peer_that_refuses_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (bench extra) is not installed")
    report = bench("int8.onnx", threads=1, rounds=1, compare=["litert"])
    assert report["ratio"] is None and "there is no int8.tflite" in report["peers"][0]["error"]
    assert "there is no int8.tflite" in bench_text(report)


def test_a_peer_that_is_not_installed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main(["bench", "int8.onnx", "--rounds", "1", "--compare", "openvino"]) == 1
    err = capsys.readouterr().err
    assert "openvino is not installed" in err and "pip install 'octavo[bench]'" in err
    assert main(["bench", "int8.onnx", "--rounds", "1", "--compare", "onnxrt"]) == 1
    assert "no peer 'onnxrt' to compare with; did you mean 'onnxruntime'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "int8.onnx", "--compare", ","])


def test_the_twin_of_a_file(folder: Path) -> None:
    assert peers.twin("int8.onnx") is None
    Path("tflite").mkdir()
    Path("tflite/int8.tflite").write_bytes(b"")
    assert peers.twin("int8.onnx") == "tflite/int8.tflite"
    Path("int8.tflite").write_bytes(b"")
    assert peers.twin("int8.onnx") == "int8.tflite"


def test_inputs_of_a_twin() -> None:
    feeds = {"x": np.full((1, 3), 7, np.int8)}
    assert peers.as_litert({"shape": [1, 3], "dtype": np.int8}, feeds) is feeds["x"]
    assert peers.as_litert({"shape": [1, 3], "dtype": np.float32}, feeds).dtype == np.float32
    assert peers.as_litert({"shape": [2], "dtype": np.uint8}, feeds).shape == (2,)


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    show_progress(4, 20)
    captured = capsys.readouterr()
    assert captured.out == "" and "round 5 of 20" in captured.err
