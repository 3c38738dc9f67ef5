"""``octavo compare``: what a model gives up against another, and what for: accuracy, size, latency and memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from octavo.compress.calibrate import Progress, silent
from octavo.compress.data import Calibration, Feeds
from octavo.compress.labels import class_rows, numeric, read_labels
from octavo.engine import BoundRun, Session
from octavo.errors import InvalidArgument, Unsupported
from octavo.feeds import TensorInfo, did_you_mean, quoted
from octavo.images import ImageOptions
from octavo.report.bench import batch_of, latency
from octavo.report.paired import paired_interval
from octavo.report.table import size, table
from octavo.report.verify import Distance, finite
from octavo.timing import time_interleaved

Metric = Callable[[Session], float]
EXTERNAL = (".data", "_data")  # endings of the files that hold an ONNX file's large weights


@dataclass
class ModelFigures:
    """One model. accuracy: the share of samples whose largest element of output 1 is the label's."""

    model: str
    file_bytes: int
    weight_bytes: int  # packed weights the core holds
    arena_bytes: int  # activations of a run
    median_ms: float
    min_ms: float
    p99_ms: float
    runs: int
    accuracy: float | None = None
    metric: float | None = None

    @property
    def memory(self) -> int:
        return self.weight_bytes + self.arena_bytes


@dataclass
class OutputFigures:
    """How far one output is from the first model's. other_shapes: samples left out, whose shapes differ."""

    name: str
    sqnr: float
    cosine: float
    max_difference: float
    other_shapes: int = 0


@dataclass
class Pair:
    """A model against the first one.

    agreement: the share of rows with the same largest element; None where output 1 is no row of classes.
    gained, lost: samples that only this model, or only the first, gets right. difference: of the two accuracies;
    low, high: its 95 % interval (report.paired).
    """

    model: str
    outputs: list[OutputFigures]
    agreement: float | None = None
    gained: int | None = None
    lost: int | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass
class CompareReport:
    """samples: how many were run; rows: of output 1 over all of them; labelled: whether they have labels."""

    models: list[ModelFigures]
    pairs: list[Pair]
    samples: int
    rows: int
    labelled: bool
    threads: int
    isa: str
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: null for what is not finite."""
        return {
            "models": [finite(vars(m)) for m in self.models],
            "pairs": [{**finite(vars(p)), "outputs": [finite(vars(o)) for o in p.outputs]} for p in self.pairs],
            **{k: v for k, v in vars(self).items() if k not in ("models", "pairs")},
        }


def compare(
    a: Any,
    b: Any,
    data: Any,
    *,
    others: Sequence[Any] = (),
    labels: Any = None,
    label_offset: int = 0,
    classes: bool = True,
    metric: Metric | None = None,
    skip: int = 0,
    limit: int | None = None,
    images: ImageOptions | None = None,
    threads: int | None = None,
    rounds: int = 10,
    progress: Progress = silent,
) -> CompareReport:
    """Runs models on the same samples and judges each against the first.

    a, b, others: paths (ONNX or ``.octavo``), bytes or onnx.ModelProto with the same inputs.
    data: as :class:`octavo.compress.data.Calibration` takes it; skip: samples at its start that are left out, such as
        those that calibrated; limit: at most so many after them.
    labels: true classes, one a sample (:func:`octavo.compress.labels.read_labels`). label_offset: the element of output
        1 that stands for label 0. Without labels models are judged by how often they agree.
    classes: an output 1 of [N, C] (axes of 1 aside, C of 2 or more) is taken for rows of classes; False: it is none,
        but an embedding, say.
    metric: called with a Session of each model; what it returns is reported beside the rest.
    rounds: of about 30 ms for each model, in turns, over the first sample; threads: as Session takes it.

    Labels count rows, where a sample is a batch of several. Memory stays that of one sample. Raises InvalidArgument
    when the models' inputs differ, when they have no output in common, or when the labels do not fit; and what loading
    and running raises.
    """
    if skip < 0 or (limit is not None and limit < 1) or rounds < 1:
        raise InvalidArgument("skip should be 0 or more, limit and rounds 1 or more")
    given = [a, b, *others]
    names = model_names(given)
    sessions = [Session(m, threads=threads) for m in given]
    keys = [input_names(sessions[0], s, names[0], n) for s, n in zip(sessions, names)]
    first, total = sessions[0], None if limit is None else skip + limit
    samples = Calibration(data, first.get_inputs(), images=images, limit=total)
    truth = read_labels(labels, data)
    judge = Judge(sessions, names, truth, label_offset, classes)
    single = isinstance(data, (str, os.PathLike, np.ndarray))  # a sample is a row
    if truth is not None and single and samples.total not in (None, len(truth)):
        raise InvalidArgument(f"there are {len(truth)} labels for {samples.total} samples")
    kept: Feeds = {}
    expected = total if samples.total is None else min(samples.total, total or samples.total)
    for count, feeds in enumerate(samples, 1):
        if count <= skip:
            judge.passed += batch_of(feeds)
            continue
        kept = kept or feeds
        judge.add([s.run(None, renamed(feeds, key)) for s, key in zip(sessions, keys)])
        progress("comparing", count - skip, None if expected is None else expected - skip)
    if judge.samples == 0:
        raise InvalidArgument(f"there is no sample after the first {skip} that are skipped")
    seen = judge.passed + judge.rows
    if truth is not None and limit is None and seen != len(truth):
        raise InvalidArgument(f"there are {len(truth)} labels for {seen} samples")
    models = measured(given, names, sessions, [renamed(kept, key) for key in keys], rounds)
    for k, (figures, session) in enumerate(zip(models, sessions)):
        figures.accuracy = judge.right[k] / judge.rows if truth is not None else None
        figures.metric = None if metric is None else float(metric(session))
    return CompareReport(
        models, judge.pairs(), judge.samples, judge.rows, truth is not None, first.threads, first.isa, judge.notes
    )


# ---- the models ------------------------------------------------------------------------------------------------------


def model_names(given: Sequence[Any]) -> list[str]:
    """The file's name where it tells the models apart, else its path; a number for what comes from no file."""
    paths = [os.fspath(m) if isinstance(m, (str, os.PathLike)) else f"model {k + 1}" for k, m in enumerate(given)]
    short = [Path(p).name for p in paths]
    return short if len(set(short)) == len(short) else paths


def input_names(first: Session, other: Session, first_name: str, name: str) -> dict[str, str]:
    """{the first model's input: this model's}. One input has what name it likes."""
    want, have = first.get_inputs(), other.get_inputs()
    if len(want) == len(have) == 1:
        pairs = [(want[0], have[0])]
    else:
        by_name = {i.name: i for i in have}
        missing = next((i.name for i in want if i.name not in by_name), None)
        if missing is not None:
            raise InvalidArgument(
                f"'{name}' has no input '{missing}' as '{first_name}' has it{did_you_mean(missing, by_name)}"
            )
        if len(want) != len(have):
            extra = next(n for n in by_name if n not in {i.name for i in want})
            raise InvalidArgument(f"'{name}' has an input '{extra}' that '{first_name}' lacks")
        pairs = [(i, by_name[i.name]) for i in want]
    for x, y in pairs:
        if x.type != y.type or not fit(x, y):
            raise InvalidArgument(
                f"input '{x.name}' is {x.type} {x.shape} in '{first_name}' and {y.type} {y.shape} in '{name}': models "
                "that are compared take the same inputs"
            )
    return {x.name: y.name for x, y in pairs}


def fit(x: TensorInfo, y: TensorInfo) -> bool:
    return len(x.shape) == len(y.shape) and not any(
        isinstance(p, int) and isinstance(q, int) and p != q for p, q in zip(x.shape, y.shape)
    )


def renamed(feeds: Feeds, key: Mapping[str, str]) -> Feeds:
    return {key[name]: array for name, array in feeds.items()}


def file_bytes(model: Any) -> int:
    """Of a file with the large weights beside it (NAME.data or NAME_data), or of the bytes themselves."""
    if isinstance(model, (bytes, bytearray, memoryview)):
        return len(model)
    if not isinstance(model, (str, os.PathLike)):
        return int(model.ByteSize())
    beside = [os.fspath(model) + ending for ending in EXTERNAL]
    return sum(os.path.getsize(p) for p in [os.fspath(model), *(p for p in beside if os.path.isfile(p))])


def measured(
    given: Sequence[Any], names: list[str], sessions: list[Session], feeds: list[Feeds], rounds: int
) -> list[ModelFigures]:
    """Size, memory and latency of each; the models take turns."""
    bound = [bind(s, f) for s, f in zip(sessions, feeds)]
    runs: list[Callable[[], object]] = [
        b.run if b is not None else lambda s=s, f=f: s.run(None, f)  # type: ignore[misc]
        for b, s, f in zip(bound, sessions, feeds)
    ]
    times = time_interleaved(runs, rounds)
    return [
        ModelFigures(
            name, file_bytes(model), session.memory.weights, 0 if b is None else b.arena_bytes, **latency(taken)
        )
        for model, name, session, b, taken in zip(given, names, sessions, bound, times)
    ]


def bind(session: Session, feeds: Feeds) -> BoundRun | None:
    try:
        return session.bind(feeds)
    except Unsupported:  # inputs or outputs that the core does not hold
        return None


# ---- their outputs ---------------------------------------------------------------------------------------------------


class Judge:
    """Counts and sums over the samples: what each model gets right, and how far its outputs are from the first's."""

    def __init__(
        self, sessions: list[Session], names: list[str], truth: np.ndarray | None, offset: int, classes: bool
    ) -> None:
        self.names, self.truth, self.offset, self.classes = names, truth, offset, classes
        outputs = [[o.name for o in s.get_outputs()] for s in sessions]
        self.common = [shared(outputs[0], o, names[0], n) for o, n in zip(outputs, names)]
        self.distances = [{name: Distance() for name in c} for c in self.common]
        self.other = [dict.fromkeys(c, 0) for c in self.common]
        self.right = [0] * len(names)
        self.gained, self.lost, self.same = [0] * len(names), [0] * len(names), [0] * len(names)
        self.agreeable = [True] * len(names)
        self.samples = self.rows = 0
        self.passed = 0  # rows left out at the start
        self.notes: list[str] = []

    def add(self, results: list[list[Any]]) -> None:
        for k, numbers in enumerate(self.common[1:], 1):
            for name, (i, j) in numbers.items():
                x, y = results[0][i], results[k][j]
                if not (numeric(x) and numeric(y)):
                    continue
                if x.shape == y.shape:
                    self.distances[k][name].add(x, y)
                else:
                    self.other[k][name] += 1
        self.samples += 1
        self.count_classes([r[0] if r else None for r in results])

    def count_classes(self, firsts: list[Any]) -> None:
        rows = [class_rows(y) if self.classes else None for y in firsts]
        truth = None
        if self.truth is not None:
            if rows[0] is None or any(r is None or r.shape[0] != rows[0].shape[0] for r in rows):
                raise InvalidArgument("there are labels, but output 1 is no row of classes in each of the models")
            truth = self.truth[self.passed + self.rows :][: rows[0].shape[0]] + self.offset
            check_classes(truth, rows, self.names, self.offset)
        self.rows += rows[0].shape[0] if rows[0] is not None else 1
        if rows[0] is None:
            self.agreeable = [False] * len(rows)
            return
        first = rows[0].argmax(1)
        for k, row in enumerate(rows):
            if row is None or row.shape != rows[0].shape:
                self.agreeable[k] = False
            else:
                self.same[k] += int(np.count_nonzero(row.argmax(1) == first))
            if truth is not None and row is not None:
                yes, was = row.argmax(1) == truth, first == truth
                self.right[k] += int(np.count_nonzero(yes))
                self.gained[k] += int(np.count_nonzero(yes & ~was))
                self.lost[k] += int(np.count_nonzero(was & ~yes))

    def pairs(self) -> list[Pair]:
        found = []
        for k in range(1, len(self.names)):
            never = [n for n, count in self.other[k].items() if count == self.samples]
            if len(never) == len(self.common[k]):
                raise InvalidArgument(
                    f"the outputs of '{self.names[0]}' and '{self.names[k]}' have other shapes: nothing to compare"
                )
            outputs = [
                OutputFigures(n, d.sqnr, d.cosine, d.worst, self.other[k][n])
                for n, d in self.distances[k].items()
                if n not in never
            ]
            pair = Pair(self.names[k], outputs, self.same[k] / self.rows if self.agreeable[k] else None)
            if self.truth is not None:
                pair.gained, pair.lost = self.gained[k], self.lost[k]
                pair.difference = (pair.gained - pair.lost) / self.rows
                pair.low, pair.high = paired_interval(pair.gained, pair.lost, self.rows)
            found.append(pair)
        return found


def shared(first: list[str], other: list[str], first_name: str, name: str) -> dict[str, tuple[int, int]]:
    """{output: its number in both}. One output has what name it likes."""
    if len(first) == len(other) == 1:
        return {first[0]: (0, 0)}
    found = {n: (first.index(n), other.index(n)) for n in first if n in other}
    if not found:
        raise InvalidArgument(
            f"'{first_name}' and '{name}' have no output in common: {quoted(first)} and {quoted(other)}"
        )
    return found


def check_classes(truth: np.ndarray, rows: list[Any], names: list[str], offset: int) -> None:
    if len(truth) < len(rows[0]):
        raise InvalidArgument("there are fewer labels than samples")
    for r, name in zip(rows, names):
        if truth.min(initial=0) < 0 or truth.max(initial=0) >= r.shape[1]:
            wrong = int(truth.min() if truth.min() < 0 else truth.max()) - offset
            raise InvalidArgument(f"label {wrong} is none of the {r.shape[1]} classes of '{name}'")


# ---- for people ------------------------------------------------------------------------------------------------------


def compare_text(report: CompareReport) -> str:
    """A table of the models, then what each does otherwise than the first."""
    lines = [table(*model_table(report), left=("model",))]
    lines.append(f"\n{report.samples} samples; {report.isa}, {report.threads} threads; the models took turns")
    for pair in report.pairs:
        lines += [f"\n{pair.model} against {report.models[0].model}:", *(f"  {text}" for text in pair_lines(pair))]
        lines.append(indented(table(OUTPUT_COLUMNS, [output_cells(o) for o in pair.outputs], left=("output",))))
    return "\n".join(lines)


OUTPUT_COLUMNS = ("output", "SQNR dB", "cosine", "max difference")


def model_table(report: CompareReport) -> tuple[list[str], list[list[str]]]:
    """Columns and cells; accuracy and metric only where there is one."""
    columns = ["model", "accuracy %", "metric", "size", "memory", "median ms", "p99 ms", "speed"]
    rows = []
    for m in report.models:
        rows.append([
            m.model, "" if m.accuracy is None else f"{100 * m.accuracy:.2f}",
            "" if m.metric is None else f"{m.metric:.6g}", size(m.file_bytes), size(m.memory),
            f"{m.median_ms:.3f}", f"{m.p99_ms:.3f}", f"{report.models[0].median_ms / m.median_ms:.2f} x",
        ])  # fmt: skip
    empty = [k for k in (2, 1) if not any(row[k] for row in rows)]
    for k in empty:
        for row in (columns, *rows):
            del row[k]
    return columns, rows


def pair_lines(pair: Pair) -> list[str]:
    lines = []
    if pair.difference is not None and pair.low is not None and pair.high is not None:
        lines.append(
            f"accuracy {100 * pair.difference:+.2f} points, 95 % interval {100 * pair.low:+.2f} to "
            f"{100 * pair.high:+.2f}; flips: +{pair.gained} -{pair.lost}"
        )
    if pair.agreement is not None:
        lines.append(f"the largest element of output 1 is the same in {100 * pair.agreement:.2f} %")
    return lines


def output_cells(o: OutputFigures) -> list[str]:
    name = o.name + (f" ({o.other_shapes} samples of other shapes left out)" if o.other_shapes else "")
    return [name, f"{o.sqnr:.1f}", f"{o.cosine:.5f}", f"{o.max_difference:.3g}"]


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
