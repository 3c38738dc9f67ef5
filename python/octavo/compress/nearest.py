"""Weights to integers without data: scales from the weights alone, then each weight to its nearest level.

Sources: M. Rastegari et al., "XNOR-Net", ECCV 2016 (binary weights: alpha = mean |w|); F. Li et al., "Ternary Weight
Networks", arXiv:1605.04711 (threshold 0.7 mean |w|, alpha the mean of what exceeds it).
"""

from __future__ import annotations

import numpy as np

from octavo.compress.scheme import SMALLEST_SCALE, QParams, WeightScheme

TERNARY = 0.7  # of the mean |w|: what is smaller becomes 0
# Of the range, tried for scales of few bits: clipping a few large weights makes the others finer.
SHARES = {4: np.linspace(1.0, 0.5, 26), 2: np.linspace(1.0, 0.15, 35)}


def grouped(w: np.ndarray, axis: int | None, block: int = 0) -> tuple[np.ndarray, tuple[int, ...]]:
    """(w as a view, its axes over which one scale holds): all; all but `axis`; or blocks along `axis`."""
    if block:
        shape = [*w.shape[:axis], w.shape[axis or 0] // block, block, *w.shape[(axis or 0) + 1 :]]
        return w.reshape(shape), ((axis or 0) + 1,)
    return w, tuple(k for k in range(w.ndim) if k != axis)


def fitted(w: np.ndarray, axis: int, scheme: WeightScheme, block: int = 0, clip: bool = False) -> QParams:
    """Scales and zero points for w: one, one an index of `axis`, or one a block along it.

    clip: few bits may leave the largest weights out, where the mean square error gains.
    """
    at = axis if scheme.per_channel or block else None
    parts, over = grouped(w, at, block)
    wide = parts.astype(np.float64)
    if scheme.levels == "uniform":
        scale, zero = scheme.steps(wide.min(over, keepdims=True), wide.max(over, keepdims=True))
        if clip and scheme.bits in SHARES:
            scale, zero = clipped(wide, over, scheme)
    else:
        scale = scheme.rounded(np.maximum(alpha(np.abs(wide), over, scheme), SMALLEST_SCALE))
        zero = np.zeros(scale.shape, scheme.dtype)
    shape = () if at is None else (-1,)
    if block:
        shape = tuple(d for k, d in enumerate(scale.shape) if k not in over)
    return QParams(scale.reshape(shape), zero.reshape(shape), at, block)


def alpha(size: np.ndarray, over: tuple[int, ...], scheme: WeightScheme) -> np.ndarray:
    """The one magnitude of binary and ternary weights. size: |w|."""
    if scheme.levels == "binary":
        return size.mean(over, keepdims=True)
    kept = size > TERNARY * size.mean(over, keepdims=True)
    return (size * kept).sum(over, keepdims=True) / np.maximum(kept.sum(over, keepdims=True), 1)


def clipped(wide: np.ndarray, over: tuple[int, ...], scheme: WeightScheme) -> tuple[np.ndarray, np.ndarray]:
    """The share of each range that leaves the least mean square error."""
    lo, hi = wide.min(over, keepdims=True), wide.max(over, keepdims=True)
    best: tuple[np.ndarray, np.ndarray] | None = None
    least = np.full(lo.shape, np.inf)
    for share in SHARES[scheme.bits]:
        scale, zero = scheme.steps(lo * share, hi * share)
        q = np.clip(np.rint(wide / scale) + zero, *scheme.limits)
        error = (((q - zero) * scale - wide) ** 2).sum(over, keepdims=True)
        better = error < least
        least = np.where(better, error, least)
        best = (scale, zero) if best is None else (np.where(better, scale, best[0]), np.where(better, zero, best[1]))
    assert best is not None
    return best


def integers(w: np.ndarray, params: QParams, scheme: WeightScheme) -> np.ndarray:
    """Each weight's nearest level, of scheme.dtype; a ternary weight's by its threshold."""
    if scheme.levels == "binary":
        return np.where(w < 0, -1, 1).astype(scheme.dtype)
    if scheme.levels == "ternary":
        parts, over = grouped(np.abs(w).astype(np.float64), params.axis, params.block)
        kept = (parts > TERNARY * parts.mean(over, keepdims=True)).reshape(w.shape)
        return (np.sign(w) * kept).astype(scheme.dtype)
    return params.quantize(w, *scheme.limits)
