"""octavo compare: the interval, the flips, the figures of each model, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from octavo.report.compare import CompareReport, compare, compare_text
from octavo.report.paired import Z95, paired_interval, score
from small_models import float_net, model, tensor, two_inputs


def linear(weights: np.ndarray, output: str = "y", name: str = "x") -> onnx.ModelProto:
    """y [N, C] = x [N, K] weights."""
    node = helper.make_node("MatMul", [name, "w"], [output], "product")
    k, c = weights.shape
    return model([node], [tensor(name, ["N", k])], [tensor(output, ["N", c])], {"w": weights.astype(np.float32)})


def quick(*arguments: object, **options: object) -> CompareReport:
    return compare(*arguments, **{"rounds": 1, "threads": 1, **options})  # type: ignore[arg-type]


# ---- the interval ----------------------------------------------------------------------------------------------------


def test_the_interval_where_nothing_differs_is_known_by_hand() -> None:
    """No flips: the share lost is most likely 0, so n d / (1 - d) = z^2 and d = z^2 / (n + z^2)."""
    low, high = paired_interval(0, 0, 100)
    assert high == pytest.approx(Z95**2 / (100 + Z95**2), abs=1e-12)
    assert low == pytest.approx(-high, abs=1e-12)
    assert high == pytest.approx(3.841459 / 103.841459, abs=1e-8)


@pytest.mark.parametrize(("gained", "lost", "count"), [(12, 2, 50), (3, 8, 436), (0, 7, 100), (30, 30, 64), (5, 0, 5)])
def test_the_limits_are_where_the_score_test_turns(gained: int, lost: int, count: int) -> None:
    """The constrained maximum of the likelihood, searched on a grid, gives the same statistic as the closed form."""
    low, high = paired_interval(gained, lost, count)
    assert low <= (gained - lost) / count <= high
    for limit, sign in ((low, 1), (high, -1)):
        if abs(limit) > 1 - 1e-9:
            continue
        least, most = max(0.0, -limit), (1 - limit) / 2  # shares lost that leave all four shares in [0, 1]
        q = np.linspace(least + 1e-12, most - 1e-12, 2_000_001)
        likelihood = gained * np.log(q + limit) + lost * np.log(q)
        likelihood += (count - gained - lost) * np.log(np.maximum(1 - 2 * q - limit, 1e-300))
        best = q[likelihood.argmax()]
        z = (gained - lost - count * limit) / math.sqrt(count * (2 * best + limit - limit * limit))
        assert z == pytest.approx(sign * Z95, abs=2e-3)
        assert score(gained, lost, count, limit) == pytest.approx(sign * Z95, abs=1e-6)


def test_the_interval_is_symmetric_shrinks_and_refuses_what_is_no_count() -> None:
    low, high = paired_interval(9, 4, 200)
    assert paired_interval(4, 9, 200) == (pytest.approx(-high), pytest.approx(-low))
    wide = paired_interval(90, 40, 2000)
    assert wide[1] - wide[0] < high - low
    for wrong in ((-1, 0, 5), (3, 3, 5), (0, 0, 0)):
        with pytest.raises(ValueError, match="no counts"):
            paired_interval(*wrong)


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_flips_accuracy_and_agreement() -> None:
    """Rows of the identity are their own class; the second model mistakes class 1 for 0 and gets one label right."""
    wrong = np.eye(4)
    wrong[1] = [2, 1, 0, 0]  # class 1 becomes 0
    wrong[3] = [0, 0, 2, 1]  # class 3 becomes 2
    data = np.eye(4, dtype=np.float32)[[0, 1, 1, 2, 3]]
    report = quick(linear(np.eye(4)), linear(wrong), data, labels=[0, 1, 1, 2, 2])
    assert [m.accuracy for m in report.models] == [pytest.approx(4 / 5), pytest.approx(3 / 5)]
    (pair,) = report.pairs
    assert (pair.gained, pair.lost, pair.difference) == (1, 2, pytest.approx(-1 / 5))
    assert (pair.low, pair.high) == paired_interval(1, 2, 5)
    assert pair.agreement == pytest.approx(2 / 5) and report.rows == report.samples == 5
    assert "flips: +1 -2" in compare_text(report) and "-20.00 points" in compare_text(report)


def test_distances_are_what_they_say() -> None:
    rng = np.random.default_rng(3)
    w, data = rng.normal(size=(6, 5)), rng.normal(size=(20, 6)).astype(np.float32)
    off = w + rng.normal(0, 0.01, w.shape)
    x, y = data.astype(np.float64) @ w.astype(np.float32), data.astype(np.float64) @ off.astype(np.float32)
    found = quick(linear(w), linear(off), data).pairs[0].outputs[0]
    assert found.sqnr == pytest.approx(10 * math.log10((x**2).sum() / ((x - y) ** 2).sum()), abs=1e-3)
    assert found.cosine == pytest.approx((x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum()), abs=1e-6)
    assert found.max_difference == pytest.approx(np.abs(x - y).max(), rel=1e-4)


def test_size_memory_and_latency_of_every_model(tmp_path: Path) -> None:
    onnx.save(linear(np.ones((8, 300))), tmp_path / "a.onnx")
    octavo.Session(tmp_path / "a.onnx").save(tmp_path / "a.octavo")
    (tmp_path / "b").mkdir()
    onnx.save(linear(np.ones((8, 300))), tmp_path / "b" / "a.onnx", save_as_external_data=True, location="a.onnx.data", size_threshold=0)  # fmt: skip  # noqa: E501
    paths = [tmp_path / "a.onnx", tmp_path / "a.octavo", tmp_path / "b" / "a.onnx"]
    report = quick(paths[0], paths[1], np.ones((3, 8), np.float32), others=paths[2:])
    sizes = [m.file_bytes for m in report.models]
    assert sizes[:2] == [p.stat().st_size for p in paths[:2]]
    assert sizes[2] == paths[2].stat().st_size + (tmp_path / "b" / "a.onnx.data").stat().st_size
    assert [m.model for m in report.models] == [str(p) for p in paths]  # the files' names do not tell them apart
    assert all(m.memory >= 8 * 300 * 4 and 0 < m.min_ms <= m.median_ms <= m.p99_ms for m in report.models)
    assert [p.agreement for p in report.pairs] == [1.0, 1.0] and report.pairs[0].difference is None


def test_outputs_that_are_no_classes() -> None:
    data = np.eye(4, dtype=np.float32)
    assert quick(linear(np.eye(4)), linear(2 * np.eye(4)), data).pairs[0].agreement == 1.0
    assert quick(linear(np.eye(4)), linear(2 * np.eye(4)), data, classes=False).pairs[0].agreement is None
    one = np.ones((4, 1))
    report = quick(linear(one), linear(one), data)
    assert report.pairs[0].agreement is None and report.pairs[0].outputs[0].max_difference == 0
    with pytest.raises(octavo.InvalidArgument, match="no row of classes"):
        quick(linear(one), linear(one), data, labels=[0, 0, 0, 0])


def test_a_metric_judges_each_session() -> None:
    data = np.eye(4, dtype=np.float32)
    seen = quick(
        linear(np.eye(4)), linear(3 * np.eye(4)), data, metric=lambda s: float(s.run(None, [data])[0].sum())
    )  # fmt: skip
    assert [m.metric for m in seen.models] == [4.0, 12.0] and "metric" in compare_text(seen)


def test_names_may_differ_where_there_is_one_and_outputs_match_by_name() -> None:
    data = np.eye(4, dtype=np.float32)
    assert quick(linear(np.eye(4)), linear(np.eye(4), "z", "v"), data).pairs[0].agreement == 1.0
    swapped = float_net()
    first, second = swapped.graph.output
    del swapped.graph.output[:]
    swapped.graph.output.extend([second, first])
    outputs = quick(float_net(), swapped, data).pairs[0].outputs
    assert [(o.name, o.max_difference) for o in outputs] == [("hidden", 0.0), ("twice", 0.0)]


def test_batches_skip_and_limit() -> None:
    net = linear(np.eye(4))
    rows = np.eye(4, dtype=np.float32)
    report = quick(net, net, [rows[:3], rows[3:]], labels=[0, 1, 2, 0])
    assert (report.samples, report.rows, report.models[0].accuracy) == (2, 4, 0.75)
    report = quick(net, net, [rows[:3], rows[3:]], labels=[0, 1, 2, 3], skip=1)
    assert (report.samples, report.rows, report.models[0].accuracy) == (1, 1, 1.0)
    report = quick(net, net, rows, labels=[9, 1, 0, 3], skip=1, limit=2)
    assert (report.samples, report.models[0].accuracy) == (2, 0.5)
    with pytest.raises(octavo.InvalidArgument, match="no sample after the first 4"):
        quick(net, net, rows, skip=4)
    shifted = linear(np.eye(4, 5, k=1))  # class 0 of the data is its element 1
    assert quick(shifted, shifted, rows, labels=[0, 1, 2, 3], label_offset=1).models[1].accuracy == 1.0


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_labels_of_files(tmp_path: Path) -> None:
    net, rows = linear(np.eye(4)), np.eye(4, dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=rows, labels=np.array([0, 1, 2, 0]), other=np.array([0, 0, 0, 0]))
    data = str(tmp_path / "d.npz")
    assert quick(net, net, data).models[0].accuracy == 0.75
    assert quick(net, net, data, labels="other").models[0].accuracy == 0.25
    (tmp_path / "l.csv").write_text("label,what\n0,a\n1,b\n0,c\n0,d\n")
    assert quick(net, net, data, labels=tmp_path / "l.csv").models[0].accuracy == 0.5


def test_labels_beside_pictures(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow (image extra) is not installed")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"], "mean"),
        helper.make_node("Flatten", ["m"], ["y"], "f"),
    ]
    net = model(nodes, [tensor("x", [1, 3, 4, 4])], [tensor("y", [1, 3])])
    (tmp_path / "in").mkdir()
    for k, name in enumerate(["b.png", "in/a.png", "c.png"]):
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[..., k] = 200
        image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\nc.png,2\nb.png,0\nin/a.png,1\n")
    report = quick(net, net, tmp_path)
    assert report.labelled and report.models[0].accuracy == 1.0
    (tmp_path / "other.csv").write_text("file,label\nc.png,2\nb.png,1\na.png,1\nmore.png,0\n")
    assert quick(net, net, tmp_path, labels=tmp_path / "other.csv").models[0].accuracy == pytest.approx(2 / 3)
    (tmp_path / "other.csv").write_text("file,label\nc.png,2\n")
    with pytest.raises(octavo.InvalidArgument, match=r"no line for the picture 'b\.png'"):
        quick(net, net, tmp_path, labels=tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "3 labels for 4 samples"),
        ([0, 1, 2, 4], "label 4 is none of the 4 classes"),
        ([0, -1, 2, 3], "label -1 is none of"),
        ([0.5, 1, 2, 3], "whole numbers"),
        (np.zeros((4, 1), int), "one dimension"),
        ("missing", "whole|no array|not 'missing'"),
    ],
)
def test_labels_that_do_not_fit(labels: object, message: str) -> None:
    net = linear(np.eye(4))
    with pytest.raises(octavo.InvalidArgument, match=message):
        quick(net, net, np.eye(4, dtype=np.float32), labels=labels)
    rows = np.eye(4, dtype=np.float32)
    with pytest.raises(octavo.InvalidArgument):  # a generator does not tell how many there are
        quick(net, net, (rows[k : k + 1] for k in range(4)), labels=labels)


def test_label_files_that_are_wrong(tmp_path: Path) -> None:
    net = linear(np.eye(4))
    np.savez(tmp_path / "d.npz", x=np.eye(4, dtype=np.float32))
    data = tmp_path / "d.npz"
    with pytest.raises(octavo.InvalidArgument, match="no array 'truth' of labels; there is 'x'"):
        quick(net, net, data, labels="truth")
    with pytest.raises(octavo.IoError, match=r"none\.csv"):
        quick(net, net, data, labels=tmp_path / "none.csv")
    for text, message in (("label\n0\n1\ncat\n3\n", "line 4: .*not 'cat'"), ("class\n0\n", "no such column")):
        (tmp_path / "l.csv").write_text(text)
        with pytest.raises(octavo.InvalidArgument, match=message):
            quick(net, net, data, labels=tmp_path / "l.csv")
    (tmp_path / "l.csv").write_bytes(b"label\n\xff\xfe\n")
    with pytest.raises(octavo.InvalidArgument, match="not a CSV file"):
        quick(net, net, data, labels=tmp_path / "l.csv")


# ---- refusals and the command ----------------------------------------------------------------------------------------


def test_models_that_cannot_be_compared() -> None:
    data = np.eye(4, dtype=np.float32)
    with pytest.raises(octavo.InvalidArgument, match=r"input 'x' is tensor\(float\).* take the same inputs"):
        quick(linear(np.eye(4)), linear(np.eye(5)), data)
    with pytest.raises(octavo.InvalidArgument, match="no input 'x'"):
        quick(linear(np.eye(4)), two_inputs(), data)
    with pytest.raises(octavo.InvalidArgument, match="no output in common"):
        quick(linear(np.eye(4)), float_net(), data)
    with pytest.raises(octavo.InvalidArgument, match="other shapes: nothing to compare"):
        quick(linear(np.eye(4)), linear(np.ones((4, 3))), data)
    with pytest.raises(octavo.InvalidArgument, match="no calibration data"):
        quick(linear(np.eye(4)), linear(np.eye(4)), [])
    with pytest.raises(octavo.InvalidArgument, match="skip should be 0"):
        quick(linear(np.eye(4)), linear(np.eye(4)), data, skip=-1)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(linear(np.eye(4)), tmp_path / "a.onnx")
    onnx.save(linear(2 * np.eye(4)), tmp_path / "b.onnx")
    np.savez(tmp_path / "d.npz", x=np.eye(4, dtype=np.float32), labels=np.arange(4))
    models = [str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")]
    rest = ["--data", str(tmp_path / "d.npz"), "--rounds", "1", "--threads", "1"]
    assert main(["compare", *models, *rest]) == 0
    text = capsys.readouterr().out
    assert "100.00" in text and "flips: +0 -0" in text and "4 samples" in text
    assert main(["compare", *models, models[0], *rest, "--json", "--skip", "1", "--no-classes"]) == 1
    assert "no row of classes" in capsys.readouterr().err
    assert main(["compare", *models, models[0], *rest, "--json", "--skip", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 3 and len(report["pairs"]) == 2 and report["models"][1]["accuracy"] == 1.0
    assert report["pairs"][1]["outputs"][0]["cosine"] == pytest.approx(1)
    assert main(["compare", models[0], *rest]) == 1
    assert "two models or more" in capsys.readouterr().err


def test_what_is_not_finite_is_null_in_json() -> None:
    data = np.full((2, 4), np.nan, np.float32)
    report = quick(linear(np.eye(4)), linear(np.eye(4)), data)
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["pairs"][0]["outputs"][0] == {
        "name": "y", "sqnr": -200.0, "cosine": 0.0, "max_difference": None, "other_shapes": 0,
    }  # fmt: skip
