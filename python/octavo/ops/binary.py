"""Binary: functions of two elements, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._activation import activation
from ._attributes import Array, Attributes, Inputs, get_int, get_str, need


def _divide(a: Array, b: Array) -> Array:
    """Floats: a / b. Integers: truncation toward zero; x / 0 gives 0, and the least value / -1 wraps to itself."""
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(a / b)
    if not np.issubdtype(a.dtype, np.signedinteger):
        return np.where(b == 0, 0, a // np.where(b == 0, 1, b)).astype(a.dtype)
    safe = np.where(b == 0, 1, b)
    quotient = a // safe
    quotient = quotient + ((quotient < 0) & (quotient * safe != a))
    return np.where(b == 0, 0, quotient).astype(a.dtype)


def _modulo(a: Array, b: Array, fmod: bool) -> Array:
    """fmod: the sign of a, as C; otherwise the sign of b. An integer modulo 0 gives 0."""
    if np.issubdtype(a.dtype, np.integer):
        safe = np.where(b == 0, 1, b).astype(a.dtype)
        return np.where(b == 0, 0, np.fmod(a, safe) if fmod else np.mod(a, safe)).astype(a.dtype)
    return np.asarray(np.fmod(a, b) if fmod else np.mod(a, b))


def _power(a: Array, b: Array) -> Array:
    """Floats: a^b. Integers: by multiplication, wrapping; a negative exponent gives 1 / a^-b, truncated."""
    if not np.issubdtype(a.dtype, np.integer):
        return np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    sign = np.where(b % 2 == 0, 1, -1)
    inverse = np.where(a == 1, 1, np.where((a == -1) & np.issubdtype(a.dtype, np.signedinteger), sign, 0))
    return np.where(b < 0, inverse.astype(a.dtype), np.power(a, np.where(b < 0, 0, b))).astype(a.dtype)


def _shift(a: Array, b: Array, left: bool) -> Array:
    """To the left zeros come in, to the right copies of a signed number's sign; the width and more loses every bit."""
    bits = a.dtype.itemsize * 8
    outside = (b < 0) | (b >= bits)
    if not left:
        return np.right_shift(a, np.where(outside, bits - 1, b).astype(a.dtype)) * np.where(
            outside & (a >= 0), 0, 1
        ).astype(a.dtype)
    return np.where(outside, 0, np.left_shift(a, np.where(outside, 0, b).astype(a.dtype))).astype(a.dtype)


FUNCTIONS: dict[str, Callable[[Array, Array], Array]] = {
    "Add": lambda a, b: np.asarray(a + b),
    "Sub": lambda a, b: np.asarray(a - b),
    "Mul": lambda a, b: np.asarray(a * b),
    "Div": _divide,
    "Pow": _power,
    "Min": lambda a, b: np.asarray(np.minimum(a, b)),
    "Max": lambda a, b: np.asarray(np.maximum(a, b)),
    "PRelu": lambda a, b: np.where(a < 0, a * b, a).astype(a.dtype),
    "And": lambda a, b: np.logical_and(a, b),
    "Or": lambda a, b: np.logical_or(a, b),
    "Xor": lambda a, b: np.logical_xor(a, b),
    "BitwiseAnd": lambda a, b: np.bitwise_and(a, b),
    "BitwiseOr": lambda a, b: np.bitwise_or(a, b),
    "BitwiseXor": lambda a, b: np.bitwise_xor(a, b),
    "ShiftLeft": lambda a, b: _shift(a, b, True),
    "ShiftRight": lambda a, b: _shift(a, b, False),
    "Equal": lambda a, b: np.equal(a, b),
    "Less": lambda a, b: np.less(a, b),
    "LessOrEqual": lambda a, b: np.less_equal(a, b),
    "Greater": lambda a, b: np.greater(a, b),
    "GreaterOrEqual": lambda a, b: np.greater_equal(a, b),
}


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = fn(a, b), then the fused activation (float32).

    Inputs: a, b of one dtype (float32, float64, integers, bool), numpy broadcasting; PRelu's b is the slope.
    Output: their dtype, bool for comparisons and logic. Integers wrap. `fmod` as in ONNX Mod.
    Source: the ONNX operators of the same names.
    """
    a, b = need(inputs, 0), need(inputs, 1)
    fn = get_str(attrs, "fn")
    with np.errstate(all="ignore"):
        y = _modulo(a, b, bool(get_int(attrs, "fmod", 0))) if fn == "Mod" else FUNCTIONS[fn](a, b)
    return [activation(y, attrs)]
