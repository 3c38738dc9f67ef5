"""Rounding weights so that layers change least, instead of each weight to its nearest integer.

Weights are rounded one input at a time; what each rounding changes in the layer's results is made up for by the weights
that are still free. Source: E. Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023 (the solver); it minimises the layer-wise error that M. Nagel et al., "Up or Down? Adaptive
Rounding for Post-Training Quantization", ICML 2020, introduced.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from octavo.compress.calibrate import Progress, silent, watch
from octavo.compress.data import Calibration
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
SHARES = np.linspace(1.0, 0.5, 26)  # of a channel's range, tried for scales of few bits


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

    def add(self, x: np.ndarray) -> None:
        if self.conv:
            rows = self.patches(x)
        else:
            flat = x.reshape(1, -1, x.shape[-1])
            rows = flat[:, :: stride(flat.shape[1])]
        rows = rows.astype(np.float32, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):  # inputs beyond 1e18: their layer keeps its nearest integers
            self.h += np.matmul(rows.transpose(0, 2, 1), rows)

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
    h = m.h + (DAMPING * np.einsum("gkk->gk", m.h).mean(1) + 1e-9)[:, None, None] * np.eye(m.k)
    params = old.params
    if scheme.bits < 8 and scheme.symmetric and scheme.per_channel:
        params = narrowed(rows, h, params, scheme)
    shape = (m.groups, rows.shape[1]) if params.axis is not None else (1, 1)
    scale = params.scale.astype(np.float64).reshape(shape)
    zero = params.zero_point.astype(np.float64).reshape(shape)
    q = solve(rows, h, scale, zero, scheme.limits)
    full = q.reshape(w.shape[axis], *(d for k, d in enumerate(w.shape) if k != axis))
    return Weights(np.ascontiguousarray(np.moveaxis(full, 0, axis)).astype(old.q.dtype), params)


def solve(w: np.ndarray, h: np.ndarray, scale: np.ndarray, zero: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    """Integers for w [G, O, K] that change w h w^T least, columns in order of falling weight in h."""
    k = w.shape[2]
    w, diagonal = w.copy(), np.einsum("gkk->gk", h)
    order = np.argsort(-diagonal.sum(0), kind="stable")
    h = h[:, order][:, :, order].copy()
    w = w[:, :, order]
    upper = np.linalg.cholesky(np.linalg.inv(h)).transpose(0, 2, 1)
    q = np.empty_like(w)
    for j in range(k):
        column = w[:, :, j]
        q[:, :, j] = np.clip(np.rint(column / scale) + zero, *limits)
        off = (column - (q[:, :, j] - zero) * scale) / upper[:, None, j, j]
        w[:, :, j + 1 :] -= off[:, :, None] * upper[:, None, j, j + 1 :]
    back = np.empty_like(q)
    back[:, :, order] = q
    return back


def narrowed(rows: np.ndarray, h: np.ndarray, params: QParams, scheme: WeightScheme) -> QParams:
    """Scales of few bits: a channel may gain from clipping its largest weights. Judged by h's diagonal."""
    importance = np.einsum("gkk->gk", h)[:, None, :]
    full = params.scale.astype(np.float64).reshape(rows.shape[0], rows.shape[1], 1)
    best, least = full.copy(), np.full(full.shape, np.inf)
    for share in SHARES:
        scale = full * share
        off = rows - np.clip(np.rint(rows / scale), *scheme.limits) * scale
        error = (off * off * importance).sum(-1, keepdims=True)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return QParams(best.reshape(params.scale.shape).astype(np.float32), params.zero_point, params.axis)
