"""How good a model is on tuning data, in points: what an accuracy budget is counted in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from octavo.compress.data import Calibration
from octavo.compress.labels import class_rows
from octavo.engine import Session
from octavo.errors import InvalidArgument

Metric = Callable[[Session], float]


class Judge:
    """Scores sessions: by the user's metric, by labels (% right), or by agreement with the float model (%).

    Larger is better. samples: of the data; rows: of output 1 over all of them.
    """

    def __init__(
        self,
        exact: Session,
        data: Calibration,
        metric: Metric | None = None,
        labels: np.ndarray | None = None,
        label_offset: int = 0,
    ) -> None:
        """Raises InvalidArgument where metric and labels are both given, or where they or output 1 do not fit."""
        if metric is not None and labels is not None:
            raise InvalidArgument("give a metric or labels, not both")
        if metric is not None and not callable(metric):
            raise InvalidArgument(
                f"metric is called with a Session and returns a number; {type(metric).__name__} cannot"
            )
        self.data, self.metric = data, metric
        self.measure = "metric" if metric is not None else "accuracy" if labels is not None else "agreement"
        self.truth = np.zeros(0, np.int64)
        self.rows, self.exact = 0, 100.0
        if metric is None:
            picked, classes = self.classes(exact)
            self.rows, self.truth = (
                len(picked),
                picked if labels is None else self.checked(labels, label_offset, classes, len(picked)),
            )
        if self.measure != "agreement":
            self.exact = self.score(exact)

    def score(self, session: Session) -> float:
        """Points of this session. Raises InvalidArgument when the metric returns no number."""
        if self.metric is None:
            picked, _ = self.classes(session)
            return 100.0 * float(np.mean(picked == self.truth))
        value: Any = self.metric(session)
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            raise InvalidArgument(f"metric should return a finite number, larger the better, not {value!r}")
        return found

    def classes(self, session: Session) -> tuple[np.ndarray, int]:
        """The largest element of each row of output 1 over all samples, and how many classes a row has."""
        first = [session.get_outputs()[0].name]
        picked, count = [], 0
        for feeds in self.data:
            rows = class_rows(session.run(first, feeds)[0])
            if rows is None:
                raise InvalidArgument(
                    f"output '{first[0]}' is no row of classes: agreement and labels say nothing of it; give metric="
                )
            picked.append(rows.argmax(1))
            count = rows.shape[1]
        return np.concatenate(picked), count

    @staticmethod
    def checked(labels: np.ndarray, offset: int, classes: int, rows: int) -> np.ndarray:
        if len(labels) != rows:
            raise InvalidArgument(f"there are {len(labels)} labels for {rows} samples")
        truth = labels + offset
        wrong = truth[(truth < 0) | (truth >= classes)]
        if wrong.size:
            raise InvalidArgument(f"label {int(wrong[0]) - offset} is none of the model's {classes} classes")
        return truth
