"""The pages of --html: they stand alone, show the figures of the report, and leave nothing half-written."""

from __future__ import annotations

import itertools
import json
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest

import octavo
from octavo.cli import main
from octavo.paths import check_writable
from octavo.report.compare import compare
from octavo.report.compare_html import compare_page
from octavo.report.page import html_table, page, write_page
from octavo.report.plots import (
    BAD,
    Point,
    depth_plot,
    frontier,
    histogram_plot,
    interval_plot,
    pareto_plot,
    ticks,
)
from octavo.report.quantize_html import quantize_page
from octavo.report.verify import verify
from octavo.report.verify_html import integer_limits, verify_page
from test_compare_models import linear
from test_quantize import convnet, samples

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Balance(HTMLParser):
    """Every element that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(text: str) -> list[str]:
    """Well formed and self-contained. Returns its plots."""
    balance = Balance()
    balance.feed(text)
    assert not balance.open and "script" not in balance.seen
    assert not re.search(r"\b(src|href)\s*=|url\(|@import|https?:|nan|\binf\b", text)
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    plots = re.findall(r"<svg.*?</svg>", text, re.S)
    for plot in plots:
        ET.fromstring(plot)
    return plots


def heights(plot: str) -> list[tuple[float, str]]:
    return [(float(r.get("height", "0")), r.get("style", "")) for r in ET.fromstring(plot).iter("rect")]


def words(plot: str) -> list[ET.Element]:
    return list(ET.fromstring(plot).iter("text"))


# ---- plots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lo", "hi"), [(0, 1), (-3, 7.5), (66.2, 66.9), (0, 1e-9), (-1e6, 2e7), (5, 5)])
def test_ticks_are_round_and_inside(lo: float, hi: float) -> None:
    found = ticks(lo, hi)
    assert 1 <= len(found) <= 6 and all(lo - 1e-12 <= t <= hi + 1e-12 for t in found)
    steps = {round((b - a) / (hi - lo), 9) for a, b in itertools.pairwise(found)}
    assert len(steps) <= 1


def test_the_error_along_the_depth_is_drawn_to_scale() -> None:
    plot = ET.fromstring(depth_plot([None, 40.0, 10.0], [30.0, 20.0, 0.0], ["a", "b", "c"]))
    groups = [[float(c.get("cy", "0")) for c in g.findall("circle")] for g in plot.findall("g")]
    assert [len(g) for g in groups] == [1, 2, 2]  # accumulated, and alone where it is known
    per_db = (groups[2][0] - groups[0][0]) / 30
    assert groups[1][1] == pytest.approx(groups[2][0] - 40 * per_db, abs=0.2) and per_db > 0
    assert plot.findall("g")[1].findtext("title") == "2 b: 40.0 dB alone, 20.0 dB accumulated"
    assert depth_plot([200.0], [-200.0], ["equal"]).count("<circle") == 2  # held inside the plot
    ET.fromstring(depth_plot([], [], []))


def test_histograms_show_what_is_clipped() -> None:
    centres, counts = np.arange(8) + 0.5, np.array([1, 10, 100, 1000, 100, 10, 1, 0])
    drawn = heights(histogram_plot(centres, counts, 1.0, 0.0, (0.0, 5.0), "h"))
    assert len(drawn) == 7
    assert [BAD in style for _, style in drawn] == [False] * 5 + [True] * 2
    tall = [h for h, _ in drawn]
    assert tall[3] == max(tall) and tall[0] / tall[3] == pytest.approx(math.log1p(1) / math.log1p(1000), abs=1e-3)
    assert histogram_plot(centres, counts, 1.0, 0.0, (0.0, 5.0), "h").count('class="limit"') == 2
    assert len(heights(histogram_plot(np.zeros(1), np.ones(1), 0.0, 0.0, None, "constant"))) == 1
    ET.fromstring(histogram_plot(np.zeros(0), np.zeros(0), 1.0, 0.0, None, "empty"))


def test_many_equal_bins_make_even_bars() -> None:
    """256 integers that occur equally often: no bar stands out because it holds one more."""
    drawn = heights(histogram_plot(np.arange(-128.0, 128.0), np.full(256, 7), 1.0, 0.5, (-128.5, 127.5), "w"))
    assert len(drawn) == 64 and len({h for h, _ in drawn}) == 1


def test_intervals_against_zero() -> None:
    plot = ET.fromstring(interval_plot([("worse", -3.0, -2.0, -1.0), ("same", -0.5, 0.1, 0.6)], "d"))
    zero = next(float(x.get("x1", "0")) for x in plot.iter("line") if x.get("class") == "edge")
    dots = [float(c.get("cx", "0")) for c in plot.iter("circle")]
    assert dots[0] < dots[1] and dots[0] < zero < dots[1]
    assert [BAD in c.get("style", "") for c in plot.iter("circle")] == [True, False]


def test_the_frontier_and_labels_that_do_not_overlap() -> None:
    points = [
        Point("float", 90.0, 8_000_000, 9.0), Point("int8", 89.5, 2_000_000, 2.0, True),
        Point("int8 other", 89.3, 2_000_000, 2.1), Point("int4", 80.0, 1_000_000, 2.0),
        Point("bad", 70.0, 3_000_000, 5.0),
    ]  # fmt: skip
    assert [p.label for p in frontier(points, lambda p: p.octets)] == ["int4", "int8", "float"]
    panels = re.findall(r"<svg.*?</svg>", pareto_plot(points), re.S)
    assert len(panels) == 2
    for panel in panels:
        boxes = []
        for w in words(panel):
            if w.get("class") == "name":
                x, y = float(w.get("x", "0")), float(w.get("y", "0"))
                boxes.append((x, y - 10, x + 6.3 * len(w.text or ""), y + 3))
        assert len(boxes) == len(points)
        assert not [
            (a, b)
            for a, b in itertools.combinations(boxes, 2)
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        ]
    assert pareto_plot([Point("a", 1.0, 10)]).count("<svg") == 1  # no latency: size only
    assert pareto_plot([Point("a", 1.0, 10, 1.0)] * 40).count("<circle") == 80  # labels that find no room stay away


def test_limits_of_integers() -> None:
    assert integer_limits(np.array([-2, 1], np.int8)) == (-2, 1)
    assert integer_limits(np.array([-7, 7], np.int8)) == (-8, 7)
    assert integer_limits(np.array([-127, 3], np.int8)) == (-128, 127)
    assert integer_limits(np.array([0, 200], np.uint8)) == (0, 255)


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_names_are_text() -> None:
    bad = "<script>alert('x')</script>&"
    text = page(bad, "verify", [bad], [html_table([bad], [[bad]], left=(bad,), name=bad)])
    check_page(text)
    assert text.count("&lt;script&gt;") == 6


def test_long_names_keep_their_end_in_sight() -> None:
    name = "/encoder/" + "layer/" * 20 + "MatMul_7"
    text = html_table(["node", "why"], [[name, name]], left=("node",), name="node")
    assert re.search(r">…[^<]*/MatMul_7</td>", text) and text.count(name) == 2  # its tip, and the other column


def test_verify_page() -> None:
    net = convnet()
    coarse = octavo.quantize(net, samples(), weight_bits=2, rounding="nearest").model
    report = verify(net, coarse, samples(4), histograms=True)
    text = verify_page(report, net, coarse)
    plots = check_page(text)
    assert len(plots) >= 2 + 2 * 3  # depth, time, and values and weights of the worst layers
    assert plots[0].count("<g>") == len(report.layers)
    assert plots[1].count("<g>") == len(octavo.Session(coarse).steps)
    assert "few bits" in text and "give this layer 8-bit weights" in text
    assert text.count("<tr>") == len(report.layers) + 1
    total = sum(e.histogram.total for e in report.evidence.values() if e.histogram is not None)
    assert total == sum(e.total for e in report.evidence.values()) > 0
    assert not verify(net, coarse, samples(1)).evidence  # only where asked for


def test_quantize_page() -> None:
    net = convnet()
    report = octavo.quantize(net, samples(), exclude=["project"])
    checked = verify(net, report.model, samples(2), histograms=True)
    text = quantize_page(report, net, checked)
    check_page(text)
    assert text.count("<tr>") == len(report.layers) + 1 + len(checked.layers) + 1
    assert all(layer.name in text for layer in report.layers) and "16 samples" in text
    alone = quantize_page(report, net, None, "there is <no> data")
    check_page(alone)
    assert "there is &lt;no&gt; data" in alone and "nodes stay float" in alone


def test_the_search_for_a_budget_is_shown() -> None:
    net = convnet()
    report = octavo.quantize(net, samples(), max_drop=30, rounding="nearest")
    assert report.budget is not None
    text = quantize_page(report, net, None)
    (plot,) = check_page(text)
    assert plot.count("<circle") == len(report.budget.points) and plot.count("var(--good)") == 2
    assert text.count("(chosen)</td>") == 1 and "points of agreement below the float model" in text
    assert all(s.layer in text for s in report.budget.sensitivities)


def test_compare_page() -> None:
    net = convnet()
    small = octavo.quantize(net, samples()).model
    labelled = compare(net, small, samples(6), others=[net], labels=[0, 1, 2, 3, 4, 0], rounds=1, threads=1)
    assert len(check_page(compare_page(labelled))) == 3  # intervals, and accuracy against size and against latency
    plain = compare_page(compare(net, small, samples(6), rounds=1, threads=1))
    assert len(check_page(plain)) == 2 and "Agreement with model 1" in plain
    none = compare(net, small, samples(6), classes=False, rounds=1, threads=1)
    assert not check_page(compare_page(none))


# ---- files -----------------------------------------------------------------------------------------------------------


def test_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    check_writable(str(path))
    assert path.read_text() == "old"
    with pytest.raises(UnicodeEncodeError):
        write_page(str(path), "half \ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    for wrong in (tmp_path / "no" / "page.html", tmp_path):
        with pytest.raises(octavo.IoError, match="cannot write"):
            check_writable(str(wrong))
        with pytest.raises(octavo.IoError, match="cannot write"):
            write_page(str(wrong), "x")
    assert list(tmp_path.iterdir()) == [path]


def test_the_commands_write_pages_or_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(convnet(), tmp_path / "float.onnx")
    np.savez(tmp_path / "d.npz", x=np.concatenate([f["x"] for f in samples(8)]), labels=np.arange(8) % 5)
    float_model, small, data = (str(tmp_path / n) for n in ("float.onnx", "small.onnx", "d.npz"))
    wide = str(tmp_path / "wide.onnx")
    onnx.save(linear(np.ones((16, 32))), wide)
    commands = {
        "quantize": ["quantize", float_model, "--calibration", data, "-o", small],
        "verify": ["verify", float_model, small, "--data", data],
        "compare": ["compare", float_model, small, "--data", data, "--rounds", "1"],
        "weights": ["quantize", wide, "--mode", "weight_only", "-o", str(tmp_path / "weights.onnx")],
    }
    for name, command in commands.items():
        before = set(tmp_path.iterdir())
        assert main([*command, "--html", str(tmp_path / "no" / "page.html")]) == 1
        assert "cannot write" in capsys.readouterr().err
        assert set(tmp_path.iterdir()) == before  # not even the model
        assert main([*command, "--json", "--html", str(tmp_path / f"{name}.html")]) == 0
        assert json.loads(capsys.readouterr().out)
        check_page((tmp_path / f"{name}.html").read_text())
    assert "Not compared layer by layer" in (tmp_path / "weights.html").read_text()
