"""No layer slower than in float on this machine: layers are timed both ways, and what loses is left in float.

Two things can lose. A layer's own steps may take longer on integers than in float. A region of integer layers may take
longer with the Quantize and Dequantize at its borders than its float form without them. What that suggests is only
suggested: networks with the losers in float are timed as wholes beside the one without, and the fastest is kept.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from octavo.compress.calibrate import Progress, silent
from octavo.compress.options import FLOAT, Options
from octavo.compress.record import LayerTime, TuneReport, TuneTrial
from octavo.compress.static import Calibrated
from octavo.compress.units import Unit, units_of
from octavo.engine import Session
from octavo.ir import Graph
from octavo.onnx_export import export_model
from octavo.timing import time_interleaved

ROUNDS = 12
STEP_RUNS = 15  # of each round of the step timings
HALVES = 3  # how often the losers are halved where leaving all of them in float does not pay
BORDERS = ("Quantize", "Dequantize")


@dataclass
class Timed:
    """A step of a plan: the nodes of the float graph behind it, the activations it reads and writes, its time."""

    op: str
    nodes: set[str]
    values: set[int]
    ms: float = 0.0


class Clock:
    """Times sessions on one sample."""

    def __init__(self, feeds: Mapping[str, Any]) -> None:
        self.feeds = feeds

    def steps(self, sessions: Sequence[Session]) -> list[list[float]]:
        """Milliseconds of each step of each session (made with profile=True): medians over rounds in turns."""
        bound = [s.bind(self.feeds) for s in sessions]
        taken: list[list[list[float]]] = [[[] for _ in s.plan.steps] for s in sessions]
        for one in bound:
            one.run()
        for _ in range(ROUNDS):
            for session, one, times in zip(sessions, bound, taken):
                before = session.profile()
                for _ in range(STEP_RUNS):
                    one.run()
                for each, was, now in zip(times, before, session.profile()):
                    each.append((now.ns - was.ns) / STEP_RUNS / 1e6)
        return [[statistics.median(each) for each in times] for times in taken]

    def whole(self, sessions: Sequence[Session]) -> list[float]:
        """Median milliseconds of a run of each session, in turns."""
        runs: list[Callable[[], object]] = [s.bind(self.feeds).run for s in sessions]
        return [statistics.median(taken) / 1e6 for taken in time_interleaved(runs, ROUNDS)]


@dataclass
class Times:
    """Milliseconds of a part of the network on integers and in float."""

    integer: float = 0.0
    exact: float = 0.0

    @property
    def lost(self) -> float:
        return self.integer - self.exact


@dataclass
class Region:
    """Integer steps that hand integers to each other, with the Q and DQ around them."""

    steps: list[Timed] = field(default_factory=list)
    times: Times = field(default_factory=Times)

    @property
    def nodes(self) -> set[str]:
        return set().union(*(s.nodes for s in self.steps))


def tune(work: Calibrated, options: Options, progress: Progress = silent) -> tuple[Options, TuneReport]:
    """Options with layer_bits "float" for each unit that loses, and the account of it.

    Layers that options.layer_bits names stay as it says. When all others in float beat every mix, that is the result.
    """
    units = [u for u in units_of(work.graph, work.place(options)) if u.name not in options.layer_bits]
    clock = Clock(next(iter(work.data)))
    result = work.quantize(options, {})
    exact, integers = export_model(work.graph), export_model(result.graph)
    sessions = [Session(integers, profile=True), Session(exact, profile=True)]
    progress("timing layers", 0, 2)
    steps = [timed(s, work.graph, ms) for s, ms in zip(sessions, clock.steps(sessions))]
    computed = {layer.name for layer in result.layers if layer.kind != FLOAT}
    alone = unit_times(units, *steps)
    regions = regions_of(steps[0], steps[1], computed)
    whys = losers(units, alone, regions)
    candidates = suggestions(whys, alone, units)
    every = [u.name for u in units]
    mixes = [work.quantize(options.with_layers(dict.fromkeys(c, FLOAT)), {}).graph for c in (*candidates, every)]
    progress("timing layers", 1, 2)
    plain = [Session(m) for m in (integers, *map(export_model, mixes))]
    ms = clock.whole(plain)
    progress("timing layers", 2, 2)
    trials = [TuneTrial(list(names), t) for names, t in zip(([], *candidates, every), ms)]
    best = min(range(len(trials)), key=lambda k: (trials[k].ms, len(trials[k].left_float)))
    left = trials[best].left_float
    if best == len(trials) - 1:
        whys = (
            dict.fromkeys(every, f"left float by tune: all in float take {ms[-1]:.4f} ms, on integers {ms[0]:.4f}")
            | whys
        )
    layers = [
        LayerTime(
            u.name,
            u.head.op,
            alone[u.name].integer,
            alone[u.name].exact,
            whys.get(u.name, "") if u.name in left else "",
        )
        for u in units
    ]
    report = TuneReport(sessions[0].isa, sessions[0].threads, cpu_name(), layers, trials, best)
    return options.with_layers(dict.fromkeys(left, FLOAT)), report


def timed(session: Session, graph: Graph, ms: Sequence[float]) -> list[Timed]:
    known = {node.name for node in graph.nodes}
    constant = [v["constant"] for v in session.plan.values]
    found = []
    for step, t in zip(session.plan.steps, ms):
        parts = {step["name"]} if step["name"] in known else set(step["name"].split("+")) & known
        values = {v for v in (*step["inputs"], *step["outputs"]) if v >= 0 and not constant[v]}
        found.append(Timed(step["op"], parts, values, t))
    return found


def unit_times(units: Sequence[Unit], integer: Sequence[Timed], exact: Sequence[Timed]) -> dict[str, Times]:
    """Of each unit. Units that one step computes in either network share their steps' time evenly."""
    of_node = {node.name: u.name for u in units for node in u.nodes}
    groups = Sets(u.name for u in units)
    for step in (*integer, *exact):
        groups.join([of_node[n] for n in step.nodes if n in of_node])
    found = {}
    for members in groups.all():
        nodes = {n for n, u in of_node.items() if u in members}
        t = times_of(nodes, set(of_node), integer, exact)
        found.update({name: Times(t.integer / len(members), t.exact / len(members)) for name in members})
    return found


def times_of(nodes: set[str], others: set[str], integer: Sequence[Timed], exact: Sequence[Timed]) -> Times:
    """Of the steps behind these nodes. What only the float network fuses with them counts in the other as well, unless
    it is among the others that are timed by themselves."""
    fused = set().union(*(s.nodes for s in exact if s.nodes & nodes)) - others
    return Times(sum(s.ms for s in integer if s.nodes & (nodes | fused)), sum(s.ms for s in exact if s.nodes & nodes))


def regions_of(integer: Sequence[Timed], exact: Sequence[Timed], computed: set[str]) -> list[Region]:
    """computed: names of the nodes that integers are for."""
    inside = [s for s in integer if s.nodes & computed]
    borders = [s for s in integer if not s.nodes and s.op in BORDERS]
    together = Sets(range(len(inside)))
    touching: dict[int, list[int]] = {}
    for k, step in enumerate(inside):
        for v in step.values:
            touching.setdefault(v, []).append(k)
    for members in touching.values():
        together.join(members)
    found = []
    for numbers in together.all():
        region = Region([inside[k] for k in sorted(numbers)])
        values = set().union(*(s.values for s in region.steps))
        region.times = times_of(region.nodes, computed, integer, exact)
        region.times.integer += sum(s.ms for s in borders if s.values & values)
        found.append(region)
    return found


def losers(units: Sequence[Unit], alone: Mapping[str, Times], regions: Sequence[Region]) -> dict[str, str]:
    """Units that lose, by themselves or with their region, and why."""
    found = {}
    for unit in units:
        region = next((r for r in regions if unit.name in r.nodes), None)
        t = alone[unit.name]
        if t.lost > 0:
            found[unit.name] = f"left float by tune: {t.integer:.4f} ms on integers against {t.exact:.4f}"
        elif region is not None and region.times.lost > 0:
            t = region.times
            found[unit.name] = (
                f"left float by tune: with its Q and DQ {t.integer:.4f} ms on integers against {t.exact:.4f}"
            )
    return found


def suggestions(whys: Mapping[str, str], alone: Mapping[str, Times], units: Sequence[Unit]) -> list[list[str]]:
    """Sets of units to try in float: all losers; those that lose by themselves; the worse halves of these."""
    own = sorted((n for n in whys if alone[n].lost > 0), key=lambda n: -alone[n].lost)
    sets = [list(whys), own]
    for _ in range(HALVES):
        own = own[: len(own) // 2]
        sets.append(own)
    kept: dict[frozenset[str], list[str]] = {}
    for names in sets:
        if names and len(names) < len(units):
            kept.setdefault(frozenset(names), names)
    return list(kept.values())


class Sets:
    """Disjoint sets of things that were joined."""

    def __init__(self, items: Any) -> None:
        self.of: dict[Any, set[Any]] = {item: {item} for item in items}

    def join(self, items: Sequence[Any]) -> None:
        whole = set().union(*(self.of[i] for i in items))
        self.of.update(dict.fromkeys(whole, whole))

    def all(self) -> list[set[Any]]:
        return list({id(s): s for s in self.of.values()}.values())


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return lines[0] if lines else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def reasons(report: TuneReport) -> dict[str, str]:
    """Why layers are left float, by name."""
    return {layer.layer: layer.reason for layer in report.layers if layer.reason}
