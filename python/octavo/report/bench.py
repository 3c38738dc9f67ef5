"""``octavo bench``: how long a run takes, whole and step by step."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from octavo.compress.record import record_text
from octavo.engine import Session
from octavo.errors import InvalidArgument, Unsupported
from octavo.feeds import TensorInfo
from octavo.report import peers
from octavo.report.inspect import checked_dims, input_shapes
from octavo.report.reasons import BORDER, INTEGER
from octavo.report.table import table
from octavo.timing import Progress, time_interleaved


def random_feeds(inputs: list[TensorInfo], dims: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs to time or try a model with: floats normally distributed, 8- and 16-bit integers over their whole range.

    Wider integers are 0 or 1, which suits indices and masks. Symbolic dimensions come from `dims`, else are 1.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for info, shape in zip(inputs, input_shapes(inputs, dims)):
        if info.dtype.kind == "f":
            feeds[info.name] = rng.standard_normal(shape).astype(info.dtype)
        elif info.dtype.kind in "iu" and info.dtype.itemsize <= 2:
            limits = np.iinfo(info.dtype)
            feeds[info.name] = rng.integers(limits.min, limits.max, shape, info.dtype, endpoint=True)
        else:
            feeds[info.name] = rng.integers(0, 2, shape).astype(info.dtype)
    return feeds


def bench(
    model: str,
    *,
    threads: int | None = None,
    isa: str | None = None,
    requantize: str | None = None,
    rounds: int = 20,
    dims: Sequence[tuple[str, int]] = (),
    batch: int | None = None,
    compare: Sequence[str] = (),
    compare_float: str | None = None,
    steps: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Times a model on random inputs and, in turn with it, peers on the same file or a float model. Ready for JSON.

    requantize: as Session takes it, for the first model. batch: the size of the inputs' symbolic first dimension.
    compare: peers (report.peers), with as many threads. A peer that refuses the file is told in its entry's "error" and
    left out. progress(round, rounds) is called before a round.

    Raises InvalidArgument for wrong arguments, Unsupported when a peer is not installed, and whatever Session raises.
    """
    if rounds < 1:
        raise InvalidArgument(f"rounds should be 1 or more, not {rounds}")
    for peer in compare:
        peers.load(peer)
    paths = [model] if compare_float is None else [model, compare_float]
    schemes = [requantize, None]
    sessions = [Session(p, threads=threads, isa=isa, requantize=r) for p, r in zip(paths, schemes)]
    feeds = [random_feeds(s.get_inputs(), sizes(s.get_inputs(), dims, batch)) for s in sessions]
    bound = [s.bind(f) for s, f in zip(sessions, feeds)]
    entries, runs = prepared_peers(model, compare, feeds[0], sessions[0])
    times = time_interleaved([*(b.run for b in bound), *runs.values()], rounds, progress)
    results = [
        figures(path, session, one.arena_bytes, taken, batch_of(given))
        for path, session, one, taken, given in zip(paths, sessions, bound, times, feeds)
    ]
    report: dict[str, Any] = {"models": results, "rounds": rounds}
    if compare_float is not None:
        report["speedup"] = round(results[1]["median_ms"] / results[0]["median_ms"], 3)
    if compare:
        for name, taken in zip(runs, times[len(bound) :]):
            entries[name] |= latency(taken)
            entries[name]["ratio"] = round(results[0]["median_ms"] / entries[name]["median_ms"], 3)
        report["peers"] = list(entries.values())
        report["ratio"] = max((e["ratio"] for e in entries.values() if "ratio" in e), default=None)
    if steps:
        report["steps"] = step_times(sessions[0], model, feeds[0], isa, max(5, rounds))
    return report


def prepared_peers(
    model: str, names: Sequence[str], feeds: Mapping[str, np.ndarray], session: Session
) -> tuple[dict[str, dict[str, Any]], dict[str, Callable[[], object]]]:
    """An entry for each peer, and the runs of those that take the model. Float models compute in float32 everywhere."""
    entries: dict[str, dict[str, Any]] = {}
    runs: dict[str, Callable[[], object]] = {}
    quantized = any(step["op"] in BORDER or step["op"] in INTEGER for step in session.plan.steps)
    for name in names:
        entries[name] = {"engine": name, "version": peers.version_of(name)}
        try:
            runs[name] = peers.prepare(name, model, feeds, session.threads, float32=not quantized)
        except Unsupported as e:
            entries[name]["error"] = str(e)
    return entries, runs


def sizes(inputs: list[TensorInfo], dims: Sequence[tuple[str, int]], batch: int | None) -> dict[str, int]:
    """The symbolic dimensions given, with those that come first in an input set to `batch`."""
    found = checked_dims(inputs, dims)
    if batch is None:
        return found
    if batch < 1:
        raise InvalidArgument(f"the batch should be 1 or more, not {batch}")
    for info in inputs:
        first = info.shape[0] if info.shape else batch
        if isinstance(first, str):
            found.setdefault(first, batch)
        if (found[first] if isinstance(first, str) else first) not in (batch, None):
            raise InvalidArgument(f"input '{info.name}' has shape {info.shape}: its batch cannot be {batch}")
    return found


def latency(taken: list[int]) -> dict[str, Any]:
    """Median, best and 99th percentile in milliseconds."""
    ordered = sorted(taken)
    return {
        "median_ms": round(statistics.median(ordered) / 1e6, 6),
        "min_ms": round(ordered[0] / 1e6, 6),
        "p99_ms": round(ordered[min(len(ordered) - 1, math.ceil(0.99 * len(ordered)) - 1)] / 1e6, 6),
        "runs": len(ordered),
    }


def batch_of(feeds: Mapping[str, np.ndarray]) -> int:
    first = next(iter(feeds.values()), None)
    return int(first.shape[0]) if first is not None and first.ndim else 1


def figures(path: str, session: Session, arena: int, taken: list[int], batch: int) -> dict[str, Any]:
    return {
        "model": path,
        "isa": session.isa,
        "threads": session.threads,
        "batch": batch,
        **latency(taken),
        "inferences_per_s": round(batch * 1e9 / statistics.median(taken), 3),
        "weight_bytes": session.memory.weights,
        "arena_bytes": arena,
        "record": record_text(session.plan.metadata),
    }


def step_times(
    like: Session, model: str, feeds: Mapping[str, np.ndarray], isa: str | None, runs: int
) -> list[dict[str, Any]]:
    """Mean microseconds of each step, in a session of its own, because measuring costs a little."""
    session = Session(model, threads=like.threads, isa=isa, requantize=like.requantize, profile=True)
    arrays = [feeds[i.name] for i in session.get_inputs()]
    bound = session.bind(arrays)
    bound.run()
    before = session.profile()
    for _ in range(runs):
        bound.run()
    macs = session.steps_for([a.shape for a in arrays])
    rows = []
    for was, now, known in zip(before, session.profile(), macs):
        us = (now.ns - was.ns) / runs / 1e3
        rate = round(known.macs / us / 1e3, 2) if us > 0 else 0.0
        rows.append({"op": now.op, "name": now.name, "kernel": now.kernel, "us": round(us, 3), "gmacs_per_s": rate})
    return rows


def bench_text(report: dict[str, Any]) -> str:
    """The report for people."""
    headers = ["model", "ISA", "threads", "median ms", "min ms", "p99 ms", "inferences/s", "runs"]
    rows = [
        [
            m["model"].rsplit("/", 1)[-1],
            m["isa"],
            str(m["threads"]),
            f"{m['median_ms']:.3f}",
            f"{m['min_ms']:.3f}",
            f"{m['p99_ms']:.3f}",
            f"{m['inferences_per_s']:,.1f}",
            str(m["runs"]),
        ]
        for m in report["models"]
    ]
    lines = [table(headers, rows, left=("model", "ISA"))]
    lines += [f"{m['model'].rsplit('/', 1)[-1]}: {line}" for m in report["models"] for line in m["record"]]
    if "speedup" in report:
        lines += ["", f"The first is {report['speedup']:.2f} times as fast as the float model."]
    if "peers" in report:
        lines += ["", *peer_lines(report)]
    if "steps" in report:
        total = sum(s["us"] for s in report["steps"]) or 1.0
        rows = []
        for s in report["steps"]:
            rate = f"{s['gmacs_per_s']:.1f}" if s["gmacs_per_s"] else ""
            rows.append([s["op"], f"{s['us']:.1f}", f"{100 * s['us'] / total:.1f}", rate, s["kernel"], s["name"]])
        columns = ["operator", "us", "%", "GMAC/s", "kernel", "node"]
        lines += ["", table(columns, rows, left=("operator", "kernel", "node"))]
    return "\n".join(lines)


def peer_lines(report: dict[str, Any]) -> list[str]:
    rows = [
        [e["engine"], e["version"], *(f"{e[k]:.3f}" for k in ("median_ms", "min_ms", "p99_ms")), f"{e['ratio']:.2f}"]
        for e in report["peers"]
        if "ratio" in e
    ]
    lines = []
    if rows:
        headers = ["peer", "version", "median ms", "min ms", "p99 ms", "octavo / peer"]
        lines = [table(headers, rows, left=("peer", "version"))]
        lines += ["", f"octavo takes {report['ratio']:.2f} times as long as the best peer (below 1: it is faster)."]
    return lines + [e["error"] for e in report["peers"] if "error" in e]
