"""The choices quantize() offers, checked in one place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from octavo.compress.prepare import OLDEST_OPSET
from octavo.compress.ranges import METHODS
from octavo.compress.scheme import FEW_BITS, ActivationScheme, WeightScheme
from octavo.errors import InvalidArgument

MODES = ("static", "dynamic", "weight_only")
FORMATS = ("qdq", "qoperator")
ACTIVATIONS = ("uint8", "int8", "uint16", "int16")
WIDE_OPSET = 21  # the first in which QuantizeLinear writes 16 bits
FLOAT = "float"  # in layer_bits
INTEGER_BITS = (8, 7, 4, 2, 1, "ternary", "binary")  # of weights in integer products
ROUNDINGS = ("adaptive", "nearest")
ACTIVATION_OPTIONS = ("activations", "symmetric", "method", "equalize", "bias_correction", "least_sqnr")
BLOCKS_OPSET = 21  # the first in which DequantizeLinear has block_size


@dataclass(frozen=True)
class Options:
    """What to quantize, and how.

    mode: "static": activations and weights, both from calibration. "dynamic": activations by their own range at run
        time. "weight_only": weights are stored small and restored at run time. Only the first needs calibration.
    activations: "uint8" or "int8"; "uint16" or "int16" (opset 21), whose products octavo runs in float.
    symmetric: activations' zero point in the middle.
    per_channel: a scale an output channel of the weights, or one a tensor.
    block_size: weight-only: a scale for so many weights in a row along the summed axis (0: none such); opset 21.
    weight_bits: 8, 7 (|q| <= 63: fast and exact on CPUs without VNNI), 4 or 2; "ternary", or "binary" (also 1), with
        one magnitude a channel; weight-only also 16 and "float16". 4 bits and fewer are stored as int4 from opset 21,
        as int8 before; 2 as int2 from opset 25 (weight-only).
    weight_symmetric: zero point 0, signed integers; else unsigned ones with a zero point.
    power_of_two: scales, the weights' and in static mode the activations', are powers of two.
    method: how ranges are calibrated: "minmax", "percentile", "entropy", "mse", or "auto", the best of them for each
        tensor by the error of the layers that read it.
    equalize: channels of consecutive convolutions trade scale first (None: where weights are per tensor).
    smooth: SmoothQuant between normalizations and products: alpha from 0 (not) to 1, None: the best one for each, where
        that helps. Mode "dynamic" needs calibration for it.
    rounding: "adaptive" (a layer's results change least; where weight_bits are 4 or fewer, blocks of layers then learn
        to give what they gave, which takes minutes) or "nearest".
    bias_correction: what quantization shifts a layer's mean result by is taken out of its bias.
    least_sqnr: a layer that keeps fewer decibels of its results with the best range of its operand stays float, with
        method="auto" (None: none does).
    exclude: names of nodes that stay float. op_types: the operators to quantize, None for all that can be.
    layer_bits: node name -> weight_bits of its own, or "float": it and what is fused with it stay float.
    format: "qdq": DequantizeLinear, the operator, QuantizeLinear; "qoperator": one quantized operator in their place
        (QLinearConv, and onnxruntime's QGemm, QLinearAdd and others), static mode.
    opset: the result's operator set at least; the model's own when onnx cannot convert it.
    """

    mode: str = "static"
    activations: str = "uint8"
    symmetric: bool = False
    per_channel: bool = True
    weight_bits: int | str = 8
    weight_symmetric: bool = True
    power_of_two: bool = False
    block_size: int = 0
    method: str = "auto"
    equalize: bool | None = None
    smooth: float | None = None
    rounding: str = "adaptive"
    bias_correction: bool = True
    least_sqnr: float | None = 20.0
    exclude: Collection[str] = ()
    op_types: Collection[str] | None = None
    layer_bits: Mapping[str, int | str] = field(default_factory=dict)
    format: str = "qdq"
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
        self.settle()
        one_of("mode", self.mode, MODES)
        one_of("format", self.format, FORMATS)
        one_of("activations", self.activations, ACTIVATIONS)
        one_of("method", self.method, ("auto", *METHODS))
        one_of("rounding", self.rounding, ROUNDINGS)
        if self.smooth is not None and not (is_number(self.smooth) and 0 <= self.smooth <= 1):
            raise InvalidArgument(f"smooth should be an alpha from 0 (not) to 1, or None, not {self.smooth!r}")
        if self.opset < OLDEST_OPSET:
            raise InvalidArgument(f"opset should be {OLDEST_OPSET} or newer, not {self.opset}")
        if self.format == "qoperator":
            self.check_qoperator()
        if self.mode == "weight_only":
            self.check_weight_only()
            if self.layer_bits:
                raise InvalidArgument("layer_bits is for mode='static'; exclude leaves nodes float in every mode")
        else:
            self.check_integers()

    def settle(self) -> None:
        """Values of the types that are declared: whole numbers of numpy's as Python's, collections that last."""
        for name in ("opset", "block_size"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        object.__setattr__(self, "weight_bits", bits_of(self.weight_bits))
        object.__setattr__(self, "exclude", names_of("exclude", self.exclude))
        if self.op_types is not None:
            object.__setattr__(self, "op_types", names_of("op_types", self.op_types))
        if not isinstance(self.layer_bits, Mapping):
            raise InvalidArgument(f"layer_bits should map names of nodes to bits, not {self.layer_bits!r}")
        object.__setattr__(self, "layer_bits", {name: bits_of(bits) for name, bits in self.layer_bits.items()})
        if self.least_sqnr is not None and not is_number(self.least_sqnr):
            raise InvalidArgument(f"least_sqnr should be a number of decibels or None, not {self.least_sqnr!r}")

    def check_qoperator(self) -> None:
        if self.mode != "static":
            raise InvalidArgument(
                f"format='qoperator' is for mode='static': nothing spells {self.mode} in such operators"
            )
        if self.activations not in ("uint8", "int8"):
            raise InvalidArgument(f"format='qoperator' has no activations of {self.activations}: use format='qdq'")
        if not self.weight_symmetric and self.per_channel:
            raise InvalidArgument(
                "format='qoperator' has one zero point for all weights of a convolution: per_channel=False, or leave "
                "weight_symmetric on"
            )

    def check_integers(self) -> None:
        """What no integer product can do."""
        if self.weight_bits in (16, "float16"):
            raise InvalidArgument(f"weight_bits={self.weight_bits!r} is for mode='weight_only': products take 8 bits")
        if self.block_size:
            raise InvalidArgument("block_size is for mode='weight_only': integer products need one scale an output")
        if self.activations in ("uint16", "int16") and self.opset < WIDE_OPSET:
            raise InvalidArgument(f"activations={self.activations!r} needs opset={WIDE_OPSET}, not {self.opset}")
        _ = self.weight_scheme  # which checks the bits
        for name, bits in self.layer_bits.items():
            if bits != FLOAT and bits not in INTEGER_BITS:
                allowed = ", ".join(map(repr, INTEGER_BITS))
                raise InvalidArgument(f"layer_bits of '{name}' should be {allowed} or 'float', not {bits!r}")
        if self.mode == "dynamic":
            self.check_dynamic()

    def check_dynamic(self) -> None:
        """MatMulInteger takes 8-bit integers; activations are DynamicQuantizeLinear's."""
        for name in ACTIVATION_OPTIONS:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise InvalidArgument(f"{name} is about calibrated activations, which mode='dynamic' has none of")
        if self.weight_bits not in (8, 7):
            raise InvalidArgument(f"mode='dynamic' has weights of 8 or 7 bits, not {self.weight_bits}")
        if not self.weight_symmetric:
            raise InvalidArgument("weight_symmetric=False is not for mode='dynamic': its products take signed weights")
        if self.layer_bits:
            raise InvalidArgument("layer_bits is for mode='static'; exclude leaves nodes float in every mode")

    def check_weight_only(self) -> None:
        for name in (*ACTIVATION_OPTIONS, "smooth"):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise InvalidArgument(f"{name} is about activations, which mode='weight_only' leaves float")
        if self.block_size < 0 or self.block_size == 1:
            raise InvalidArgument(f"block_size should be 2 or more (or 0: no blocks), not {self.block_size}")
        if self.block_size and not self.per_channel:
            raise InvalidArgument("block_size and per_channel=False exclude each other: a block has its own scale")
        if self.weight_bits == "float16":
            for name in ("block_size", "per_channel", "weight_symmetric", "power_of_two"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise InvalidArgument(f"{name} is about integers, and weight_bits='float16' are none")
            return
        scheme = self.weight_scheme
        needed = {16: 21, **FEW_BITS}.get(scheme.bits, OLDEST_OPSET) if scheme.levels == "uniform" else OLDEST_OPSET
        if self.opset < needed:
            raise InvalidArgument(
                f"weights of {scheme.bits} bits need opset={needed}, which has such integers, not {self.opset}"
            )
        if self.block_size and self.opset < BLOCKS_OPSET:
            raise InvalidArgument(f"block_size needs opset={BLOCKS_OPSET}, not {self.opset}")

    @property
    def activation_scheme(self) -> ActivationScheme:
        return ActivationScheme(np.dtype(self.activations), self.symmetric, self.power_of_two)

    @property
    def weight_scheme(self) -> WeightScheme:
        return WeightScheme.of(self.weight_bits, self.per_channel, self.weight_symmetric, self.power_of_two)

    def weights_of(self, node: str) -> WeightScheme:
        """How this node's weights are stored."""
        bits = self.layer_bits.get(node, FLOAT)
        if bits == FLOAT:
            return self.weight_scheme
        return WeightScheme.of(bits, self.per_channel, self.weight_symmetric, self.power_of_two)

    @property
    def float_layers(self) -> set[str]:
        return {name for name, bits in self.layer_bits.items() if bits == FLOAT}

    def with_layers(self, layers: Mapping[str, int | str]) -> Options:
        """The same with other bits for these nodes."""
        return replace(self, layer_bits={**self.layer_bits, **layers})

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: plain(v) for k, v in values.items()}


def plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)


def is_number(value: Any) -> bool:
    """Whether it is a real number, Python's or numpy's, and neither a bool nor NaN."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool) and value == value


def is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole(name: str, value: Any) -> int:
    if not is_whole(value):
        raise InvalidArgument(f"{name} should be a whole number, not {value!r}")
    return int(value)


def bits_of(value: Any) -> Any:
    """Bits as quantize() takes them; what is none is left for the checks that name it."""
    return int(value) if is_whole(value) else f"{value}" if isinstance(value, (bool, float)) else value


def names_of(option: str, given: Any) -> tuple[str, ...]:
    """Names in an order that does not change from run to run: as given, those of a set sorted."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidArgument(f"{option} should be a list of names, not {given!r}")
    found = tuple(given)
    wrong = [name for name in found if not isinstance(name, str)]
    if wrong:
        raise InvalidArgument(f"{option} should be a list of names, and {wrong[0]!r} is none")
    return tuple(sorted(found)) if isinstance(given, Set) else found


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise InvalidArgument(f"{name} should be one of {', '.join(allowed)}, not {value!r}")
