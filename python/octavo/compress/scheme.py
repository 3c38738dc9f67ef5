"""How real numbers become integers: ``real = scale * (q - zero_point)``, and the choices there are.

Source of the method: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018 (affine quantization); R. Krishnamoorthi, arXiv:1806.08342 (per-channel
weights).
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from octavo.errors import InvalidArgument

FEW_BITS = {4: 21, 2: 25}  # bits -> the operator set from which DequantizeLinear reads integers of so many
SMALLEST_SCALE = np.float32(2.0**-100)  # x / scale stays finite for x up to 2^27


@dataclass(frozen=True)
class QParams:
    """scale float32 [] or [C], zero_point of an integer type with scale's shape; axis: of the C channels, or None.

    block: of so many elements along axis, each has a scale of its own; scale then has the tensor's rank.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None
    block: int = 0

    @property
    def dtype(self) -> np.dtype:
        return self.zero_point.dtype

    def spread(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """scale and zero point (float32) shaped to broadcast over a tensor of this rank."""
        if self.axis is None:
            return self.scale, self.zero_point.astype(np.float32)
        if self.block:
            scale, zero = (np.repeat(a, self.block, self.axis) for a in (self.scale, self.zero_point))
            return scale, zero.astype(np.float32)
        shape = [1] * rank
        shape[self.axis] = -1
        return self.scale.reshape(shape), self.zero_point.astype(np.float32).reshape(shape)

    def quantize(self, x: np.ndarray, lo: int | None = None, hi: int | None = None) -> np.ndarray:
        """clamp(rne(x / scale) + zero_point): ONNX's QuantizeLinear, to a narrower range where lo and hi say so."""
        limits = np.iinfo(self.dtype)
        scale, zero = self.spread(x.ndim)
        q = np.rint(x / scale) + zero
        return np.clip(q, limits.min if lo is None else lo, limits.max if hi is None else hi).astype(self.dtype)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        scale, zero = self.spread(q.ndim)
        return ((q.astype(np.float32) - zero) * scale).astype(np.float32)

    def through(self, x: np.ndarray) -> np.ndarray:
        """x quantized and restored, float32."""
        scale, zero = self.spread(x.ndim)
        limits = np.iinfo(self.dtype)
        y = x / scale
        np.rint(y, out=y)
        np.clip(y, np.float32(limits.min) - zero, np.float32(limits.max) - zero, out=y)
        return (y * scale).astype(np.float32, copy=False)


@dataclass(frozen=True)
class ActivationScheme:
    """dtype: uint8, int8, uint16 or int16. symmetric: zero point 0 (of an unsigned type: its middle)."""

    dtype: np.dtype
    symmetric: bool = False
    power_of_two: bool = False

    def params(self, lo: float, hi: float) -> QParams:
        """Parameters whose range covers [lo, hi] and zero."""
        limits = np.iinfo(self.dtype)
        lo, hi = min(float(lo), 0.0), max(float(hi), 0.0)
        steps = float(limits.max - limits.min)
        if self.symmetric:
            half = limits.max if limits.min < 0 else limits.max // 2
            scale, zero = max(-lo, hi) / half, 0 if limits.min < 0 else (limits.max + 1) // 2
            return QParams(self.rounded(scale), np.array(zero, self.dtype))
        scale32 = self.rounded((hi - lo) / steps)
        zero = int(np.clip(np.rint(limits.min - lo / float(scale32)), limits.min, limits.max))
        return QParams(scale32, np.array(zero, self.dtype))

    def rounded(self, scale: float) -> np.ndarray:
        if scale == 0:
            return np.array(1.0, np.float32)  # a tensor that is always zero
        if self.power_of_two:
            scale = 2.0 ** np.ceil(np.log2(scale))
        return np.maximum(np.float32(scale), SMALLEST_SCALE).astype(np.float32)


@dataclass(frozen=True)
class WeightScheme:
    """bits: 16, 8, 7 (no pair of products saturates int16), 4 or 2. per_channel: a scale an output.

    levels: "uniform"; or "ternary" (-1, 0, 1) and "binary" (-1, 1), two bits that take no other value.
    symmetric: zero point 0, signed integers; else unsigned ones.
    """

    bits: int = 8
    per_channel: bool = True
    symmetric: bool = True
    power_of_two: bool = False
    levels: str = "uniform"

    @classmethod
    def of(cls, bits: int | str, per_channel: bool, symmetric: bool = True, power_of_two: bool = False) -> WeightScheme:
        """bits as quantize() takes them: a number, "ternary", or "binary" (also 1)."""
        if bits in (1, "binary", "ternary"):
            return cls(2, per_channel, symmetric, power_of_two, "ternary" if bits == "ternary" else "binary")
        if isinstance(bits, str):
            raise InvalidArgument(f"weight_bits should be 16, 8, 7, 4, 2, 1, 'ternary' or 'binary', not {bits!r}")
        return cls(bits, per_channel, symmetric, power_of_two)

    def __post_init__(self) -> None:
        if self.bits not in (2, 4, 7, 8, 16):
            raise InvalidArgument(f"weight_bits should be 16, 8, 7, 4, 2, 1, 'ternary' or 'binary', not {self.bits}")
        if self.levels != "uniform" and not self.symmetric:
            raise InvalidArgument(f"{self.levels} weights are symmetric: leave weight_symmetric on")

    @property
    def limits(self) -> tuple[int, int]:
        """The integers weights take. Symmetric ones leave the lowest out."""
        half = 1 << (self.bits - 1)
        if not self.symmetric:
            return 0, 2 * half - 1
        return (1 - half if self.bits > 2 or self.levels != "uniform" else -half), half - 1

    @property
    def dtype(self) -> np.dtype:
        """Of the integers while they are computed with; :func:`storage` says how a file holds them."""
        return np.dtype(f"{'int' if self.symmetric else 'uint'}{16 if self.bits == 16 else 8}")

    def steps(self, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scales (float32) and zero points whose ranges cover [lo, hi] and zero, element by element."""
        qlo, qhi = self.limits
        lo, hi = np.minimum(lo.astype(np.float64), 0), np.maximum(hi.astype(np.float64), 0)
        scale = self.rounded(np.maximum(-lo / -qlo, hi / qhi) if self.symmetric else (hi - lo) / (qhi - qlo))
        zero = np.zeros(scale.shape) if self.symmetric else np.clip(np.rint(qlo - lo / scale), qlo, qhi)
        return scale, zero.astype(self.dtype)

    def rounded(self, scale: np.ndarray) -> np.ndarray:
        """Scales as a file has them: float32, none too small, 1 for weights that are all zero."""
        if self.power_of_two:
            scale = np.exp2(np.ceil(np.log2(np.where(scale > 0, scale, 1))))
        return np.where(scale > 0, np.maximum(scale, SMALLEST_SCALE), 1).astype(np.float32)

    def stored(self, opset: int) -> np.dtype:
        """The smallest ONNX type that holds the integers and that DequantizeLinear reads in an operator set."""
        if self.bits > 4:
            return self.dtype
        bits = min((b for b, first in FEW_BITS.items() if b >= self.bits and opset >= first), default=8)
        name = f"{'int' if self.symmetric else 'uint'}{bits}"
        return np.dtype(getattr(ml_dtypes, name)) if bits < 8 else np.dtype(name)

    def described(self, opset: int, params: QParams) -> str:
        """For the report: "int4, 32 a scale", "ternary in int4, a scale a channel"."""
        name = f"{'int' if self.symmetric else 'uint'}{self.bits}" if self.levels == "uniform" else self.levels
        held = self.stored(opset).name
        where = (
            f"{params.block} a scale" if params.block else "one scale" if params.axis is None else "a scale a channel"
        )
        return f"{name}{f' in {held}' if held != name else ''}, {where}"
