"""octavo explain: what each step costs, how far it is from the peak, and why it is what it is."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest

import octavo
from octavo import _core
from octavo.cli import main
from octavo.report.explain import COLUMNS, explain, explain_text, kernel_parts, worst_first
from octavo.report.explain_html import html_page
from octavo.report.plots import axis_top
from octavo.report.reasons import reasons
from small_models import float_net, quantized_net, with_python_step
from small_transformer import transformer

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
PARAMETERS = "float s = {0.05}, uint8 z = {128}, float t = {0.01}, int8 o = {0}"


def parsed(signature: str, body: str, **constants: np.ndarray) -> onnx.ModelProto:
    """A model in ONNX's text form; `s`, `z` quantize activations and `t`, `o` weights."""
    model = onnx.parser.parse_model(f"{HEAD} g {signature} <{PARAMETERS}> {{ {body} }}")
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for k, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{k}"
    return model


def why(model: onnx.ModelProto, section: str, node: str) -> str:
    (entry,) = [e for e in reasons(octavo.Session(model))[section] if node in e["node"].split("+")]
    return entry["reason"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(quantized_net(32), "int8.onnx")
    onnx.save(float_net(), "float.onnx")
    onnx.save(with_python_step(), "det.onnx")
    return tmp_path


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_layers_and_totals(folder: Path) -> None:
    report = explain("int8.onnx", threads=1, rounds=3, dims=[("N", 2)])
    steps = octavo.Session("int8.onnx").plan.steps
    layers = report["layers"]
    assert [r["op"].split()[0] for r in layers] == [s["op"] for s in steps]
    (conv,) = [r for r in layers if r["op"] == "QConv"]
    assert conv["macs"] == 2 * 32 * 32 * 4 * 27 and conv["kind"] == "int8" and conv["us"] > 0 and conv["threads"] == 1
    assert conv["output"] == [2, 32, 32, 4]
    weights = 4 * 27 + 4 * 4  # int8, and float multipliers
    assert conv["bytes"] >= 2 * 32 * 32 * (3 + 4) + weights
    assert conv["gmacs_per_s"] == pytest.approx(conv["macs"] / conv["us"] / 1e3, rel=0.02, abs=0.01)
    total = report["totals"]
    assert total["us"] == pytest.approx(sum(r["us"] for r in layers), abs=0.01)
    assert sum(r["share"] for r in layers) == pytest.approx(1, abs=0.01)
    assert total["macs"] == conv["macs"] and sum(total["us_by_kind"].values()) == pytest.approx(total["us"], abs=0.01)
    assert total["run_us"] > 0 and report["inputs"] == {"image": [2, 3, 32, 32]}


@pytest.mark.parametrize("isa", [name for name, found in _core.isas() if found])
def test_share_of_the_peak(folder: Path, isa: str) -> None:
    report = explain("int8.onnx", threads=1, isa=isa, rounds=2)
    (conv,) = [r for r in report["layers"] if r["op"] == "QConv"]
    peak = report["peak"]["int8"]["gmacs_per_s"]
    assert conv["isa"] == isa or isa not in {level for family, level, _ in _core.kernels() if family == conv["family"]}
    if isa == "scalar":
        assert peak == 0 and conv["peak_share"] is None and report["totals"]["peak_share"] is None
        assert "no instruction to measure" in explain_text(report)
    else:
        assert report["peak"]["int8"]["instruction"]
        assert conv["peak_share"] == pytest.approx(conv["gmacs_per_s"] / peak, abs=0.002)
        assert conv["lost_us"] == pytest.approx(conv["us"] - conv["macs"] / peak / 1e3, abs=0.01)


def test_float_products_are_held_to_the_float_peak(folder: Path) -> None:
    """Attention and recurrent steps too, not only those named Conv and MatMul."""
    onnx.save(transformer(), "encoder.onnx")
    rows = explain("encoder.onnx", threads=1, rounds=2, dims=[("N", 1), ("L", 12)])
    peak = rows["peak"]["float"]["gmacs_per_s"]
    products = [r for r in rows["layers"] if r["macs"]]
    assert {r["op"] for r in products} == {"Attention", "MatMul"}
    for r in products:
        assert r["peak_share"] == pytest.approx(r["gmacs_per_s"] / peak, abs=0.002)


def test_peaks() -> None:
    with pytest.raises(octavo.InvalidArgument, match="'int8' or 'float'"):
        _core.peak("int4")
    with pytest.raises(octavo.InvalidArgument):
        _core.peak("int8", "sse9")
    assert _core.peak("float", "scalar") == (0.0, "")
    best = _core.best_isa()
    if best != "scalar":
        rate, instruction = _core.peak("int8", best, 1)
        assert rate > 1 and instruction


def test_threads_are_those_that_could_share_a_step() -> None:
    model = quantized_net(224)
    alone, pair = (explain(model, threads=n, rounds=2)["layers"] for n in (1, 2))
    assert all(r["threads"] <= 1 for r in alone)
    assert max(r["threads"] for r in pair) == 2
    assert all(r["threads"] in (0, 1, 2) for r in pair)


def test_worst_first(folder: Path) -> None:
    report = explain("int8.onnx", threads=1, rounds=2)
    lost = [r["lost_us"] for r in worst_first(report)["layers"]]
    assert lost == sorted(lost, reverse=True) and len(lost) == len(report["layers"])


def test_kernel_parts() -> None:
    best = _core.best_isa()
    assert kernel_parts(f"gemm_s8 7x4 {best}", best) == ("gemm_s8", best, "7x4")
    assert kernel_parts(f"lut_s8 {best}+vbmi", best) == ("lut_s8", f"{best}+vbmi", "")
    assert kernel_parts("softmax_f32", "scalar") == ("softmax_f32", "scalar", "")
    assert kernel_parts("", best) == ("copy", "", "")
    assert kernel_parts("loop", best) == ("loop", "", "")


# ---- reasons ---------------------------------------------------------------------------------------------------------


def test_borders_of_the_graph(folder: Path) -> None:
    report = explain("int8.onnx", threads=1, rounds=1)
    found = {e["op"]: e["reason"] for e in report["quantization"]}
    assert found == {"Quantize": "the graph's input is float", "Dequantize": "the graph's output 'y' is float"}
    assert report["float"] == [] and report["python"] == []


def test_an_operator_without_integer_form() -> None:
    model = parsed(
        "(uint8[2, 8] x) => (uint8[2, 8] y)",
        "a = DequantizeLinear(x, s, z) b = Softmax(a) y = QuantizeLinear(b, s, z)",
    )
    assert "Softmax has no integer form" in why(model, "float", "Softmax_1")
    assert "it feeds Softmax 'Softmax_1', which computes in float" in why(model, "quantization", "DequantizeLinear_0")
    assert "the result of Softmax" in why(model, "quantization", "QuantizeLinear_2")


def test_an_operand_that_is_not_quantized() -> None:
    model = parsed(
        "(uint8[2, 8] x, float[2, 8] f) => (uint8[2, 8] y)",
        "a = DequantizeLinear(x, s, z) b = Add(a, f) y = QuantizeLinear(b, s, z)",
    )
    assert why(model, "float", "Add_1") == "its operand 'f' is not quantized"
    assert "its operand 'f' is not quantized" in why(model, "quantization", "DequantizeLinear_0")
    notes = dict(octavo.Session(model).notes)
    assert notes == {"Add_1": "Binary stays float: its operand 'f' is not quantized"}


def test_weights_that_are_not_quantized() -> None:
    w = np.ones((8, 4), np.float32)
    model = parsed(
        "(uint8[2, 8] x) => (uint8[2, 4] y)",
        "a = DequantizeLinear(x, s, z) b = MatMul(a, w) y = QuantizeLinear(b, s, z)",
        w=w,
    )
    assert why(model, "float", "MatMul_1") == "its operand 'w' is a float constant"


def test_a_result_that_stays_float() -> None:
    model = parsed(
        "(uint8[2, 8] x, uint8[2, 8] v) => (float[2, 8] y)",
        "a = DequantizeLinear(x, s, z) b = DequantizeLinear(v, s, z) y = Add(a, b)",
    )
    assert why(model, "float", "Add_2") == "its result is an output of the graph, in float"


def test_a_result_that_is_read_twice() -> None:
    model = parsed(
        "(uint8[2, 8] x, uint8[2, 8] v) => (uint8[2, 8] y, uint8[2, 8] w)",
        "a = DequantizeLinear(x, s, z) b = DequantizeLinear(v, s, z) c = Add(a, b) "
        "y = QuantizeLinear(c, s, z) d = Softmax(c) w = QuantizeLinear(d, s, z)",
    )
    assert why(model, "float", "Add_2") == "its result is read by 2 nodes before it is quantized"


def test_a_scale_for_each_channel_of_an_activation() -> None:
    model = parsed(
        "(uint8[2, 8] x, uint8[2, 8] v) => (uint8[2, 8] y)",
        "a = DequantizeLinear<axis = 1>(x, many, zeros) b = DequantizeLinear(v, s, z) c = Add(a, b) "
        "y = QuantizeLinear(c, s, z)",
        many=np.linspace(0.01, 0.08, 8, dtype=np.float32),
        zeros=np.full(8, 128, np.uint8),
    )
    assert "a scale for each channel" in why(model, "float", "Add_2")


def test_a_reason_that_recognition_gives_itself() -> None:
    """Sums that could exceed int32 keep a product in float; .octavo files remember why."""
    model = parsed(
        "(uint8[1, 140000] x) => (uint8[1, 1] y)",
        "a = DequantizeLinear(x, s, z) b = DequantizeLinear(w, t, o) c = MatMul(a, b) y = QuantizeLinear(c, s, z)",
        w=np.full((140000, 1), 127, np.int8),
    )
    assert why(model, "float", "MatMul_2") == "its sums can exceed int32"


def test_packed_files_keep_the_reasons(folder: Path) -> None:
    model = parsed(
        "(uint8[2, 8] x, float[2, 8] f) => (uint8[2, 8] y)",
        "a = DequantizeLinear(x, s, z) b = Add(a, f) y = QuantizeLinear(b, s, z)",
    )
    session = octavo.Session(model)
    session.save("m.octavo")
    assert octavo.Session("m.octavo").notes == session.notes != []
    (entry,) = explain("m.octavo", threads=1, rounds=1)["float"]
    assert entry["reason"] == "its operand 'f' is not quantized"


def test_a_table_is_no_float_step() -> None:
    """Adding a scalar constant finds no QAdd but becomes a table: that is not told as a failure."""
    model = parsed(
        "(uint8[2, 8] x) => (uint8[2, 8] y)",
        "a = DequantizeLinear(x, s, z) b = Add(a, c) y = QuantizeLinear(b, s, z)",
        c=np.float32(0.25),
    )
    report = explain(model, threads=1, rounds=1)
    assert [r["op"] for r in report["layers"]] == ["Lut"] and report["float"] == [] == report["quantization"]
    assert "nothing runs in float or in Python" in explain_text(report)


def test_parameters_of_the_run() -> None:
    model = parsed(
        "(float[2, 8] x, float w) => (uint8[2, 8] y)",
        "y = QuantizeLinear(x, w, z)",
    )
    assert "computed at run time" in why(model, "quantization", "QuantizeLinear_0")


def test_dynamic_quantization() -> None:
    model = parsed("(float[2, 8] x) => (uint8[2, 8] y, float a, uint8 b)", "y, a, b = DynamicQuantizeLinear(x)")
    assert "at run time" in why(model, "quantization", "DynamicQuantizeLinear_0")


def test_float_models_and_python_steps(folder: Path) -> None:
    (entry,) = explain("float.onnx", threads=1, rounds=1)["float"]
    assert "a float model" in entry["reason"]
    report = explain("det.onnx", threads=1, rounds=1)
    assert report["python"][0]["node"] == "the_det" and report["python"][0]["reason"]
    assert report["layers"][0]["kind"] == "python"


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "int8.onnx", "--threads", "1", "--rounds", "2", "--dim", "N=2"]) == 0
    text = capsys.readouterr().out
    assert "QConv" in text and "Peak measured in this process" in text and "Q and DQ that stayed:" in text
    assert all(column in text for column in COLUMNS)
    assert main(["explain", "int8.onnx", "--rounds", "2", "--json", "--worst", "--html", "page.html"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert out.count("\n") == 1 and report["layers"][0]["lost_us"] == max(r["lost_us"] for r in report["layers"])
    assert main(["explain", "det.onnx", "--rounds", "1"]) == 0
    assert "In Python:" in capsys.readouterr().out
    assert main(["explain", "int8.onnx", "--rounds", "1", "--html", "no/page.html"]) == 1
    assert "cannot write 'no/page.html'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["explain", "int8.onnx", "--rounds", "0"])


def test_the_page_stands_alone(folder: Path) -> None:
    report = explain("int8.onnx", threads=1, rounds=2)
    report["layers"][0]["name"] = "<script>alert('x')</script>&"
    page = html_page(report)
    assert "<script" not in page and not re.search(r"(src|href)\s*=|url\(|@import|https?:", page)
    figures = re.findall(r"<svg.*?</svg>", page, re.S)
    plot = ET.fromstring(figures[0])
    bars = [g.findall("rect") for g in plot.findall("g")]
    assert len(bars) == len(report["layers"])
    heights = [float(pair[0].get("height", "0")) for pair in bars]
    us = [r["us"] for r in report["layers"]]
    assert [h / max(heights) for h in heights] == pytest.approx([u / max(us) for u in us], abs=0.01)
    for pair, r in zip(bars, report["layers"]):
        dark, whole = float(pair[1].get("height", "0")), float(pair[0].get("height", "0"))
        share = 1.0 if r["peak_share"] is None else min(r["peak_share"], 1.0)
        assert dark == pytest.approx(whole * share, abs=0.02)
    assert page.count("<tr>") == len(report["layers"]) + 1
    assert len(figures) == len(report["layers"]) + 1


@pytest.mark.parametrize(
    ("largest", "top"), [(0, 1), (0.03, 0.1), (0.3, 0.3), (7, 8), (95, 100), (101, 120), (1900, 2000)]
)
def test_axis(largest: float, top: float) -> None:
    assert axis_top(largest) == pytest.approx(top)
