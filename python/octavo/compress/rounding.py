"""Rounding weights so that layers change least, instead of each weight to its nearest integer.

Weights are rounded one input at a time; what each rounding changes in the layer's results is made up for by the weights
that are still free. Source: E. Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023 (the solver); it minimises the layer-wise error that M. Nagel et al., "Up or Down? Adaptive
Rounding for Post-Training Quantization", ICML 2020, introduced.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from octavo.compress.calibrate import Progress, silent, watch
from octavo.compress.data import Calibration
from octavo.compress.nearest import SHARES
from octavo.compress.place import Placement
from octavo.compress.scheme import QParams, WeightScheme
from octavo.compress.write import Weights, channel_axis
from octavo.engine import Session
from octavo.ir import Graph, Node
from octavo.passes.images import geometry

SAMPLES = 64
POSITIONS = 512  # of an image that are looked at
WIDEST = 4096  # inputs of a layer: beyond it, its matrix of second moments would be too large
DAMPING = 0.01
TERNARY_SHARES = np.linspace(1.3, 0.7, 25)  # of the magnitude that suits the weights alone


class Through(Protocol):
    """QParams, or what stands for them."""

    def through(self, x: np.ndarray) -> np.ndarray:
        """x quantized and restored."""
        ...


class Moments:
    """h = sum of x x^T over a layer's inputs: [groups, K, K], K the inputs a result sums over."""

    def __init__(self, graph: Graph, node: Node) -> None:
        w = graph.const(node.inputs[1])
        assert w is not None
        self.node, self.conv = node, node.op == "Conv"
        self.groups = int(node.attrs.get("group", 1)) if self.conv else 1
        self.k = int(np.prod(w.shape[1:])) if self.conv else w.shape[1 - channel_axis(node, w)]
        self.kernel = list(w.shape[2:]) if self.conv else []
        self.geometry = geometry(graph, node, self.kernel) if self.conv else {}
        self.h = np.zeros((self.groups, self.k, self.k))
        self.rows = 0

    def add(self, x: np.ndarray) -> None:
        if self.conv:
            rows = self.patches(x)
        else:
            flat = x.reshape(1, -1, x.shape[-1])
            rows = flat[:, :: stride(flat.shape[1])]
        rows = rows.astype(np.float32, copy=False)
        self.rows += rows.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):  # inputs beyond 1e18: their layer keeps its nearest integers
            self.h += np.matmul(rows.transpose(0, 2, 1), rows)

    def shrunk(self) -> np.ndarray:
        """h as it may be trusted: what few rows say of two inputs together is chance, of more inputs the more so.

        Shrinkage towards the diagonal, after O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional
        covariance matrices", 2004, with the share that K inputs and n unrelated rows call for.
        """
        share = self.k / (self.k + max(self.rows, 1))
        diagonal = np.einsum("gkk->gk", self.h)
        h = (1 - share) * self.h
        h += (share * diagonal + DAMPING * diagonal.mean(1, keepdims=True) + 1e-9)[:, None, :] * np.eye(self.k)
        return h

    def patches(self, x: np.ndarray) -> np.ndarray:
        """[groups, positions, K]: what the convolution multiplies at a part of its output positions."""
        n = x.ndim - 2
        pads, strides, dilations = (self.geometry[k] for k in ("pads", "strides", "dilations"))
        x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:])])
        sizes = [(d - (k - 1) * dil - 1) // s + 1 for d, k, dil, s in zip(x.shape[2:], self.kernel, dilations, strides)]
        count = int(np.prod(sizes))
        at = np.unravel_index(np.arange(0, count, stride(count)), sizes)
        taps = []
        for offset in itertools.product(*map(range, self.kernel)):
            index = tuple(a * s + o * d for a, s, o, d in zip(at, strides, offset, dilations))
            pixels = (slice(None), slice(None), *index)
            taps.append(x[pixels])
        cols = np.stack(taps, -1)  # [N, C, positions, taps]
        cols = cols.reshape(x.shape[0], self.groups, -1, cols.shape[2], len(taps)).transpose(1, 0, 3, 2, 4)
        return np.ascontiguousarray(cols).reshape(self.groups, -1, self.k)


def stride(count: int) -> int:
    return max(1, -(-count // POSITIONS))


def adaptive_weights(
    graph: Graph,
    placement: Placement,
    session: Session,
    data: Calibration,
    params: Mapping[str, Through],
    weights: dict[str, Weights],
    scheme: WeightScheme,
    progress: Progress = silent,
) -> None:
    """Rounds the weights of every layer anew, on the calibration data's inputs as their integers hold them."""
    moments: dict[str, list[Moments]] = {}
    for node in placement.nodes:
        if node.outputs[0] in weights:
            try:
                found = Moments(graph, node)
            except LookupError:  # its padding is known at run time only
                continue
            if found.k <= WIDEST:
                moments.setdefault(node.inputs[0], []).append(found)

    def see(name: str, x: np.ndarray) -> None:
        through = params[name].through(x)
        for m in moments[name]:
            m.add(through)

    watch(session, list(moments), data, see, progress, "rounding weights", SAMPLES)
    for found_here in moments.values():
        for m in found_here:
            if not np.isfinite(m.h).all():
                continue
            weights[m.node.outputs[0]] = rounded(graph, m, weights[m.node.outputs[0]], scheme)


def rounded(graph: Graph, m: Moments, old: Weights, scheme: WeightScheme) -> Weights:
    w = graph.const(m.node.inputs[1])
    assert w is not None
    axis = channel_axis(m.node, w)
    rows = np.moveaxis(w, axis, 0).reshape(m.groups, -1, m.k).astype(np.float64)  # [groups, outputs, K]
    h = m.shrunk()
    params = old.params
    parts = Parts(m, w, axis, params)
    if scheme.bits in SHARES and (scheme.per_channel or params.block):
        params = narrowed(parts, rows, h, params, scheme)
    scale, zero = (parts.spread(a.astype(np.float64), rows.shape) for a in (params.scale, params.zero_point))
    q = solve(rows, h, scale, zero, scheme.limits)
    full = q.reshape(w.shape[axis], *(d for k, d in enumerate(w.shape) if k != axis))
    return Weights(np.ascontiguousarray(np.moveaxis(full, 0, axis)).astype(old.q.dtype), params)


def solve(w: np.ndarray, h: np.ndarray, scale: np.ndarray, zero: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    """Integers for w [G, O, K] that change w h w^T least, columns in order of falling weight in h.

    scale, zero: of each weight, or shaped to be spread over w.
    """
    k = w.shape[2]
    w, diagonal = w.copy(), np.einsum("gkk->gk", h)
    order = np.argsort(-diagonal.sum(0), kind="stable")
    h = h[:, order][:, :, order].copy()
    w = w[:, :, order]
    scale, zero = (np.broadcast_to(a, w.shape)[:, :, order] for a in (scale, zero))
    upper = np.linalg.cholesky(np.linalg.inv(h)).transpose(0, 2, 1)
    q = np.empty_like(w)
    for j in range(k):
        column = w[:, :, j]
        step, middle = scale[:, :, j], zero[:, :, j]
        q[:, :, j] = np.clip(np.rint(column / step) + middle, *limits)
        off = (column - (q[:, :, j] - middle) * step) / upper[:, None, j, j]
        w[:, :, j + 1 :] -= off[:, :, None] * upper[:, None, j, j + 1 :]
    back = np.empty_like(q)
    back[:, :, order] = q
    return back


class Parts:
    """Rows [G, O, K] of weights by the scale they have: [G, O, blocks, weights of a block, kernel taps]."""

    def __init__(self, m: Moments, w: np.ndarray, axis: int, params: QParams) -> None:
        self.axis, self.shape = axis, params.scale.shape
        taps = int(np.prod(w.shape[2:])) if m.conv else 1
        outputs = w.shape[axis] // m.groups
        if params.block:
            self.shape5 = (m.groups, outputs, m.k // taps // params.block, params.block, taps)
        else:
            self.shape5 = (m.groups, outputs, 1, m.k, 1)
        self.blocked = bool(params.block)

    def of(self, scale: np.ndarray) -> np.ndarray:
        """A parameter as the file has it, shaped to be spread over the parts."""
        if self.blocked:
            groups, outputs, blocks, _, taps = self.shape5
            return np.moveaxis(scale, self.axis, 0).reshape(groups, outputs, blocks, 1, taps)
        return scale.reshape(*self.shape5[:2], 1, 1, 1) if scale.size > 1 else scale.reshape(1, 1, 1, 1, 1)

    def back(self, scale: np.ndarray) -> np.ndarray:
        """The opposite of of()."""
        if not self.blocked:
            return scale.reshape(self.shape)
        moved = [self.shape[self.axis], *(d for k, d in enumerate(self.shape) if k != self.axis)]
        return np.ascontiguousarray(np.moveaxis(scale.reshape(moved), 0, self.axis))

    def spread(self, scale: np.ndarray, rows: tuple[int, ...]) -> np.ndarray:
        """A parameter for each weight of the rows."""
        return np.broadcast_to(self.of(scale), self.shape5).reshape(rows)


def narrowed(parts: Parts, rows: np.ndarray, h: np.ndarray, params: QParams, scheme: WeightScheme) -> QParams:
    """Scales of few bits: a channel or block may gain from clipping its largest weights. Judged by h's diagonal."""
    w = rows.reshape(parts.shape5)
    importance = np.broadcast_to(np.einsum("gkk->gk", h)[:, None, :], rows.shape).reshape(parts.shape5)
    full, zero = (parts.of(a.astype(np.float64)) for a in (params.scale, params.zero_point))
    best, least = full.copy(), np.full(full.shape, np.inf)
    for share in SHARES[scheme.bits] if scheme.levels == "uniform" else TERNARY_SHARES:
        scale = full * share
        off = w - (np.clip(np.rint(w / scale) + zero, *scheme.limits) - zero) * scale
        error = (off * off * importance).sum(3, keepdims=True)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    if scheme.power_of_two:
        best = np.exp2(np.rint(np.log2(best)))
    return replace(params, scale=parts.back(best).astype(np.float32))
