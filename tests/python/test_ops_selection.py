"""Operators that search, scatter, sample and recur against their references, on every ISA level and thread count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from octavo import InvalidArgument
from one_step import OneStep, check, run

Array = np.ndarray[Any, Any]
ALL = [np.float32, np.float64, np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    if np.issubdtype(dtype, np.floating):
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def s64(*values: int) -> Array:
    return np.asarray(values, np.int64)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("fn", ["Sum", "Prod"])
def test_cumulative(fn: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for shape in ((33,), (5, 17), (3, 4, 9), (2, 0, 3), (0, 4), (300, 70)):
        x = draw(rng, shape, dtype)
        for axis in range(-len(shape), len(shape)):
            flags = {"exclusive": int(rng.integers(2)), "reverse": int(rng.integers(2))}
            check("Cumulative", [x, np.asarray(axis, np.int64)], {"fn": fn, **flags})
    x = draw(rng, (3, 4), dtype)
    for exclusive, reverse in ((0, 0), (0, 1), (1, 0), (1, 1)):
        check(
            "Cumulative", [x, np.asarray([1], np.int32)], {"fn": fn, "exclusive": exclusive, "reverse": reverse}, (1,)
        )


def refused(op: str, inputs: list[Array], attrs: dict[str, object], outputs: list[Array], match: str) -> None:
    with pytest.raises(InvalidArgument, match=match):
        OneStep(op, inputs, attrs, outputs).run(inputs)


def test_cumulative_refuses() -> None:
    x = np.ones((2, 3), np.float32)
    refused("Cumulative", [x, s64(2)], {"fn": "Sum"}, [x], "axis 2 is out of range")


@pytest.mark.parametrize("dtype", [*ALL, np.float16, np.int16, np.uint16])
def test_top_k(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    for shape in ((40,), (7, 30), (3, 9, 5), (200, 64)):
        x = draw(rng, shape, dtype)
        x.reshape(-1)[::3] = x.reshape(-1)[0]  # ties
        if np.issubdtype(dtype, np.floating):
            x.reshape(-1)[1::11] = np.nan
            x.reshape(-1)[2::13] = -np.inf
        for axis in range(len(shape)):
            for k in {0, 1, shape[axis] // 2, shape[axis]}:
                for largest in (0, 1):
                    check("TopK", [x, s64(k)], {"axis": axis, "largest": largest}, (1,))


def test_top_k_refuses() -> None:
    x = np.ones((2, 3), np.float32)
    refused("TopK", [x, s64(4)], {"axis": 1}, [x, x.astype(np.int64)], "k is 4")


@pytest.mark.parametrize("dtype", [*ALL, np.float16, np.int16, np.bool_])
def test_non_zero(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for shape in ((), (9,), (5, 6), (2, 3, 4), (0, 3), (3, 0)):
        x = np.asarray(rng.integers(0, 2, shape).astype(dtype))
        if np.issubdtype(dtype, np.floating) and x.size > 4:
            x.reshape(-1)[:2] = -0.0, np.nan
        check("NonZero", [x], {})
    check("NonZero", [np.zeros((4, 5), dtype)], {})


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", [*ALL, np.int16])
def test_scatter(dtype: Any, reduction: str) -> None:
    rng = np.random.default_rng(3)
    attrs: dict[str, object] = {"reduction": reduction}
    x = draw(rng, (4, 5, 6), dtype)
    if np.issubdtype(dtype, np.floating):
        x[0, 0] = np.nan
    for axis in (0, 1, 2, -1):
        shape = (3, 4, 5)
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        check("ScatterElements", [x, indices, draw(rng, shape, dtype)], {**attrs, "axis": axis})
        check("ScatterElements", [x, indices.astype(np.int32), draw(rng, shape, dtype)], {**attrs, "axis": axis}, (1,))
    for q in (1, 2, 3):
        indices = np.stack([rng.integers(-x.shape[a], x.shape[a], (2, 7)) for a in range(q)], axis=-1)
        check("ScatterND", [x, indices, draw(rng, (2, 7, *x.shape[q:]), dtype)], attrs)
    check("ScatterND", [x, np.zeros((0, 2), np.int64), draw(rng, (0, 6), dtype)], attrs)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_, np.int64])
def test_gather_nd(dtype: Any) -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(0, 200, (3, 4, 5, 2)).astype(dtype)
    for batch in (0, 1, 2):
        for q in range(1, 5 - batch):
            lead = (*x.shape[:batch], 6)
            indices = np.stack([rng.integers(-x.shape[batch + a], x.shape[batch + a], lead) for a in range(q)], axis=-1)
            check("GatherND", [x, indices], {"batch_dims": batch})
            check("GatherND", [x, indices.astype(np.int32)], {"batch_dims": batch}, (1,))


def test_indices_outside_are_refused() -> None:
    x, one = np.ones((2, 3), np.float32), np.ones(1, np.float32)
    refused("ScatterND", [x, s64(2, 0).reshape(1, 2), one], {}, [x], "index 2 .* out of range")
    refused("GatherND", [x, s64(0, -4).reshape(1, 2)], {}, [one], "index -4 .* out of range")
    refused(
        "ScatterElements", [x, s64(3).reshape(1, 1), one.reshape(1, 1)], {"axis": 1}, [x], "index 3 .* out of range"
    )


@pytest.mark.parametrize("center", [0, 1])
def test_non_max_suppression(center: int) -> None:
    rng = np.random.default_rng(5)
    for images, classes, n in ((1, 1, 30), (2, 3, 17), (1, 2, 1), (1, 1, 0)):
        boxes = rng.random((images, n, 4)).astype(np.float32)
        scores = np.round(rng.normal(size=(images, classes, n)), 1).astype(np.float32)  # ties
        if n > 4:
            scores[0, 0, 2], boxes[0, 3] = np.nan, boxes[0, 4]
        f = np.asarray([0.4], np.float32)
        few = np.asarray(-0.3, np.float32)
        given: list[list[Array | None]] = [[s64(5), f, few], [s64(100), f], [s64(3), few * 0], [s64(0)], []]
        for rest in given:
            check("NonMaxSuppression", [boxes, scores, *rest], {"center_point_box": center})


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("align", [0, 1])
def test_grid_sample(mode: str, padding: str, align: int) -> None:
    rng = np.random.default_rng(6)
    attrs = {"mode": mode, "padding_mode": padding, "align_corners": align}
    for size, out in (((7, 5), (3, 4)), ((1, 6), (5, 2)), ((4, 3, 5), (2, 3, 2)), ((9,), (11,)), ((20, 20), (30, 30))):
        grid = rng.normal(size=(2, *out, len(size))).astype(np.float32)
        grid.reshape(-1)[:6] = [np.nan, np.inf, -np.inf, 1e30, -1.0, 1.0]
        check("GridSample", [rng.normal(size=(2, 3, *size)).astype(np.float32), grid], attrs)


CELLS = {"RNN": (1, 1, "Tanh"), "GRU": (3, 2, "Sigmoid,Tanh"), "LSTM": (4, 3, "Sigmoid,Tanh,Tanh")}


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("fn", CELLS)
def test_recurrent(fn: str, direction: str, constant: bool) -> None:
    """Within float32's error of the reference, and the same bytes on every level (run() asserts that)."""
    rng = np.random.default_rng(7)
    gates, _, names = CELLS[fn]
    d = 2 if direction == "bidirectional" else 1

    def normal(*shape: int) -> Array:
        return (rng.normal(size=shape) / 2).astype(np.float32)

    for steps, batch, units in ((1, 1, 1), (5, 3, 7), (9, 2, 33), (3, 17, 16), (0, 2, 4), (2, 0, 4)):
        state = (d, batch, units)
        attrs = {"fn": fn, "direction": direction, "activations": ",".join([names] * d)}
        base = [normal(steps, batch, d * gates * units), normal(d, gates * units, units) / np.float32(np.sqrt(units))]
        cell = normal(*state) if fn == "LSTM" else None
        peepholes = normal(d, 3 * units) if fn == "LSTM" else None
        bias = normal(d, units) if fn == "GRU" else None
        lengths = rng.integers(0, steps + 1, batch).astype(np.int32)
        forms: list[tuple[list[Array | None], dict[str, object]]] = [
            ([*base], {}),
            ([*base, normal(*state), cell, lengths], {"clip": 0.4}),
            ([*base, normal(*state), cell, None, peepholes, bias], {"input_forget": int(fn == "LSTM")}),
        ]
        for inputs, more in forms:
            while inputs[-1] is None:
                inputs.pop()
            got, want = run("Recurrent", inputs, {**attrs, **more}, (1,) if constant else ())
            for y, expected in zip(got, want, strict=True):
                assert y.shape == expected.shape
                np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)


def test_recurrent_activations() -> None:
    rng = np.random.default_rng(8)
    p, r = rng.normal(size=(4, 2, 12)).astype(np.float32), rng.normal(size=(1, 12, 3)).astype(np.float32)
    attrs = {
        "fn": "LSTM",
        "activations": "HardSigmoid,LeakyRelu,Softsign",
        "alpha": [0.3, 0.1, 0.0],
        "beta": [0.4, 0.0, 0.0],
    }
    got, want = run("Recurrent", [p, r], attrs)
    for y, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)
