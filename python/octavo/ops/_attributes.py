"""Typed reading of a plan step's attributes, shared by the references in this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = Sequence[Array | None]
Attributes = Mapping[str, object]


def get_int(attrs: Attributes, key: str, default: int | None = None) -> int:
    """The integer attribute `key`; KeyError when it is missing and has no default."""
    if key not in attrs and default is not None:
        return default
    return int(cast(int, attrs[key]))


def get_float(attrs: Attributes, key: str, default: float | None = None) -> float:
    """The float attribute `key`, as the double the plan stores."""
    if key not in attrs and default is not None:
        return default
    return float(cast(float, attrs[key]))


def get_f32(attrs: Attributes, key: str, default: float | None = None) -> np.float32:
    """The float attribute `key`, rounded to the float32 the kernels use."""
    value: np.float32 = np.float32(get_float(attrs, key, default))
    return value


def get_str(attrs: Attributes, key: str, default: str = "") -> str:
    """The string attribute `key`."""
    return str(attrs.get(key, default))


def get_ints(attrs: Attributes, key: str, default: Sequence[int] | None = None) -> list[int]:
    """The integer list attribute `key`; KeyError when it is missing and has no default."""
    if key not in attrs and default is not None:
        return list(default)
    return [int(v) for v in cast(Sequence[int], attrs[key])]


def need(inputs: Inputs, k: int) -> Array:
    """Input `k`, which must be there."""
    value = inputs[k] if k < len(inputs) else None
    if value is None:
        raise ValueError(f"input {k} is missing")
    return value


def optional(inputs: Inputs, k: int) -> Array | None:
    """Input `k`, or None when the step leaves it out."""
    return inputs[k] if k < len(inputs) else None
