"""Tile: a tensor repeated."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inputs: x, any dtype; repeats int64 [rank]. Source: ONNX Tile-13."""
    return [np.tile(need(inputs, 0), [int(r) for r in need(inputs, 1)])]
