"""The octavo command: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import octavo
from octavo.cli import main
from octavo.images import ImageOptions
from small_models import float_net, one_of, quantized_net, two_inputs, with_python_step

X = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(float_net(), "float.onnx")
    onnx.save(quantized_net(), "int8.onnx")
    onnx.save(two_inputs(), "two.onnx")
    onnx.save(with_python_step(), "det.onnx")
    np.save("x.npy", X)
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def call_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    out = call(capsys, *arguments, "--json")
    assert out.count("\n") == 1
    return json.loads(out, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("octavo: error: ") and captured.err.count("\n") == 1
    return captured.err


# ---- run -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [["--input", "x=x.npy"], ["--input", "x.npy"], ["--input=x=x.npz"], ["--input=x.npz"]]
)
def test_run_reads_arrays_and_writes_outputs(
    folder: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    np.savez("x.npz", x=X)
    out = call(capsys, "run", "float.onnx", *given, "--output", "y.npz")
    assert "hidden" in out and "[2, 3]" in out
    hidden, twice = octavo.run("float.onnx", X)
    with np.load("y.npz") as saved:
        assert saved.files == ["hidden", "twice"]
        assert saved["hidden"].tobytes() == hidden.tobytes() and saved["twice"].tobytes() == twice.tobytes()
    call(capsys, "run", "float.onnx", *given, "--output", "y.npy")
    assert np.load("y.npy").tobytes() == hidden.tobytes()


def test_run_fills_inputs_with_random_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = [call_json(capsys, "run", "two.onnx", "--random", seed, "--dim", "rows=5") for seed in ("1", "1", "2")]
    assert reports[0]["outputs"][0]["shape"] == [5, 2]
    means = [r["outputs"][0]["mean"] for r in reports]
    assert means[0] == means[1] != means[2]


def test_random_fills_only_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("left.npy", np.full((1, 2), 1000, np.float32))
    report = call_json(capsys, "run", "two.onnx", "--input", "left=left.npy", "--random", "3")
    assert report["outputs"][0]["min"] > 900


def test_run_shows_the_best_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("labels.txt").write_text("cat\ndog\nhen\n")
    report = call_json(capsys, "run", "float.onnx", "--input", "x.npy", "--top", "2", "--labels", "labels.txt")
    hidden = octavo.run("float.onnx", X)[0]
    names = ["cat", "dog", "hen"]
    for row, best in zip(hidden, report["top"], strict=True):
        order = np.argsort(-row, kind="stable")[:2]
        assert best == [{"index": int(k), "score": pytest.approx(row[k]), "label": names[k]} for k in order]
    text = call(capsys, "run", "float.onnx", "--input", "x.npy", "--top", "2", "--labels", "labels.txt")
    assert text.count("\nrow ") == 2 and report["top"][0][0]["label"] in text
    assert "label" not in call(capsys, "run", "float.onnx", "--input", "x.npy", "--top", "1")


def test_json_stays_valid_when_outputs_are_not_finite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.full((1, 4), np.nan, np.float32))
    assert call_json(capsys, "run", "float.onnx", "--input", "x.npy")["outputs"][0]["mean"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx", "--random", "1"], "none.onnx"),
        (["float.onnx"], "input 'x'; give --input x=FILE, or --random"),
        (["float.onnx", "--input", "none.npy"], "none.npy"),
        (["float.onnx", "--input", "y=x.npy"], "no input 'y'"),
        (["two.onnx", "--input", "x.npy"], "say for which input"),
        (["float.onnx", "--input", "float.onnx"], "2 dimensions"),
        (["float.onnx", "--input", "bad.npy"], "bad.npy"),
        (["float.onnx", "--input", "bad.npz"], "bad.npz"),
        (["float.onnx", "--input", "wide.npy"], "float64"),
        (["float.onnx", "--random", "1", "--dim", "M=3"], "dimension 'M'; there is 'N'"),
        (["float.onnx", "--random", "1", "--output", "y.txt"], "y.txt"),
        (["float.onnx", "--random", "1", "--output", "no/y.npz"], "no/y.npz"),
        (["float.onnx", "--random", "1", "--isa", "sse9"], "sse9"),
        (["float.onnx", "--random", "1", "--labels", "l.txt"], "--top"),
        (["float.onnx", "--random", "1", "--top", "1", "--labels", "none.txt"], "none.txt"),
        (["float.onnx", "--random", "1", "--top", "1", "--labels", "l.txt"], "1 lines.*3 elements"),
    ],
)
def test_what_fails_is_one_line_and_status_1(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("bad.npy").write_bytes(b"nothing")
    Path("bad.npz").write_bytes(b"PK\x03\x04")
    Path("l.txt").write_text("one\n")
    np.save("wide.npy", X.astype(np.float64))
    assert re.search(message, fail(capsys, "run", *arguments))
    assert not [name for name in os.listdir() if ".tmp" in name]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "float.onnx", "--dim", "N"],
        ["run", "float.onnx", "--dim", "N=many"],
        ["run", "float.onnx", "--threads", "0"],
        ["run", "float.onnx", "--resize", "1x2x3"],
        ["run", "float.onnx", "--mean", "red"],
        ["run", "float.onnx", "--std", "0"],
        ["bench", "float.onnx", "--rounds", "-1"],
        ["pack", "float.onnx"],
        ["inspect", "float.onnx", "--nonsense"],
    ],
)
def test_wrong_usage_is_status_2(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: octavo" in capsys.readouterr().err


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def picture(folder: Path) -> np.ndarray:
    """A 12 x 16 (height x width) picture, saved as picture.png."""
    image = pytest.importorskip("PIL.Image", reason="pillow (image extra) is not installed")
    pixels = np.random.default_rng(3).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    image.fromarray(pixels).save("picture.png")
    return pixels


def passed_on(capsys: pytest.CaptureFixture[str], dims: list[int | str], *arguments: str, kind: int = 1) -> np.ndarray:
    """What a network that returns its input makes of the picture."""
    make_same(dims, kind)
    call(capsys, "run", "same.onnx", "--input", "picture.png", "--output", "y.npy", *arguments)
    return np.load("y.npy")


def test_pictures_become_inputs(picture: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    want = picture[None].astype(np.float32)
    np.testing.assert_array_equal(passed_on(capsys, ["N", 3, "H", "W"]), want.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(passed_on(capsys, ["N", "H", "W", 3]), want)
    np.testing.assert_array_equal(passed_on(capsys, ["N", "C", "H", "W"], "--layout", "nhwc"), want)
    np.testing.assert_array_equal(passed_on(capsys, ["N", "H", "W", 3], "--color", "bgr"), want[..., ::-1])
    np.testing.assert_array_equal(passed_on(capsys, ["N", "H", "W", 3], "--crop", "8x6"), want[:, 3:9, 4:12])
    np.testing.assert_array_equal(passed_on(capsys, ["N", "H", "W", 3], kind=onnx.TensorProto.UINT8), picture[None])
    assert passed_on(capsys, ["N", 1, "H", "W"], "--color", "gray").shape == (1, 1, 12, 16)


def test_pictures_are_normalised(picture: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    got = passed_on(capsys, ["N", "H", "W", 3], "--mean", "1,2,3", "--std", "2,4,8")
    want = (picture[None].astype(np.float32) - np.float32([1, 2, 3])) / np.float32([2, 4, 8])
    np.testing.assert_array_equal(got, want)
    signed = passed_on(capsys, ["N", "H", "W", 3], "--mean", "100", kind=onnx.TensorProto.INT8)
    np.testing.assert_array_equal(signed, np.clip(picture[None].astype(int) - 100, -128, 127))


def test_pictures_are_resized(picture: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    source = image.fromarray(picture)
    small = np.asarray(source.resize((8, 6), image.Resampling.BILINEAR), np.float32)[None]
    np.testing.assert_array_equal(passed_on(capsys, ["N", "H", "W", 3], "--resize", "6"), small)
    np.testing.assert_array_equal(passed_on(capsys, ["N", "H", "W", 3], "--resize", "8x6"), small)
    np.testing.assert_array_equal(passed_on(capsys, ["N", 6, 8, 3]), small)  # the size the network demands
    near = np.asarray(source.resize((8, 6), image.Resampling.NEAREST), np.float32)[None]
    np.testing.assert_array_equal(passed_on(capsys, ["N", 6, 8, 3], "--interpolation", "nearest"), near)


def test_pictures_form_a_batch(picture: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    got = passed_on(capsys, ["N", "H", "W", 3], "--input", "x=picture.png")
    assert got.shape[0] == 2 and got[0].tobytes() == got[1].tobytes()


def test_pictures_that_do_not_fit(picture: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    make_same(["N", 3, 3, 3])
    assert "--layout" in fail(capsys, "run", "same.onnx", "--input", "picture.png")
    assert "exceeds" in fail(capsys, "run", "int8.onnx", "--input", "picture.png", "--crop", "99")
    assert "1 number or 3" in fail(capsys, "run", "int8.onnx", "--input", "picture.png", "--mean", "1,2")
    for wrong in ({"layout": "NCHW"}, {"color": "grey"}, {"interpolation": "cubic"}):
        with pytest.raises(octavo.InvalidArgument, match=f"{next(iter(wrong))} should be one of"):
            ImageOptions(**wrong)
    assert "broken.png" in fail(capsys, "run", "int8.onnx", "--input", write("broken.png", b"no picture"))


def make_same(dims: list[int | str], kind: int = onnx.TensorProto.FLOAT) -> None:
    onnx.save(one_of(kind, dims), "same.onnx")


def write(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def test_pictures_need_pillow(
    picture: np.ndarray, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install octavo[image]" in fail(capsys, "run", "int8.onnx", "--input", "picture.png")


# ---- inspect, bench, pack, version -----------------------------------------------------------------------------------


def test_inspect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = call_json(capsys, "inspect", "int8.onnx", "--dim", "N=2")
    assert report["inputs"] == [{"name": "image", "type": "tensor(float)", "shape": [2, 3, 8, 8]}]
    assert report["outputs"] == [{"name": "y", "type": "tensor(float)", "shape": [2, 4, 8, 8]}]
    assert report["assumed"] == {} and report["python_steps"] == []
    conv = next(layer for layer in report["layers"] if layer["op"] == "QConv")
    assert conv["output"] == [2, 8, 8, 4] and conv["macs"] == 2 * 64 * 4 * 27
    assert conv["params"] == 4 * 27 + 4 and conv["weight_bytes"] >= 4 * 27 and "conv" in conv["name"]
    assert report["totals"]["macs"] == conv["macs"] and report["totals"]["params"] == conv["params"]
    text = call(capsys, "inspect", "int8.onnx")
    assert "QConv" in text and "N=1" in text and "112 parameters" in text


def test_inspect_names_python_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (step,) = call_json(capsys, "inspect", "det.onnx")["python_steps"]
    assert step["node"] == "the_det" and step["reason"]
    assert "Runs in Python: the_det: " in call(capsys, "inspect", "det.onnx")


def test_bench(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = call_json(
        capsys, "bench", "int8.onnx", "--rounds", "2", "--threads", "1", "--compare-float", "float.onnx", "--steps"
    )
    ours, peer = report["models"]
    assert ours["model"] == "int8.onnx" and peer["model"] == "float.onnx" and ours["threads"] == 1
    for figures in (ours, peer):
        assert 0 < figures["min_ms"] <= figures["median_ms"] and figures["runs"] >= 2
        assert figures["inferences_per_s"] == pytest.approx(1e3 / figures["median_ms"], rel=0.01)
    assert report["speedup"] == pytest.approx(peer["median_ms"] / ours["median_ms"], rel=0.01)
    assert [s["op"] for s in report["steps"]] == [s["op"] for s in octavo.Session("int8.onnx").plan.steps]
    assert any(s["us"] > 0 for s in report["steps"])
    text = call(capsys, "bench", "int8.onnx", "--rounds", "1", "--steps", "--dim", "N=2", "--isa", "scalar")
    assert "scalar" in text and "QConv" in text and "inferences/s" in text


def test_pack(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = call_json(capsys, "pack", "int8.onnx", "-o", "int8.octavo")
    assert report["output_bytes"] == os.path.getsize("int8.octavo")
    x = np.ones((1, 3, 8, 8), np.float32)
    assert octavo.run("int8.octavo", x)[0].tobytes() == octavo.run("int8.onnx", x)[0].tobytes()
    assert "int8.octavo" in call(capsys, "pack", "int8.onnx", "--output", "int8.octavo")
    assert "QConv" in call(capsys, "inspect", "int8.octavo")


def test_pack_names_python_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the_det" in fail(capsys, "pack", "det.onnx", "-o", "det.octavo")
    assert not os.path.exists("det.octavo")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    report = call_json(capsys, "version")
    assert report["octavo"] == octavo.__version__ and report["numpy"] == np.__version__
    assert report["isa_levels"]["scalar"] is True and report["threads"] >= 1
    assert octavo.__version__ in call(capsys, "version")


def test_the_module_is_the_command(folder: Path) -> None:
    command = [sys.executable, "-m", "octavo"]
    good = subprocess.run([*command, "run", "float.onnx", "--input", "x.npy"], capture_output=True, text=True)
    assert good.returncode == 0 and "hidden" in good.stdout and good.stderr == ""
    bad = subprocess.run([*command, "run", "none.onnx"], capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stdout == "" and "Traceback" not in bad.stderr
    wrong = subprocess.run([*command, "fly"], capture_output=True, text=True)
    assert wrong.returncode == 2


def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    shell = f"{sys.executable} -m octavo inspect int8.onnx | head -1"
    run = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr == ""
