"""Integer operators against their references, byte for byte, on every ISA and thread count: random shapes, extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavo import _core
from one_step import check

Array = np.ndarray[Any, Any]


def examples(n: int) -> settings:
    return settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


seeds = st.integers(0, 2**32 - 1)
bytes_ = st.integers(0, 255)
sizes = st.one_of(st.integers(1, 9), st.sampled_from([1, 13, 16, 17, 31, 32, 33, 47, 64, 65, 97]))
# How the operands are filled: at random, with the two ends of the range, all with one end, or with values near zero
# (then sums stay small and a multiplier of a quarter gives exact ties, which must go to the even neighbour).
fills = st.sampled_from(["random", "ends", "greatest", "least", "small"])
# The same for products: (x, weights, multipliers).
products = st.one_of(
    st.tuples(fills, fills, st.sampled_from(["usual", "tiny", "huge", "negative", "ties"])),
    st.just(("small", "small", "ties")),
)


def fill(rng: np.random.Generator, shape: tuple[int, ...], dtype: type, how: str) -> Array:
    info = np.iinfo(dtype)
    if how == "random":
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if how == "small":
        return rng.integers(max(info.min, -2), 3, shape, dtype)
    if how == "ends":
        return np.where(rng.random(shape) < 0.5, info.min, info.max).astype(dtype)
    return np.full(shape, info.max if how == "greatest" else info.min, dtype)


def weights(rng: np.random.Generator, shape: tuple[int, ...], dtype: type, how: str) -> Array:
    """int8, or the int16 form of asymmetric 8-bit weights less their zero point: [-255, 255]."""
    if dtype is np.int8:
        return fill(rng, shape, np.int8, how)
    if how == "small":
        return fill(rng, shape, np.int16, how)
    if how in ("greatest", "least"):
        return np.full(shape, 255 if how == "greatest" else -255, np.int16)
    return fill(rng, shape, np.uint8, how).astype(np.int16) - fill(rng, shape, np.uint8, how)


def multiplier(rng: np.random.Generator, n: int, depth: int, how: str) -> Array:
    usual = (rng.random(n) * 4 / (np.sqrt(depth) * 5000)).astype(np.float32)
    if how == "tiny":
        return np.full(n, 1e-38, np.float32)
    if how == "huge":
        return np.full(n, 1e30, np.float32)
    if how == "negative":
        return -usual
    return np.full(n, rng.choice([0.25, 0.5, -0.25]), np.float32) if how == "ties" else usual


def biases(rng: np.random.Generator, n: int, how: str) -> Array | None:
    reach = 40 if how == "small" else int(rng.choice([2**15, 2**31]))
    return rng.integers(-reach, reach, n, np.int32) if rng.random() < 0.6 else None


def bounds(rng: np.random.Generator, prefix: str = "") -> dict[str, object]:
    lo, hi = sorted(int(v) for v in rng.integers(0, 256, 2))
    return {f"{prefix}lo": lo, f"{prefix}hi": hi} if rng.random() < 0.5 else {f"{prefix}lo": 0, f"{prefix}hi": 255}


def epilogue(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array | None, Array | None, dict[str, object]]:
    """A residual, a table, both or neither."""
    z = fill(rng, shape, np.uint8, "random") if rng.random() < 0.5 else None
    table = fill(rng, (256,), np.uint8, "random") if rng.random() < 0.5 else None
    attrs: dict[str, object] = {"y_zp": int(rng.integers(0, 256)), **bounds(rng)}
    if z is not None:
        attrs |= {"add_za": int(rng.integers(0, 256)), "add_zb": int(rng.integers(0, 256))}
        attrs |= {"add_sa": float(rng.choice([0.5, 1.3])), "add_sb": float(rng.choice([0.5, -0.25, 0.7]))}
        attrs["add_sy"] = float(rng.choice([1.0, 0.37, 2.0]))
        attrs |= {"add_zp": int(rng.integers(0, 256)), **bounds(rng, "add_")}
        if rng.random() < 0.4:
            attrs |= {"add_c": float(rng.choice([0.5, -37.3, 199.99])), "add_inner_a": int(rng.integers(0, 2))}
    return z, table, attrs


@examples(240)
@given(seeds, sizes, sizes, sizes, products, st.sampled_from([np.int8, np.int16]), st.booleans())
def test_qgemm(seed: int, rows: int, n: int, k: int, how: tuple[str, str, str], w_type: type, out_f32: bool) -> None:
    rng = np.random.default_rng(seed)
    x_fill, w_fill, m_fill = how
    x = fill(rng, (*([2] if rng.random() < 0.3 else []), rows, k), np.uint8, x_fill)
    w = weights(rng, (n, k), w_type, w_fill)
    bias = biases(rng, n, w_fill)
    m = multiplier(rng, n if rng.random() < 0.7 else 1, k, m_fill)
    z, table, attrs = epilogue(rng, (*x.shape[:-1], n))
    if out_f32:
        z, table, attrs = None, None, {"out_f32": 1}
    check("QGemm", [x, w, bias, m, z, table], attrs, constants=(1, 2, 3, 5))


@pytest.mark.parametrize("w_type, k", [(np.int8, 70_000), (np.int8, 65_536), (np.int16, 70_001), (np.int16, 33_026)])
@pytest.mark.parametrize("w_fill", ["greatest", "least", "ends"])
def test_qgemm_wraps_modulo_2_32(w_type: type, k: int, w_fill: str) -> None:
    rng = np.random.default_rng(k)
    x, w = fill(rng, (3, k), np.uint8, "greatest"), weights(rng, (5, k), w_type, w_fill)
    m = np.full(5, 1e-7, np.float32)
    check("QGemm", [x, w, None, m, None, None], {"y_zp": 128, "lo": 0, "hi": 255}, constants=(1, 3))
    check("QGemm", [x, w, None, m, None, None], {"out_f32": 1}, constants=(1, 3))


def test_int16_weights_beyond_nine_bits_are_refused() -> None:
    x, m = np.zeros((1, 4), np.uint8), np.ones(1, np.float32)
    for value in (256, -256, 32767):
        with pytest.raises(Exception, match=str(value)):
            check("QGemm", [x, np.full((2, 4), value, np.int16), None, m, None, None], {}, constants=(1, 3))


@st.composite
def geometry(draw: st.DrawFn) -> dict[str, Any]:
    """A convolution or pool that fits: image, kernel, strides, dilations, pads."""
    one_d = draw(st.booleans())
    axes = 1 if one_d else 2
    kernel = [draw(st.integers(1, 5)) for _ in range(axes)]
    dilations = [draw(st.integers(1, 3)) for _ in range(axes)]
    strides = [draw(st.integers(1, 3)) for _ in range(axes)]
    pads = [draw(st.integers(0, 3)) for _ in range(2 * axes)]
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [max(e - pads[a] - pads[a + axes], 1) + draw(st.integers(0, 14)) for a, e in enumerate(extents)]
    return {"size": size, "kernel": kernel, "attrs": {"strides": strides, "dilations": dilations, "pads": pads}}


def check_qconv(
    rng: np.random.Generator,
    g: dict[str, Any],
    group: int,
    depth: int,
    per: int,
    fills_: tuple[str, str, str],
    w_type: type,
) -> None:
    x = fill(rng, (int(rng.integers(1, 4)), *g["size"], group * depth), np.uint8, fills_[0])
    out = group * per
    w = weights(rng, (out, *g["kernel"], depth), w_type, fills_[1])
    bias = biases(rng, out, fills_[1])
    m = multiplier(rng, out if rng.random() < 0.7 else 1, depth * int(np.prod(g["kernel"])), fills_[2])
    z, table, attrs = epilogue(rng, output_shape(x, w, g["attrs"]))
    if rng.random() < 0.15:
        z, table, attrs = None, None, {"out_f32": 1}
    attrs |= {**g["attrs"], "group": group, "x_zp": int(rng.integers(0, 3 if fills_[0] == "small" else 256))}
    check("QConv", [x, w, bias, m, z, table], attrs, constants=(1, 2, 3, 5))


def output_shape(x: Array, w: Array, attrs: dict[str, Any]) -> tuple[int, ...]:
    axes = x.ndim - 2
    spatial = [
        (x.shape[1 + a] + attrs["pads"][a] + attrs["pads"][a + axes] - (w.shape[1 + a] - 1) * attrs["dilations"][a] - 1)
        // attrs["strides"][a]
        + 1
        for a in range(axes)
    ]
    return (x.shape[0], *spatial, w.shape[0])


@examples(300)
@given(seeds, geometry(), sizes, sizes, products, st.sampled_from([np.int8, np.int8, np.int16]))
def test_qconv(seed: int, g: dict[str, Any], depth: int, out: int, how: tuple[str, str, str], w_type: type) -> None:
    check_qconv(np.random.default_rng(seed), g, 1, depth, out, how, w_type)


@examples(160)
@given(
    seeds,
    geometry(),
    st.integers(2, 5),
    st.integers(1, 9),
    st.integers(1, 9),
    products,
    st.sampled_from([np.int8, np.int8, np.int16]),
)
def test_qconv_grouped(
    seed: int, g: dict[str, Any], group: int, depth: int, per: int, how: tuple[str, str, str], w_type: type
) -> None:
    check_qconv(np.random.default_rng(seed), g, group, depth, per, how, w_type)


@examples(200)
@given(
    seeds,
    geometry(),
    sizes,
    st.integers(1, 2),
    products,
    st.sampled_from([np.int8, np.int8, np.int16]),
)
def test_qconv_depthwise(
    seed: int, g: dict[str, Any], channels: int, per: int, how: tuple[str, str, str], w_type: type
) -> None:
    check_qconv(np.random.default_rng(seed), g, channels, 1, per, how, w_type)


@examples(160)
@given(seeds, sizes, sizes, sizes, products, st.sampled_from(["plain", "batch", "left", "right"]))
def test_qmatmul(seed: int, m: int, n: int, k: int, how: tuple[str, str, str], batch: str) -> None:
    rng = np.random.default_rng(seed)
    a_fill, b_fill, scale = how
    left = {"plain": (), "batch": (2, 3), "left": (2, 1), "right": ()}[batch]
    right = {"plain": (), "batch": (2, 3), "left": (3,), "right": (2,)}[batch]
    a, b = fill(rng, (*left, m, k), np.uint8, a_fill), fill(rng, (*right, k, n), np.uint8, b_fill)
    top = 3 if scale == "ties" else 256
    attrs: dict[str, object] = {"a_zp": int(rng.integers(0, top)), "b_zp": int(rng.integers(0, top))}
    attrs |= {"y_zp": int(rng.integers(0, 256)), **bounds(rng)} if rng.random() < 0.7 else {"out_f32": 1}
    check("QMatMul", [a, b, multiplier(rng, 1, k, scale)], attrs, constants=(2,))


@examples(160)
@given(
    seeds,
    sizes,
    sizes,
    sizes,
    fills,
    fills,
    st.sampled_from([np.uint8, np.int8]),
    st.sampled_from([np.uint8, np.int8]),
    st.sampled_from(["none", "scalar", "vector"]),
    st.booleans(),
)
def test_matmul_integer(
    seed: int, m: int, n: int, k: int, a_fill: str, b_fill: str, a_type: type, b_type: type, zeros: str, constant: bool
) -> None:
    rng = np.random.default_rng(seed)
    batch = (2,) if rng.random() < 0.3 else ()
    a = fill(rng, (*batch, m, k), a_type, a_fill)
    b = fill(rng, (*(batch if rng.random() < 0.5 and not constant else ()), k, n), b_type, b_fill)
    a_zp = None if zeros == "none" else fill(rng, (), a_type, "random")
    b_zp = None if zeros == "none" else fill(rng, () if zeros == "scalar" else (n,), b_type, "random")
    check("MatMulInteger", [a, b, a_zp, b_zp], {}, constants=(1,) if constant else ())


def test_matmul_integer_long() -> None:
    rng = np.random.default_rng(0)
    a, b = fill(rng, (2, 70_001), np.uint8, "greatest"), fill(rng, (70_001, 3), np.uint8, "greatest")
    check("MatMulInteger", [a, b, None, None], {})
    check("MatMulInteger", [a, b.view(np.int8), None, None], {})


@examples(160)
@given(seeds, sizes, sizes, sizes, fills, fills, st.sampled_from([np.int8, np.int16]), st.booleans())
def test_qgemm_dynamic(
    seed: int, rows: int, n: int, k: int, x_fill: str, w_fill: str, w_type: type, relu: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, w = fill(rng, (rows, k), np.uint8, x_fill), weights(rng, (n, k), w_type, w_fill)
    zp, scale = fill(rng, (), np.uint8, "random"), np.asarray(rng.random(), np.float32)
    m = rng.random(n if rng.random() < 0.5 else 1).astype(np.float32)
    bias = rng.normal(size=n).astype(np.float32) if rng.random() < 0.5 else None
    z = rng.normal(size=(rows, n)).astype(np.float32) if rng.random() < 0.3 else None
    attrs = {"act": "Relu"} if relu else {}
    check("QGemmDynamic", [x, zp, w, scale, m, bias, z], attrs, constants=(2, 4, 5))


@st.composite
def floats(draw: st.DrawFn) -> Array:
    """float32 tensors with values of every magnitude, ties, infinities and NaNs."""
    rng = np.random.default_rng(draw(seeds))
    shape = tuple(draw(st.lists(st.integers(0, 40), min_size=1, max_size=3)))
    scale = draw(st.sampled_from([1e-40, 1e-3, 1.0, 100.0, 1e20, 3e38]))
    x = (rng.normal(size=shape) * scale).astype(np.float64)
    x = np.where(rng.random(shape) < 0.2, rng.integers(-40, 40, shape) / 2, x)
    if draw(st.booleans()):
        x = np.where(rng.random(shape) < 0.1, rng.choice([np.nan, np.inf, -np.inf, -0.0, 3.4e38], shape), x)
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


@examples(240)
@given(floats())
def test_dynamic_quantize_linear(x: Array) -> None:
    check("DynamicQuantizeLinear", [x], {})


@examples(240)
@given(seeds, floats(), st.booleans(), st.booleans())
def test_quantize(seed: int, x: Array, per_channel: bool, permuted: bool) -> None:
    rng = np.random.default_rng(seed)
    attrs: dict[str, object] = {"y_zp": int(rng.integers(0, 256)), **bounds(rng), "graph_input": 0}
    scale = None
    if per_channel:
        axis = int(rng.integers(0, x.ndim))
        attrs["axis"] = axis
        scale = rng.choice(np.float32([1, 0.1, 1e-3, 1e20]), x.shape[axis]).astype(np.float32)
    else:
        attrs["y_scale"] = float(np.float32(rng.choice([1, 0.1, 1e-3, 1e20, 0.0378])))
    if permuted and not per_channel:
        attrs["perm"] = [int(p) for p in rng.permutation(x.ndim)]
    check("Quantize", [x, scale], attrs, constants=(1,))


@pytest.mark.parametrize("position", [0, 1, 63, 64, 5000, 99_999])
def test_nan_in_a_graph_input_is_refused(core: Any, isa: str, position: int) -> None:
    builder = core.PlanBuilder()
    x, y = builder.add_input("pixels", 1, [None]), builder.add_value("y", 2, [None])
    attrs = {"y_scale": 0.1, "y_zp": 7, "lo": 0, "hi": 255, "graph_input": 1, "source": "pixels"}
    builder.add_step("Quantize", "quantizer", [x], [y], attrs)
    builder.add_output("y", y)
    session = core.Session(builder.build(), isa=isa, threads=2)
    data = np.linspace(-30, 30, 100_000).astype(np.float32)
    assert session.run([data])[0].shape == data.shape
    data[position] = np.nan
    with pytest.raises(Exception, match="pixels") as caught:
        session.run([data])
    assert "NaN" in str(caught.value)
    data[position] = np.inf
    assert session.run([data])[0][position] == 255


@examples(160)
@given(seeds, st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32]), st.booleans(), fills)
def test_dequantize(seed: int, dtype: type, per_channel: bool, how: str) -> None:
    rng = np.random.default_rng(seed)
    x = fill(rng, tuple(int(n) for n in rng.integers(0, 40, rng.integers(1, 4))), dtype, how)
    if per_channel:
        axis = int(rng.integers(0, x.ndim))
        n = x.shape[axis]
        scale = rng.choice(np.float32([1, 0.1, 1e-3, 1e30]), n).astype(np.float32)
        zp = fill(rng, (n,), dtype, "random") if dtype is not np.int32 and rng.random() < 0.7 else None
        check("Dequantize", [x, scale, zp], {"axis": axis}, constants=(1, 2))
    else:
        info = np.iinfo(dtype)
        zp_value = 0 if dtype is np.int32 else int(rng.integers(info.min, info.max))
        check("Dequantize", [x, None, None], {"x_scale": float(np.float32(rng.random())), "x_zp": zp_value})


@st.composite
def parameters(draw: st.DrawFn, dtypes: list[type]) -> dict[str, Any]:
    """x's shape with scale and zero point for one, per axis or per block."""
    rng = np.random.default_rng(draw(seeds))
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)))
    kind = draw(st.sampled_from(["one", "axis", "block"]))
    attrs: dict[str, object] = {}
    extent: tuple[int, ...] = ()
    if kind != "one":
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        attrs["axis"] = axis
        extent = (shape[axis],)
    if kind == "block":
        block = draw(st.integers(1, 5))
        attrs["block_size"] = block
        extent = tuple(-(-n // block) if a == axis % len(shape) else n for a, n in enumerate(shape))
    dtype = draw(st.sampled_from(dtypes))
    scale = np.asarray(rng.random(extent) + 0.01, np.float32)
    zero = fill(rng, extent, dtype, "random") if dtype is not np.int32 and draw(st.booleans()) else None
    return {"rng": rng, "shape": shape, "attrs": attrs, "dtype": dtype, "scale": scale, "zero": zero}


@examples(160)
@given(parameters([np.uint8, np.int8, np.uint16, np.int16]), st.sampled_from([1.0, 1e4, 1e30]), st.booleans())
def test_quantize_linear(p: dict[str, Any], scale: float, nan: bool) -> None:
    x = (p["rng"].normal(size=p["shape"]) * scale).astype(np.float32)
    if nan:
        x.flat[0] = np.nan
    check("QuantizeLinear", [x, p["scale"], p["zero"]], p["attrs"])


@examples(160)
@given(parameters([np.uint8, np.int8, np.uint16, np.int16, np.int32]), fills)
def test_dequantize_linear(p: dict[str, Any], how: str) -> None:
    check("DequantizeLinear", [fill(p["rng"], p["shape"], p["dtype"], how), p["scale"], p["zero"]], p["attrs"])


@st.composite
def broadcast_pair(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast."""
    whole = draw(st.lists(st.integers(0, 20), min_size=0, max_size=4))
    whole = [n if draw(st.integers(0, 9)) else 130 for n in whole]

    def one() -> tuple[int, ...]:
        kept = [n if draw(st.integers(0, 2)) else 1 for n in whole]
        return tuple(kept[draw(st.integers(0, len(kept))) if draw(st.booleans()) else 0 :])

    return one(), one()


@examples(300)
@given(seeds, broadcast_pair(), fills, fills)
def test_qadd(seed: int, shapes: Any, a_fill: str, b_fill: str) -> None:
    rng = np.random.default_rng(seed)
    a, b = fill(rng, shapes[0], np.uint8, a_fill), fill(rng, shapes[1], np.uint8, b_fill)
    table = fill(rng, (256,), np.uint8, "random") if rng.random() < 0.3 else None
    attrs: dict[str, object] = {key: int(rng.integers(0, 256)) for key in ("za", "zb", "zp")}
    attrs |= {"sa": float(np.float32(rng.random())), "sb": -1.0 if rng.random() < 0.2 else 0.5, **bounds(rng)}
    attrs["sy"] = float(rng.choice([1.0, 0.25, 0.3, 7.0]))
    # Scales together at either end of float32 (denormals round, nothing is flushed), or the operands' alone.
    reach = np.float32(rng.choice([1.0, 1e-37, 1e-41, 1e-44, 1e30, 1e37]))
    for key in ("sa", "sb", "sy") if rng.random() < 0.6 else ("sa", "sb"):
        attrs[key] = float(np.float32(attrs[key]) * reach) or 1e-44
    if rng.random() < 0.4:
        attrs["c"] = float(np.float32(rng.choice([0.5, -37.3, 199.99, 1e-3, 3e38, 1e-44])))
        attrs["inner_a"] = int(rng.integers(0, 2))
    check("QAdd", [a, b, table], attrs, constants=(2,))


@examples(300)
@given(seeds, broadcast_pair(), fills, fills)
def test_qmul(seed: int, shapes: Any, a_fill: str, b_fill: str) -> None:
    rng = np.random.default_rng(seed)
    a, b = fill(rng, shapes[0], np.uint8, a_fill), fill(rng, shapes[1], np.uint8, b_fill)
    attrs: dict[str, object] = {key: int(rng.integers(0, 256)) for key in ("za", "zb", "zp")}
    attrs |= {"m": float(np.float32(rng.choice([0.003, 0.5, 1e-30, 1e30, -0.01]))), **bounds(rng)}
    attrs["zp_before"] = int(rng.choice([0, attrs["zp"], attrs["zp"] - 128]))
    check("QMul", [a, b], attrs)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5, 7), (100, 257), (3, 64, 64)])
def test_lut(dtype: type, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    check("Lut", [fill(rng, shape, np.uint8, "random"), rng.integers(0, 256, 256).astype(dtype)], {}, constants=(1,))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (37,), (100, 257)])
def test_flip8(dtype: type, shape: tuple[int, ...]) -> None:
    check("Flip8", [fill(np.random.default_rng(1), shape, dtype, "random")], {})


@examples(240)
@given(seeds, geometry(), sizes, fills, st.booleans(), st.booleans())
def test_qaverage_pool(seed: int, g: dict[str, Any], channels: int, how: str, ceil: bool, include: bool) -> None:
    rng = np.random.default_rng(seed)
    x = fill(rng, (int(rng.integers(1, 3)), *g["size"], channels), np.uint8, how)
    attrs = {**g["attrs"], "kernel_shape": g["kernel"], "ceil_mode": int(ceil), "count_include_pad": int(include)}
    attrs |= {"x_zp": int(rng.integers(0, 256)), "y_zp": int(rng.integers(0, 256)), **bounds(rng)}
    for key in ("x_scale", "y_scale"):
        attrs[key] = float(np.float32(rng.choice([1.0, 0.37, 0.127, 2.5, 1e-30, 1e30, 3e38])))
    attrs["zp_before"] = int(rng.choice([0, attrs["y_zp"], attrs["y_zp"] - 128]))
    check("QAveragePool", [x], attrs)


@examples(240)
@given(seeds, st.lists(sizes, min_size=1, max_size=4), fills, st.booleans())
def test_qreduce_mean(seed: int, shape: list[int], how: str, keep: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = [n if a < 2 else min(n, 17) for a, n in enumerate(shape)]
    axes = [a - len(shape) * int(rng.integers(0, 2)) for a in range(len(shape)) if rng.random() < 0.5] or [0]
    attrs: dict[str, object] = {"axes": axes, "keepdims": int(keep), "x_scale": float(rng.choice([1.0, 0.25, 0.77]))}
    attrs["y_scale"] = float(rng.choice([1.0, 0.25, 0.13]))
    attrs |= {"x_zp": int(rng.integers(0, 256)), "y_zp": int(rng.integers(0, 256)), **bounds(rng)}
    check("QReduceMean", [fill(rng, tuple(shape), np.uint8, how)], attrs)


def test_quantized_activation_tables_come_from_the_core() -> None:
    """A table of a sigmoid built with the core's own function is within half a step of the true one."""
    x = np.arange(256, dtype=np.float32) / 16 - 8
    true = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.max(np.abs(_core.unary("Sigmoid", x) - true)) < 1e-6
