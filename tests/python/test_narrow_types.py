"""Integers of 4 and 2 bits, floats of 16 bits and less: Cast, QuantizeLinear and DequantizeLinear against numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import octavo
from octavo.feeds import TYPES
from octavo.ops.cast import DTYPES
from one_step import Array, check
from small_models import one_of

NARROW = [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]
INTEGERS = [2, 3, 4, 5, 21, 22, 25, 26]
FLOATS = [17, 18, 19, 20, 23, 27, 28]


def every(number: int) -> Array:
    """Every element of a type of at most 16 bits, those of no use left out (bits above the element's own)."""
    dtype = np.dtype(DTYPES[number])
    bits = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2, 27: 6, 28: 6}.get(number, 8 * dtype.itemsize)
    return np.arange(1 << bits).astype(np.uint16 if dtype.itemsize == 2 else np.uint8).view(dtype)


def interesting(dtype: type) -> Array:
    """Float32s (or wider) at, between and beyond the values that narrow floats hold."""
    rng = np.random.default_rng(3)
    values = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 2.0**-127, 3e38, 65504.0, 65520.0, -65519.0]
    for number in (10, 16, 17, 18, 19, 20, 23, 27, 28):
        with np.errstate(invalid="ignore"):
            v = np.unique(every(number).astype(np.float64))
        v = v[np.isfinite(v)]
        if v.size > 256:
            v = np.concatenate([v[:9], v[9:-9:397], v[-9:]])
        middle = (v[1:] + v[:-1]) / 2
        values += [*v, *middle, *np.nextafter(middle, np.inf), 2 * v[-1] - v[-2], 1.5 * v[-1] - v[-2] / 2]
    values += list(2.0 ** rng.uniform(-140, 127, 200) * rng.choice([-1, 1], 200))
    with np.errstate(over="ignore"):
        return np.array(values).astype(dtype)


@pytest.mark.parametrize("number", NARROW)
def test_cast_from(number: int) -> None:
    for to in DTYPES:
        with np.errstate(all="ignore"):
            check("Cast", [every(number)], {"to": to})


@pytest.mark.parametrize("number", NARROW)
def test_cast_to(number: int) -> None:
    for saturate in (0, 1):
        for mode in ("up", "down", "nearest") if number == 24 else ("up",):
            attrs = {"to": number, "saturate": saturate, "round_mode": mode}
            check("Cast", [interesting(np.float32)], attrs)
            check("Cast", [interesting(np.float64)], attrs)
            check("Cast", [every(10)[::7]], attrs)
            check("Cast", [np.array([-(2**63), -300, -9, -1, 0, 1, 7, 200, 2**40, 2**63 - 1], np.int64)], attrs)
            check("Cast", [np.array([True, False])], attrs)


def parameters(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> tuple[tuple[int, ...], dict[str, int]]:
    if kind == "tensor":
        return (), {}
    axis = int(rng.integers(len(shape)))
    if kind == "axis":
        return (shape[axis],), {"axis": axis}
    block = int(rng.integers(1, shape[axis] + 2))
    return tuple(-(-d // block) if k == axis else d for k, d in enumerate(shape)), {"axis": axis, "block_size": block}


@pytest.mark.parametrize("kind", ["tensor", "axis", "block"])
@pytest.mark.parametrize("number", INTEGERS + FLOATS + [6])
def test_dequantize_linear(number: int, kind: str) -> None:
    rng = np.random.default_rng(number)
    for scales in rng.permutation([1, 10, 16, 24])[:2]:
        shape = tuple(int(d) for d in rng.integers(1, 9, 3))
        grid, attrs = parameters(rng, shape, kind)
        pool = rng.integers(-(2**31), 2**31, 500).astype(np.int32) if number == 6 else every(number)
        x, zp = rng.choice(pool, shape), rng.choice(pool, grid)
        scale = rng.uniform(0.01, 3, grid).astype(np.float32).astype(DTYPES[scales])
        to = {} if scales != 24 else {"output_dtype": 16}
        check("DequantizeLinear", [x, np.asarray(scale), np.asarray(zp)], {**attrs, **to})
        check("DequantizeLinear", [x, np.asarray(scale)], {**attrs, **to}, constants=[1])


@pytest.mark.parametrize("kind", ["tensor", "axis", "block"])
@pytest.mark.parametrize("number", INTEGERS + FLOATS)
def test_quantize_linear(number: int, kind: str) -> None:
    rng = np.random.default_rng(number)
    for floats in rng.permutation([1, 10, 16, 6])[:2]:
        for scales in rng.permutation([1, 10, 16, 24])[:2]:
            shape = tuple(int(d) for d in rng.integers(1, 9, 3))
            grid, attrs = parameters(rng, shape, kind)
            x = rng.choice(interesting(np.float32), shape)
            with np.errstate(all="ignore"):
                x = x.astype(DTYPES[floats]) if floats != 6 else rng.integers(-99999, 99999, shape).astype(np.int32)
            scale = rng.uniform(0.01, 3, grid).astype(np.float32).astype(DTYPES[scales])
            zp = rng.choice(every(number), grid) if number in INTEGERS else np.zeros(grid, DTYPES[number])
            extra = {"saturate": int(rng.integers(2)), "precision": int(rng.choice([0, 1, 10, 16]))}
            check("QuantizeLinear", [x, np.asarray(scale), np.asarray(zp)], {**attrs, **extra})
            check("QuantizeLinear", [x, np.asarray(scale)], {**attrs, **extra, "output_dtype": number})


@pytest.mark.parametrize("number", [k for k in TYPES if k in NARROW])
def test_the_public_face_takes_and_gives_ml_dtypes(number: int) -> None:
    x = every(number)[:4].reshape(2, 2)
    session = octavo.Session(one_of(number, [2, 2]))
    assert session.get_inputs()[0].type == f"tensor({TYPES[number][0]})"
    (y,) = session.run(None, {"x": x})
    assert y.dtype == DTYPES[number] and y.tobytes() == x.tobytes()
    with pytest.raises(octavo.Error, match="dtype"):
        session.run(None, {"x": np.zeros((2, 2), np.float32)})


def test_dequantize_refuses_what_it_does_not_hold(core: object) -> None:
    x, s = np.zeros(4, np.uint8), np.float32(1)
    for inputs in ([x.astype(np.int64), s], [x.astype(np.float32), s], [x, np.float64(1)]):
        with pytest.raises(octavo.Error, match="DequantizeLinear node 'the step'"):
            check_refused("DequantizeLinear", [np.asarray(i) for i in inputs], np.zeros(4, np.float32))
    with pytest.raises(octavo.Error, match="QuantizeLinear node 'the step'"):
        check_refused("QuantizeLinear", [np.zeros(4, np.float32), np.asarray(s)], np.zeros(4, ml_dtypes.bfloat16), 16)


def check_refused(op: str, inputs: list[Array], output: Array, output_dtype: int = 0) -> None:
    from one_step import OneStep

    OneStep(op, inputs, {"output_dtype": output_dtype}, [output])
