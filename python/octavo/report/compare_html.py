"""The report of ``octavo compare`` as a page: tables, intervals, and accuracy against size and latency."""

from __future__ import annotations

from html import escape

from octavo.report.compare import OUTPUT_COLUMNS, CompareReport, Pair, model_table, output_cells, pair_lines
from octavo.report.page import cards, html_table, page, section
from octavo.report.plots import Point, interval_plot, pareto_plot
from octavo.report.table import size


def compare_page(report: CompareReport) -> str:
    first = report.models[0]
    columns, rows = model_table(report)
    parts = [
        cards(summary(report)),
        section("Models", html_table(columns, rows, left=("model",), name="model")),
        *intervals(report),
        *pareto(report),
        *(pair_part(pair, first.model) for pair in report.pairs),
    ]
    lines = [f"{report.samples} samples; {report.isa}, {report.threads} threads; the models took turns."]
    return page(", ".join(m.model for m in report.models), "compare", lines, parts)


def summary(report: CompareReport) -> list[tuple[str, str]]:
    """Of the second model, which most often is the only other."""
    first, second, pair = report.models[0], report.models[1], report.pairs[0]
    figures = []
    if pair.difference is not None:
        figures.append((f"{100 * pair.difference:+.2f}", f"points, to {100 * (second.accuracy or 0):.2f} %"))
        figures.append((f"+{pair.gained} -{pair.lost}", f"flips of {report.rows}"))
    if pair.agreement is not None:
        figures.append((f"{100 * pair.agreement:.1f} %", "same largest output"))
    if pair.outputs:
        figures.append((f"{pair.outputs[0].sqnr:.1f} dB", f"SQNR of {pair.outputs[0].name}"))
    figures.append((f"{100 * second.file_bytes / max(first.file_bytes, 1):.0f} %", f"of {size(first.file_bytes)}"))
    figures.append((f"{first.median_ms / second.median_ms:.2f} x", "as fast"))
    return figures


def intervals(report: CompareReport) -> list[str]:
    rows = [
        (p.model, 100 * p.low, 100 * p.difference, 100 * p.high)
        for p in report.pairs
        if p.difference is not None and p.low is not None and p.high is not None
    ]
    if not rows:
        return []
    note = "<p>With 95 % intervals for paired proportions (Tango 1998). One that reaches zero may be chance.</p>"
    title = f"Difference to {report.models[0].model}, in points of accuracy"
    return [section(title, note, interval_plot(rows, title))]


def pareto(report: CompareReport) -> list[str]:
    """Accuracy; without labels how often each agrees with the first."""
    agreed = [1.0, *(p.agreement for p in report.pairs)]
    values = [m.accuracy if report.labelled else a for m, a in zip(report.models, agreed)]
    points = [
        Point(m.model, 100 * v, m.file_bytes, m.median_ms) for m, v in zip(report.models, values) if v is not None
    ]
    if len(points) < len(report.models):
        return []
    what = "accuracy" if report.labelled else f"agreement with {report.models[0].model}"
    return [f"<h2>{escape(what[0].upper() + what[1:])} against size and latency</h2>", pareto_plot(points, what)]


def pair_part(pair: Pair, first: str) -> str:
    said = "".join(f"<p>{escape(line[0].upper() + line[1:])}.</p>" for line in pair_lines(pair))
    cells = html_table(OUTPUT_COLUMNS, [output_cells(o) for o in pair.outputs], left=("output",))
    return section(f"{pair.model} against {first}", said, cells)
