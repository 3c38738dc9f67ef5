"""The report of ``octavo verify`` as a page: error along the depth, causes, time of each step, the worst layers."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from octavo.engine import Session
from octavo.errors import Unsupported
from octavo.report.causes import Evidence
from octavo.report.explain import step_times
from octavo.report.explain_html import COLOURS
from octavo.report.page import cards, html_table, keys, page, section
from octavo.report.plots import ONE, TWO, Bar, bar_plot, depth_plot, histogram_plot
from octavo.report.reasons import kind_of
from octavo.report.verify import COLUMNS, LayerError, VerifyReport, layer_cells, share

SHOWN = 6  # layers whose values and weights are drawn
EXPLAINED = 12  # causes
NAMED = 8  # layers of one cause
ROUNDS = 8  # batches of runs that time the steps


@dataclass
class Steps:
    """Bars of a model's steps, the colours' meaning, and microseconds of a whole run."""

    bars: list[Bar]
    kinds: list[str]
    run_us: float


def verify_page(report: VerifyReport, float_model: Any, quantized_model: Any) -> str:
    """report: made with histograms=True."""
    steps, plain = timed(quantized_model, report), timed(float_model, report)
    figures = summary(report)
    if steps is not None and plain is not None:
        figures += speed(steps, plain)
    lines = [f"{name_of(quantized_model)} against {name_of(float_model)}, {report.samples} samples."]
    parts = [cards(figures), *error_parts(report), step_part(steps), *worst_layers(report), layer_table(report)]
    return page(name_of(quantized_model), "verify", lines, parts)


def name_of(model: Any) -> str:
    return Path(os.fspath(model)).name if isinstance(model, (str, os.PathLike)) else "the model"


def summary(report: VerifyReport) -> list[tuple[str, str]]:
    known = [e for e in report.layers if e.alone is not None]
    worst = min(known, key=lambda e: e.alone or 0.0, default=None)
    figures = [(f"{report.layers[-1].sqnr:.1f} dB", "SQNR of what the last layer delivers")]
    if report.agreement is not None:
        figures.insert(0, (f"{100 * report.agreement:.1f} %", "same largest output"))
    if worst is not None:
        figures.append((f"{worst.alone:.1f} dB", f"the worst layer alone: {worst.node}"))
    causes = sum(bool(e.cause) for e in report.layers)
    return [*figures, (str(len(report.layers)), "layers compared"), (str(causes), "with a cause found")]


def speed(steps: Steps, plain: Steps) -> list[tuple[str, str]]:
    return [
        (f"{steps.run_us / 1e3:.3f} ms", f"a run; float takes {plain.run_us / 1e3:.3f} ms"),
        (f"{plain.run_us / max(steps.run_us, 1e-3):.2f} x", "as fast as float"),
    ]


def timed(model: Any, report: VerifyReport) -> Steps | None:
    """Every step on the first sample; None where such a model or its steps cannot be bound."""
    with contextlib.suppress(Unsupported):
        session, plain = Session(model, profile=True), Session(model)
        if report.sample is None:
            return None
        feeds = [report.sample[i.name] for i in session.get_inputs()]
        us, run_us = step_times(session, session.bind(feeds), plain.bind(feeds), ROUNDS)
        kinds = [kind_of(step, session.plan.values) for step in session.plan.steps]
        bars = [
            Bar(str(k), taken, COLOURS[kind], f"{k} {step.op} {step.name}: {taken:.1f} us, {step.kernel}")
            for k, (taken, kind, step) in enumerate(zip(us, kinds, session.steps))
        ]
        return Steps(bars, list(dict.fromkeys(kinds)), run_us)
    return None


def step_part(steps: Steps | None) -> str:
    if steps is None:
        return ""
    colours = keys((COLOURS[k], k) for k in steps.kinds)
    return section(
        "Time of each step of the quantized model", colours, bar_plot(steps.bars, "us", "step", "time by step")
    )


def error_parts(report: VerifyReport) -> list[str]:
    """The curve along the depth, and causes in words."""
    names = [f"{e.node} ({e.op})" if e.op else e.node for e in report.layers]
    drawn = depth_plot([e.alone for e in report.layers], [e.sqnr for e in report.layers], names)
    note = "Higher is better; 6 dB are one bit. The numbers are those of the table below."
    marks = keys([(ONE, "the layer alone"), (TWO, "accumulated")], note)
    parts = [section("Signal-to-noise ratio along the depth", marks, drawn)]
    causes: dict[tuple[str, str], list[str]] = {}
    for e in report.diagnosed():
        causes.setdefault((e.cause, e.mend), []).append(e.node)
    if causes:
        items = [
            f"<li><b>{escape(listed(nodes))}</b>: {escape(cause)}<small>{escape(mend)}</small></li>"
            for (cause, mend), nodes in causes.items()
        ]
        more = f"<p>and {len(items) - EXPLAINED} more causes</p>" if len(items) > EXPLAINED else ""
        parts.append(section("Causes and mends, the root first", f"<ul>{''.join(items[:EXPLAINED])}</ul>", more))
    return parts


def listed(nodes: list[str]) -> str:
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    return ", ".join(nodes[:NAMED]) + more


def worst_layers(report: VerifyReport) -> list[str]:
    """Histograms of the layers that lose most."""
    boxes = []
    for e in [e for e in report.worst_first() if e.tensor in report.evidence][:SHOWN]:
        boxes += layer_boxes(e, report.evidence[e.tensor])
    if not boxes:
        return []
    note = (
        "Counts are on a logarithmic scale; dashed lines bound what the integers cover, and what is red lies outside. "
        "Weights are drawn as the integers they became."
    )
    return [f"<h2>Values of the layers that lose most</h2><p>{note}</p>", f'<div class="grid">{"".join(boxes)}</div>']


def layer_boxes(error: LayerError, evidence: Evidence) -> list[str]:
    boxes = []
    alone = "" if error.alone is None else f", {error.alone:.1f} dB alone"
    histogram = evidence.histogram
    if histogram is not None and histogram.seen:
        limits = None if evidence.lo is None or evidence.hi is None else (evidence.lo, evidence.hi)
        drawn = histogram_plot(*histogram.bins(), histogram.width, 0.0, limits, f"values of {error.node}")
        clipped = "" if error.clipped is None else f"; {small_share(error.clipped)} clipped"
        boxes.append(box(drawn, error.node, f"result{alone}{clipped}"))
    layer = evidence.layer()
    found = None if layer is None else evidence.weights(layer)
    if found is not None:
        integers, scale, _ = found
        values, counts = np.unique(integers, return_counts=True)
        lo, hi = integer_limits(values)
        ends = (lo - 0.5, hi + 0.5)
        drawn = histogram_plot(values.astype(np.float64), counts, 1.0, 0.5, ends, f"weights of {error.node}", TWO)
        scales = "one scale" if scale.size == 1 else f"{scale.size} scales, {scale.min():.2g} to {scale.max():.2g}"
        boxes.append(box(drawn, error.node, f"weights; {scales}"))
    return boxes


def small_share(part: float) -> str:
    return "less than 0.01 %" if 0 < part < 0.0001 else share(part)


def integer_limits(values: np.ndarray) -> tuple[float, float]:
    """What the fewest bits that hold them can say: weights of 4 or 2 bits may be stored in 8."""
    signed = values.dtype.kind == "i"
    for bits in (2, 4, 8, 16, 32):
        lo, hi = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if lo <= values.min() and values.max() <= hi:
            break
    return float(lo), float(hi)


def box(drawn: str, name: str, text: str) -> str:
    return f"<section><figure>{drawn}<figcaption><b>{escape(name)}</b> {escape(text)}</figcaption></figure></section>"


def layer_table(report: VerifyReport) -> str:
    rows = [[str(k), *layer_cells(e)] for k, e in enumerate(report.layers, 1)]
    return section("Layers in order", html_table(["#", *COLUMNS], rows, left=("layer", "op"), name="layer"))
