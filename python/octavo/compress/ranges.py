"""How much of a tensor's range its integers should cover: the calibration methods.

minmax: all of it. percentile: all but a share of the values. mse: the range with the least mean squared error.
entropy: the range whose quantized histogram diverges least (Kullback-Leibler) from the original one, after
S. Migacz, "8-bit Inference with TensorRT", GTC 2017, for ranges that need not be symmetric.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from octavo.compress.histogram import HALF, Histogram
from octavo.compress.scheme import ActivationScheme, QParams

Range = tuple[float, float]
Method = Callable[[Histogram, ActivationScheme], Range]

PERCENTILE = 99.99
STEPS = np.linspace(1.0, 0.1, 73)  # shares of the full range that the searches try


def minmax(h: Histogram, scheme: ActivationScheme) -> Range:
    return h.lo, h.hi


def percentile(h: Histogram, scheme: ActivationScheme, share: float = PERCENTILE) -> Range:
    """Leaves (100 - share) % of the values outside, half on either side."""
    outside = h.total * (1 - share / 100) / 2
    below, above = np.cumsum(h.counts), np.cumsum(h.counts[::-1])
    first = int(np.searchsorted(below, outside, side="right"))
    last = 2 * HALF - int(np.searchsorted(above, outside, side="right"))
    lo, hi = (first - HALF) * h.width, (last - HALF) * h.width
    return max(h.lo, min(lo, 0.0)), min(h.hi, max(hi, 0.0))


def mse(h: Histogram, scheme: ActivationScheme) -> Range:
    centres, counts = h.bins()

    def error(lo: float, hi: float) -> float:
        params = scheme.params(lo, hi)
        off = params.through(centres.astype(np.float32)) - centres
        return float((off * off * counts).sum())

    return search(h, error)


def entropy(h: Histogram, scheme: ActivationScheme) -> Range:
    centres, counts = h.bins()

    def divergence(lo: float, hi: float) -> float:
        params = scheme.params(lo, hi)
        inside = (centres >= lo) & (centres <= hi)
        if not inside.any():
            return np.inf
        p = np.where(inside, counts, 0.0)
        at = np.flatnonzero(inside)
        p[at[0]] += counts[: at[0]].sum()
        p[at[-1]] += counts[at[-1] + 1 :].sum()
        levels = params.quantize(centres[at].astype(np.float32)).astype(np.int64)
        levels -= levels.min()
        mass, members = np.bincount(levels, counts[at]), np.bincount(levels)
        q = mass[levels] / members[levels]
        p = p[at]
        return float((p * np.log(p * q.sum() / (q * p.sum()))).sum() / p.sum())

    return search(h, divergence)


def search(h: Histogram, error: Callable[[float, float], float]) -> Range:
    """The least error over ranges that shrink together, then each end by itself. Ties keep the wider range."""
    lo, hi = min(h.lo, 0.0), max(h.hi, 0.0)
    if lo == hi:
        return lo, hi
    best = min((error(lo * s, hi * s), -s) for s in STEPS)
    found = (lo * -best[1], hi * -best[1])
    for end in (0, 1):
        if (lo, hi)[end] == 0:
            continue
        options = []
        for s in STEPS:
            option = (lo * s, found[1]) if end == 0 else (found[0], hi * s)
            options.append((error(*option), -s, option))
        found = min(options)[2]
    return found


METHODS: dict[str, Method] = {"minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse}


def candidates(h: Histogram, scheme: ActivationScheme) -> dict[str, QParams]:
    """Every method's parameters, without those that repeat an earlier one."""
    found: dict[str, QParams] = {}
    for name, method in METHODS.items():
        params = scheme.params(*method(h, scheme))
        if all(params.scale != p.scale or params.zero_point != p.zero_point for p in found.values()):
            found[name] = params
    return found
