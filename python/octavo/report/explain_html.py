"""The report of ``octavo explain`` as one page that needs no other file: a bar for each step, tables, reasons."""

from __future__ import annotations

import math
import os
from html import escape
from typing import Any

from octavo import __version__
from octavo.errors import IoError
from octavo.report.explain import COLUMNS, LEFT, SECTIONS, grouped, layer_cells, peak_text, percent, total_text
from octavo.report.table import shape_text

COLOURS = {
    "int8": "#1f77b4",
    "float": "#d9772b",
    "q/dq": "#7a5ab5",
    "move": "#6b7785",
    "index": "#a0a9b3",
    "python": "#c0392b",
}
PLOT_WIDTH, PLOT_HEIGHT, MARGIN, FOOT = 1120, 260, 60, 24
ROW_BAR = 120  # pixels of a row's own bar

STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.45 system-ui, sans-serif; color: #1b2530; background: #f5f7f9; margin: 0; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 22px; margin: 0 0 2px; overflow-wrap: anywhere; } h2 { font-size: 16px; margin: 28px 0 8px; }
p { margin: 4px 0; color: #45525f; }
section { background: #fff; border: 1px solid #dde3e8; border-radius: 8px; padding: 14px 16px; overflow-x: auto; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0; }
.card { background: #fff; border: 1px solid #dde3e8; border-radius: 8px; padding: 10px 16px; min-width: 120px; }
.card b { display: block; font-size: 20px; } .card span { color: #5b6874; font-size: 12px; }
.key { display: inline-block; margin-right: 18px; color: #45525f; font-size: 13px; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
svg { display: block; max-width: 100%; height: auto; } svg text { font-family: system-ui, sans-serif; }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; font-variant-numeric: tabular-nums; }
th { text-align: right; color: #45525f; font-weight: 600; border-bottom: 2px solid #dde3e8; padding: 4px 8px; }
th { white-space: nowrap; }
td { text-align: right; padding: 2px 8px; border-bottom: 1px solid #eef1f4; white-space: nowrap; }
th.left, td.left { text-align: left; } td.name { max-width: 260px; overflow: hidden; text-overflow: ellipsis; }
tr:hover td { background: #f0f5fa; } li { margin: 2px 0; overflow-wrap: anywhere; } ul { padding-left: 20px; }
"""


def write_html(path: str, report: dict[str, Any]) -> None:
    """Writes the page beside `path`, then renames it. Raises IoError."""
    beside = f"{path}.tmp{os.getpid()}"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(html_page(report))
        os.replace(beside, path)
    except OSError as e:
        if os.path.exists(beside):
            os.unlink(beside)
        raise IoError(f"cannot write '{path}': {e.strerror or e}") from e


def html_page(report: dict[str, Any]) -> str:
    name = report["model"].rsplit("/", 1)[-1]
    shapes = ", ".join(f"{k} {shape_text(v)}" for k, v in report["inputs"].items())
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: octavo explain</title>',
        f"<style>{STYLE}</style></head><body><main>",
        f"<h1>{escape(name)}</h1>",
        f"<p>octavo {escape(__version__)}, inputs {escape(shapes)}. {escape(peak_text(report))}</p>",
        cards(report),
        "<section>",
        legend(report),
        plot(report["layers"]),
        "</section>",
        f"<p>{escape(total_text(report))}</p>",
        *(reason_list(title, report[key]) for title, key in SECTIONS if report[key]),
        "<h2>Steps</h2>",
        layer_table(report["layers"]),
        "</main></body></html>\n",
    ]
    return "\n".join(parts)


def cards(report: dict[str, Any]) -> str:
    t = report["totals"]
    figures = [
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
    inner = "".join(f'<div class="card"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in figures)
    return f'<div class="cards">{inner}</div>'


def legend(report: dict[str, Any]) -> str:
    kinds = report["totals"]["us_by_kind"]
    keys = "".join(f'<span class="key"><i style="background:{COLOURS[k]}"></i>{escape(k)}</span>' for k in kinds)
    note = "The dark part of a product is the time that its multiply-accumulates need at the peak."
    return f'<p>{keys}<span class="key">{note}</span></p>'


def plot(layers: list[dict[str, Any]]) -> str:
    """Microseconds of each step, in the order the plan runs them."""
    rows = sorted(layers, key=lambda r: r["index"])
    top = axis_top(max((r["us"] for r in rows), default=0.0))
    height = PLOT_HEIGHT - FOOT - 10
    slot = (PLOT_WIDTH - MARGIN) / max(len(rows), 1)
    width = max(min(slot * 0.8, 40.0), 0.6)
    parts = [
        f'<svg viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" width="{PLOT_WIDTH}" role="img" aria-label="time by step">'
    ]
    for k in range(5):
        y = 10 + height * (1 - k / 4)
        parts.append(f'<line x1="{MARGIN}" x2="{PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e8ec"/>')
        parts.append(label(MARGIN - 6, y + 4, f"{top * k / 4:.4g}" + (" us" if k == 4 else ""), "end"))
    parts.append(label(MARGIN - 6, PLOT_HEIGHT - 6, "step", "end"))
    every = max(1, math.ceil(len(rows) / 24))
    for k, r in enumerate(rows):
        x = MARGIN + slot * k + (slot - width) / 2
        whole = height * r["us"] / top
        ideal = whole * ideal_share(r)
        colour = COLOURS[r["kind"]]
        tip = f"{r['index']} {r['op']} {r['name']}: {r['us']:.2f} us, {r['kernel'] or r['family']}"
        tip += f", {percent(r['peak_share'])} % of peak" if r["peak_share"] is not None else ""
        parts.append(f"<g><title>{escape(tip)}</title>")
        parts.append(bar(x, 10 + height - whole, width, whole, colour, 0.35))
        parts.append(bar(x, 10 + height - ideal, width, ideal, colour, 1.0) + "</g>")
        if k % every == 0:
            parts.append(label(x + width / 2, PLOT_HEIGHT - 6, str(r["index"]), "middle"))
    return "".join(parts) + "</svg>"


def axis_top(largest: float) -> float:
    """A round number at or above the largest value."""
    if largest <= 0:
        return 1.0
    step = 10.0 ** (len(f"{int(largest)}") - 1) if largest >= 1 else 0.1
    for factor in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10):
        if factor * step >= largest:
            return factor * step
    return 10 * step


def ideal_share(layer: dict[str, Any]) -> float:
    """The dark part of a bar; all of it where there is no peak to compare with."""
    return 1.0 if layer["peak_share"] is None else min(layer["peak_share"], 1.0)


def label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="#5b6874">{text}</text>'


def bar(x: float, y: float, width: float, height: float, colour: str, opacity: float) -> str:
    shape = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect {shape} fill="{colour}" fill-opacity="{opacity}"/>'


def reason_list(title: str, entries: list[dict[str, str]]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in grouped(entries))
    return f"<h2>{escape(title.rstrip(':'))}</h2><section><ul>{items}</ul></section>"


def layer_table(layers: list[dict[str, Any]]) -> str:
    most = max((r["us"] for r in layers), default=0.0) or 1.0
    heads = "".join(f"<th{' class=left' if h in (*LEFT, 'time') else ''}>{escape(h)}</th>" for h in ["time", *COLUMNS])
    rows = []
    for r in layers:
        width = ROW_BAR * r["us"] / most
        colour = COLOURS[r["kind"]]
        drawn = bar(0, 2, width, 10, colour, 0.35) + bar(0, 2, width * ideal_share(r), 10, colour, 1.0)
        cells = [f'<td class="left"><svg width="{ROW_BAR}" height="14">{drawn}</svg></td>']
        for head, text in zip(COLUMNS, layer_cells(r)):
            kind = ' class="left name"' if head == "node" else " class=left" if head in LEFT else ""
            tip = f' title="{escape(text)}"' if head == "node" else ""
            cells.append(f"<td{kind}{tip}>{escape(text)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<section><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></section>"
