"""The report of ``octavo explain`` as a page: a bar for each step, tables, reasons."""

from __future__ import annotations

from html import escape
from typing import Any

from octavo.report.explain import COLUMNS, LEFT, SECTIONS, grouped, layer_cells, peak_text, percent, total_text
from octavo.report.page import NAME, cards, keys, page, section
from octavo.report.plots import Bar, bar, bar_plot
from octavo.report.table import shape_text, shorten

COLOURS = {
    "int8": "#1f77b4",
    "float": "#d9772b",
    "q/dq": "#7a5ab5",
    "move": "#6b7785",
    "index": "#a0a9b3",
    "python": "#c0392b",
}
ROW_BAR = 120  # pixels of a row's own bar


def html_page(report: dict[str, Any]) -> str:
    shapes = ", ".join(f"{k} {shape_text(v)}" for k, v in report["inputs"].items())
    steps = sorted(report["layers"], key=lambda r: r["index"])
    bars = [Bar(str(r["index"]), r["us"], COLOURS[r["kind"]], tip(r), ideal_share(r)) for r in steps]
    note = "The dark part of a product is the time that its multiply-accumulates need at the peak."
    parts = [
        cards(totals(report)),
        "<section>",
        keys(((COLOURS[k], k) for k in report["totals"]["us_by_kind"]), note),
        bar_plot(bars, "us", "step", "time by step"),
        "</section>",
        *(f"<p>{escape(line)}</p>" for line in (total_text(report), *report["record"])),
        *(reason_list(title, report[key]) for title, key in SECTIONS if report[key]),
        section("Steps", layer_table(report["layers"])),
    ]
    return page(report["model"].rsplit("/", 1)[-1], "explain", [f"Inputs {shapes}. {peak_text(report)}"], parts)


def totals(report: dict[str, Any]) -> list[tuple[str, str]]:
    t = report["totals"]
    return [
        (f"{t['run_us'] / 1e3:.3f} ms" if t["run_us"] >= 1000 else f"{t['run_us']:.1f} us", "a run"),
        (f"{t['gmacs_per_s']:.1f}", "GMAC/s"),
        (f"{percent(t['peak_share'])} %" if t["peak_share"] is not None else "-", "of the measured peak"),
        (str(t["layers"]), "steps"),
        *(
            (f"{100 * us / t['us']:.1f} %", f"of the time: {kind}")
            for kind, us in t["us_by_kind"].items()
            if us >= 0.0005 * t["us"] > 0
        ),
    ]


def tip(r: dict[str, Any]) -> str:
    text = f"{r['index']} {r['op']} {r['name']}: {r['us']:.2f} us, {r['kernel'] or r['family']}"
    return text + (f", {percent(r['peak_share'])} % of peak" if r["peak_share"] is not None else "")


def ideal_share(layer: dict[str, Any]) -> float:
    """The dark part of a bar; all of it where there is no peak to compare with."""
    return 1.0 if layer["peak_share"] is None else min(layer["peak_share"], 1.0)


def reason_list(title: str, entries: list[dict[str, str]]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in grouped(entries))
    return section(title.rstrip(":"), f"<ul>{items}</ul>")


def layer_table(layers: list[dict[str, Any]]) -> str:
    most = max((r["us"] for r in layers), default=0.0) or 1.0
    heads = "".join(f"<th{' class=left' if h in (*LEFT, 'time') else ''}>{escape(h)}</th>" for h in ["time", *COLUMNS])
    rows = []
    for r in layers:
        width = ROW_BAR * r["us"] / most
        colour = COLOURS[r["kind"]]
        drawn = bar(0, 2, width, 10, colour, 0.35) + bar(0, 2, width * ideal_share(r), 10, colour)
        cells = [f'<td class="left"><svg width="{ROW_BAR}" height="14">{drawn}</svg></td>']
        for head, text in zip(COLUMNS, layer_cells(r)):
            kind = ' class="left name"' if head == "node" else " class=left" if head in LEFT else ""
            title = f' title="{escape(text)}"' if head == "node" else ""
            cells.append(f"<td{kind}{title}>{escape(shorten(text, NAME) if head == 'node' else text)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
