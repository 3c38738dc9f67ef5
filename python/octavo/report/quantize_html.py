"""What ``octavo quantize`` did as a page: the model before and after, what became of each layer, and where it loses."""

from __future__ import annotations

from html import escape
from typing import Any

from octavo.compress.record import BudgetReport, QuantizeReport
from octavo.report.page import cards, html_table, page, section
from octavo.report.plots import Point, pareto_plot
from octavo.report.table import size
from octavo.report.verify import VerifyReport
from octavo.report.verify_html import (
    error_parts,
    layer_table,
    listed,
    name_of,
    speed,
    step_part,
    summary,
    timed,
    worst_layers,
)

LISTED = ("exclude", "layer_bits")  # options that the nodes' table tells
SENSITIVE = 12  # layers told of by how much they matter


def quantize_page(report: QuantizeReport, float_model: Any, checked: VerifyReport | None, why_not: str = "") -> str:
    """checked: verify() of the result with histograms=True, on calibration data; None and why it could not be made."""
    share = report.bytes_after / report.bytes_before if report.bytes_before else 1.0
    integers = sum(layer.kind != "float" for layer in report.layers)
    figures = [
        (size(report.bytes_after), f"{100 * share:.0f} % of the float model's {size(report.bytes_before)}"),
        (str(integers), "nodes on integers"),
        (str(len(report.float_layers)), "nodes stay float"),
    ]
    options = ", ".join(f"{k} {v}" for k, v in report.options.items() if v and k not in LISTED)
    lines = [f"From {name_of(float_model)}, calibrated on {report.samples} samples. {options}."]
    parts = [] if report.budget is None else budget_parts(report.budget)
    if checked is None:
        parts.append(f"<p>Not compared layer by layer: {escape(why_not)}</p>" if why_not else "")
    else:
        steps, plain = timed(report.model, checked), timed(float_model, checked)
        figures += summary(checked)[:2] + (speed(steps, plain) if steps is not None and plain is not None else [])
        lines.append(
            f"Errors and histograms are of {checked.samples} calibration samples: judge the model on data it has not "
            "seen with octavo compare."
        )
        parts += [*error_parts(checked), step_part(steps), *worst_layers(checked), layer_table(checked)]
    parts += [node_table(report), notes(report)]
    return page(name_of(report.path or "quantized model"), "quantize", lines, [cards(figures), *parts])


def budget_parts(budget: BudgetReport) -> list[str]:
    """What the search for a mix of layers tried, and how much each layer matters."""
    chosen = budget.points[budget.chosen]
    unit = "" if budget.measure == "metric" else "%"
    points = [Point(p.name, p.score, p.bytes, chosen=p is chosen) for p in budget.points]
    rows = [
        [p.name + (" (chosen)" if p is chosen else ""), f"{p.score:.4g}", f"{p.drop:.4g}", size(p.bytes), yes(p.met)]
        for p in budget.points
    ]
    said = f"At most {budget.max_drop:g} points of {budget.measure} below the float model, on {budget.rows} rows."
    notes = "".join(f"<p>{escape(note)}</p>" for note in budget.notes)
    stops = f"<p>Kept from fewer bits: {escape(listed(budget.stops))}</p>" if budget.stops else ""
    tried = html_table(["mix", budget.measure, "drop", "size", "kept"], rows, left=("mix",), name="mix")
    ranked = sorted(budget.sensitivities, key=lambda s: s.sqnr)[:SENSITIVE]
    matters = [[s.layer, s.op, str(s.bits), f"{s.sqnr:.1f}", size(s.bytes)] for s in ranked]
    columns = ["layer", "op", "bits", "output dB", "size"]
    return [
        f"<h2>Accuracy budget</h2><p>{escape(said)}</p>",
        pareto_plot(points, budget.measure, unit),
        f"<section>{tried}{stops}{notes}</section>",
        *(
            [section("Layers that matter most, quantized alone", html_table(columns, matters, left=("layer", "op")))]
            if matters
            else []
        ),
    ]


def yes(met: bool) -> str:
    return "yes" if met else "no"


def node_table(report: QuantizeReport) -> str:
    rows = [
        [
            layer.name, layer.op, layer.kind,
            "" if layer.lo is None or layer.hi is None else f"{layer.lo:.4g} to {layer.hi:.4g}",
            layer.method, layer.weights, layer.reason,
        ]
        for layer in report.layers
    ]  # fmt: skip
    columns = ["node", "op", "runs in", "its operand's range", "method", "weights", "why"]
    return section("What became of each node", html_table(columns, rows, left=columns, name="node"))


def notes(report: QuantizeReport) -> str:
    if not report.notes:
        return ""
    items = "".join(f"<li><b>{escape(name)}</b>: {escape(note)}</li>" for name, note in report.notes)
    return section("Notes", f"<ul>{items}</ul>")
