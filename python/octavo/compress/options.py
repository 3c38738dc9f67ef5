"""The choices quantize() offers, checked in one place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from octavo.compress.prepare import OLDEST_OPSET
from octavo.compress.ranges import METHODS
from octavo.compress.scheme import ActivationScheme, WeightScheme
from octavo.errors import InvalidArgument

ACTIVATIONS = ("uint8", "int8")
ROUNDINGS = ("adaptive", "nearest")


@dataclass(frozen=True)
class Options:
    """What to quantize, and how.

    activations: "uint8" or "int8"; symmetric: with the zero point in the middle.
    per_channel: a scale an output channel of the weights, or one a tensor.
    weight_bits: 8, 7 (fast and exact on CPUs without VNNI), 4 or 2 (stored as int8).
    method: how ranges are calibrated: "minmax", "percentile", "entropy", "mse", or "auto", the best of them for each
        tensor by the error of the layers that read it.
    equalize: channels of consecutive convolutions trade scale first (None: where weights are per tensor).
    rounding: "adaptive" (the layer's results change least) or "nearest".
    bias_correction: what quantization shifts a layer's mean result by is taken out of its bias.
    exclude: names of nodes that stay float. op_types: the operators to quantize, None for all that can be.
    opset: the result's operator set at least; the model's own when onnx cannot convert it.
    """

    activations: str = "uint8"
    symmetric: bool = False
    per_channel: bool = True
    weight_bits: int = 8
    method: str = "auto"
    equalize: bool | None = None
    rounding: str = "adaptive"
    bias_correction: bool = True
    exclude: Collection[str] = ()
    op_types: Collection[str] | None = None
    opset: int = 21

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> Options:
        """Raises InvalidArgument for a name or a value that is none of the above."""
        known = [f.name for f in fields(cls)]
        for name in choices:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise InvalidArgument(f"quantize has no option '{name}': {hint}")
        return cls(**choices)

    def __post_init__(self) -> None:
        one_of("activations", self.activations, ACTIVATIONS)
        one_of("method", self.method, ("auto", *METHODS))
        one_of("rounding", self.rounding, ROUNDINGS)
        if self.opset < OLDEST_OPSET:
            raise InvalidArgument(f"opset should be {OLDEST_OPSET} or newer, not {self.opset}")
        WeightScheme(self.weight_bits)

    @property
    def activation_scheme(self) -> ActivationScheme:
        return ActivationScheme(np.dtype(self.activations), self.symmetric)

    @property
    def weight_scheme(self) -> WeightScheme:
        return WeightScheme(self.weight_bits, self.per_channel)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v if v is None or isinstance(v, (str, int, float)) else list(v) for k, v in values.items()}


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise InvalidArgument(f"{name} should be one of {', '.join(allowed)}, not {value!r}")
