"""Every size around the tiles of the integer kernels: extreme and random values, byte for byte, on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from octavo import ops
from one_step import ISAS, OneStep

Array = np.ndarray[Any, Any]
ONE_THREAD = [(isa, 1) for isa in ISAS]
ROWS = range(1, 31)


def extremes(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> Array:
    """Half of the elements at an end of the range, half random."""
    info = np.iinfo(dtype)
    anything = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    ends = np.where(rng.random(shape) < 0.5, info.min, info.max).astype(dtype)
    return np.where(rng.random(shape) < 0.5, anything, ends)


def gemm(rng: np.random.Generator, n: int, k: int, residual: bool = False, s16: bool = False) -> tuple[OneStep, Any]:
    w = extremes(rng, (n, k), np.int8)
    if s16:
        w = w.astype(np.int16) - rng.integers(-127, 128, (n, k), np.int16)
    bias = rng.integers(-(2**15), 2**15, n, np.int32)
    m = (rng.random(n) / (100 * np.sqrt(k))).astype(np.float32)
    attrs: dict[str, object] = {"y_zp": 121, "lo": 3, "hi": 250}
    if residual:
        attrs |= {
            "add_za": 121,
            "add_zb": 9,
            "add_sa": 0.75,
            "add_sb": 0.5,
            "add_sy": 0.9,
            "add_zp": 4,
            "add_lo": 4,
            "add_hi": 255,
        }
    z = np.zeros((1, n), np.uint8) if residual else None
    inputs = [np.zeros((1, k), np.uint8), w, bias, m, z, None]
    return OneStep("QGemm", inputs, attrs, [np.zeros((1, n), np.uint8)], (1, 2, 3), ONE_THREAD), (w, bias, m)


@pytest.mark.parametrize("n", range(1, 131, 2))
def test_qgemm_rows_and_columns(n: int) -> None:
    rng = np.random.default_rng(n)
    for k in (37, 64):
        step, _ = gemm(rng, n, k)
        for rows in ROWS:
            step.check([extremes(rng, (rows, k), np.uint8), None, None, None, None, None])


@pytest.mark.parametrize("k", range(1, 71))
def test_qgemm_depth(k: int) -> None:
    rng = np.random.default_rng(k)
    for n in (1, 15, 33, 64):
        for s16 in (False, True):
            step, _ = gemm(rng, n, k, s16=s16)
            for rows in (1, 2, 5, 7, 13, 30):
                step.check([extremes(rng, (rows, k), np.uint8), None, None, None, None, None])


@pytest.mark.parametrize("n", [1, 3, 16, 17, 31, 47, 48, 65, 127])
def test_qgemm_residual(n: int) -> None:
    rng = np.random.default_rng(n)
    step, _ = gemm(rng, n, 20, residual=True)
    for rows in ROWS:
        z = extremes(rng, (rows, n), np.uint8)
        step.check([extremes(rng, (rows, 20), np.uint8), None, None, None, z, None])


def conv(
    rng: np.random.Generator, out: int, kernel: tuple[int, int], depth: int, group: int, **attrs: object
) -> OneStep:
    w = extremes(rng, (out, *kernel, depth), np.int8)
    bias = rng.integers(-(2**15), 2**15, out, np.int32)
    m = (rng.random(out) / (100 * np.sqrt(depth * kernel[0] * kernel[1]))).astype(np.float32)
    inputs = [np.zeros((1, 8, 8, depth * group), np.uint8), w, bias, m, None, None]
    step = {"y_zp": 99, "lo": 0, "hi": 255, "x_zp": 131, "group": group, **attrs}
    return OneStep("QConv", inputs, step, [np.zeros((1, 1, 1, out), np.uint8)], (1, 2, 3), ONE_THREAD)


@pytest.mark.parametrize("out", range(1, 131, 2))
def test_qconv_widths_and_channels(out: int) -> None:
    rng = np.random.default_rng(out)
    step = conv(rng, out, (3, 3), 5, 1, pads=[1, 1, 1, 1])
    for width in ROWS:
        step.check([extremes(rng, (1, 2, width, 5), np.uint8), None, None, None, None, None])


@pytest.mark.parametrize("depth", range(1, 71))
def test_qconv_depth(depth: int) -> None:
    rng = np.random.default_rng(depth)
    for kernel, attrs in (((1, 1), {}), ((3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}), ((1, 5), {})):
        for out in (7, 33):
            step = conv(rng, out, kernel, depth, 1, **attrs)
            for width in (5, 6, 13, 14):
                step.check([extremes(rng, (1, 3, width, depth), np.uint8), None, None, None, None, None])


@pytest.mark.parametrize("channels", range(1, 131, 2))
def test_depthwise_channels_and_widths(channels: int) -> None:
    rng = np.random.default_rng(channels)
    step = conv(rng, channels, (3, 3), 1, channels, pads=[1, 1, 1, 1])
    for width in ROWS:
        step.check([extremes(rng, (1, 2, width, channels), np.uint8), None, None, None, None, None])


@pytest.mark.parametrize("kernel", [(1, 1), (1, 3), (3, 1), (3, 3), (5, 5), (7, 7), (2, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_depthwise_kernels(kernel: tuple[int, int], stride: int, dilation: int) -> None:
    rng = np.random.default_rng(kernel[0] * 10 + kernel[1])
    pads = [kernel[0] // 2 * dilation, kernel[1] // 2 * dilation] * 2
    for channels in (1, 8, 17, 32, 48, 64, 70):
        step = conv(rng, channels, kernel, 1, channels, pads=pads, strides=[stride] * 2, dilations=[dilation] * 2)
        for size in ((1, 1), (7, 6), (13, 17)):
            step.check([extremes(rng, (2, *size, channels), np.uint8), None, None, None, None, None])


@pytest.mark.parametrize("k", range(1, 71))
def test_qmatmul_and_matmul_integer_depth(k: int) -> None:
    rng = np.random.default_rng(k)
    m = np.asarray([0.001], np.float32)
    for rows, n in ((1, 1), (7, 17), (13, 33), (30, 64)):
        a, b = extremes(rng, (rows, k), np.uint8), extremes(rng, (k, n), np.uint8)
        attrs = {"a_zp": 128, "b_zp": 7, "y_zp": 100, "lo": 0, "hi": 255}
        y = np.zeros((1, 1), np.uint8)
        OneStep("QMatMul", [a, b, m], attrs, [y], (2,), ONE_THREAD).check([a, b, m])
        zeros = [np.asarray(3, np.uint8), np.asarray(-5, np.int8)]
        inputs = [a, b.view(np.int8), *zeros]
        OneStep("MatMulInteger", inputs, {}, ops.reference("MatMulInteger", inputs, {}), (), ONE_THREAD).check(inputs)


@pytest.mark.parametrize("op", ["QAdd", "QMul", "Lut", "Flip8"])
def test_every_length(op: str) -> None:
    rng = np.random.default_rng(0)
    inputs, attrs = [np.zeros(1, np.uint8)] * 2, {"za": 3, "zb": 250, "zp": 17, "lo": 5, "hi": 240}
    constants: tuple[int, ...] = ()
    if op == "QAdd":
        attrs |= {"sa": 0.05, "sb": 0.075, "sy": 0.1}
    elif op == "QMul":
        attrs |= {"m": 0.003}
    elif op == "Lut":
        inputs, attrs, constants = [inputs[0], rng.integers(0, 256, 256).astype(np.uint8)], {}, (1,)
    else:
        inputs, attrs = inputs[:1], {}
    output = np.zeros(1, np.int8 if op == "Flip8" else np.uint8)
    step = OneStep(op, inputs, attrs, [output], constants, ONE_THREAD)
    for n in range(0, 300):
        step.check([extremes(rng, (n,), np.uint8) for _ in inputs])
