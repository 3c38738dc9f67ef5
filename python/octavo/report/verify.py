"""``octavo verify``: where, layer by layer, a quantized model departs from its float one, why, and what mends it.

The quantized model runs as ONNX spells it (literal=True). Each quantity that both models have is compared twice:
accumulated, as the whole quantized network delivers it, and in isolation, computed by its layer from the float model's
own inputs. Signal-to-quantization-noise ratio (SQNR) = 10 log10(sum x^2 / sum (x - y)^2) decibels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from octavo.compress.calibrate import Progress, silent
from octavo.compress.data import Calibration, Feeds
from octavo.compress.histogram import Histogram
from octavo.compress.prepare import prepare
from octavo.engine import Session
from octavo.errors import InvalidArgument
from octavo.images import ImageOptions
from octavo.ir import Graph, Node
from octavo.onnx_export import export_model
from octavo.onnx_import import import_model
from octavo.passes import CANONICAL
from octavo.report.causes import Evidence, find_cause
from octavo.report.table import table

LIMIT = 32
PERFECT = 200.0  # decibels; equal tensors


class Distance:
    """Running sums of how far y is from x."""

    def __init__(self) -> None:
        self.xx = self.yy = self.xy = self.off = 0.0
        self.worst = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        a, b = x.reshape(-1).astype(np.float64), y.reshape(-1).astype(np.float64)
        self.xx += float(a @ a)
        self.yy += float(b @ b)
        self.xy += float(a @ b)
        off = a - b
        self.off += float(off @ off)
        self.worst = float(np.maximum(self.worst, np.abs(off).max(initial=0)))  # keeps NaN

    @property
    def sqnr(self) -> float:
        if self.off == 0:
            return PERFECT
        return 10 * math.log10(self.xx / self.off) if self.xx > 0 else -PERFECT

    @property
    def cosine(self) -> float:
        size = math.sqrt(self.xx * self.yy)
        return self.xy / size if size > 0 else float(self.xx == self.yy)


def finite(entries: Mapping[str, Any]) -> dict[str, Any]:
    """For JSON, which has no word for infinity and NaN: null instead."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entries.items()}


@dataclass
class LayerError:
    """One quantity. sqnr and cosine: accumulated; alone: the layer's own SQNR; clipped: the share of the float values
    outside what its integers cover; saturated: the share of integers at their limits."""

    node: str
    op: str
    tensor: str
    sqnr: float
    alone: float | None
    cosine: float
    worst: float
    clipped: float | None = None
    saturated: float | None = None
    cause: str = ""
    mend: str = ""


@dataclass
class VerifyReport:
    """Layers in order of computation. evidence, by tensor, and the first sample: for a page, where asked for."""

    layers: list[LayerError]
    samples: int
    agreement: float | None  # share of rows of output 1 whose largest element is the same
    notes: list[str] = field(default_factory=list)
    evidence: dict[str, Evidence] = field(default_factory=dict, repr=False)
    sample: Feeds | None = field(default=None, repr=False)

    def worst_first(self) -> list[LayerError]:
        """By what each layer loses itself; quantities that could not be isolated come last, by what has accumulated."""
        return sorted(self.layers, key=lambda e: (e.alone is None, e.sqnr if e.alone is None else e.alone))

    def as_dict(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "agreement": self.agreement,
            "notes": self.notes,
            "layers": [finite(vars(layer)) for layer in self.layers],
        }


@dataclass
class Quantity:
    """A tensor of both models. raw: what the quantized model's QuantizeLinear reads, where there is one."""

    name: str  # in the float model
    restored: str  # in the quantized model
    raw: str
    node: Node  # the last node that computes it, before it is quantized
    quantize: Node | None


def verify(
    float_model: Any,
    quantized_model: Any,
    data: Any,
    *,
    limit: int = LIMIT,
    images: ImageOptions | None = None,
    histograms: bool = False,
    progress: Progress = silent,
) -> VerifyReport:
    """Compares a quantized model with the float model it was made of.

    Models: paths, bytes or onnx.ModelProto; data: as :class:`octavo.compress.data.Calibration` takes it, at most
    `limit` samples of it. histograms: keep what a page shows (report.evidence, with a histogram of each quantity).
    Quantities are matched by name: octavo.quantize keeps them, and so do onnxruntime and NNCF.

    Raises InvalidArgument when the two models have no quantity in common, and what loading and running raises.
    """
    exact, _ = prepare(float_model, 13)
    rough = import_model(quantized_model)
    for run in CANONICAL:
        run(rough)
        rough.sort()
        rough.drop_dead()
    quantities = match(exact, rough)
    if not any(q.quantize for q in quantities):
        raise InvalidArgument(
            "the two models have no quantized tensor of the same name: is the second one made from the first?"
        )
    plain = Session(export_model(exact), optimize=False)
    if not {q.name for q in quantities} <= {*plain.values, *exact.inputs}:  # some are inside a Gelu that is one step
        plain = Session(export_model(exact), literal=True)
    literal = Session(export_model(rough), literal=True)
    samples = Calibration(data, plain.get_inputs(), images=images, limit=limit)
    alone = isolated(rough, quantities)
    accumulated = {q.name: Distance() for q in quantities}
    own = {q.name: Distance() for q in quantities}
    evidence = {q.name: Evidence(exact, rough, q.node, q.quantize) for q in quantities}
    if histograms:
        for e in evidence.values():
            e.histogram = Histogram()
    same = rows = done = 0
    for feeds in itertools.islice(samples, limit):
        values, first = observed(plain, feeds, {q.name for q in quantities})
        others, second = observed(literal, feeds, {q.restored for q in quantities})
        for q in quantities:
            x = values[q.name]
            accumulated[q.name].add(x, others[q.restored])
            evidence[q.name].add(x)
            if q.name in alone:
                session, needs = alone[q.name]
                own[q.name].add(x, session.run(None, {raw: values[name] for raw, name in needs.items()})[0])
        if isinstance(first, np.ndarray) and first.ndim > 1 and first.size:  # neither a list nor empty
            rows += first.shape[0]
            if first.shape == second.shape:
                same += int((rowwise(first) == rowwise(second)).sum())
        done += 1
        progress("comparing", done, min(limit, samples.total) if samples.total else limit)
    layers = []
    for q in quantities:
        d, e = accumulated[q.name], evidence[q.name]
        own_sqnr = own[q.name].sqnr if q.name in alone else None
        maker = (f"input {q.name}", "") if q.node is q.quantize else (q.node.name, q.node.op)
        error = LayerError(*maker, q.name, d.sqnr, own_sqnr, d.cosine, d.worst, e.clipped, e.saturated)
        error.cause, error.mend = find_cause(e, own_sqnr)
        layers.append(error)
    report = VerifyReport(layers, done, same / rows if rows else None)
    if histograms:
        report.evidence, report.sample = evidence, next(iter(samples))
    return report


def rowwise(y: np.ndarray) -> np.ndarray:
    return np.asarray(y.reshape(y.shape[0], -1).argmax(1))


def observed(
    session: Session, feeds: dict[str, np.ndarray], names: set[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Values by name (inputs and constants of the call included) and output 1."""
    found = {name: feeds[name] for name in names if name in feeds}

    def see(name: str, array: np.ndarray) -> None:
        found[name] = np.array(array)

    outputs = session.observe(feeds, [n for n in session.values if n in names], see)
    return found, outputs[0]


def match(exact: Graph, rough: Graph) -> list[Quantity]:
    """The quantities of both models, in order of computation in the quantized one; graph inputs among them."""
    known = {out for node in exact.nodes for out in node.outputs} | set(exact.inputs)
    producers, readers = rough.producers(), rough.readers()
    found: list[Quantity] = []
    taken: set[str] = set()
    for node in rough.nodes:
        if node.is_op("QuantizeLinear"):
            raw = node.inputs[0]
            ends = [r for r in readers.get(node.outputs[0], []) if r.is_op("DequantizeLinear")]
            names = [n for n in (*(e.outputs[0] for e in ends), raw) if n in known and n not in taken]
            if not ends or not names:
                continue
            maker = producers.get(raw, node)
            found.append(Quantity(names[0], ends[0].outputs[0], raw, maker, node))
            taken.update((names[0], raw))
    quantized = {q.raw for q in found}
    for public, value in rough.outputs:
        last = producers.get(value)
        name = next((v for p, v in exact.outputs if p == public), "")
        if name and last is not None and not last.is_op("DequantizeLinear") and value not in quantized | taken:
            found.append(Quantity(name, value, value, last, None))
    return found


def isolated(rough: Graph, quantities: list[Quantity]) -> dict[str, tuple[Session, dict[str, str]]]:
    """For each quantity the session that computes it alone, and its feeds: input -> quantity of the float model.

    What computes it reaches back to the nearest quantized tensors, whose own rounding is part of it.
    """
    producers = rough.producers()
    by_raw = {q.raw: q.name for q in quantities if q.quantize is not None}
    found = {}
    for q in quantities:
        if q.quantize is not None and q.node is q.quantize:
            continue  # a graph input: nothing computes it
        needs: dict[str, str] = {}
        nodes: list[Node] = []
        if collect(producers, by_raw, rough, q.restored, q.raw, needs, nodes) and needs:
            part, twins = rough.copied()
            part.nodes = [twins[id(n)] for n in rough.nodes if n in nodes]
            part.inputs = list(needs)
            part.outputs = [(q.restored, q.restored)]
            for raw in needs:
                rank = part.rank(raw)
                part.values[raw].shape = (None,) * (rank if rank is not None else 4)
            found[q.name] = (Session(export_model(part)), needs)
    return found


def collect(
    producers: dict[str, Node],
    by_raw: dict[str, str],
    graph: Graph,
    value: str,
    own: str,
    needs: dict[str, str],
    nodes: list[Node],
) -> bool:
    """Gathers the nodes that compute `value`; False when one of them reads what the float model does not have."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if graph.const(value) is not None:
            continue
        if value != own and value in by_raw:
            needs[value] = by_raw[value]
            continue
        maker = producers.get(value)
        if maker is None:
            return False  # an input that is not quantized
        if maker not in nodes:
            nodes.append(maker)
            waiting += [name for name in maker.inputs if name]
    return True


def verify_text(report: VerifyReport, top: int | None = None) -> str:
    """A table, the worst layers first, and the causes in words."""
    layers = report.worst_first()[: top or None]
    rows = [
        [
            e.node, e.op, "-" if e.alone is None else f"{e.alone:.1f}", f"{e.sqnr:.1f}", f"{e.cosine:.5f}",
            f"{e.worst:.3g}", share(e.clipped), share(e.saturated),
        ]
        for e in layers
    ]  # fmt: skip
    headers = ["layer", "op", "alone dB", "accum. dB", "cosine", "max error", "clipped", "saturated"]
    lines = [table(headers, rows, left=("layer", "op"))]
    agreement = "" if report.agreement is None else f"; the largest output agrees on {100 * report.agreement:.1f} %"
    lines.append(f"\n{report.samples} samples{agreement}")
    for e in layers:
        if e.cause:
            lines.append(f"{e.node}: {e.cause}\n    {e.mend}")
    return "\n".join(lines)


def share(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.2f} %"
