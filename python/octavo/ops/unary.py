"""Unary: functions of one element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_float, get_str, need

Parameters = Callable[[str, float], float]  # (name, default) -> value


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    vectorized = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(vectorized(x)).astype(np.float64)


_erf, _erfc = _each(math.erf), _each(math.erfc)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _clip(x: Array, lo: float, hi: float) -> Array:
    return np.minimum(np.maximum(x, lo), hi)


def _gelu_tanh(x: Array) -> Array:
    # 0.5 * (1 + tanh(u)) is sigmoid(2 * u), which keeps its accuracy where tanh(u) is near -1.
    return x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _shrink(x: Array, p: Parameters) -> Array:
    lambd, bias = p("alpha", 0.5), p("beta", 0.0)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


# Every function of x in float64; p(name, default) reads a parameter.
FUNCTIONS: dict[str, Callable[[Array, Parameters], Array]] = {
    "Relu": lambda x, p: np.maximum(x, 0),
    "Clip": lambda x, p: _clip(x, p("lo", -math.inf), p("hi", math.inf)),
    "LeakyRelu": lambda x, p: np.where(x < 0, p("alpha", 0.01) * x, x),
    "Elu": lambda x, p: np.where(x < 0, p("alpha", 1.0) * np.expm1(x), x),
    "Sigmoid": lambda x, p: _sigmoid(x),
    "Silu": lambda x, p: x * _sigmoid(x),
    "HardSigmoid": lambda x, p: _clip(p("alpha", 0.2) * x + p("beta", 0.5), 0, 1),
    "HardSwish": lambda x, p: x * _clip(x / 6 + 0.5, 0, 1),
    "Tanh": lambda x, p: np.tanh(x),
    "Erf": lambda x, p: _erf(x),
    "Gelu": lambda x, p: np.where(np.isneginf(x), 0, 0.5 * x * _erfc(-x / math.sqrt(2))),
    "GeluTanh": lambda x, p: _gelu_tanh(x),
    "Exp": lambda x, p: np.exp(x),
    "Log": lambda x, p: np.log(x),
    "Sqrt": lambda x, p: np.sqrt(x),
    "Reciprocal": lambda x, p: 1 / x,
    "Neg": lambda x, p: -x,
    "Abs": lambda x, p: np.abs(x),
    "Floor": lambda x, p: np.floor(x),
    "Ceil": lambda x, p: np.ceil(x),
    "Round": lambda x, p: np.rint(x),
    "Softplus": lambda x, p: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "Sign": lambda x, p: np.sign(x),
    "Sin": lambda x, p: np.sin(x),
    "Cos": lambda x, p: np.cos(x),
    "Tan": lambda x, p: np.tan(x),
    "Asin": lambda x, p: np.arcsin(x),
    "Acos": lambda x, p: np.arccos(x),
    "Atan": lambda x, p: np.arctan(x),
    "Sinh": lambda x, p: np.sinh(x),
    "Cosh": lambda x, p: np.cosh(x),
    "Asinh": lambda x, p: np.arcsinh(x),
    "Acosh": lambda x, p: np.arccosh(x),
    "Atanh": lambda x, p: np.arctanh(x),
    "Softsign": lambda x, p: x / (1 + np.abs(x)),
    "Selu": lambda x, p: p("beta", SELU_GAMMA) * np.where(x < 0, p("alpha", SELU_ALPHA) * np.expm1(x), x),
    "Celu": lambda x, p: np.where(x < 0, p("alpha", 1.0) * np.expm1(x / p("alpha", 1.0)), x),
    "ThresholdedRelu": lambda x, p: np.where(x > p("alpha", 1.0), x, 0),
    "Shrink": _shrink,
    "Mish": lambda x, p: x * np.tanh(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
}


def _integer(fn: str, x: Array, attrs: Attributes) -> Array:
    """Neg, Abs, Sign, Relu, Clip and BitwiseNot of integers, modulo 2^bits."""
    if fn == "BitwiseNot":
        return np.invert(x)
    if fn == "Neg":
        return np.asarray(np.negative(x))
    if fn == "Abs":
        return np.asarray(np.abs(x))
    if fn == "Sign":
        return np.asarray(np.sign(x))
    info = np.iinfo(x.dtype)
    lo, hi = (0.0, math.inf) if fn == "Relu" else (get_float(attrs, "lo", -math.inf), get_float(attrs, "hi", math.inf))

    def limit(value: float, whole: Callable[[float], int]) -> int:
        if value <= float(info.min):
            return int(info.min)
        return int(info.max) if value >= float(info.max) else whole(value)

    low, high = limit(lo, math.ceil), limit(hi, math.floor)
    return np.asarray(np.minimum(np.maximum(x, low), high)).astype(x.dtype)


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y = fn(x), element by element.

    Input: x float32 (Not: bool; Neg, Abs, Sign, Relu, Clip, BitwiseNot: integers; functions without parameters also
    float64). Output: x's dtype and shape. Selu's alpha and gamma, Shrink's lambd and bias are alpha and beta.
    The float64 value, rounded once to float32; the core's own functions agree within the ulps docs/arithmetic.md
    states. Source: the ONNX operators of the same names; Silu is x * sigmoid(x), GeluTanh is Gelu with
    approximate="tanh" (Hendrycks and Gimpel 2016).
    """
    x, fn = need(inputs, 0), get_str(attrs, "fn")
    if fn == "Not":
        return [np.logical_not(x)]
    if np.issubdtype(x.dtype, np.integer):
        return [_integer(fn, x, attrs)]
    # Parameters are float32 in the kernels.
    with np.errstate(all="ignore"):
        y = FUNCTIONS[fn](x.astype(np.float64), lambda key, default: float(np.float32(get_float(attrs, key, default))))
        return [np.asarray(y).astype(x.dtype)]
