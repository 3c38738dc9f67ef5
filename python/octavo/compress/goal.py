"""What static quantization is held to: an accuracy budget, and no layer slower than in float."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from octavo.compress.budget import PREFER, Bits, Held, search
from octavo.compress.budget import reasons as budget_reasons
from octavo.compress.calibrate import Progress, silent
from octavo.compress.data import Calibration, Part
from octavo.compress.judge import Judge, Metric
from octavo.compress.labels import read_labels
from octavo.compress.options import FLOAT, INTEGER_BITS, Options, bits_of, is_number, is_whole
from octavo.compress.record import BudgetReport, Result, TuneReport
from octavo.compress.static import Calibrated
from octavo.compress.tune import reasons as tune_reasons
from octavo.compress.tune import tune
from octavo.engine import Session
from octavo.errors import InvalidArgument
from octavo.images import ImageOptions
from octavo.onnx_export import export_model

LEAST_HELD = 12  # samples, of which a third is kept from calibration to judge the budget by


@dataclass(frozen=True)
class Goal:
    """The arguments of quantize() of the same names."""

    max_drop: float | None = None
    metric: Metric | None = None
    labels: Any = None
    label_offset: int = 0
    tune_data: Any = None
    prefer: str = "size"
    mix: tuple[Bits, ...] | None = None
    tune: bool = False

    @property
    def given(self) -> list[str]:
        """Names of the arguments that are not what they are when left out."""
        values = {n: (getattr(self, n), f.default) for n, f in type(self).__dataclass_fields__.items()}
        return [n for n, (v, d) in values.items() if v is not d and not (isinstance(v, (str, int)) and v == d)]

    def check(self, mode: str) -> None:
        """Raises InvalidArgument for arguments that say nothing without another one."""
        if mode != "static" and self.given:
            raise InvalidArgument(f"{self.given[0]} is for mode='static'")
        if self.max_drop is None and any(name != "tune" for name in self.given):
            raise InvalidArgument(f"{self.given[0]} goes with max_drop, the accuracy budget")
        if self.max_drop is not None and not (is_number(self.max_drop) and math.isfinite(self.max_drop)):
            raise InvalidArgument(f"max_drop should be a number of points, not {self.max_drop!r}")
        if self.prefer not in PREFER:
            raise InvalidArgument(f"prefer should be one of {', '.join(PREFER)}, not {self.prefer!r}")
        if not is_whole(self.label_offset):
            raise InvalidArgument(f"label_offset should be a whole number, not {self.label_offset!r}")
        if self.label_offset and (self.labels is None or self.labels is False):
            raise InvalidArgument("label_offset goes with labels, which it is added to")
        if self.metric is not None and self.labels is not None and self.labels is not False:
            raise InvalidArgument("give a metric or labels, not both")
        for bits in self.mix or ():
            if bits not in (FLOAT, *INTEGER_BITS):
                raise InvalidArgument(f"mix should hold bits of weights, such as 8 or 4, and 'float', not {bits!r}")


def mix_of(mix: Any) -> tuple[Bits, ...] | None:
    """The argument `mix` of quantize()."""
    if mix is None:
        return None
    if isinstance(mix, str) or not isinstance(mix, Iterable):
        raise InvalidArgument(f"mix should be a list of bits of weights and 'float', not {mix!r}")
    return tuple(bits_of(bits) for bits in mix)


def reach(
    work: Calibrated,
    options: Options,
    goal: Goal,
    calibration: Any,
    *,
    limit: int | None,
    images: ImageOptions | None,
    progress: Progress,
) -> tuple[Result, Options, TuneReport | None, BudgetReport | None]:
    """Quantizes as the goal demands; the options that did it and the accounts. Raises what budget.search raises."""
    if goal.max_drop is None and not goal.tune:
        return work.quantize(options), options, None, None
    tuned, kept, why, times = None, None, dict[str, str](), None
    judge: Judge | None = None
    with work.unlearned():
        if goal.tune or goal.prefer == "speed":
            options, tuned = tune(work, options, progress)
            why |= tune_reasons(tuned)
            times = {t.layer: (t.integer_ms, t.float_ms) for t in tuned.layers}
        if goal.max_drop is not None:
            work.calibrate(work.place(options), options)
            lost = work.lost_layers(options)  # least_sqnr's, whatever the budget would allow
            options, why = options.with_layers(dict.fromkeys(lost, FLOAT)), why | lost
            judge = make_judge(work, goal, calibration, limit, images)
            held = hold_out(work) if judge.data is work.data and len(judge.logits) >= LEAST_HELD else None
            options, kept = search(
                work,
                options,
                judge,
                float(goal.max_drop),
                prefer=goal.prefer,
                mix=goal.mix,
                times=times,
                held=held,
                progress=progress,
            )
            why = {**budget_reasons(kept), **why}
    result = work.quantize(options, why)
    if kept is not None and judge is not None and work.learns(options):
        result = better(work, options, why, judge, kept, result)
    return result, options, tuned, kept


def better(
    work: Calibrated, options: Options, why: dict[str, str], judge: Judge, kept: BudgetReport, learned: Result
) -> Result:
    """What was learned, unless the mix was better as it was chosen: with weights rounded layer by layer."""
    point = kept.points[kept.chosen]
    score = judge.score(Session(export_model(learned.graph)))
    if score < point.score:
        with work.unlearned():
            return work.quantize(options, why)
    point.score, point.drop = score, judge.exact - score
    return learned


def hold_out(work: Calibrated) -> Held:
    """Every third sample."""
    kept = Part(work.data, lambda k: k % 3 != 2)
    return Held(Calibrated(work.graph, work.session, kept, silent, learning=False), lambda k: k % 3 == 2)


def make_judge(work: Calibrated, goal: Goal, calibration: Any, limit: int | None, images: ImageOptions | None) -> Judge:
    exact = Session(export_model(work.graph))
    data, source = work.data, calibration
    if goal.tune_data is not None:
        data, source = Calibration(goal.tune_data, exact.get_inputs(), images=images, limit=limit), goal.tune_data
    labels = None
    if goal.labels is not None and goal.labels is not False:
        labels = read_labels(None if goal.labels is True else goal.labels, source)
        if labels is None:
            raise InvalidArgument(
                "labels=True takes those of the data, an .npz with 'labels' or a folder with labels.csv"
            )
    return Judge(exact, data, goal.metric, labels, goal.label_offset)
