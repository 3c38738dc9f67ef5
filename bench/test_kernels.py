"""pytest-benchmark suite over single operators, on the layer shapes of real networks. `make bench` runs it.

What is timed is a bound run of a plan of one step: the operator, and about a microsecond of call. `octavo-bench` times
the operator alone, on many more shapes, beside the machine's peak.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from octavo import _core

U8, F32 = 2, 1
RNG = np.random.default_rng(0)


def one_step(op: str, inputs: list[np.ndarray], constants: int, out: int, attrs: dict[str, Any], rank: int) -> Any:
    """A bound run of one operator; the last `constants` of the inputs are part of the plan."""
    builder = _core.PlanBuilder()
    numbers = {np.dtype(np.uint8): U8, np.dtype(np.float32): F32}
    fed = inputs[: len(inputs) - constants]
    values = [builder.add_input(f"x{k}", numbers[x.dtype], list(x.shape)) for k, x in enumerate(fed)]
    values += [builder.add_constant(f"c{k}", c) for k, c in enumerate(inputs[len(fed) :])]
    y = builder.add_value("y", out, [None] * rank)
    builder.add_step(op, "step", values, [y], attrs)
    builder.add_output("y", y)
    session = _core.Session(builder.build(), threads=1)
    return session, session.bind(fed)


def octets(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def weights(*shape: int) -> np.ndarray:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def conv_attrs(kernel: int, stride: int, group: int) -> dict[str, Any]:
    pad = kernel // 2
    return {"strides": [stride, stride], "dilations": [1, 1], "pads": [pad] * 4, "group": group}


LAYERS = [  # size, channels in, out, kernel, stride, groups
    (112, 16, 96, 1, 1, 1), (56, 24, 144, 1, 1, 1), (28, 144, 32, 1, 1, 1), (14, 384, 64, 1, 1, 1),
    (14, 96, 576, 1, 1, 1), (7, 320, 1280, 1, 1, 1), (56, 64, 64, 3, 1, 1), (14, 256, 256, 3, 1, 1),
    (224, 3, 32, 3, 2, 1), (224, 3, 64, 7, 2, 1), (112, 32, 32, 3, 1, 32), (56, 144, 144, 3, 2, 144),
    (14, 512, 512, 3, 1, 512), (14, 480, 480, 5, 1, 480),
]  # fmt: skip


def layer_name(layer: tuple[int, ...]) -> str:
    size, wide, out, kernel, stride, group = layer
    return f"{kernel}x{kernel}s{stride}-{size}x{size}x{wide}-{out}" + ("-depthwise" if group > 1 else "")


@pytest.mark.parametrize("layer", LAYERS, ids=layer_name)
def test_qconv(benchmark, layer: tuple[int, ...]) -> None:
    """Integer convolution; the rate is told in extra_info."""
    size, wide, out, kernel, stride, group = layer
    x, w = octets(1, size, size, wide), weights(out, kernel, kernel, wide // group)
    bias, m = RNG.integers(-9, 9, out).astype(np.int32), np.full(out, 0.002, np.float32)
    attrs = conv_attrs(kernel, stride, group) | {"x_zp": 128, "y_zp": 128, "lo": 0, "hi": 255}
    session, bound = one_step("QConv", [x, w, bias, m], 3, U8, attrs, 4)
    benchmark.extra_info["macs"] = session.steps_info([list(x.shape)])[0]["macs"]
    benchmark(bound.run)


PRODUCTS = [(128, 384, 384), (128, 384, 1536), (128, 1536, 384), (1, 1280, 1000)]


@pytest.mark.parametrize(("rows", "depth", "columns"), PRODUCTS)
def test_qgemm(benchmark, rows: int, depth: int, columns: int) -> None:
    x, w = octets(rows, depth), weights(columns, depth)
    bias, m = RNG.integers(-9, 9, columns).astype(np.int32), np.full(columns, 0.002, np.float32)
    _, bound = one_step("QGemm", [x, w, bias, m], 3, U8, {"x_zp": 128, "y_zp": 128, "lo": 0, "hi": 255}, 2)
    benchmark(bound.run)


@pytest.mark.parametrize(("kernel", "group"), [(1, 1), (3, 1), (3, 64)])
def test_float_conv(benchmark, kernel: int, group: int) -> None:
    x, w = floats(1, 56, 56, 64), floats(64, kernel, kernel, 64 // group)
    _, bound = one_step("Conv", [x, w, floats(64)], 2, F32, conv_attrs(kernel, 1, group), 4)
    benchmark(bound.run)


def test_float_matmul(benchmark) -> None:
    _, bound = one_step("MatMul", [floats(128, 384), floats(1536, 384)], 1, F32, {"trans_b": 1}, 2)
    benchmark(bound.run)


@pytest.mark.parametrize("fn", ["Gelu", "Sigmoid", "Exp", "Relu"])
def test_unary(benchmark, fn: str) -> None:
    _, bound = one_step("Unary", [floats(128, 1536)], 0, F32, {"fn": fn}, 2)
    benchmark(bound.run)


def test_softmax(benchmark) -> None:
    _, bound = one_step("Softmax", [floats(12, 128, 128)], 0, F32, {"axis": -1}, 3)
    benchmark(bound.run)


def test_quantize(benchmark) -> None:
    attrs = {"y_scale": 0.02, "y_zp": 128, "lo": 0, "hi": 255, "perm": [0, 2, 3, 1]}
    _, bound = one_step("Quantize", [floats(1, 3, 224, 224)], 0, U8, attrs, 4)
    benchmark(bound.run)
