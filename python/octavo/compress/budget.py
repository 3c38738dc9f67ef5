"""The accuracy budget: the smallest or fastest mix of few-bit, int8 and float layers that keeps it on tuning data.

Layers are ranked one at a time by what quantizing nothing but them does to the network's outputs; the mixes that are
tried lie on one path, from all layers float to all at the fewest bits, on which each move has the least harm for what
it saves: the lower convex hull of every layer's choices, merged by slope. On that path the first mix that breaks the
budget is found by bisection, so that a search runs the tuning data a logarithmic number of times, and a looser budget
never ends at an earlier mix.

Sources: Y. Shoham, A. Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE Trans. ASSP 36(9),
1988 (the hull); Z. Yao et al., "HAWQ-V3: Dyadic Neural Network Quantization", ICML 2021 (that layers' harms add up).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from octavo.compress.calibrate import Progress, silent
from octavo.compress.data import Calibration, Part
from octavo.compress.judge import Judge
from octavo.compress.options import FLOAT, Options
from octavo.compress.record import BudgetPoint, BudgetReport, Sensitivity
from octavo.compress.static import Calibrated
from octavo.compress.units import Unit, units_of
from octavo.engine import Session
from octavo.errors import InvalidArgument, Unsupported
from octavo.ir import Graph
from octavo.onnx_export import export_model

SAMPLES = 16  # that layers are ranked on
PERFECT = 200.0  # decibels; equal outputs
FINAL = ("Softmax", "LogSoftmax", "Sigmoid")  # outputs are compared before these flatten them
NEGLIGIBLE = 1e-9
NAMED = 5  # layers an error names
PREFER = ("size", "speed")
Bits = int | str


@dataclass
class Move:
    """Takes a unit from float, or from more bits, to fewer: what it saves (bytes or ms) and the harm it does."""

    unit: Unit
    bits: Bits
    saves: float
    harm: float


def search(
    work: Calibrated,
    options: Options,
    judge: Judge,
    max_drop: float,
    *,
    prefer: str = "size",
    mix: Sequence[Bits] | None = None,
    times: Mapping[str, tuple[float, float]] | None = None,
    held: Held | None = None,
    progress: Progress = silent,
) -> tuple[Options, BudgetReport]:
    """Options with layer_bits for each layer, and the account of the search.

    Layers that options.layer_bits names keep what it says. max_drop: in judge's points below the float model.
    held: samples that are kept from calibration, to measure noise on.
    mix: the bits that layers may have, "float" among them. times: ms of each unit as int8 and float, to prefer speed.

    Raises InvalidArgument for a wrong argument; Unsupported, naming the layers that stop it, when no mix keeps the
    budget.
    """
    placement = work.place(options)
    units = [u for u in units_of(work.graph, placement) if u.name not in options.layer_bits]
    levels = checked_mix(mix, options, work.graph.opset, prefer)
    heard, work.progress = work.progress, silent
    try:
        part, data = (held.work, Part(judge.data, held.out)) if held is not None else (work, judge.data)
        found = sensitivities(part, data, options, units, levels, progress)
        tried = Tried(work, options, judge, max_drop, held, progress)
        base: dict[str, Bits] = {u.name: levels[0] for u in units if u.weights}
        results = [best_mix(tried, path(work.graph, units, levels, found, prefer, times))]
        if FLOAT in levels and tried.point(base).met:  # then mixes without float layers may be smaller than those with
            results.append(best_mix(tried, path(work.graph, units, levels[:-1], found, prefer, times)))
    finally:
        work.progress = heard
    report = BudgetReport(max_drop, judge.measure, prefer, judge.exact, judge.rows, found, tried.points)
    kept = [p for p in results if p is not None]
    if not kept:
        raise Unsupported(stopped(report, levels))
    chosen = min(kept, key=lambda p: p.bytes) if prefer == "size" else kept[0]
    report.chosen = tried.points.index(chosen)
    fewest = [b for b in levels if b != FLOAT][-1]
    whole = {u.name for u in units if chosen.layer_bits.get(u.name, fewest) != fewest}
    report.stops = [s.layer for s in worst_first([s for s in found if s.bits == levels[0]]) if s.layer in whole]
    if judge.rows and 100.0 / judge.rows > max_drop:
        report.notes.append(
            f"{judge.rows} samples tell {100.0 / judge.rows:.1f} points apart at best: "
            f"max_drop={max_drop:g} allows no loss at all"
        )
    return options.with_layers(chosen.layer_bits), report


@dataclass
class Held:
    """Samples of the calibration data kept out: work is calibrated on the others; out tells theirs by number."""

    work: Calibrated
    out: Callable[[int], bool]


class Tried:
    """The mixes that were tried, each once."""

    def __init__(
        self,
        work: Calibrated,
        options: Options,
        judge: Judge,
        max_drop: float,
        held: Held | None = None,
        progress: Progress = silent,
    ) -> None:
        self.work, self.options, self.judge, self.max_drop = work, options, judge, max_drop
        self.held, self.progress = held, progress
        self.points = [BudgetPoint("float", judge.exact, 0.0, export_model(work.graph).ByteSize(), True)]
        self.known: dict[frozenset[tuple[str, Bits]], BudgetPoint] = {}

    def point(self, layers: Mapping[str, Bits]) -> BudgetPoint:
        key = frozenset(layers.items())
        if key not in self.known:
            options = self.options.with_layers(layers)
            proto = export_model(self.work.quantize(options, {}).graph)
            session = Session(proto)
            score = self.judge.score(session)
            drop = self.judge.exact - score
            point = BudgetPoint("", score, drop, proto.ByteSize(), drop <= self.max_drop + NEGLIGIBLE, dict(layers))
            if point.met and self.judge.metric is None:
                point.expected, point.error = self.expected(session, options)
                point.met = point.expected + point.error <= self.max_drop + NEGLIGIBLE
            counts = Counter(layers.values())
            point.name = ", ".join(
                f"{counts[b]} {b if b == FLOAT else f'{b}-bit'}" for b in sorted(counts, key=str, reverse=True)
            )
            self.known[key] = point
            self.points.append(self.known[key])
            self.progress("searching", len(self.points) - 1, None)
        return self.known[key]

    def expected(self, session: Session, options: Options) -> tuple[float, float]:
        """The drop that the mix's noise leads to, measured on samples that calibrated nothing, where there are."""
        if self.held is None:
            return self.judge.expected(self.judge.noise(session))
        part = Session(export_model(self.held.work.quantize(options, {}).graph))
        return self.judge.expected(self.judge.noise(part, self.held.out))


def best_mix(tried: Tried, route: tuple[list[Move], dict[str, Bits]]) -> BudgetPoint | None:
    """The mix before the first on the path that is not met, as far as halving finds it; None: not even one is."""
    moves, start = route

    def at(k: int) -> BudgetPoint:
        layers = dict(start)
        for move in moves[:k]:
            layers[move.unit.name] = move.bits
            if not move.unit.weights:  # quantized: what has no weights has no bits to give
                del layers[move.unit.name]
        return tried.point(layers)

    if at(len(moves)).met:
        return at(len(moves))
    low, high = 0, len(moves)
    if FLOAT not in start.values() and not at(0).met:  # all float is the model itself: kept, and no result
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle).met else (low, middle)
    return at(low) if low or FLOAT not in start.values() else None


def checked_mix(mix: Sequence[Bits] | None, options: Options, opset: int, prefer: str) -> list[Bits]:
    """Bits in falling order of size, without those that the file could not store smaller; "float" is put last."""
    base = options.weight_bits
    usual = (base, FLOAT) if prefer == "speed" else (base, 4, FLOAT)
    given = list(mix) if mix is not None else list(dict.fromkeys(usual))
    integers = sorted({b for b in given if b != FLOAT}, key=lambda b: -stored_bits(options, b, opset))
    if not integers or any(given.count(b) > 1 for b in given):
        raise InvalidArgument("mix names bits of weights, each once, and 'float': such as (4, 8, 'float')")
    kept: list[Bits] = []
    for bits in integers:
        if not kept or stored_bits(options, bits, opset) < stored_bits(options, kept[-1], opset):
            kept.append(bits)
    return [*kept, FLOAT] if FLOAT in given else kept


def stored_bits(options: Options, bits: Bits, opset: int) -> int:
    """Of a weight in the file."""
    name = options.with_layers({"": bits}).weights_of("").stored(opset).name
    return int(name.lstrip("uint"))


def sensitivities(
    work: Calibrated, data: Calibration, options: Options, units: list[Unit], levels: list[Bits], progress: Progress
) -> list[Sensitivity]:
    """Of each unit, at each of its bits: noise against signal at the outputs when nothing else is quantized."""
    probe = Probe(work, data)
    for bits in levels:
        if bits != FLOAT:  # all of them at once, so that they are rounded in one reading of the data
            work.quantize(options.with_layers({u.name: bits for u in units if u.weights}), {})
    tasks = [(u, b) for u in units for b in (levels if u.weights else levels[:1]) if b != FLOAT]
    found = []
    for done, (unit, bits) in enumerate(tasks, 1):
        layers: dict[str, Bits] = {u.name: FLOAT for u in units if u is not unit}
        layers |= dict.fromkeys(options.layer_bits, FLOAT)
        if unit.weights:
            layers[unit.name] = bits
        noise = probe.noise(work.quantize(options.with_layers(layers), {}).graph)
        db = PERFECT if noise == 0 else max(-PERFECT, min(PERFECT, -10 * math.log10(noise)))
        size = unit.weights * stored_bits(options, bits, work.graph.opset) // 8
        found.append(Sensitivity(unit.name, unit.head.op, bits, noise, db, size))
        progress("measuring layers", done, len(tasks))
    return found


class Probe:
    """The float model's outputs on some samples, kept to compare others with."""

    def __init__(self, work: Calibrated, data: Calibration) -> None:
        graph = work.graph
        makers = graph.producers()
        self.outputs: list[tuple[str, str]] = []
        for public, value in graph.outputs:
            maker = makers.get(value)
            name = maker.inputs[0] if maker is not None and maker.is_op(*FINAL) else value
            if maker is not None and graph.dtype(name) == np.float32 and name in makers:
                self.outputs.append((public, name))
        if not self.outputs:
            raise Unsupported("no output is float: layers cannot be ranked by what they do to it")
        self.feeds = list(itertools.islice(data, SAMPLES))
        self.exact = self.run(graph)

    def run(self, graph: Graph) -> list[list[np.ndarray]]:
        probed, _ = graph.copied()
        probed.outputs = list(self.outputs)
        probed.drop_dead()
        wanted = set(probed.inputs)
        session = Session(export_model(probed))
        return [session.run(None, {k: v for k, v in f.items() if k in wanted}) for f in self.feeds]

    def noise(self, graph: Graph) -> float:
        """Sum of squared differences over that of the outputs, averaged over outputs."""
        got = self.run(graph)
        shares = []
        for k in range(len(self.outputs)):
            off = signal = 0.0
            for want, have in zip(self.exact, got):
                x, y = want[k].reshape(-1).astype(np.float64), have[k].reshape(-1).astype(np.float64)
                if x.shape != y.shape:  # as many boxes as the network found
                    return math.inf
                off += float((x - y) @ (x - y))
                signal += float(x @ x)
            shares.append(off / signal if signal else float(off > 0))
        return float(np.mean(shares))


def path(
    graph: Graph,
    units: list[Unit],
    levels: list[Bits],
    found: list[Sensitivity],
    prefer: str,
    times: Mapping[str, tuple[float, float]] | None,
) -> tuple[list[Move], dict[str, Bits]]:
    """Moves from the layers as they start (float, or at the most bits) in the order of harm for what they save."""
    harms = {(s.layer, s.bits): s.noise for s in found}
    sizes = {(s.layer, s.bits): s.bytes for s in found}
    start: dict[str, Bits] = {
        u.name: FLOAT if levels[-1] == FLOAT else levels[0] for u in units if levels[-1] == FLOAT or u.weights
    }
    moves = []
    for unit in units:
        choices: list[tuple[Bits, float, float]] = [(FLOAT, 0.0, 0.0)]  # bits, what they save against float, harm
        for bits in levels[:-1] if levels[-1] == FLOAT else levels:
            if (unit.name, bits) in harms:
                whole = 4 * unit.weights or 4 * elements(graph, unit)
                size = sizes[unit.name, bits] or elements(graph, unit)
                ms = (times or {}).get(unit.name, (0.0, 0.0))
                choices.append(
                    (bits, ms[1] - ms[0] if prefer == "speed" else float(whole - size), harms[unit.name, bits])
                )
        if levels[-1] != FLOAT:
            choices = choices[1:]
        moves += hull(unit, choices)
    moves.sort(key=lambda m: m.harm / m.saves)  # stable: a unit's own moves keep their order
    return moves, start


def hull(unit: Unit, choices: list[tuple[Bits, float, float]]) -> list[Move]:
    """The moves along the lower convex hull of (saving, harm): slopes rise from one to the next."""
    kept = choices[:1]
    for choice in choices[1:]:
        if choice[1] <= kept[-1][1]:  # saves nothing
            continue
        while len(kept) > 1 and slope(kept[-2], kept[-1]) >= slope(kept[-1], choice):
            kept.pop()
        kept.append(choice)
    return [Move(unit, b[0], b[1] - a[1], max(b[2] - a[2], 0.0)) for a, b in itertools.pairwise(kept)]


def slope(a: tuple[Bits, float, float], b: tuple[Bits, float, float]) -> float:
    return max(b[2] - a[2], 0.0) / (b[1] - a[1])


def elements(graph: Graph, unit: Unit) -> int:
    """Of the unit's result, for a batch of one."""
    shape = graph.shape(unit.nodes[-1].outputs[0]) or ()
    return math.prod(d if isinstance(d, int) else 1 for d in shape) or 1


def worst_first(found: Sequence[Sensitivity]) -> list[Sensitivity]:
    return sorted(found, key=lambda s: -s.noise)


def stopped(report: BudgetReport, levels: list[Bits]) -> str:
    """Why no mix keeps the budget, for an error."""
    least = min(p.worst for p in report.points[1:])
    worst = {s.layer: s for s in reversed(worst_first(report.sensitivities))}  # of each layer, at its fewest bits
    names = ", ".join(
        f"'{s.layer}' ({s.sqnr:.1f} dB at {s.bits} bits)" for s in worst_first(list(worst.values()))[:NAMED]
    )
    mend = "" if FLOAT in levels else "; let layers stay float (mix)"
    return (
        f"no mix of quantized layers keeps max_drop={report.max_drop:g}: the best of {len(report.points) - 1} tried "
        f"loses {least:.2f} points of {report.measure}. The layers that stop it, the most sensitive first: "
        f"{names}. Allow a larger drop, or calibrate and tune on more data{mend}"
    )


def reasons(report: BudgetReport) -> dict[str, str]:
    """Why layers are left float, by name."""
    chosen = report.points[report.chosen]
    db = {s.layer: s.sqnr for s in reversed(report.sensitivities)}
    return {
        name: f"left float to keep max_drop={report.max_drop:g}: alone in integers it leaves {db.get(name, 0.0):.1f} dB"
        for name, bits in chosen.layer_bits.items()
        if bits == FLOAT
    }
