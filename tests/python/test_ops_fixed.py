"""The fixed scheme: formulas against exact fractions, the core against the references on every ISA, extremes too."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import octavo
from octavo.ops import _fixed
from octavo.passes.fixed import proven_multiplier, quantize_half_away, quantize_multiplier
from octavo.passes.quantized import NoMatch
from one_step import OneStep, check

Array = np.ndarray[Any, Any]
EDGES = [0, 1, -1, 2, -2, 3, 5, 127, 255, -255, 2**15, -(2**16), 2**30, -(2**30), 2**31 - 1, -(2**31), 1 - 2**31]
SIZES = [1, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 97]


def nearest(x: Fraction) -> int:
    """Ties away from zero."""
    magnitude = math.floor(abs(x) + Fraction(1, 2))
    return magnitude if x >= 0 else -magnitude


@pytest.mark.parametrize("shift", [-31, -30, -17, -1, 0, 1, 7, 30])
@pytest.mark.parametrize("multiplier", [0, 1, 2**30, 2**30 + 1, 1_717_986_919, 2**31 - 1])
def test_scaling_is_what_fractions_say(multiplier: int, shift: int) -> None:
    x = np.array(EDGES, np.int64)
    for value, y, once in zip(
        EDGES, _fixed.scaled(x, multiplier, shift), _fixed.scaled_once(x, multiplier, np.int64(shift))
    ):
        left = (value * 2 ** max(shift, 0) + 2**31) % 2**32 - 2**31
        high = math.floor(Fraction(left * multiplier, 2**31) + Fraction(1, 2))
        assert y == nearest(Fraction(high, 2 ** max(-shift, 0)))
        total = 31 - shift
        exact = nearest(Fraction(value * multiplier, 2**total))
        assert once == nearest(Fraction(min(abs(value), 2**total - 1) * multiplier, 2**total)) * (
            1 if value >= 0 else -1
        )
        assert once == exact or multiplier < 2**30 or (abs(exact) > 2**29 and abs(once) >= 2**29)


def test_quantized_multipliers_are_the_nearest_of_31_bits() -> None:
    for real in (1.0, 0.5, 1 / 3, 0.1, 2.0**-31, 3e-9, 0.999999999999, 1e6, np.nextafter(1.0, 0)):
        multiplier, shift = quantize_multiplier(float(real))
        assert 2**30 <= multiplier < 2**31
        assert abs(Fraction(multiplier, 2**31) * Fraction(2) ** shift - Fraction(float(real))) <= Fraction(2) ** (
            shift - 32
        )
    assert quantize_multiplier(0.0) == quantize_multiplier(2.0**-40) == [0, 0]
    for real in (math.inf, math.nan, -1.0, 2.0**31):
        with pytest.raises(NoMatch):
            quantize_multiplier(real)


@pytest.mark.parametrize("real", [0.1, 0.05, 1 / 3, 0.25, 0.0123456789, 3.1e-4, 1.7, 123.0])
def test_a_proven_multiplier_rounds_as_the_double_does(real: float) -> None:
    """Around every step, its ties included."""
    pair = proven_multiplier(real, 2**31)
    assert pair is not None
    multiplier, shift = pair
    steps = np.rint((np.arange(1, 258) - 0.5) / real).astype(np.int64)
    acc = np.unique(np.clip((steps[:, None] + np.arange(-3, 4)).reshape(-1), 0, 2**31 - 1))
    acc = np.concatenate([acc, -acc, [2**31 - 1, -(2**31)]])
    product = acc * real
    want = np.copysign(np.floor(np.abs(product)) + (np.abs(product) % 1 >= 0.5), product)
    got = _fixed.scaled_once(acc, np.int64(multiplier), np.int64(shift))
    assert np.array_equal(np.clip(got, -256, 256), np.clip(want, -256, 256))


def test_what_31_bits_cannot_hold_is_not_proven() -> None:
    assert proven_multiplier(7.7e-7, 2**31) is None
    assert proven_multiplier(7.7e-7, 2**24) is not None


def test_exponential_and_reciprocal_are_near_the_real_ones() -> None:
    x = -np.unique(np.concatenate([np.arange(64), np.geomspace(1, 2**31 - 1, 4000).astype(np.int64)]))
    got = _fixed.exp_negative(x, 5) / 2.0**31
    assert np.abs(got - np.exp(x / 2.0**26)).max() < 3e-7
    x = np.linspace(0, 2**31 - 1, 4001).astype(np.int64)
    assert np.abs(_fixed.reciprocal_above_one(x) / 2.0**31 - 1 / (1 + x / 2.0**31)).max() < 2e-8


def test_table_entries_round_ties_away_from_zero() -> None:
    real = np.array([0.25, 0.75, -0.25, -0.75, np.nan, np.inf, -np.inf, 1e30], np.float32)
    got = quantize_half_away(real, np.float32(0.5), 100, 0, 255)
    assert got.tolist() == [101, 102, 99, 98, 100, 255, 0, 255]


def scales(rng: np.random.Generator, n: int, how: str, usual: int) -> Array:
    """int32 [2, n]: multipliers and shifts; `ties`: powers of two; `edges`: the ends of both ranges."""
    if how == "edges":
        return np.array([rng.choice([0, 1, 2**30, 2**31 - 1], n), rng.choice([-31, -30, -1, 0, 1, 30], n)], np.int32)
    multiplier = np.full(n, 2**30) if how == "ties" else rng.integers(2**30, 2**31, n)
    return np.array([multiplier, np.clip(usual + rng.integers(-2, 3, n), -31, 30)], np.int32)


def factor(rng: np.random.Generator, how: str, usual: int) -> list[int]:
    return [int(v) for v in scales(rng, 1, how, usual)[:, 0]]


def epilogue(
    rng: np.random.Generator, shape: tuple[int, ...], how: str
) -> tuple[Array | None, Array | None, dict[str, object]]:
    lo, hi = (0, 255) if rng.random() < 0.5 else sorted(int(v) for v in rng.integers(0, 256, 2))
    attrs: dict[str, object] = {"y_zp": int(rng.integers(0, 256)), "lo": lo, "hi": hi}
    z = rng.integers(0, 256, shape).astype(np.uint8) if rng.random() < 0.4 else None
    table = rng.integers(0, 256, 256).astype(np.uint8) if rng.random() < 0.3 else None
    if z is not None:
        attrs |= {f"add_{k}": int(rng.integers(0, 256)) for k in ("za", "zb", "zp")}
        attrs |= {"add_fixed_a": factor(rng, how, -1), "add_fixed_b": factor(rng, how, -1)}
        attrs |= {"add_fixed_y": factor(rng, how, -18)}
    return z, table, attrs


def ends(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, extreme: bool) -> Array:
    info = np.iinfo(dtype)
    return (
        rng.choice([info.min, info.max], shape).astype(dtype)
        if extreme
        else rng.integers(info.min, info.max + 1, shape).astype(dtype)
    )


@pytest.mark.parametrize("once", [0, 1])
@pytest.mark.parametrize("how", ["usual", "ties", "edges"])
def test_qgemm(how: str, once: int) -> None:
    rng = np.random.default_rng(7)
    for k, n in enumerate(SIZES):
        rows, depth = int(rng.choice([1, 2, 5, 13, 14, 15, 29])), int(rng.choice([1, 3, 4, 30, 65]))
        x, w = ends(rng, (rows, depth), np.uint8, k % 3 == 0), ends(rng, (n, depth), np.int8, k % 3 == 0)
        if k % 4 == 3:
            w = w.astype(np.int16) - ends(rng, w.shape, np.int8, False)
        bias = rng.integers(-(2**31) if how == "edges" else -3000, 2**31 if how == "edges" else 3000, n).astype(
            np.int32
        )
        m = scales(rng, 1 if k % 5 == 4 else n, how, -7 - depth.bit_length() // 2)
        z, table, attrs = epilogue(rng, (rows, n), how)
        check("QGemm", [x, w, bias, m, z, table], attrs | {"once": once}, constants=(1, 2, 3, 5))


@pytest.mark.parametrize("how", ["usual", "ties", "edges"])
@pytest.mark.parametrize("kernel,stride,dilation", [(1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 2)])
def test_depthwise(kernel: int, stride: int, dilation: int, how: str) -> None:
    rng = np.random.default_rng(kernel * 10 + stride)
    for k, c in enumerate([2, 15, 16, 33, 64, 70, 127]):
        x, w = ends(rng, (1, 9, 11, c), np.uint8, k % 3 == 0), ends(rng, (c, kernel, kernel, 1), np.int8, k % 3 == 0)
        if k % 3 == 2:
            w = w.astype(np.int16) - ends(rng, w.shape, np.int8, False)
        pad = (kernel - 1) * dilation // 2
        size = tuple((d + 2 * pad - (kernel - 1) * dilation - 1) // stride + 1 for d in (9, 11))
        m = scales(rng, 1 if k % 3 == 1 else c, how, -8)
        z, table, attrs = epilogue(rng, (1, *size, c), how)
        attrs |= {"group": c, "strides": [stride] * 2, "dilations": [dilation] * 2, "pads": [pad] * 4}
        bias = rng.integers(-3000, 3000, c).astype(np.int32)
        check("QConv", [x, w, bias, m, z, table], attrs | {"x_zp": int(rng.integers(0, 256))}, constants=(1, 2, 3, 5))


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("how", ["usual", "edges"])
def test_convolution(how: str, group: int) -> None:
    rng = np.random.default_rng(group)
    for c, o in ((3, 6), (12, 33), (24, 66), (9, 129)):
        x, w = ends(rng, (2, 5, 7, c), np.uint8, False), ends(rng, (o, 3, 3, c // group), np.int8, False)
        z, table, attrs = epilogue(rng, (2, 5, 7, o), how)
        attrs |= {"group": group, "pads": [1] * 4, "x_zp": 100}
        check("QConv", [x, w, None, scales(rng, o, how, -9), z, table], attrs, constants=(1, 3, 5))


@pytest.mark.parametrize("how", ["usual", "ties", "edges"])
@pytest.mark.parametrize("op", ["QAdd", "QMul"])
def test_binary(op: str, how: str) -> None:
    """Every pair of bytes, and rows that broadcast."""
    rng = np.random.default_rng(3)
    every = np.arange(256, dtype=np.uint8)
    shapes = [((256, 1), (1, 256)), ((5, 70), (5, 70)), ((5, 70), (70,)), ((3, 1, 33), (4, 33)), ((1,), (97,))]
    for k, (sa, sb) in enumerate(shapes):
        a = every.reshape(sa) if k == 0 else ends(rng, sa, np.uint8, k % 2 == 0)
        b = every.reshape(sb) if k == 0 else ends(rng, sb, np.uint8, k % 2 == 0)
        attrs: dict[str, object] = {name: int(rng.integers(0, 256)) for name in ("za", "zb", "zp")}
        attrs |= {"lo": 3, "hi": 250} if k % 2 else {}
        if op == "QMul":
            check(op, [a, b], attrs | {"fixed": factor(rng, how, -8)})
            continue
        subtracted = factor(rng, how, -1)
        attrs |= {"fixed_a": factor(rng, how, -1), "fixed_y": factor(rng, how, -18)}
        attrs |= {"fixed_b": [-subtracted[0] if k % 2 else subtracted[0], subtracted[1]]}
        table = rng.integers(0, 256, 256).astype(np.uint8) if k == 1 else None
        check(op, [a, b, table], attrs, constants=(2,) if k == 1 else ())


@pytest.mark.parametrize("origin", [0, 128])
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool(origin: int, include: int) -> None:
    rng = np.random.default_rng(origin)
    for k, c in enumerate(SIZES):
        x = ends(rng, (2, 8, 8, c), np.uint8, k % 3 == 0)
        size = int(rng.choice([1, 2, 3, 8]))
        attrs: dict[str, object] = {"kernel_shape": [size, size], "strides": [int(rng.choice([1, 2]))] * 2}
        attrs |= {"pads": [size // 2] * 4, "count_include_pad": include, "origin": origin}
        attrs |= {"x_zp": int(rng.integers(0, 256)), "y_zp": int(rng.integers(0, 256))}
        check("QAveragePool", [x], attrs | ({"lo": 9, "hi": 200} if k % 2 else {}))


@pytest.mark.parametrize("how", ["usual", "ties", "edges"])
def test_mean(how: str) -> None:
    rng = np.random.default_rng(4)
    for k, shape in enumerate([(2, 7, 7, 70), (3, 33), (1, 1, 1, 5), (4, 3, 130), (2, 0, 3), (3, 2, 2, 3, 5)]):
        x = ends(rng, shape, np.uint8, k == 3)
        for axes in ([len(shape) - 1], [1], list(range(len(shape))), [0, len(shape) - 1]):
            fixed = factor(rng, how, 0)
            attrs = {"axes": sorted(set(axes)), "keepdims": k % 2, "x_zp": 99, "y_zp": 7, "fixed": fixed}
            check("QReduceMean", [x], attrs)


def test_softmax() -> None:
    rng = np.random.default_rng(5)
    for k, n in enumerate([1, 2, 3, 10, 127, 1001, 4095]):
        x = ends(rng, (5, n), np.uint8, k % 3 == 0)
        x[0] = 17
        shift = int(rng.integers(14, 25))
        attrs = {"fixed": [int(rng.integers(2**30, 2**31)), shift], "diff_min": -min(255, (31 << 26) >> shift)}
        check("QSoftmax", [x], attrs)


X = np.zeros((2, 4), np.uint8)
W = np.zeros((3, 4), np.int8)
M = np.array([[2**30] * 3, [-3] * 3], np.int32)
ADD = {"fixed_a": [2**30, -1], "fixed_b": [2**30, -1], "fixed_y": [2**30, -18]}
FLOAT_ADD = {"add_sa": 1.0, "add_sb": 1.0, "add_sy": 1.0}
SOFTMAX = {"fixed": [2**30, 20], "diff_min": -60}


@pytest.mark.parametrize(
    "op,inputs,attrs,words",
    [
        ("QGemm", [X, W, None, M[:, :2]], {}, r"shape \[2, 1\] or \[2, 3\]"),
        ("QGemm", [X, W, None, M[0]], {}, r"shape \[2, 1\]"),
        ("QGemm", [X, W, None, M * [[1], [40]]], {}, r"shifts lie in"),
        ("QGemm", [X, W, None, -M], {}, "not negative"),
        ("QGemm", [X, W, None, M], {"out_f32": 1}, "float"),
        ("QGemm", [X, W, None, M, np.zeros((2, 3), np.uint8)], FLOAT_ADD, "same scheme"),
        ("QGemm", [X, W, None, np.ones(3, np.float32)], {"once": 1}, "once"),
        ("QAdd", [X, X], ADD | {"fixed_a": [1]}, "fixed_a"),
        ("QAdd", [X, X], ADD | {"fixed_y": [2**31, 0]}, "fixed_y"),
        ("QAdd", [X, X], ADD | {"fixed_b": [1, 31]}, "fixed_b"),
        ("QAdd", [X, X], {"fixed_y": [1, 0]}, "fixed_a.*missing"),
        ("QMul", [X, X], {"fixed": [0.5, 1.0]}, "fixed"),
        ("QReduceMean", [X], {"axes": [1], "fixed": [-(2**30), 0]}, "negative"),
        ("QAveragePool", [np.zeros((1, 4, 4, 1), np.uint8)], {"kernel_shape": [2, 2], "origin": 300}, "origin"),
        ("QSoftmax", [X], SOFTMAX | {"fixed": [2**30, -1]}, "fixed"),
        ("QSoftmax", [X], SOFTMAX | {"diff_min": 1}, "diff_min"),
        ("QSoftmax", [X], SOFTMAX | {"fixed": [2**30, 28]}, "leave 32 bits"),
        ("QSoftmax", [np.zeros((1, 4096), np.uint8)], SOFTMAX, "4096"),
    ],
)
def test_wrong_attributes_are_named(op: str, inputs: list[Array | None], attrs: dict[str, object], words: str) -> None:
    y = np.zeros((2, 3), np.uint8)
    if op == "QAveragePool":
        y = np.zeros((1, 3, 3, 1), np.uint8)
    elif op == "QGemm" and attrs.get("out_f32"):
        y = y.astype(np.float32)
    elif op == "QReduceMean":
        y = np.zeros((2, 1), np.uint8)
    constants = (1, 2, 3) if op == "QGemm" else ()
    arrays = [None if x is None else x.astype(np.int32) if x.dtype == np.int64 else x for x in inputs]
    with pytest.raises(octavo.Error, match=words):
        OneStep(op, arrays, attrs, [y], constants).run(arrays)
