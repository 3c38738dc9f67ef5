"""How good a model is on tuning data, in points: what an accuracy budget is counted in.

A few dozen samples count coarsely, and a model calibrated on them does better on them than elsewhere. Beside the count
there is an expectation: quantization adds noise to a row's classes, whose size is measured on samples that calibrated
nothing; with normal noise of that size, each row keeps its class with the probability that its lead over the next ones
outweighs it. A budget is kept where the expected drop and its standard error are within it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from octavo.compress.data import Calibration, Part
from octavo.compress.labels import class_rows
from octavo.engine import Session
from octavo.errors import InvalidArgument

Metric = Callable[[Session], float]
RIVALS = 5  # classes that the chosen one of a row is held against
NODES = 24  # of the quadrature
LEAST = 1e-30  # of probabilities, whose logarithms are taken


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
        """Not both a metric and labels. Raises InvalidArgument where they or output 1 do not fit."""
        if metric is not None and not callable(metric):
            raise InvalidArgument(
                f"metric is called with a Session and returns a number; {type(metric).__name__} cannot"
            )
        self.data, self.metric = data, metric
        self.measure = "metric" if metric is not None else "accuracy" if labels is not None else "agreement"
        self.truth = np.zeros(0, np.int64)
        self.rows, self.exact = 0, 100.0
        self.logits: list[np.ndarray] = []  # of the float model, a sample each
        if metric is None:
            self.logits = [logits(r) for r in self.rows_of(exact)]
            every = np.concatenate(self.logits)
            self.rows, self.truth = len(every), every.argmax(1)
            if labels is not None:
                self.truth = self.checked(labels, label_offset, every.shape[1], len(every))
        if self.measure != "agreement":
            self.exact = self.score(exact)

    def score(self, session: Session) -> float:
        """Points of this session. Raises InvalidArgument when the metric returns no number."""
        if self.metric is None:
            picked = np.concatenate([rows.argmax(1) for rows in self.rows_of(session)])
            return 100.0 * float(np.mean(picked == self.truth))
        value: Any = self.metric(session)
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            raise InvalidArgument(f"metric should return a finite number, larger the better, not {value!r}")
        return found

    def noise(self, session: Session, keep: Callable[[int], bool] | None = None) -> float:
        """Root mean square of what the session shifts the lead of a row's largest element over the next ones by, as a
        share of the row's standard deviation. What scales every lead alike changes no order and is left out.

        keep: numbers of the samples to measure it on, None for all.
        """
        data = self.data if keep is None else Part(self.data, keep)
        exact = [x for k, x in enumerate(self.logits) if keep is None or keep(k)]
        before: list[np.ndarray] = []
        after: list[np.ndarray] = []
        for x, rows in zip(exact, self.rows_of(session, data)):
            at = x.argmax(1)[:, None]
            near = rivals(x, at)
            for leads, y in ((before, x), (after, logits(rows))):
                leads.append(lead(y, at, near) / spread(x))
        m, n = np.concatenate(before), np.concatenate(after)
        power = float((m * m).sum())
        scale = float((m * n).sum()) / power if power else 1.0
        if scale <= 0:
            return math.inf
        return float(np.sqrt(np.mean((n / scale - m) ** 2))) if m.size else 0.0

    def expected(self, noise: float) -> tuple[float, float]:
        """Points of a model with this much noise, independent and normal for each class, below the float model; and
        their standard error, as the rows are but so many."""
        x, at = np.concatenate(self.logits), self.truth[:, None]
        leads = lead(x, at, rivals(x, at)) / spread(x)
        right = (leads > 0).all(1)
        if noise == 0:
            return 0.0, 0.0
        own, weights = np.polynomial.hermite.hermgauss(NODES)  # over the noise of the row's own class
        half = noise / math.sqrt(2)  # of one class, where the difference of two has all of it
        z = (leads[:, :, None] / half + math.sqrt(2) * own) / math.sqrt(2)
        chances = 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(z)) if z.size else np.ones_like(z)
        lost = right - chances.prod(1) @ weights / math.sqrt(math.pi)
        return 100.0 * float(lost.mean()), 100.0 * float(lost.std() / math.sqrt(len(lost)))

    def rows_of(self, session: Session, data: Calibration | None = None) -> Iterator[np.ndarray]:
        """[N, C] of output 1 for each sample. Raises InvalidArgument where it is no row of classes."""
        first, classes = [session.get_outputs()[0].name], 0
        for feeds in self.data if data is None else data:
            rows = class_rows(session.run(first, feeds)[0])
            if rows is None:
                raise InvalidArgument(
                    f"output '{first[0]}' is no row of classes: agreement and labels say nothing of it; give metric="
                )
            if classes not in (0, rows.shape[1]):
                raise InvalidArgument(
                    f"output '{first[0]}' has rows of {classes} and {rows.shape[1]} elements, no classes: give metric="
                )
            classes = rows.shape[1]
            yield rows

    def checked(self, labels: np.ndarray, offset: int, classes: int, rows: int) -> np.ndarray:
        if self.data.limit is not None and self.data.limit == self.data.total:
            labels = labels[:rows]  # those of the samples that the limit let through, which may hold several rows
        if len(labels) != rows:
            raise InvalidArgument(f"there are {len(labels)} labels for {rows} samples")
        truth = labels + offset
        wrong = truth[(truth < 0) | (truth >= classes)]
        if wrong.size:
            raise InvalidArgument(f"label {int(wrong[0]) - offset} is none of the model's {classes} classes")
        return truth


def logits(rows: np.ndarray) -> np.ndarray:
    """Rows of probabilities as their logarithms, whose differences are those of the logits; others as they are."""
    x = rows.astype(np.float64)
    if x.min(initial=0) >= 0 and np.allclose(x.sum(1), 1, atol=1e-2):
        return np.asarray(np.log(np.maximum(x, LEAST)))
    return x


def lead(x: np.ndarray, at: np.ndarray, near: np.ndarray) -> np.ndarray:
    return np.asarray(np.take_along_axis(x, at, 1) - np.take_along_axis(x, near, 1))


def spread(x: np.ndarray) -> np.ndarray:
    """[N, 1]: a row's standard deviation."""
    return np.asarray(np.maximum(x.std(1, keepdims=True), LEAST))


def rivals(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """[N, k]: the largest elements of each row but the one at [N, 1]."""
    others = x.copy()
    np.put_along_axis(others, at, -np.inf, 1)
    return np.asarray(np.argsort(-others, 1)[:, : min(RIVALS, x.shape[1] - 1)])
