"""Attention: scaled dot-product attention over heads that lie beside the channels."""

from __future__ import annotations

import numpy as np

from . import softmax
from ._attributes import Array, Attributes, Inputs, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """s = sum_d q * k, / `divide` or * `multiply`, + mask; p = softmax(s) over the keys; y = sum_n p * v.

    Inputs: q float32 [B, M, H, D]; k float32 [B, N, H, D]; v float32 [B, N, H, E]; mask float32, broadcastable with
    [B, H, M, N]?. Output: float32 [B, M, H, E]. B, H and, by the mask, M and N broadcast. Both sums are rounded once
    here; the core's are float32 fma chains from 0 with d and n ascending, and every other stage rounds to float32.
    Source: Vaswani et al., "Attention Is All You Need" (2017), equation 1; ONNX Attention-23 without its options.
    """
    q, k, v = (need(inputs, i).astype(np.float64).transpose(0, 2, 1, 3) for i in range(3))
    mask = optional(inputs, 3)
    with np.errstate(all="ignore"):
        s = np.asarray(q @ np.swapaxes(k, -1, -2)).astype(np.float32)
        if "divide" in attrs:
            s = s / np.float32(attrs["divide"])  # type: ignore[arg-type]
        if "multiply" in attrs:
            s = s * np.float32(attrs["multiply"])  # type: ignore[arg-type]
        if mask is not None:
            s = s + mask
        p = softmax.reference([s.astype(np.float32)], {"axis": -1})[0].astype(np.float64)
        y = np.asarray(p @ v).astype(np.float32)
    return [np.ascontiguousarray(y.transpose(0, 2, 1, 3))]
