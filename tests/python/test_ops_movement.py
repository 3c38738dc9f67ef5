"""Operators that move data against numpy: uint8, float32 and int64, empty tensors and scalars included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from one_step import NUMBERS, OneStep, check

Array = np.ndarray[Any, Any]
few = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
DTYPES = [np.uint8, np.float32, np.int64]
dtypes = st.sampled_from(DTYPES)


def s64(*values: int) -> Array:
    return np.asarray(values, np.int64)


def data(shape: tuple[int, ...] | list[int], dtype: type) -> Array:
    """Elements that are all different as far as the dtype allows."""
    return np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape).astype(dtype)


def shapes(least: int = 0, most: int = 4, smallest: int = 0) -> st.SearchStrategy[list[int]]:
    side = st.one_of(st.integers(smallest, 7), st.sampled_from([1, 16, 33]))
    return st.lists(side, min_size=least, max_size=most)


@few
@given(shapes(0, 5), dtypes, st.randoms(use_true_random=False))
def test_transpose(shape: list[int], dtype: type, random: Any) -> None:
    perm = list(range(len(shape)))
    random.shuffle(perm)
    check("Transpose", [data(shape, dtype)], {"perm": perm})


@pytest.mark.parametrize("shape", [(2, 3, 224, 40), (1, 64, 56, 56), (130, 257), (3, 1000, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_large(shape: tuple[int, ...], dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    for perm in (
        ([0, 2, 3, 1], [0, 3, 1, 2]) if len(shape) == 4 else ([1, 0], [0, 1]) if len(shape) == 2 else ([2, 1, 0],)
    ):
        check("Transpose", [x], {"perm": perm})


@pytest.mark.parametrize("dtype", DTYPES)
def test_shape_changes(dtype: type) -> None:
    x = data((2, 3, 4), dtype)
    for shape in (s64(24), s64(-1, 6), s64(0, -1), s64(2, 0, 2, 2), s64(1, 24, 1)):
        check("Reshape", [x, shape], {})
        check("Reshape", [x, shape], {}, constants=(1,))
    check("Reshape", [data((0, 3), dtype), s64(3, 0)], {"allowzero": 1})
    check("Reshape", [data((1,), dtype), np.zeros(0, np.int64)], {})
    for axis in (-3, -1, 0, 1, 2, 3):
        check("Flatten", [x], {"axis": axis})
    y = data((1, 3, 1, 2), dtype)
    check("Squeeze", [y, None], {"axes": [0, -2]})
    check("Squeeze", [y, s64(2)], {}, constants=(1,))
    check("Unsqueeze", [x, None], {"axes": [0, -1]})
    check("Unsqueeze", [data((), dtype), s64(0)], {}, constants=(1,))
    check("Identity", [x], {})
    check("Identity", [data((0,), dtype)], {})


@few
@given(shapes(0, 4), dtypes, st.data())
def test_expand_and_tile(shape: list[int], dtype: type, draw: Any) -> None:
    target = [n if n != 1 else draw.draw(st.integers(0, 5)) for n in shape]
    lead = draw.draw(st.lists(st.integers(1, 3), max_size=2))
    keep = [1 if draw.draw(st.booleans()) else n for n in target]
    check("Expand", [data(shape, dtype), s64(*lead, *keep)], {}, constants=(1,) if draw.draw(st.booleans()) else ())
    repeats = [draw.draw(st.integers(0, 3)) for _ in shape]
    check("Tile", [data(shape, dtype), s64(*repeats)], {}, constants=(1,) if draw.draw(st.booleans()) else ())


@few
@given(shapes(1, 4), dtypes, st.integers(1, 4), st.data())
def test_concat_and_split(shape: list[int], dtype: type, parts: int, draw: Any) -> None:
    axis = draw.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = [draw.draw(st.integers(0, 9)) for _ in range(parts)]
    pieces = []
    for k, n in enumerate(sizes):
        piece = list(shape)
        piece[axis] = n
        pieces.append(data(piece, dtype) + np.asarray(k, dtype))
    check("Concat", pieces, {"axis": axis})
    whole = np.concatenate(pieces, axis)
    check("Split", [whole, s64(*sizes)], {"axis": axis}, constants=(1,))
    check("Split", [whole, None], {"axis": axis, "split": sizes})


@pytest.mark.parametrize("size, parts", [(6, 3), (7, 3), (5, 1), (3, 3)])
def test_equal_split(size: int, parts: int) -> None:
    check("Split", [data((2, size), np.float32), None], {"axis": 1, "num_outputs": parts})


@few
@given(shapes(1, 4), dtypes, st.booleans(), st.data())
def test_slice(shape: list[int], dtype: type, constant: bool, draw: Any) -> None:
    axes = draw.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    bound = st.one_of(st.integers(-40, 40), st.sampled_from([-(2**63), 2**63 - 1, -(2**31), 2**31 - 1]))
    starts, ends = ([draw.draw(bound) for _ in axes] for _ in range(2))
    steps = [draw.draw(st.sampled_from([1, 1, 2, 3, -1, -2, 50, -50])) for _ in axes]
    inputs = [data(shape, dtype), s64(*starts), s64(*ends), s64(*axes), s64(*steps)]
    check("Slice", inputs, {}, constants=(1, 2, 3, 4) if constant else ())


@few
@given(shapes(1, 4, smallest=1), dtypes, st.sampled_from(["constant", "reflect", "edge", "wrap"]), st.data())
def test_pad(shape: list[int], dtype: type, mode: str, draw: Any) -> None:
    def width(n: int) -> int:
        return draw.draw(st.integers(0, {"constant": 9, "edge": 9, "reflect": n - 1, "wrap": n}[mode]))

    pads = [width(n) for n in shape] + [width(n) for n in shape]
    value = np.asarray(7, dtype) if mode == "constant" and draw.draw(st.booleans()) else None
    check("Pad", [data(shape, dtype), s64(*pads), value, None], {"mode": mode}, constants=(1, 2))


def test_pad_crops_and_takes_axes() -> None:
    x = data((5, 6, 7), np.float32)
    check("Pad", [x, s64(-1, 2, 0, 1, -3, 0), None, None], {})
    check("Pad", [x, s64(1, 2, 3, 4), np.asarray(-1, np.float32), s64(-1, 0)], {}, constants=(1, 3))


@few
@given(shapes(1, 4, smallest=1), dtypes, shapes(0, 2), st.sampled_from([np.int32, np.int64]), st.data())
def test_gather(shape: list[int], dtype: type, picked: list[int], index: type, draw: Any) -> None:
    axis = draw.draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(draw.draw(st.integers(0, 1000)))
    n = shape[axis]
    check("Gather", [data(shape, dtype), rng.integers(-n, n, picked).astype(index)], {"axis": axis})
    other = [draw.draw(st.integers(0, 9)) if a == axis % len(shape) else m for a, m in enumerate(shape)]
    check("GatherElements", [data(shape, dtype), rng.integers(-n, n, other).astype(index)], {"axis": axis})


def test_gather_refuses_indices_out_of_range() -> None:
    for bad in (3, -4, 2**40):
        for op, indices in (("Gather", s64(bad)), ("GatherElements", s64(bad).reshape(1, 1))):
            step = OneStep(op, [data((3, 1), np.float32), indices], {"axis": 0}, [np.zeros((1, 1), np.float32)])
            with pytest.raises(Exception, match="the step"):
                step.run([data((3, 1), np.float32), indices])


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_as_data(dtype: type) -> None:
    x = data((2, 0, 5), dtype)
    for attrs in ({}, {"start": 1}, {"start": -2, "end": -1}, {"start": 0, "end": 99}, {"start": 2, "end": 1}):
        check("Shape", [x], attrs)
    check("Size", [x], {})
    check("Size", [data((4, 5), dtype)], {})
    check("ConstantOfShape", [s64(2, 3), np.asarray([9], dtype)], {}, constants=(0, 1))
    check("ConstantOfShape", [s64(2, 0), np.asarray([9], dtype)], {}, constants=(1,))
    check("ConstantOfShape", [np.zeros(0, np.int64), None], {}, constants=(0,))


@pytest.mark.parametrize(
    "start, limit, delta", [(0, 10, 1), (10, 0, -3), (3, 3, 1), (5, 2, 1), (-4, 9, 4), (1.5, 3.2, 0.25)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_range(start: float, limit: float, delta: float, dtype: type) -> None:
    if dtype is not np.float32 and delta != int(delta):
        return
    check("Range", [np.asarray(v, dtype) for v in (start, limit, delta)], {})


@pytest.mark.parametrize("dtype", DTYPES)
def test_depth_and_space(dtype: type) -> None:
    for mode in ("DCR", "CRD"):
        check("DepthToSpace", [data((2, 12, 3, 5), dtype)], {"blocksize": 2, "mode": mode})
    check("DepthToSpace", [data((1, 9, 2, 2), dtype)], {"blocksize": 3})
    check("SpaceToDepth", [data((2, 3, 6, 4), dtype)], {"blocksize": 2})


@few
@given(shapes(1, 4, smallest=1), st.sampled_from([np.uint8, np.float32, np.int64, np.int32]), st.data())
def test_arg_max_and_min(shape: list[int], dtype: type, draw: Any) -> None:
    x = np.random.default_rng(draw.draw(st.integers(0, 1000))).integers(0, 4, shape).astype(dtype)
    attrs = {
        "axis": draw.draw(st.integers(-len(shape), len(shape) - 1)),
        "keepdims": draw.draw(st.integers(0, 1)),
        "select_last_index": draw.draw(st.integers(0, 1)),
    }
    check("ArgMax", [x], attrs)
    check("ArgMin", [x], attrs)


@few
@given(shapes(0, 4), dtypes, st.data())
def test_where(shape: list[int], dtype: type, draw: Any) -> None:
    def some() -> list[int]:
        kept = [1 if draw.draw(st.booleans()) else n for n in shape]
        return kept[draw.draw(st.integers(0, len(kept))) :]

    cond = np.random.default_rng(len(shape)).random(some()) < 0.5
    check("Where", [np.asarray(cond), data(some(), dtype), data(some(), dtype) + np.asarray(50, dtype)], {})


CASTS = [
    np.asarray([0, 0.5, -0.5, 1.5, -1.5, 127.9, 128, -129, 255.5, 256, 3e9, -3e9, 1e19, -1e19, 1e30], np.float32),
    np.asarray([np.nan, np.inf, -np.inf, -0.0, 1e-45, 65504, 65520, 70000, 1.0009765625, 2**31, 2**63], np.float32),
    np.asarray([0, 1, -1, 127, 128, 255, 256, 2**31 - 1, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)], np.int64),
    np.asarray([0, 1, -1, 2**31 - 1, -(2**31), 16777217], np.int32),
    np.arange(256).astype(np.uint8),
    np.arange(-128, 128).astype(np.int8),
    np.asarray([True, False]),
    np.asarray([0.1, -2.5, 1e300, np.nan, 2.0**63, 2.0**64], np.float64),
    np.asarray([0.1, -2.5, 65504, np.inf, np.nan, 6e-8], np.float16),
]


@pytest.mark.parametrize("to", sorted(NUMBERS.values()))
@pytest.mark.parametrize("x", CASTS, ids=lambda x: f"{x.dtype}-{x.size}")
def test_cast(x: Array, to: int) -> None:
    check("Cast", [x], {"to": to})
    check("Cast", [np.tile(x, 300)], {"to": to})
