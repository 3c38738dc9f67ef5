"""Float operators: the same bits on every ISA, the documented order of operations, and the references' bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavo import ops
from octavo.ops._window import Geometry, as_image
from one_step import check, fma32, run, same, ulps
from test_ops_property import broadcast_pair, geometry, output_shape, seeds, sizes

Array = np.ndarray[Any, Any]
F32 = np.float32
some = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
SPECIAL = np.asarray([0.0, -0.0, 1e-45, -1e-45, 1e-39, 1.0, -1.0, 0.5, 88.8, -104.0, 3.4e38, -3.4e38], F32)
NOT_FINITE = np.asarray([np.inf, -np.inf, np.nan], F32)
ACTIVATIONS: list[dict[str, object]] = [
    {},
    {"act": "Relu"},
    {"act": "Clip", "act_lo": -0.5, "act_hi": 0.75},
    {"act": "LeakyRelu", "act_alpha": 0.2},
    {"act": "HardSigmoid", "act_alpha": 0.3, "act_beta": 0.4},
    {"act": "HardSwish"},
]
SMOOTH: list[dict[str, object]] = [{"act": name} for name in ("Sigmoid", "Silu", "Gelu", "Tanh")]
activations = st.sampled_from(ACTIVATIONS + SMOOTH)


def normal(rng: np.random.Generator, shape: Any, scale: float = 1.0) -> Array:
    return (rng.normal(size=shape) * scale).astype(F32)


def chain(pairs: list[tuple[Array, Array]], shape: tuple[int, ...]) -> Array:
    """One fma chain from 0 over (x, w) in order."""
    total = np.zeros(shape, F32)
    for x, w in pairs:
        total = fma32(*np.broadcast_arrays(x, w, total))
    return total


def staged(total: Array, bias: Array | None, z: Array | None, attrs: dict[str, object]) -> Array:
    """The epilogue as separate plan steps of the core: fusing must not change a byte."""
    y = total
    if bias is not None:
        y = (y + bias).astype(F32)
    if z is not None:
        y = (y + z).astype(F32)
    if "act" in attrs:
        parameters = {key[4:]: value for key, value in attrs.items() if key.startswith("act_")}
        y = run("Unary", [y], {"fn": attrs["act"], **parameters})[0][0]
    return y


def near(y: Array, expected: Array, bound: Array | float) -> None:
    """|y - expected| <= bound wherever expected is finite; equal elsewhere."""
    finite = np.isfinite(expected)
    assert np.array_equal(y[~finite], expected[~finite], equal_nan=True)
    with np.errstate(invalid="ignore"):
        excess = np.abs(y.astype(np.float64) - expected) - bound
    assert np.all(excess[finite] <= 0), f"off by {np.max(excess[finite])} more than allowed"


def test_fma32_rounds_once() -> None:
    """Against exact rational arithmetic, the cases where rounding twice goes wrong among them."""
    from fractions import Fraction

    rng = np.random.default_rng(3)
    a, b = normal(rng, 3000), normal(rng, 3000)
    c = (-a * b * (1 + rng.integers(-2, 3, 3000) * 2.0**-24)).astype(F32)
    a[:3], b[:3], c[:3] = F32(1 + 2**-12), F32(1 + 2**-12), [2**24 + 2, -(2**25), 2**-60]
    got = fma32(a, b, c)
    for x, y, z, r in zip(a, b, c, got, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        mine = abs(Fraction(float(r)) - exact)
        for neighbour in (np.nextafter(r, F32(np.inf)), np.nextafter(r, F32(-np.inf))):
            assert mine <= abs(Fraction(float(neighbour)) - exact)


@some
@given(seeds, sizes, sizes, sizes, st.sampled_from(["constant", "run", "batch"]), activations)
def test_matmul(seed: int, m: int, n: int, k: int, kind: str, act: dict[str, object]) -> None:
    rng = np.random.default_rng(seed)
    a = normal(rng, (*((2,) if kind == "batch" else ()), m, k))
    b = normal(rng, (n, k) if kind == "constant" else (*((2,) if kind == "batch" and n % 2 else ()), k, n))
    bias = normal(rng, n) if rng.random() < 0.5 else None
    z = normal(rng, (*a.shape[:-1], n)) if rng.random() < 0.3 else None
    attrs = {**act, **({"trans_b": 1} if kind == "constant" else {})}
    inputs = [a, b, bias, z]
    (y,), (expected,) = run("MatMul", inputs, attrs, (1, 2) if kind == "constant" else ())
    right = b.T if kind == "constant" else b
    same(
        y,
        staged(chain([(a[..., :, i : i + 1], right[..., i : i + 1, :]) for i in range(k)], y.shape), bias, z, act),
        "chain",
    )
    weight = np.abs(a).astype(np.float64) @ np.abs(right)
    near(y, expected, 2e-6 + 2.0**-23 * (k + 4) * (weight + 8))


def conv_chain(x: Array, w: Array, attrs: dict[str, Any]) -> Array:
    """Conv's sum as the contract orders it: (i, j, c) ascending, padding contributing zeros."""
    image, filters = as_image(x), as_image(w)
    g = Geometry((image.shape[1], image.shape[2]), list(w.shape[1:-1]), attrs, x.ndim == 3)
    group, depth = attrs["group"], filters.shape[3]
    per = filters.shape[0] // group
    pairs = []
    for i, j, tap in g.taps(g.padded(image, 0.0)):
        for c in range(depth):
            source = np.repeat(np.arange(group) * depth + c, per)
            pairs.append((tap[..., source], filters[:, i, j, c]))
    y = chain(pairs, (image.shape[0], g.out[0], g.out[1], filters.shape[0]))
    return y[:, 0] if x.ndim == 3 else y


def check_conv(seed: int, g: dict[str, Any], group: int, depth: int, per: int, act: dict[str, object]) -> None:
    rng = np.random.default_rng(seed)
    x, w = normal(rng, (2, *g["size"], group * depth)), normal(rng, (group * per, *g["kernel"], depth))
    bias = normal(rng, group * per) if rng.random() < 0.6 else None
    z = normal(rng, output_shape(x, w, g["attrs"])) if rng.random() < 0.3 else None
    attrs = {**g["attrs"], "group": group}
    (y,), (expected,) = run("Conv", [x, w, bias, z], {**attrs, **act}, (1, 2))
    same(y, staged(conv_chain(x, w, attrs), bias, z, act), "Conv against one fma chain")
    weight = ops.reference("Conv", [np.abs(x), np.abs(w), None, None], attrs)[0]
    near(y, expected, 2e-6 + 1e-5 * (weight + 8))


@some
@given(seeds, geometry(), st.sampled_from([1, 3, 8, 17]), st.sampled_from([1, 5, 16, 33]), activations)
def test_conv(seed: int, g: dict[str, Any], depth: int, out: int, act: dict[str, object]) -> None:
    check_conv(seed, g, 1, depth, out, act)


@some
@given(seeds, geometry(), st.integers(2, 4), st.integers(1, 4), st.integers(1, 4), activations)
def test_conv_grouped(seed: int, g: dict[str, Any], group: int, depth: int, per: int, act: dict[str, object]) -> None:
    check_conv(seed, g, group, depth, per, act)


@some
@given(seeds, geometry(), sizes, activations)
def test_conv_depthwise(seed: int, g: dict[str, Any], channels: int, act: dict[str, object]) -> None:
    check_conv(seed, g, channels, 1, 1, act)


@pytest.mark.parametrize("filter_size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_depthwise_around_its_blocks(filter_size: int, stride: int) -> None:
    """Odd and even heights (two rows at a time), every width modulo the four pixels of a block, channel tails."""
    for k, (height, width) in enumerate((h, w) for h in (1, 2, 3, 4) for w in range(1, 10)):
        size = ((height - 1) * stride + filter_size, (width - 1) * stride + filter_size)
        g = {
            "size": size,
            "kernel": (filter_size, filter_size),
            "attrs": {"strides": [stride, stride], "dilations": [1, 1], "pads": [0, 0, 0, 0]},
        }
        check_conv(k, g, (5, 16, 19, 48)[k % 4], 1, 1, ({}, {"act": "Relu"}, {"act": "HardSwish"})[k % 3])


@settings(some, max_examples=40)
@given(seeds, geometry(), st.integers(1, 2), st.integers(1, 6))
def test_acc64_is_the_reference(seed: int, g: dict[str, Any], group: int, depth: int) -> None:
    rng = np.random.default_rng(seed)
    # Small integers: float64 sums are exact, so the order does not matter and bytes must agree.
    x = rng.integers(-9, 9, (1, *g["size"], group * depth)).astype(F32)
    w = rng.integers(-9, 9, (group * 3, *g["kernel"], depth)).astype(F32) / 8
    attrs = {**g["attrs"], "group": group, "acc64": 1}
    check("Conv", [x, w, normal(rng, group * 3), None], attrs, constants=(1, 2))
    a, b = rng.integers(-9, 9, (4, 50)).astype(F32), rng.integers(-9, 9, (7, 50)).astype(F32)
    check("MatMul", [a, b, normal(rng, 7), None], {"trans_b": 1, "acc64": 1}, constants=(1, 2))


def transposed_chain(x: Array, w: Array, attrs: dict[str, Any], shape: tuple[int, ...]) -> Array:
    """ConvTranspose's sum: taps (i, j, c) ascending whose input position is whole; outside the image they are zeros."""
    one_d = x.ndim == 3
    image, filters = as_image(x), as_image(w)
    strides, dilations = ([1, *attrs[key]] if one_d else attrs[key] for key in ("strides", "dilations"))
    begin = [0, attrs["pads"][0]] if one_d else attrs["pads"][:2]
    y = np.zeros(shape, F32)
    target = as_image(y)
    per = filters.shape[0] // attrs["group"]
    source = np.repeat(np.arange(attrs["group"]) * filters.shape[3], per)
    for p, q in np.ndindex(target.shape[1:3]):
        for i, j in np.ndindex(filters.shape[1:3]):
            row, column = p + begin[0] - i * dilations[0], q + begin[1] - j * dilations[1]
            if row % strides[0] or column % strides[1]:
                continue
            row, column = row // strides[0], column // strides[1]
            inside = 0 <= row < image.shape[1] and 0 <= column < image.shape[2]
            for c in range(filters.shape[3]):
                tap = image[:, row, column, source + c] if inside else np.zeros((image.shape[0], source.size), F32)
                target[:, p, q] = fma32(*np.broadcast_arrays(tap, filters[:, i, j, c], target[:, p, q]))
    return y


@some
@given(seeds, geometry(), st.integers(1, 3), st.sampled_from([1, 3, 8]), st.sampled_from([1, 2, 17]), activations)
def test_conv_transpose(seed: int, g: dict[str, Any], group: int, depth: int, per: int, act: dict[str, object]) -> None:
    rng = np.random.default_rng(seed)
    axes = len(g["size"])
    size = [min(n, 7) for n in g["size"]]
    attrs: dict[str, Any] = {**g["attrs"], "group": group}
    extra = [int(rng.integers(0, max(s, d))) for s, d in zip(attrs["strides"], attrs["dilations"], strict=True)]
    attrs["output_padding"] = extra
    for a in range(axes):  # leave at least one output pixel
        extent = (size[a] - 1) * attrs["strides"][a] + (g["kernel"][a] - 1) * attrs["dilations"][a] + 1
        if attrs["pads"][a] + attrs["pads"][a + axes] >= extent:
            attrs["pads"] = [0] * (2 * axes)
    x, w = normal(rng, (2, *size, group * depth)), normal(rng, (group * per, *g["kernel"], depth))
    bias = normal(rng, group * per) if rng.random() < 0.5 else None
    (y,), (expected,) = run("ConvTranspose", [x, w, bias], {**attrs, **act}, (1, 2))
    same(y, staged(transposed_chain(x, w, attrs, y.shape), bias, None, act), "ConvTranspose against one fma chain")
    weight = ops.reference("ConvTranspose", [np.abs(x), np.abs(w), None], attrs)[0]
    near(y, expected, 2e-6 + 1e-5 * (weight + 8))


EXACT = ["Relu", "LeakyRelu", "HardSigmoid", "HardSwish", "Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil"]
EXACT += ["Round", "Sign", "Log", "Softplus", "Sin", "Cos", "Clip", "ThresholdedRelu", "Shrink"]
EXACT += ["Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"]
# Largest error: units in the last place, or absolute, whichever allows more.
BOUNDS = {name: (1.0, 0.0) for name in EXACT} | {
    "HardSigmoid": (2.0, 2e-7),
    "HardSwish": (4.0, 2e-6),
    "LeakyRelu": (1.0, 0.0),
    "Exp": (2.0, 0.0),
    "Sigmoid": (4.0, 2e-7),
    "Tanh": (4.0, 2e-7),
    "Erf": (4.0, 2e-7),
    "Elu": (4.0, 2e-7),
    "Selu": (6.0, 5e-7),
    "Celu": (6.0, 5e-7),
    "Softsign": (2.0, 0.0),
    "Mish": (8.0, 1e-6),
    "Silu": (6.0, 1e-6),
    "Gelu": (6.0, 2e-6),
    "GeluTanh": (8.0, 2e-6),
}
PARAMETERS: dict[str, dict[str, object]] = {
    "Clip": {"lo": -1.5, "hi": 2.25},
    "LeakyRelu": {"alpha": 0.125},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Celu": {"alpha": 2.0},
    "ThresholdedRelu": {"alpha": 0.75},
    "Shrink": {"alpha": 0.625, "beta": 0.25},
}


@pytest.mark.parametrize("fn", sorted(BOUNDS))
def test_unary(fn: str) -> None:
    rng = np.random.default_rng(1)
    grids = [np.linspace(-12, 12, 20_011), np.linspace(-110, 95, 20_011), rng.normal(size=5000) * 0.01, SPECIAL]
    grids += [2.0 ** rng.uniform(-130, 127, 4000) * rng.choice([-1, 1], 4000), NOT_FINITE]
    x = np.concatenate(grids).astype(F32)
    attrs = {"fn": fn, **PARAMETERS.get(fn, {})}
    (y,), (expected,) = run("Unary", [x], attrs)
    most, absolute = BOUNDS[fn]
    with np.errstate(invalid="ignore"):
        fine = (ulps(y, expected) <= most) | (np.abs(y.astype(np.float64) - expected) <= absolute)
    assert np.all(fine), f"{fn}({x[~fine][:4]}) gives {y[~fine][:4]}, expected {expected[~fine][:4]}"


@pytest.mark.parametrize("fn", sorted(BOUNDS))
def test_unary_every_length(core: Any, fn: str) -> None:
    """Tails of vectors, and the same bits from `_core.unary`."""
    attrs = PARAMETERS.get(fn, {})
    x = np.concatenate([np.linspace(-3, 3, 90).astype(F32), SPECIAL, NOT_FINITE])
    for n in (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, x.size):
        (y,), _ = run("Unary", [x[:n]], {"fn": fn, **attrs})
        same(core.unary(fn, x[:n], attrs), y, f"_core.unary({fn})")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("fn", ["Neg", "Abs", "Sign", "Relu", "Clip", "BitwiseNot"])
def test_unary_integers(fn: str, dtype: type) -> None:
    info = np.iinfo(dtype)
    x = np.asarray([info.min, info.min + 1, 0, 1, 5, info.max - 1, info.max], dtype)
    x = np.concatenate([x, np.asarray([-7, -1], np.int64).astype(dtype)])
    limits: list[dict[str, object]] = [{}]
    if fn == "Clip":
        limits += [{"lo": -3.5, "hi": 4.5}, {"lo": 0.0}, {"hi": -1e30}]
    for attrs in limits:
        check("Unary", [x], {"fn": fn, **attrs})


def test_unary_f64() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([np.linspace(-30, 30, 3001), rng.normal(size=500) * 1e-3, [0.0, -0.0, np.inf, -np.inf, np.nan]])
    for fn in ("Neg", "Abs", "Floor", "Ceil", "Round", "Sign", "Sqrt", "Reciprocal"):
        check("Unary", [x], {"fn": fn})
    for fn in ("Relu", "Exp", "Log", "Sigmoid", "Tanh", "Erf", "Softplus"):
        (y,), (expected,) = run("Unary", [x], {"fn": fn})
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-300, err_msg=fn)


def test_binary_f64() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(7, 33)), rng.normal(size=(33,))
    for fn in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Mod", "PRelu", "Less", "GreaterOrEqual", "Equal"):
        check("Binary", [a, b], {"fn": fn})
    check("Binary", [a, np.full((1, 1), np.nan)], {"fn": "Max"})
    whole = np.rint(np.abs(a) * 20)
    for exponent in (2.0, 0.5, 3.0, -2.0, 7.0):
        (y,), (expected,) = run("Binary", [whole, np.asarray([exponent])], {"fn": "Pow"})
        np.testing.assert_allclose(y, expected, rtol=1e-15 if exponent > 0 else 1e-14)


def test_not() -> None:
    check("Unary", [np.asarray([True, False, True])], {"fn": "Not"})


@some
@given(seeds, broadcast_pair(), st.sampled_from(["Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"]), st.booleans())
def test_binary_f32(seed: int, shapes: Any, fn: str, special: bool) -> None:
    rng = np.random.default_rng(seed)
    a, b = normal(rng, shapes[0]), normal(rng, shapes[1])
    a, b = np.asarray(a), np.asarray(b)
    if special:
        values = np.concatenate([SPECIAL, NOT_FINITE])
        a, b = rng.choice(values, shapes[0]).astype(F32), rng.choice(values, shapes[1]).astype(F32)
        a, b = np.asarray(a, F32), np.asarray(b, F32)
    (y,), (expected,) = run("Binary", [a, b], {"fn": fn})
    if fn in ("Min", "Max"):  # either zero may come out of (0, -0)
        y, expected = y + F32(0), expected + F32(0)
    same(y, expected, fn)


@some
@given(seeds, broadcast_pair(), activations)
def test_binary_activation(seed: int, shapes: Any, act: dict[str, object]) -> None:
    rng = np.random.default_rng(seed)
    a, b = np.asarray(normal(rng, shapes[0])), np.asarray(normal(rng, shapes[1]))
    (y,), _ = run("Binary", [a, b], {"fn": "Add", **act})
    same(y, staged(np.asarray(a + b), None, None, act), "a fused activation")


def test_pow_and_mod_f32() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random(4000) * 9).astype(F32), normal(rng, 4000, 3)
    b[:800] = rng.choice([0, 1, 2, 3, 0.5, -1, -2], 800)
    a[:60], b[:60] = -a[:60], np.rint(b[:60])
    (y,), (expected,) = run("Binary", [a, b], {"fn": "Pow"})
    assert np.all(ulps(y, expected) <= 2)
    b[2000:] = rng.choice([0.25, -0.75, 3, -1e-3, np.inf, np.nan, 0], 2000)
    for fmod in (0, 1):
        check("Binary", [normal(rng, 4000, 9), b], {"fn": "Mod", "fmod": fmod})


INTEGERS = [np.int32, np.int64, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.uint64]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    "fn",
    ["Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Pow", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "ShiftLeft",
     "ShiftRight"],
)  # fmt: skip
def test_binary_integers(fn: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    ends = np.asarray([info.min, info.max, 0, 1, 2, 7, info.max - 1, info.min + 1], dtype)
    a = np.concatenate([np.repeat(ends, 8), rng.integers(info.min, info.max, 500, dtype, endpoint=True)])
    b = np.concatenate([np.tile(ends, 8), rng.integers(info.min, info.max, 500, dtype, endpoint=True)])
    if fn == "Pow":
        b = (b % 6).astype(dtype)
    if fn.startswith("Shift"):
        b[100:] %= 70
    check("Binary", [a, b], {"fn": fn})
    if fn == "Mod":
        check("Binary", [a, b], {"fn": fn, "fmod": 1})


@pytest.mark.parametrize("fn", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
def test_comparisons(fn: str) -> None:
    values = np.concatenate([SPECIAL, NOT_FINITE])
    check("Binary", [values[:, None], values], {"fn": fn})
    for dtype in INTEGERS:
        few = np.arange(5).astype(dtype)
        check("Binary", [few[:, None], few], {"fn": fn})


@pytest.mark.parametrize("fn", ["And", "Or", "Xor", "Equal"])
def test_logic(fn: str) -> None:
    both = np.asarray([True, False])
    check("Binary", [both[:, None], both], {"fn": fn})


@some
@given(seeds, geometry(), sizes, st.booleans(), st.sampled_from([np.float32, np.uint8, np.int8]))
def test_max_pool(seed: int, g: dict[str, Any], channels: int, ceil: bool, dtype: type) -> None:
    x = (np.random.default_rng(seed).normal(size=(2, *g["size"], channels)) * 90).astype(np.int64).astype(dtype)
    check("MaxPool", [x], {**g["attrs"], "kernel_shape": g["kernel"], "ceil_mode": int(ceil)})


@some
@given(seeds, geometry(), sizes, st.booleans(), st.booleans())
def test_average_pool(seed: int, g: dict[str, Any], channels: int, ceil: bool, include: bool) -> None:
    x = normal(np.random.default_rng(seed), (2, *g["size"], channels))
    attrs = {**g["attrs"], "kernel_shape": g["kernel"], "ceil_mode": int(ceil), "count_include_pad": int(include)}
    (y,), (expected,) = run("AveragePool", [x], attrs)
    near(y, expected, 1e-5)
    image = as_image(x)
    window = Geometry((image.shape[1], image.shape[2]), g["kernel"], attrs, x.ndim == 3)
    total = np.zeros((2, *window.out, channels), F32)
    for _, _, tap in window.taps(window.padded(image, 0.0)):
        total = total + tap
    with np.errstate(invalid="ignore"):
        same(y, (total / window.counts(include).astype(F32)).reshape(y.shape), "AveragePool in row-major order")


def lanes(x: Array, combine: Any, identity: float) -> Array:
    """Reduces the last axis with sixteen virtual lanes and the fixed tree."""
    lane = np.full((*x.shape[:-1], 16), identity, F32)
    for i in range(x.shape[-1]):
        lane[..., i % 16] = combine(lane[..., i % 16], x[..., i])
    for half in (8, 4, 2, 1):
        lane = np.concatenate([combine(lane[..., :half], lane[..., half : 2 * half]), lane[..., 2 * half :]], -1)
    return lane[..., 0]


@some
@given(
    seeds,
    st.lists(sizes, min_size=1, max_size=3),
    st.sampled_from(["Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2"]),
    st.booleans(),
)
def test_reduce_f32(seed: int, shape: list[int], fn: str, keep: bool) -> None:
    rng = np.random.default_rng(seed)
    x = normal(rng, shape) if fn != "Prod" else (1 + rng.normal(size=shape) * 0.1).astype(F32)
    axes = [a - len(shape) * int(rng.integers(0, 2)) for a in range(len(shape)) if rng.random() < 0.5]
    attrs = {"fn": fn, "axes": axes, "keepdims": int(keep)}
    (y,), (expected,) = run("Reduce", [x, None], attrs)
    normal_axes = [a % len(shape) for a in axes] or list(range(len(shape)))
    rest = [a for a in range(len(shape)) if a not in normal_axes]
    rows = x.transpose(rest + normal_axes).reshape([shape[a] for a in rest] + [-1])
    terms = {"SumSquare": rows * rows, "L2": rows * rows, "L1": np.abs(rows)}.get(fn, rows)
    functions = {"Max": (np.maximum, -np.inf), "Min": (np.minimum, np.inf), "Prod": (np.multiply, 1.0)}
    total = lanes(terms, *functions.get(fn, (np.add, 0.0)))
    if fn == "Mean":
        total = total / F32(rows.shape[-1])
    total = np.sqrt(total) if fn == "L2" else total
    same(y.reshape(-1), np.asarray(total, F32).reshape(-1), f"{fn} against sixteen lanes")
    near(y, expected, 1e-5 + 1e-5 * np.max(np.abs(rows)) ** 2 * rows.shape[-1])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("fn", ["Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1"])
def test_reduce_integers(fn: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    for x in (rng.integers(-9, 9, (4, 5, 6)).astype(dtype), rng.integers(info.min, info.max, (3, 7, 2), dtype)):
        for axes in ([1], [0, 2], [-1]):
            check("Reduce", [x, None], {"fn": fn, "axes": axes, "keepdims": 0})
        check("Reduce", [x, np.asarray([1], np.int64)], {"fn": fn}, constants=(1,))


def test_reduce_corners() -> None:
    x = np.asarray([[1, np.nan, 2], [3, 4, -np.inf]], F32)
    for fn in ("Max", "Min", "Sum"):
        check("Reduce", [x, None], {"fn": fn, "axes": [1]})
    check("Reduce", [x, None], {"fn": "Sum", "axes": [], "noop_with_empty_axes": 1})
    check("Reduce", [np.zeros((0, 3), F32), None], {"fn": "Sum", "axes": [0]})
    check("Reduce", [np.zeros((0, 3), F32), None], {"fn": "Max", "axes": [0]})
    check("Reduce", [np.zeros((0, 3), F32), None], {"fn": "Sum", "axes": [1]})


@some
@given(seeds, st.lists(sizes, min_size=1, max_size=3), st.booleans(), st.sampled_from([1.0, 30.0, 1e4]))
def test_softmax(seed: int, shape: list[int], log: bool, scale: float) -> None:
    rng = np.random.default_rng(seed)
    axis = int(rng.integers(-len(shape), len(shape)))
    (y,), (expected,) = run("Softmax", [normal(rng, shape, scale)], {"axis": axis, "log": int(log)})
    near(y, expected, 2e-6 + np.abs(expected) * 2e-6)


@some
@given(seeds, st.lists(sizes, min_size=1, max_size=3), st.sampled_from([1e-5, 1e-12, 0.1]))
def test_layer_normalization(seed: int, shape: list[int], epsilon: float) -> None:
    rng = np.random.default_rng(seed)
    axis = int(rng.integers(-len(shape), len(shape)))
    x = normal(rng, shape)
    inner = shape[axis % len(shape) :]
    scale = normal(rng, inner) if rng.random() < 0.7 else None
    bias = normal(rng, inner) if rng.random() < 0.7 and scale is not None else None
    (y,), (expected,) = run("LayerNormalization", [x, scale, bias], {"axis": axis, "epsilon": epsilon}, (1, 2))
    wide = x.reshape(*shape[: axis % len(shape)], -1).astype(np.float64)
    # The mean carries an error of some ulps of |x|, which a small deviation magnifies.
    spread = np.sqrt(wide.var(-1) + epsilon)
    magnified = 1e-6 * np.max(np.abs(wide), -1) / spread
    widest = 1.0 if scale is None else float(np.max(np.abs(scale)))
    bound = magnified.reshape(magnified.shape + (1,) * len(inner)) * (1 + 1 / spread.min()) * widest
    near(y, expected, bound + 1e-5 * (1 + np.abs(expected)))
    rows = x.reshape(wide.shape)
    n = F32(rows.shape[-1])
    centred = rows - (lanes(rows, np.add, 0.0) / n)[..., None]
    variance = lanes(centred * centred, np.add, 0.0) / n
    replayed = (centred / np.sqrt(variance + F32(epsilon))[..., None]).reshape(y.shape)
    replayed = replayed if scale is None else replayed * scale
    same(y, replayed if bias is None else replayed + bias, "LayerNormalization in sixteen lanes")


@some
@given(
    seeds,
    st.lists(sizes, min_size=4, max_size=4),
    st.sampled_from([1, 5, 17, 33, 70]),
    st.sampled_from(["", "divide", "multiply"]),
)
def test_attention(seed: int, shape: list[int], n: int, scale: str) -> None:
    """The same bytes as the steps it stands for, whichever axes repeat."""
    rng = np.random.default_rng(seed)
    b, h, m, d = min(shape[0], 3), min(shape[1], 4), shape[2], shape[3]
    e = int(rng.integers(1, 40))

    def part(*full: int) -> Array:
        return normal(rng, [size if rng.random() < 0.8 or k == 3 else 1 for k, size in enumerate(full)])

    mask = None
    if rng.random() < 0.7:
        mask = np.where(rng.random((b, h, m, n)) < 0.2, F32(-np.inf if rng.random() < 0.2 else -1e4), F32(0.25))
        mask = mask[tuple(slice(0, size if rng.random() < 0.6 else 1) for size in mask.shape)][
            0 if b == 1 else slice(None)
        ]
    q, k, v = part(b, m, h, d), part(b, n, h, d), part(b, n, h, e)
    rows = max(k.shape[1], 1 if mask is None else mask.shape[-1])
    v = np.repeat(v, rows, 1) if v.shape[1] == 1 else v[:, :rows]
    attrs = {scale: 5.656854152679443} if scale else {}
    (y,), (expected,) = run("Attention", [q, k, v, mask], attrs)

    def step(op: str, inputs: list[Array], attrs: dict[str, object]) -> Array:
        return run(op, inputs, attrs)[0][0]

    s = step("MatMul", [q.transpose(0, 2, 1, 3).copy(), k.transpose(0, 2, 3, 1).copy()], {})
    if scale:
        s = step("Binary", [s, F32(attrs[scale]).reshape(())], {"fn": "Div" if scale == "divide" else "Mul"})
    if mask is not None:
        s = step("Binary", [s, mask], {"fn": "Add"})
    p = step("Softmax", [s], {"axis": -1})
    apart = step("MatMul", [p, v.transpose(0, 2, 1, 3).copy()], {}).transpose(0, 2, 1, 3)
    same(y, np.ascontiguousarray(apart), "separate steps")
    near(y, expected, 2e-5 * (1 + np.abs(v).max(initial=0)))
