"""``octavo verify``: where, layer by layer, a quantized model departs from its float one, why, and what mends it.

The quantized model runs as ONNX spells it (literal=True). Each quantity that both models have is compared twice:
accumulated, as the whole quantized network delivers it, and in isolation, computed by its layer from the float model's
own inputs. Where activations stay float or are quantized at run time, quantities are the results of the products and
tables whose weights were quantized (report.matching).
Signal-to-quantization-noise ratio (SQNR) = 10 log10(sum x^2 / sum (x - y)^2) decibels.
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
from octavo.compress.prepare import dense_weights, prepare
from octavo.engine import Session
from octavo.errors import InvalidArgument
from octavo.images import ImageOptions
from octavo.onnx_export import export_model
from octavo.onnx_import import import_model
from octavo.passes import CANONICAL
from octavo.report.causes import Both, Evidence, find_cause
from octavo.report.matching import Alone, Quantity, isolated, match, match_products, path
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


class ByChannel:
    """Running sums of how far y is from x, a channel: axis 1 of images, the last one of anything else."""

    def __init__(self) -> None:
        self.xx: np.ndarray | None = None
        self.off: np.ndarray | None = None

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        if x.ndim < 2 or x.shape != y.shape or not x.size:
            return
        axis = 1 if x.ndim in (3, 4) else x.ndim - 1
        a, b = (np.moveaxis(v, axis, 0).reshape(v.shape[axis], -1).astype(np.float64) for v in (x, y))
        xx, off = (a * a).sum(1), ((a - b) ** 2).sum(1)
        if self.xx is None or self.off is None:
            self.xx, self.off = xx, off
        elif self.xx.shape == xx.shape:
            self.xx += xx
            self.off += off

    @property
    def typical(self) -> float | None:
        """The median channel's SQNR, of those that are not all zero."""
        if self.xx is None or self.off is None or not self.xx.any():
            return None
        live = self.xx > 0
        ratio = np.maximum(self.off[live] / self.xx[live], 10 ** (-PERFECT / 10))
        return float(-10 * np.log10(np.median(ratio)))


@dataclass
class LayerError:
    """One quantity. sqnr and cosine: accumulated; alone: the layer's own SQNR, of an input that of its integers;
    typical: the median channel's own; clipped: the share of the float values outside what its integers cover;
    saturated: the share of integers at their limits."""

    node: str
    op: str
    tensor: str
    sqnr: float
    alone: float | None
    typical: float | None
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

    def diagnosed(self) -> list[LayerError]:
        """The layers with a cause, root first: a wrong input spoils all that follows, then what loses most."""
        return sorted((e for e in self.worst_first() if e.cause), key=lambda e: e.op != "")

    def as_dict(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "agreement": self.agreement,
            "notes": self.notes,
            "layers": [finite(vars(layer)) for layer in self.layers],
        }


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
    dense_weights(rough)
    quantities = match(exact, rough)
    if not any(q.quantize for q in quantities):
        quantities = match_products(exact, rough)
    if not quantities:
        raise InvalidArgument(
            "the two models have no quantized tensor of the same name: is the second one made from the first?"
        )
    plain = Session(export_model(exact), optimize=False)
    if not {q.name for q in quantities} <= {*plain.values, *exact.inputs}:  # some are inside a Gelu that is one step
        plain = Session(export_model(exact), literal=True)
    literal = Session(export_model(rough), literal=True)
    samples = Calibration(data, plain.get_inputs(), images=images, limit=limit)
    alone, both = isolated(exact, rough, quantities), Both(exact, rough)
    watched = [Watched(both, q, alone.get(q.name)) for q in quantities]
    if histograms:
        for w in watched:
            w.evidence.histogram = Histogram()
    same = rows = done = 0
    for feeds in itertools.islice(samples, limit):
        values, first = observed(plain, feeds, {*exact.inputs, *(q.name for q in quantities)})
        values = {name: divided(x, both.scaled.get(name)) for name, x in values.items()}
        others, second = observed(literal, feeds, {q.restored for q in quantities})
        for w in watched:
            w.add(values, others)
        if isinstance(first, np.ndarray) and first.ndim > 1 and first.size:  # neither a list nor empty
            rows += first.shape[0]
            if first.shape == second.shape:
                same += int((rowwise(first) == rowwise(second)).sum())
        done += 1
        progress("comparing", done, min(limit, samples.total) if samples.total else limit)
    layers = [w.error() for w in watched]
    wrong = next((e for e in layers if e.op == "" and e.cause), None)
    for error in layers:
        if wrong is not None and error.op and "integers cover" in error.cause:  # ranges all follow from the inputs
            error.mend = f"mend the {wrong.node} first"
    report = VerifyReport(layers, done, same / rows if rows else None)
    if histograms:
        report.evidence = {w.quantity.name: w.evidence for w in watched}
        report.sample = next(iter(samples))
    return report


class Watched:
    """A quantity and what is known of its error so far."""

    def __init__(self, both: Both, quantity: Quantity, alone: Alone | None) -> None:
        self.quantity, self.alone = quantity, alone
        self.accumulated, self.own, self.channels = Distance(), Distance(), ByChannel()
        paths = None
        if alone is not None:
            paths = (path(both.exact, both.float_producers, quantity.name, set(alone.needs.values())), alone.nodes)
        self.evidence = Evidence(both, quantity.node, quantity.quantize, paths)

    def add(self, values: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
        """One sample: tensors of the float and of the quantized model by name."""
        x = values[self.quantity.name]
        self.accumulated.add(x, others[self.quantity.restored])
        self.evidence.add(x)
        if self.alone is not None:
            feeds = {raw: values[name] for raw, name in self.alone.needs.items()}
            y = self.alone.session.run(None, feeds)[0]
            self.own.add(x, y)
            self.channels.add(x, y)

    def error(self) -> LayerError:
        q, d, e, typical = self.quantity, self.accumulated, self.evidence, self.channels.typical
        is_input = q.node is q.quantize
        own = self.own.sqnr if self.alone is not None else d.sqnr if is_input else None
        maker = (f"input {q.name}", "") if is_input else q.maker or (q.node.name, q.node.op)
        found = LayerError(*maker, q.name, d.sqnr, own, typical, d.cosine, d.worst, e.clipped, e.saturated)
        found.cause, found.mend = find_cause(e, own, typical)
        return found


def divided(x: np.ndarray, divisors: np.ndarray | None) -> np.ndarray:
    """The float model's tensor as the quantized model has it, where equalization scaled its channels."""
    if divisors is None or x.ndim < 2 or x.shape[1] != len(divisors):
        return x
    return np.asarray(x / divisors.reshape(1, -1, *[1] * (x.ndim - 2)), x.dtype)


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


COLUMNS = ["layer", "op", "alone dB", "channel dB", "accum. dB", "cosine", "max error", "clipped", "saturated"]


def layer_cells(e: LayerError) -> list[str]:
    """A layer as the text and HTML tables show it, in the order of COLUMNS."""
    return [
        e.node, e.op, decibels(e.alone), decibels(e.typical), decibels(e.sqnr), f"{e.cosine:.5f}", f"{e.worst:.3g}",
        share(e.clipped), share(e.saturated),
    ]  # fmt: skip


def verify_text(report: VerifyReport, top: int | None = None) -> str:
    """A table, the worst layers first, and the causes in words."""
    layers = report.worst_first()[: top or None]
    lines = [table(COLUMNS, [layer_cells(e) for e in layers], left=("layer", "op"))]
    agreement = "" if report.agreement is None else f"; the largest output agrees on {100 * report.agreement:.1f} %"
    lines.append(f"\n{report.samples} samples{agreement}")
    shown = {id(e) for e in layers}
    for e in report.diagnosed():
        if id(e) in shown or e.op == "":
            lines.append(f"{e.node}: {e.cause}\n    {e.mend}")
    return "\n".join(lines)


def decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def share(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.2f} %"
