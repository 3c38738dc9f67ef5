"""Recurrent: RNN, GRU and LSTM over a sequence."""

from __future__ import annotations

from typing import cast

import numpy as np

from . import unary
from ._attributes import Array, Attributes, Inputs, get_float, get_int, get_str, need, optional

F32 = np.float32
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}


class _Cell:
    """One direction."""

    def __init__(self, inputs: Inputs, attrs: Attributes, d: int) -> None:
        self.kind, self.r = get_str(attrs, "fn"), need(inputs, 1)[d]
        each = FUNCTIONS[self.kind]
        self.names = get_str(attrs, "activations").split(",")[d * each : (d + 1) * each]
        lists = {key: list(cast(list[float], attrs.get(key, []))) for key in ("alpha", "beta")}
        self.parameters = [
            {key: values[k] for key, values in lists.items() if k < len(values)}
            for k in range(d * each, (d + 1) * each)
        ]
        self.clip, self.input_forget = get_float(attrs, "clip", 0.0), get_int(attrs, "input_forget", 0)
        peephole, bias = optional(inputs, 5), optional(inputs, 6)
        self.peephole = None if peephole is None else peephole[d]
        self.bias = None if bias is None else bias[d]

    def act(self, k: int, x: Array, clip: bool = True) -> Array:
        if clip and self.clip > 0:
            x = np.clip(x, F32(-self.clip), F32(self.clip))
        return unary.reference([x.astype(F32)], {"fn": self.names[k], **self.parameters[k]})[0]

    def product(self, h: Array, part: slice) -> Array:
        return (h.astype(np.float64) @ self.r[part].astype(np.float64).T).astype(F32)

    def step(self, p: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """The states after one step; p, h, c: [B, ..]."""
        n = h.shape[1]
        if self.kind == "RNN":
            return self.act(0, self.product(h, slice(None)) + p), c
        if self.kind == "GRU":
            zr = self.product(h, slice(0, 2 * n)) + p[:, : 2 * n]
            z, r = self.act(0, zr[:, :n]), self.act(0, zr[:, n:])
            hidden = slice(2 * n, None)
            if self.bias is None:
                g = self.product(r * h, hidden) + p[:, hidden]
            else:
                g = p[:, hidden] + r * (self.product(h, hidden) + self.bias)
            return (F32(1) - z) * self.act(1, g) + z * h, c
        i, o, f, g = np.split(self.product(h, slice(None)) + p, 4, axis=1)
        if self.peephole is not None:
            i, f = i + self.peephole[:n] * c, f + self.peephole[2 * n :] * c
        i, f, g = self.act(0, i), self.act(0, f), self.act(1, g)
        if self.input_forget:
            f = F32(1) - i
        c = f * c + i * g
        if self.peephole is not None:
            o = o + self.peephole[n : 2 * n] * c
        return self.act(0, o) * self.act(2, c, clip=False), c


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y `[T, D, B, H]`, the last h `[D, B, H]` and, of an LSTM, the last c.

    Inputs, all float32: p `[T, B, D * gates * H]` (x W and the biases), r `[D, gates * H, H]`, initial h and c
    `[D, B, H]`?, lengths `[B]`?, peepholes `[D, 3 * H]`?, recurrent bias of a GRU's hidden gate `[D, H]`? (then r is
    applied before the reset). `fn`: RNN, GRU, LSTM; `activations`: names joined by commas, with lists `alpha`, `beta`;
    `direction`, `clip`, `input_forget` as ONNX. The core's products are fma chains in float32, here they are rounded
    float64. Source: ONNX RNN-22, GRU-22, LSTM-22.
    """
    p, r = need(inputs, 0), need(inputs, 1)
    steps, batch = p.shape[:2]
    directions, rows, units = r.shape
    lengths = optional(inputs, 4)
    given = [optional(inputs, 2), optional(inputs, 3)]
    states = [np.zeros((directions, batch, units), F32) if s is None else s.copy() for s in given]
    y = np.zeros((steps, directions, batch, units), F32)
    for d in range(directions):
        cell = _Cell(inputs, attrs, d)
        h, c = states[0][d], states[1][d]
        backwards = d == 1 or get_str(attrs, "direction", "forward") == "reverse"
        for t in range(steps)[::-1] if backwards else range(steps):
            new_h, new_c = cell.step(p[t, :, d * rows : (d + 1) * rows], h, c)
            live = np.ones((batch, 1), bool) if lengths is None else (t < lengths).reshape(-1, 1)
            h, c = np.where(live, new_h, h), np.where(live, new_c, c)
            y[t, d] = np.where(live, h, F32(0))
        states[0][d], states[1][d] = h, c
    return [y, *states[: 2 if get_str(attrs, "fn") == "LSTM" else 1]]
