"""``octavo explain``: where the time of a run goes, how far each step is from the machine's peak, and why."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from octavo import _core
from octavo.compress.record import record_text
from octavo.engine import BoundRun, Session, Step
from octavo.errors import InvalidArgument
from octavo.feeds import TYPES
from octavo.report.bench import random_feeds
from octavo.report.inspect import checked_dims
from octavo.report.reasons import INTEGER, kind_of, reasons
from octavo.report.table import count, size, table

WARM_UP_S = 0.1
PEAK_TRIALS = 4
BATCH_S = 0.003  # runs between two readings of the profile
MANY = 4  # entries that are told one by one where they share a reason


def explain(
    model: str,
    *,
    threads: int | None = None,
    isa: str | None = None,
    requantize: str | None = None,
    dims: Sequence[tuple[str, int]] = (),
    rounds: int = 20,
) -> dict[str, Any]:
    """Profiles a model on random inputs. Ready for JSON.

    Times are medians over `rounds` batches of runs. The peaks are those of this process's own loops (`_core.peak`) at
    the same instruction-set level and thread count. Raises InvalidArgument, and whatever Session raises.
    """
    if rounds < 1:
        raise InvalidArgument(f"rounds should be 1 or more, not {rounds}")
    session = Session(model, threads=threads, isa=isa, requantize=requantize, profile=True)
    feeds = random_feeds(session.get_inputs(), checked_dims(session.get_inputs(), dims))
    shapes = [list(feeds[i.name].shape) for i in session.get_inputs()]
    peaks = measured_peaks(session, {})
    plain = Session(model, threads=threads, isa=isa, requantize=requantize)
    us, run_us = step_times(session, session.bind(feeds), plain.bind(feeds), rounds)
    steps = session.steps_for(shapes)
    for _ in range(PEAK_TRIALS):
        peaks = measured_peaks(session, peaks)
        layers = layer_rows(session, steps, us, shapes, peaks)
        if all((r["peak_share"] or 0) <= 1 for r in layers):  # a busy machine shows a peak that kernels beat
            break
    found = reasons(session)
    return {
        "model": model,
        "isa": session.isa,
        "threads": session.threads,
        "inputs": {i.name: shape for i, shape in zip(session.get_inputs(), shapes)},
        "peak": peaks,
        "layers": layers,
        "totals": totals(layers, run_us),
        "record": record_text(session.plan.metadata),
        **found,
    }


def measured_peaks(session: Session, before: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The best of this measurement and those before it, for int8 and float."""
    peaks = {}
    for kind in ("int8", "float"):
        rate, instruction = _core.peak(kind, session.isa, session.threads)
        rate = max(rate, before.get(kind, {}).get("gmacs_per_s", 0.0))
        peaks[kind] = {"gmacs_per_s": round(rate, 2), "instruction": instruction}
    return peaks


def step_times(session: Session, bound: BoundRun, plain: BoundRun, rounds: int) -> tuple[list[float], float]:
    """Microseconds of each step, and of a run of `plain`, which measures nothing.

    Batches take turns. A step is the median over them of its mean in each; a run the median of the best of each.
    """
    start, calls = time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - start < WARM_UP_S:
        bound.run()
        plain.run()
        calls += 1
    batch = max(1, round(2 * BATCH_S * calls / (time.perf_counter() - start)))
    taken: list[list[float]] = [[] for _ in session.plan.steps]
    whole: list[float] = []
    before = session.profile()
    for _ in range(rounds):
        for _ in range(batch):
            bound.run()
        after = session.profile()
        for each, was, now in zip(taken, before, after):
            each.append((now.ns - was.ns) / batch / 1e3)
        before = after
        plain.run()  # the profile was in the caches
        best = math.inf
        for _ in range(batch):
            begin = time.perf_counter_ns()
            plain.run()
            best = min(best, time.perf_counter_ns() - begin)
        whole.append(best / 1e3)
    return [statistics.median(each) for each in taken], statistics.median(whole)


def layer_rows(
    session: Session,
    steps: list[Step],
    us: list[float],
    shapes: list[list[int]],
    peaks: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """One row a step, in the order they run."""
    octets = value_bytes(session, steps, shapes)
    total = sum(us) or 1.0
    rows = []
    for number, (known, profiled, taken, step) in enumerate(zip(steps, session.profile(), us, session.plan.steps)):
        family, level, tile = kernel_parts(known.kernel, session.isa) if profiled.calls else ("not run", "", "")
        product = "int8" if known.op in INTEGER else "float"
        peak = peaks[product]["gmacs_per_s"] if known.macs else 0.0
        rate = known.macs / taken / 1e3 if taken > 0 else 0.0
        moved = sum(octets.get(v, 0) for v in {*step["inputs"], *step["outputs"]} if v >= 0)
        rows.append(
            {
                "index": number,
                "name": known.name,
                "op": known.op + (f" {step['attrs']['fn']}" if "fn" in step["attrs"] else ""),
                "kind": kind_of(step, session.plan.values),
                "kernel": known.kernel,
                "family": family,
                "isa": level,
                "tile": tile,
                "output": list(known.shapes[0]) if known.shapes else None,
                "us": round(taken, 3),
                "share": round(taken / total, 5),
                "macs": known.macs,
                "gmacs_per_s": round(rate, 2),
                "peak_share": round(rate / peak, 4) if peak else None,
                "lost_us": round(max(0.0, taken - (known.macs / peak / 1e3 if peak else 0.0)), 3),
                "bytes": moved,
                "gbytes_per_s": round(moved / taken / 1e3, 2) if taken > 0 else 0.0,
                "threads": profiled.threads,
            }
        )
    return rows


def kernel_parts(kernel: str, isa: str) -> tuple[str, str, str]:
    """The family, the ISA level and the tile or variant of "gemm_s8 7x4 avx512vnni".

    A family without a level in its text runs the best kernel at or below the session's level; "loop" and plain copies
    are portable code.
    """
    levels = [name for name, _ in _core.isas()]
    words = kernel.split()
    family = words[0] if words else "copy"
    found = [w for w in words if w.split("+")[0] in levels]
    tile = " ".join(w for w in words[1:] if w not in found)
    if found:
        return family, found[0], tile
    allowed = levels[: levels.index(isa) + 1] if isa in levels else levels
    served = [level for name, level, _ in _core.kernels() if name == family and level in allowed]
    return family, max(served, key=levels.index, default=""), tile


def value_bytes(session: Session, steps: list[Step], shapes: list[list[int]]) -> dict[int, int]:
    """Bytes of each value whose shape is known."""
    plan = session.plan
    values = plan.values
    octets = {k: v["bytes"] for k, v in enumerate(values) if v["constant"]}
    known = list(zip(plan.input_values, shapes))
    for step, info in zip(plan.steps, steps):
        known += [(v, list(shape)) for v, shape in zip(step["outputs"], info.shapes)]
    for v, shape in known:
        octets[v] = math.prod(shape) * np.dtype(TYPES[values[v]["dtype"]][0]).itemsize
    return octets


def totals(layers: list[dict[str, Any]], whole_us: float) -> dict[str, Any]:
    """Sums over the layers. Ideal time is that of the multiply-accumulates at the peak."""
    us, macs = sum(r["us"] for r in layers), sum(r["macs"] for r in layers)
    products = [r for r in layers if r["peak_share"] is not None]
    ideal = sum(r["us"] * r["peak_share"] for r in products)
    by_kind: dict[str, float] = {}
    for r in layers:
        by_kind[r["kind"]] = by_kind.get(r["kind"], 0.0) + r["us"]
    return {
        "layers": len(layers),
        "us": round(us, 3),
        "run_us": round(whole_us, 3),
        "macs": macs,
        "gmacs_per_s": round(macs / us / 1e3, 2) if us else 0.0,
        "ideal_us": round(ideal, 3),
        "peak_share": round(ideal / us, 4) if us and products else None,
        "bytes": sum(r["bytes"] for r in layers),
        "us_by_kind": {k: round(v, 3) for k, v in sorted(by_kind.items(), key=lambda item: -item[1])},
    }


def worst_first(report: dict[str, Any]) -> dict[str, Any]:
    """The report with the layers that lose most time against the peak first."""
    return report | {"layers": sorted(report["layers"], key=lambda r: -r["lost_us"])}


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def layer_cells(r: dict[str, Any]) -> list[str]:
    """A layer as the text and HTML tables show it, in the order of COLUMNS."""
    return [
        str(r["index"]),
        r["op"],
        " ".join(w for w in (r["family"], r["tile"], r["isa"]) if w),
        f"{r['us']:.2f}",
        percent(r["share"]),
        count(r["macs"]) if r["macs"] else "",
        f"{r['gmacs_per_s']:.1f}" if r["macs"] else "",
        percent(r["peak_share"]),
        f"{r['lost_us']:.2f}" if r["lost_us"] else "",
        size(r["bytes"]) if r["bytes"] else "",
        f"{r['gbytes_per_s']:.1f}" if r["bytes"] else "",
        str(r["threads"] or ""),
        r["name"],
    ]


COLUMNS = [
    "#", "operator", "kernel", "us", "%", "MACs", "GMAC/s", "% of peak", "lost us", "bytes", "GB/s", "threads", "node",
]  # fmt: skip
LEFT = ("operator", "kernel", "node")


def peak_text(report: dict[str, Any]) -> str:
    parts = [
        f"{kind} {p['gmacs_per_s']:.1f} GMAC/s ({p['instruction']})"
        for kind, p in report["peak"].items()
        if p["gmacs_per_s"]
    ]
    measured = "; ".join(parts) if parts else "none: this level has no instruction to measure"
    return f"{report['isa']}, {report['threads']} thread(s). Peak measured in this process: {measured}."


def total_text(report: dict[str, Any]) -> str:
    t = report["totals"]
    kinds = ", ".join(f"{k} {v:.1f}" for k, v in t["us_by_kind"].items())
    share = f" (the peak would need {percent(t['peak_share'])} % of the time)" if t["peak_share"] is not None else ""
    return (
        f"{t['layers']} steps take {t['us']:.1f} us ({kinds}); a run that measures nothing takes {t['run_us']:.1f} us. "
        f"{count(t['macs'])} multiply-accumulates at {t['gmacs_per_s']:.1f} GMAC/s{share}; {size(t['bytes'])} read and "
        "written."
    )


def explain_text(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [layer_cells(r) for r in report["layers"]]
    lines = [
        peak_text(report),
        "",
        table(COLUMNS, rows, left=LEFT, width=44),
        "",
        total_text(report),
        *report["record"],
    ]
    for title, key in SECTIONS:
        if report[key]:
            lines += ["", title]
            lines += ["  " + line for line in grouped(report[key])]
    if not any(report[key] for _, key in SECTIONS):
        lines += ["", "No Q or DQ is left, and nothing runs in float or in Python."]
    return "\n".join(lines)


def grouped(entries: list[dict[str, str]]) -> list[str]:
    """A line an entry, and one line for more than MANY entries with the same reason."""
    by_reason: dict[str, list[dict[str, str]]] = {}
    for e in entries:
        by_reason.setdefault(e["reason"], []).append(e)
    lines = []
    for reason, same in by_reason.items():
        if len(same) <= MANY:
            lines += [f"{e['op']} {e['node']}: {reason}" for e in same]
            continue
        ops = Counter(e["op"] for e in same)
        lines.append(f"{len(same)} steps: {reason}: " + ", ".join(f"{n} {op}" for op, n in ops.most_common()))
    return lines


SECTIONS = [
    ("Q and DQ that stayed:", "quantization"),
    ("In float:", "float"),
    ("In Python:", "python"),
]
