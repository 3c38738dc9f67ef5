"""What quantize() tells about its work, to its caller and in the file it writes.

The file's metadata_props hold JSON: ``octavo.quantize`` (options, and layers in groups of the same fate) and, after
tune, ``octavo.tune`` (where it was measured, the layers left float and their times).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from octavo.ir import Graph

QUANTIZE, TUNE = "octavo.quantize", "octavo.tune"


@dataclass
class LayerReport:
    """One node: what became of it. method: how its first operand's range was chosen.

    weights: how its constant weights are stored ("int4, 32 a scale"); "" where it has none that are quantized.
    """

    name: str
    op: str
    kind: str  # "int8", "int16", "weight_only", "float"
    reason: str = ""  # why octavo computes it in float
    lo: float | None = None
    hi: float | None = None
    method: str = ""
    weights: str = ""


@dataclass
class Result:
    """A quantized copy of a graph; the decisions behind it."""

    graph: Graph
    layers: list[LayerReport]
    notes: list[tuple[str, str]]


@dataclass
class Sensitivity:
    """What quantizing one layer alone, to so many bits, does to the outputs. noise: its power against the signal's;
    sqnr: the same in decibels; bytes: of the layer's weights then."""

    layer: str
    op: str
    bits: int | str
    noise: float
    sqnr: float
    bytes: int


@dataclass
class BudgetPoint:
    """A mix that was tried.

    score, drop: in points; expected, error: the drop that noise measured on samples that calibrated nothing leads to,
    and its standard error (octavo.compress.judge), None for a metric and where the count already broke the budget;
    met: both are within the budget; layer_bits: what it is made with.
    """

    name: str
    score: float
    drop: float
    bytes: int
    met: bool
    layer_bits: dict[str, int | str] = field(default_factory=dict)
    expected: float | None = None
    error: float | None = None

    @property
    def worst(self) -> float:
        """The drop that is held against the budget."""
        return max(self.drop, (self.expected or 0.0) + (self.error or 0.0)) if self.error is not None else self.drop


@dataclass
class BudgetReport:
    """How the accuracy budget was kept.

    measure: "metric", "accuracy" or "agreement"; float_score: the float model's; rows: that were judged.
    points: what was tried, in order, the float model first; chosen: the number of the one that became the result.
    stops: layers that the budget kept from the fewest bits of the mix, the most sensitive first.
    """

    max_drop: float
    measure: str
    prefer: str
    float_score: float
    rows: int
    sensitivities: list[Sensitivity]
    points: list[BudgetPoint]
    chosen: int = 0
    stops: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = ("sensitivities", "points")
        return {k: [dict(vars(e)) for e in v] if k in parts else v for k, v in vars(self).items()}


@dataclass
class LayerTime:
    """Milliseconds of a layer and what is fused with it on integers and in float. reason: why it was left in float, or
    nothing."""

    layer: str
    op: str
    integer_ms: float
    float_ms: float
    reason: str = ""


@dataclass
class TuneTrial:
    """Milliseconds of the whole network with these layers in float."""

    left_float: list[str]
    ms: float


@dataclass
class TuneReport:
    """What was timed where. trials: whole networks, first without and last with all layers in float; chosen: the number
    of the one that became the result."""

    isa: str
    threads: int
    cpu: str
    layers: list[LayerTime]
    trials: list[TuneTrial]
    chosen: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = ("layers", "trials")
        return {k: [dict(vars(e)) for e in v] if k in parts else v for k, v in vars(self).items()}


@dataclass
class QuantizeReport:
    """What quantize() did. model: the onnx.ModelProto; path: where it was written, if anywhere."""

    model: Any
    path: str | None
    layers: list[LayerReport]
    notes: list[tuple[str, str]]
    samples: int
    bytes_before: int
    bytes_after: int
    options: dict[str, Any] = field(default_factory=dict)
    budget: BudgetReport | None = None
    tune: TuneReport | None = None

    @property
    def float_layers(self) -> list[LayerReport]:
        return [layer for layer in self.layers if layer.kind == "float"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the model."""
        return {
            "path": self.path,
            "samples": self.samples,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "options": self.options,
            "layers": [vars(layer) for layer in self.layers],
            "notes": [list(note) for note in self.notes],
            "tune": None if self.tune is None else self.tune.as_dict(),
            "budget": None if self.budget is None else self.budget.as_dict(),
        }


def quantize_record(options: Mapping[str, Any], layers: Sequence[LayerReport]) -> str:
    """For metadata_props; what each layer became is told by the layers, not by the options that say so."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for layer in layers:
        groups.setdefault((layer.kind, layer.weights, layer.method, layer.reason), []).append(layer.name)
    told = [
        {k: v for k, v in zip(("kind", "weights", "method", "reason"), fate) if v} | {"nodes": names}
        for fate, names in groups.items()
    ]
    kept = {k: v for k, v in options.items() if k not in ("exclude", "layer_bits")}
    return json.dumps({"options": kept, "layers": told}, separators=(",", ":"))


def tune_record(report: TuneReport) -> str:
    """For metadata_props: where it was timed, and [ms on integers, ms in float] of each layer left in float."""
    left = {t.layer: [round(t.integer_ms, 5), round(t.float_ms, 5)] for t in report.layers if t.reason}
    where = {"isa": report.isa, "threads": report.threads, "cpu": report.cpu}
    return json.dumps({**where, "left_float": left}, separators=(",", ":"))


def read_record(metadata: Mapping[str, str], key: str = QUANTIZE) -> dict[str, Any]:
    """What a file says of itself; nothing where it holds no such record, or not one of octavo's making."""
    try:
        found = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def recorded_groups(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """The groups of layers of a file's record that are well formed."""
    groups = read_record(metadata).get("layers", [])
    return [
        g
        for g in (groups if isinstance(groups, list) else [])
        if isinstance(g, dict) and isinstance(g.get("nodes"), list) and all(isinstance(n, str) for n in g["nodes"])
    ]


def recorded_reasons(metadata: Mapping[str, str]) -> dict[str, str]:
    """Node -> why quantize() left it float."""
    return {
        node: str(group["reason"])
        for group in recorded_groups(metadata)
        if group.get("kind") == "float" and group.get("reason")
        for node in group["nodes"]
    }


def record_text(metadata: Mapping[str, str]) -> list[str]:
    """What a file says of itself, for people; nothing where it says nothing."""
    groups = recorded_groups(metadata)
    if not groups:
        return []
    options = read_record(metadata).get("options", {})
    options = options if isinstance(options, dict) else {}
    told = ("rounding",) if options.get("mode") == "weight_only" else ("activations", "method", "rounding")
    chosen = [f"{k} {options[k]}" for k in told if k in options]
    counts: dict[str, int] = {}
    for group in groups:
        kind, weights = str(group.get("kind", "int8")), group.get("weights")
        kind += f" (weights {weights})" if weights else ""
        counts[kind] = counts.get(kind, 0) + len(group["nodes"])
    lines = ["Quantized by octavo: " + ", ".join([*chosen, *(f"{n} nodes {kind}" for kind, n in counts.items())])]
    tune = read_record(metadata, TUNE)
    left = tune.get("left_float")
    if isinstance(left, dict):
        where = ", ".join(str(tune[k]) for k in ("cpu", "isa") if k in tune) + f", {tune.get('threads')} thread(s)"
        lines.append(f"Tuned on {where}: {len(left)} layers left float" + "".join(f"; {n}" for n in list(left)[:8]))
    return lines
