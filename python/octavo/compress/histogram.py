"""What calibration remembers of a tensor: its least and greatest value and a histogram, in constant memory."""

from __future__ import annotations

import math

import numpy as np

HALF = 2048  # bins on each side of zero


class Histogram:
    """Counts in equal bins, zero on a border. The width is a power of two and doubles as the range grows.

    So one pass is enough, the order of the samples does not matter, and merging bins loses nothing but detail.
    """

    def __init__(self) -> None:
        self.width = 0.0
        self.counts = np.zeros(2 * HALF, np.int64)
        self.lo, self.hi = math.inf, -math.inf
        self.total = 0

    def add(self, x: np.ndarray) -> bool:
        """Counts the values of x; False, and nothing counted, when one is not finite."""
        if x.size == 0:
            return True
        lo, hi = float(x.min()), float(x.max())
        if not (math.isfinite(lo) and math.isfinite(hi)):
            return False
        self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
        self.total += x.size
        self.fit(max(-lo, hi))
        if self.width == 0:  # nothing but zeros so far
            self.counts[HALF] += x.size
            return True
        bins = np.floor(x.reshape(-1) * np.float64(1 / self.width)).astype(np.int32)
        bins += HALF
        np.clip(bins, 0, 2 * HALF - 1, out=bins)
        self.counts += np.bincount(bins, minlength=2 * HALF)
        return True

    def fit(self, largest: float) -> None:
        if largest == 0:
            return
        if self.width == 0:
            self.width = max(2.0 ** math.ceil(math.log2(largest / HALF)), 2.0**-1000)
        while largest > self.width * HALF:
            pairs = self.counts.reshape(-1, 2).sum(1)
            self.counts[:] = 0
            self.counts[HALF // 2 : HALF // 2 + HALF] = pairs
            self.width *= 2

    @property
    def seen(self) -> bool:
        return self.total > 0

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """(centres, counts) of the bins that hold anything."""
        full = np.flatnonzero(self.counts)
        centres = (full - HALF + 0.5) * self.width
        return np.clip(centres, self.lo, self.hi), self.counts[full].astype(np.float64)
