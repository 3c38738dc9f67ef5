"""``octavo demo``: its packaged data, its figures, its picture, and what it says when something is wrong."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest

import octavo
from octavo import demo
from octavo.report.picture import Canvas, encode_png, text_width


def decode_png(data: bytes) -> np.ndarray:
    """A second reading of the PNG format: check every chunk, undo filters 0 and 2, return uint8 ``[H, W, 3]``."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (bits, colour, rest) == (8, 2, [0, 0, 0])
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, 1 + width * 3)
    pixels = np.zeros((height, width * 3), np.uint8)
    for y, row in enumerate(rows):
        assert row[0] in (0, 2)
        pixels[y] = row[1:] + (pixels[y - 1] if row[0] == 2 and y > 0 else np.uint8(0))
    return pixels.reshape(height, width, 3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time a handful of runs only."""
    monkeypatch.setattr(demo, "ROUNDS", 2)
    monkeypatch.setattr(demo, "RUNS_PER_ROUND", 3)


def logits(file: str, threads: int) -> np.ndarray:
    images, _, _ = demo.load_test_images()
    session = octavo.Session(str(demo.DATA / file), threads=threads)
    return session.run(None, {"image": demo.to_network(images)})[0]


# ---- the packaged data -----------------------------------------------------------------------------------------------


def test_data_is_small() -> None:
    assert sum(path.stat().st_size for path in demo.DATA.iterdir()) < 1_000_000


def test_test_images() -> None:
    images, labels, classes = demo.load_test_images()
    assert images.shape == (1000, 28, 28) and images.dtype == np.uint8 and images.max() == 255
    assert labels.shape == (1000,) and len(classes) == 10
    assert np.bincount(labels, minlength=10).min() >= demo.ROWS_OF_IMAGES  # every column of the picture is full


@pytest.mark.parametrize("file", [file for _, file in demo.MODELS])
def test_networks_are_valid_and_small(file: str) -> None:
    model = onnx.load(demo.DATA / file)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert 50_000 < sum(int(np.prod(weight.dims)) for weight in model.graph.initializer) < 150_000


def test_int8_network_is_quantized_throughout() -> None:
    """Every convolution reads a uint8 activation, int8 weights and an int32 bias, so none falls back to float."""
    graph = onnx.load(demo.DATA / "fashion_int8.onnx").graph
    makers = {output: node for node in graph.node for output in node.output}
    types = {weight.name: weight.data_type for weight in graph.initializer}
    for node in (node for node in graph.node if node.op_type in ("Conv", "Gemm")):
        sources = [makers[name] for name in node.input]
        assert [source.op_type for source in sources] == ["DequantizeLinear"] * 3, node.name
        assert [types[source.input[2]] for source in sources] == [
            onnx.TensorProto.UINT8,
            onnx.TensorProto.INT8,
            onnx.TensorProto.INT32,
        ], node.name


# ---- the networks' figures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [file for _, file in demo.MODELS])
def test_same_bytes_for_any_number_of_threads(file: str) -> None:
    one = logits(file, threads=1)
    assert one.shape == (1000, 10) and one.dtype == np.float32
    for threads in (2, 3):
        assert logits(file, threads).tobytes() == one.tobytes()


def test_accuracy() -> None:
    _, labels, _ = demo.load_test_images()
    float_top1, int8_top1 = (float(np.mean(logits(file, 1).argmax(1) == labels)) for _, file in demo.MODELS)
    assert float_top1 >= 0.915
    assert abs(float_top1 - int8_top1) <= 0.007


@pytest.mark.parametrize("file", [file for _, file in demo.MODELS])
def test_one_image_at_a_time_gives_the_same_logits(file: str) -> None:
    images, _, _ = demo.load_test_images()
    session = octavo.Session(str(demo.DATA / file), threads=1)
    (together,) = session.run(None, {"image": demo.to_network(images[:20])})
    alone = [session.run(None, {"image": demo.to_network(images[i : i + 1])})[0] for i in range(20)]
    assert np.concatenate(alone).tobytes() == together.tobytes()


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_demo_prints_a_table_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "shown.png"
    assert demo.run_demo(str(path), 1, False) == 0
    printed = capsys.readouterr()
    assert "float32" in printed.out and "int8" in printed.out and "µs" in printed.out and str(path) in printed.out
    assert "\x1b" not in printed.out and printed.err == ""  # progress goes to a terminal only
    width, height = demo.PICTURE_SIZE
    pixels = decode_png(path.read_bytes())
    assert pixels.shape == (height, width, 3)
    for colour in (demo.GREEN, demo.RED, demo.BLUE):
        assert np.all(pixels == colour, axis=2).sum() > 500


@pytest.mark.usefixtures("quick")
def test_demo_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run_demo(str(tmp_path / "a.png"), 2, True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 1000 and told["threads"] == 2 and told["picture"] == str(tmp_path / "a.png")
    assert [model["name"] for model in told["models"]] == ["float32", "int8"]
    for model, (_, file) in zip(told["models"], demo.MODELS, strict=True):
        assert model["file_bytes"] == (demo.DATA / file).stat().st_size
        assert model["top1"] > demo.MINIMUM_TOP1 and model["latency_us"] > 0
    assert told["speedup"] == pytest.approx(told["models"][0]["latency_us"] / told["models"][1]["latency_us"], rel=0.01)
    assert 0.97 < told["agreement"] <= 1


@pytest.mark.usefixtures("quick")
def test_default_picture_is_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.run_demo(None, None, False) == 0
    assert [path.name for path in tmp_path.iterdir()] == [demo.DEFAULT_PICTURE]


@pytest.mark.usefixtures("quick")
def test_wrong_answers_fail_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels, classes = demo.load_test_images()
    monkeypatch.setattr(demo, "load_test_images", lambda: (images, (labels + 1) % 10, classes))
    assert demo.run_demo(str(tmp_path / "a.png"), 1, True) == 1
    assert "computes wrongly" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "complaint"), [("a.jpg", "end in .png"), ("folder.png", "that is a folder"), ("no/a.png", "make it first")]
)
def test_impossible_outputs_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, complaint: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(demo, "load_test_images", lambda: pytest.fail("it began to work"))
    with pytest.raises(octavo.Error, match=complaint):
        demo.run_demo(str(tmp_path / name), 1, False)


@pytest.mark.usefixtures("quick")
def test_a_failing_write_is_an_octavo_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Canvas, "save", full)
    with pytest.raises(octavo.Error, match="No space left"):
        demo.run_demo(str(tmp_path / "a.png"), 1, False)


# ---- the picture's pieces --------------------------------------------------------------------------------------------


def test_png_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (13, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_png(encode_png(pixels)), pixels)


@pytest.mark.parametrize("pixels", [np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((0, 2, 3), np.uint8)])
def test_png_refuses_other_arrays(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="non-empty uint8 array"):
        encode_png(pixels)


def test_text_stays_in_its_box() -> None:
    ink = (0, 0, 0)
    canvas = Canvas(300, 60)
    width = canvas.text(20, 40, "Ankle boot", 16, ink)
    assert width == text_width("Ankle boot", 16)
    inked = np.argwhere((canvas.pixels < 255).any(axis=2))
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0)
    assert 19 <= left <= 22 and abs(right - (20 + width)) <= 2 and top >= 23 and bottom <= 41


def test_drawing_past_the_edge_is_cut_off() -> None:
    canvas = Canvas(40, 30)
    canvas.box(-10, -10, 20, 20, (0, 0, 0))
    canvas.box(35, 25, 50, 50, (0, 0, 0), 3)
    canvas.text(30, 20, "Bag", 12, (0, 0, 0))
    canvas.text(-200, 20, "Bag", 12, (0, 0, 0))
    assert canvas.pixels[0, 0].max() == 0 and canvas.pixels[15, 20].min() == 255


def test_an_image_is_enlarged_smoothly() -> None:
    canvas = Canvas(8, 8)
    canvas.grey_image(0, 0, np.array([[0, 255], [0, 255]], np.uint8), 4, ink=(0, 0, 0), paper=(255, 255, 255))
    row = canvas.pixels[3, :, 0]
    assert row[0] == 255 and row[7] == 0 and np.all(np.diff(row) <= 0) and 0 < row[4] < 255
