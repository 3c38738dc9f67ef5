"""bench/quantizers.py: tools run in processes of their own, outputs are judged, pieces merge, tables are written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import octavo
from octavo.report.paired import paired_interval
from test_quantize import convnet, outputs, samples

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import judge  # noqa: E402
import listed  # noqa: E402
import quantizer_tables as tables  # noqa: E402
import quantizers  # noqa: E402

EVALUATOR = """
import numpy as np

def normalise(pixels, pp):
    return (pixels - np.float32(pp["mean"])) / np.float32(pp["std"])

def to_input(batch, spec):
    return np.ascontiguousarray(np.stack(batch).transpose(0, 3, 1, 2).astype(np.float32))
"""
ENTRY = """
[[model]]
name = "cifar10_resnet20"
file = "net.onnx"
task = "cifar10"
precision = "float32"
input = { name = "x", shape = ["N", 3, 12, 12], layout = "NCHW", dtype = "float32" }
preprocess = { mean = 128.0, std = 60.0 }
output = { name = "y" }
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with one network, its data and its evaluator; labels are what the float model answers."""
    pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    for folder in ("models", "data", "tools"):
        (tmp_path / folder).mkdir()
    onnx.save(convnet(), tmp_path / "models/net.onnx")
    (tmp_path / "models/models.toml").write_text(ENTRY)
    (tmp_path / "tools/eval_models.py").write_text(EVALUATOR)
    pixels = np.random.default_rng(0).integers(0, 256, (160, 12, 12, 3)).astype(np.uint8)
    x = (pixels.transpose(0, 3, 1, 2) - np.float32(128)) / np.float32(60)
    labels = octavo.run(convnet(), {"x": x})[0].argmax(1)
    labels[-16:] = (labels[-16:] + 1) % 5  # the float model is not always right
    np.savez(tmp_path / "data/cifar10.npz", inputs=pixels, labels=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quantizers.py", *arguments])
    return quantizers.main()


def test_tools_are_compared_and_pieces_merge(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    arguments = [str(shared), "--out", "r/q", "--work", "w", "--part", "accuracy"]
    assert command(monkeypatch, *arguments, "--only", "cifar10_resnet20/octavo") == 0
    assert command(monkeypatch, *arguments, "--only", "cifar10_resnet20/onnxruntime MinMax") == 0
    record = json.loads(Path("r/q.json").read_text())
    assert sorted(record["units"]) == [f"accuracy/cifar10_resnet20/{t}" for t in ("octavo", "onnxruntime MinMax")]
    for unit in record["units"].values():
        assert unit["samples"] == unit["labelled"] == 96 and unit["float_accuracy"] == pytest.approx(100 * 80 / 96, abs=1e-3)  # fmt: skip  # noqa: E501
        assert unit["peak_mb"] >= unit["start_mb"] > 10 and unit["seconds"] > 0 and unit["checker"] == ""
        assert unit["drop"] == pytest.approx(unit["float_accuracy"] - unit["accuracy"], abs=2e-3)
        assert unit["drop"] == pytest.approx(100 * (unit["lost"] - unit["won"]) / 96, abs=1e-3)
        assert unit["agreement"] > 90 and unit["sqnr"] > 15 and unit["bytes"] > 0
    ours = record["units"]["accuracy/cifar10_resnet20/octavo"]
    assert ours["on octavo"]["accuracy"] == pytest.approx(ours["accuracy"], abs=2.2)
    first = Path("r/q.json").read_text()
    assert command(monkeypatch, *arguments, "--only", "cifar10_resnet20/octavo") == 0  # there already
    assert Path("r/q.json").read_text() == first
    out = capsys.readouterr().out
    assert "One file, three runtimes" in out and "onnxruntime MinMax" in out
    page = Path("r/q.md").read_text()
    assert page.startswith("# Quantizers compared") and "| cifar10_resnet20 | octavo |" in page
    Path("r/q.md").write_text(page.replace("compared", "compared\n\nOurs."))
    assert command(monkeypatch, *arguments, "--report") == 0
    assert "Ours." in Path("r/q.md").read_text()


def test_what_is_not_installed_or_not_there_is_said(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Path("fake_python")
    fake.write_text(f"#!/bin/sh\nexec {sys.executable} -c \"print('{{\\\"missing\\\": \\\"nncf\\\", \\\"why\\\": \\\"no\\\"}}')\"\n")  # fmt: skip  # noqa: E501
    fake.chmod(0o755)
    arguments = [str(shared), "--out", "r/q", "--work", "w", "--part", "accuracy"]
    assert command(monkeypatch, *arguments, "--only", "cifar10_resnet20/nncf", "--nncf-python", str(fake.resolve())) == 1  # fmt: skip  # noqa: E501
    err = capsys.readouterr().err
    assert "nncf is not installed (no); name the interpreter that has it with --nncf-python" in err
    assert command(monkeypatch, *arguments, "--only", "cifar10_resnet20/nncf", "--nncf-python", "/nowhere/python") == 1
    assert "cannot start /nowhere/python" in capsys.readouterr().err
    assert command(monkeypatch, *arguments, "--only", "squeezenet1.1/octavo") == 1
    assert "there is no model squeezenet1.1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command(monkeypatch, "--part", "speed")


def test_a_tool_that_fails_is_recorded(shared: Path) -> None:
    settings = quantizers.Settings(shared, Path("w"), {})
    found = quantizers.judged(settings, "cifar10_resnet20", quantizers.Tool("octavo", "octavo", (("methud", "x"),)))
    assert "no option 'methud'" in found["failed"]
    late = quantizers.Settings(shared, Path("w"), {}, longest=0.01)
    found = quantizers.judged(late, "cifar10_resnet20", quantizers.OCTAVO)
    assert found == {"failed": "not done after 0 s"}


def test_the_worker_measures_its_own_memory(tmp_path: Path) -> None:
    onnx.save(convnet(), tmp_path / "net.onnx")
    (tmp_path / "c").mkdir()
    for k, feeds in enumerate(samples(4)):
        np.savez(tmp_path / f"c/{k}.npz", **feeds)
    arguments = ["octavo", "net.onnx", "c", "q.onnx", '{"method": "minmax", "rounding": "nearest"}']
    run = subprocess.run(
        [sys.executable, str(ROOT / "bench/quantizer_tools.py"), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert run.returncode == 0 and 10 < found["start_mb"] <= found["peak_mb"] < 2000 and found["version"]
    want = octavo.quantize(convnet(), samples(4), method="minmax", rounding="nearest").model
    assert np.array_equal(outputs(tmp_path / "q.onnx", samples(2)), outputs(want, samples(2)))


def test_more_samples_than_there_are_are_mirrored(shared: Path) -> None:
    model = listed.listed_models(shared, Path("w"))["cifar10_resnet20"]
    folder = quantizers.calibration(model, 162)
    files = sorted(folder.glob("*.npz"))
    assert len(files) == 162
    first, again = (np.load(files[k])["x"] for k in (1, 161))
    assert np.array_equal(again, first[..., ::-1]) and not np.array_equal(again, first)


def test_judging() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 50), rng.integers(0, 5, 50).astype(np.float64)
    scipy_like = judge.spearman(a, b)
    order = np.argsort(np.argsort(a))
    assert judge.spearman(a, order.astype(float)) == pytest.approx(100)
    assert -100 <= scipy_like <= 100 and judge.ranks(np.array([3.0, 1, 3])).tolist() == [2.5, 1, 2.5]
    low, high = judge.bootstrap(a, a + rng.normal(0, 0.1, 50), a)
    assert 0 <= low < high < 5
    assert judge.read_numbers(judge.numbers(a)).tolist() == a.astype(np.float32).tolist()
    bits = rng.random(37) < 0.5
    assert np.array_equal(judge.unpacked(judge.packed(bits), 37), bits)


def unit(accuracy: float, right: np.ndarray, **more: Any) -> dict[str, Any]:
    found = {
        "accuracy": accuracy, "float_accuracy": 90.0, "drop": 90 - accuracy, "interval": [-1.0, 2.0], "lost": 3,
        "won": 1, "agreement": 97.0, "sqnr": 20.0, "labelled": len(right), "right": judge.packed(right), "bytes": 25,
        "float_bytes": 100, "seconds": 2.0, "cpu_seconds": 1.0, "start_mb": 50.0, "peak_mb": 100.0, "checker": "",
        "date": "2026-01-02 03:04 UTC", "commit": "abc1234", "version": "1.0",
    }  # fmt: skip
    return found | more


def test_tables() -> None:
    ours, theirs = np.ones(100, bool), np.ones(100, bool)
    ours[:11], theirs[:10] = False, False
    on = {f"on {r}": {"accuracy": a, "right": judge.packed(ours)} for r, a in zip(quantizers.RUNTIMES, (89, 89, 88))}
    name = "accuracy/mobilenet_v2_1.0_224"
    record = {
        "units": {
            f"{name}/octavo": unit(89.0, ours, **on),
            f"{name}/onnxruntime MinMax": unit(90.0, theirs),
            f"{name}/onnxruntime Entropy": {"failed": "why.", "date": "2026-01-02 03:05 UTC", "commit": "abc1234"},
            f"{name}/nncf": unit(80.0, theirs),
            "memory/octavo/64": unit(0, ours), "memory/octavo/512": unit(0, ours, peak_mb=130.0),
        },
        "machine": {"cpu": "A CPU", "system": "Linux", "versions": {"octavo": "0"}},
    }  # fmt: skip
    found = {title: (text, rows) for title, text, _, rows in tables.tables(record)}
    (row,) = found["Accuracy"][1]
    assert row[:7] == ["mobilenet_v2_1.0_224", "90.00", "89.00", "+1.00", "-1.00 to +2.00", "0.70", "by the interval"]
    low, high = paired_interval(1, 0, 100)
    assert row[7:] == ["onnxruntime MinMax", "90.00", f"{100 * low:+.2f} to {100 * high:+.2f}", "by the interval"]
    text, rows = found["Every tool"]
    assert "onnxruntime Entropy fails on mobilenet_v2_1.0_224: why.)" in text
    assert rows[0][2:9] == ["89.00", "+1.00", "-3 +1", "-1.00 to +2.00", "97.00", "20.0", "0.25"]
    assert [r[1] for r in rows] == ["octavo", "onnxruntime MinMax", "onnxruntime Entropy", "nncf"]
    assert found["One file, three runtimes"][1][0][4] == "1.00"
    assert found["Memory of calibration"][1] == [["octavo", "50", "100", "130", "1.30", "no"]]
    assert "A CPU; Linux; octavo 0, nncf 1.0; measured" in tables.text(record)


def test_every_model_of_the_goals_is_measured() -> None:
    names = quantizers.all_units()
    assert set(tables.GOALS) <= set(quantizers.MODELS)
    assert {name.partition("/")[0] for name in names} == set(quantizers.PARTS)
    for model in quantizers.MODELS:
        assert f"accuracy/{model}/octavo" in names and f"accuracy/{model}/nncf" in names
