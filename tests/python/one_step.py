"""Plans of one step: run an operator of the core on every supported ISA, with one thread and with two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from octavo import _core, ops
from octavo.ops.cast import DTYPES

Array = np.ndarray[Any, Any]
NUMBERS = {np.dtype(dtype): number for number, dtype in DTYPES.items()}
ISAS = [name for name, supported in _core.isas() if supported]
RUNS = [(isa, threads) for isa in ISAS for threads in (1, 2)]


class OneStep:
    """One operator, its constants fixed, the shapes of its other inputs free.

    `inputs` are examples (None: absent) that give dtype and rank; those numbered in `constants` become part of the
    plan. `outputs` are examples as well.
    """

    def __init__(
        self,
        op: str,
        inputs: Sequence[Array | None],
        attrs: Mapping[str, object],
        outputs: Sequence[Array],
        constants: Sequence[int] = (),
        runs: Sequence[tuple[str, int]] = RUNS,
    ) -> None:
        self.op, self.attrs = op, dict(attrs)
        self.fixed = [x if k in constants else None for k, x in enumerate(inputs)]
        builder = _core.PlanBuilder()
        values: list[int] = []
        self.fed: list[int] = []
        for k, x in enumerate(inputs):
            if x is None:
                values.append(-1)
            elif k in constants:
                values.append(builder.add_constant(f"c{k}", np.ascontiguousarray(x).reshape(x.shape)))
            else:
                values.append(builder.add_input(f"x{k}", NUMBERS[x.dtype], [None] * x.ndim))
                self.fed.append(k)
        results = [builder.add_value(f"y{k}", NUMBERS[y.dtype], [None] * y.ndim) for k, y in enumerate(outputs)]
        builder.add_step(op, "the step", values, results, dict(attrs))
        for k, value in enumerate(results):
            builder.add_output(f"y{k}", value)
        plan = builder.build()
        self.runs = list(runs)
        self.sessions = [_core.Session(plan, isa=isa, threads=threads) for isa, threads in self.runs]

    def run(self, inputs: Sequence[Array | None]) -> list[Array]:
        """The outputs; AssertionError unless every ISA and thread count gives the same bytes."""
        feeds = [np.ascontiguousarray(inputs[k]).reshape(np.shape(inputs[k])) for k in self.fed]
        first: list[Array] | None = None
        for (isa, threads), session in zip(self.runs, self.sessions, strict=True):
            got = [y.copy() for y in session.run(feeds)]
            if first is None:
                first = got
            for k, (y, expected) in enumerate(zip(got, first, strict=True)):
                same(y, expected, f"{self.op} output {k}: {isa} with {threads} threads against {self.runs[0][0]}")
        assert first is not None
        return first

    def check(self, inputs: Sequence[Array | None]) -> None:
        """Runs and compares with the reference, byte for byte."""
        full = [x if fixed is None else fixed for x, fixed in zip(inputs, self.fixed, strict=True)]
        for k, (y, expected) in enumerate(zip(self.run(inputs), ops.reference(self.op, full, self.attrs), strict=True)):
            same(y, expected, f"{self.op} output {k} against its reference")


def same(y: Array, expected: Array, what: str) -> None:
    """Equal dtype, shape and elements: zeros of either sign differ, NaNs are all alike."""
    assert y.dtype == expected.dtype, f"{what}: {y.dtype}, expected {expected.dtype}"
    assert y.shape == expected.shape, f"{what}: {y.shape}, expected {expected.shape}"
    if y.tobytes() == expected.tobytes():
        return
    if y.dtype.isbuiltin != 1:  # of ml_dtypes
        y, expected = y.astype(np.float64), expected.astype(np.float64)
    equal = y == expected
    if np.issubdtype(y.dtype, np.floating):
        equal = (equal & (np.signbit(y) == np.signbit(expected))) | (np.isnan(y) & np.isnan(expected))
    if np.all(equal):
        return
    at = tuple(int(i) for i in np.argwhere(~np.asarray(equal))[0])
    wrong = int(np.size(equal) - np.count_nonzero(equal))
    raise AssertionError(f"{what}: {wrong} of {y.size} differ, first at {at}: {y[at]!r}, expected {expected[at]!r}")


def check(op: str, inputs: Sequence[Array | None], attrs: Mapping[str, object], constants: Sequence[int] = ()) -> None:
    """One operator against its reference, byte for byte, everywhere."""
    expected = ops.reference(op, list(inputs), attrs)
    OneStep(op, inputs, attrs, expected, constants).check(inputs)


def run(
    op: str, inputs: Sequence[Array | None], attrs: Mapping[str, object], constants: Sequence[int] = ()
) -> tuple[list[Array], list[Array]]:
    """(outputs, reference's outputs) after checking that all ISAs and thread counts agree bit for bit."""
    expected = ops.reference(op, list(inputs), attrs)
    return OneStep(op, inputs, attrs, expected, constants).run(inputs), expected


def fma32(a: Array, b: Array, c: Array) -> Array:
    """float32 a * b + c rounded once.

    The product is exact in float64; the sum is rounded to odd there (Boldo and Melquiond 2008), so that the second
    rounding, to float32, is the only one that counts.
    """
    product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    with np.errstate(all="ignore"):
        total = np.asarray(product + addend)
        back = total - product  # Knuth's two-sum: total + error is exact
        error = (product - (total - back)) + (addend - back)
        bits = total.view(np.int64)
        inexact = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
        # Toward the exact value: away from zero when error has total's sign.
        odd = np.where((error > 0) == (total > 0), bits + 1, bits - 1)
        return np.where(inexact, odd, bits).view(np.float64).astype(np.float32)


def ulps(y: Array, expected: Array) -> Array:
    """Distance of float32 values in units in the last place of `expected`; 0 for equal or both NaN, inf otherwise."""
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
        distance = np.abs(y.astype(np.float64) - expected.astype(np.float64)) / unit
    equal = (y == expected) | (np.isnan(y) & np.isnan(expected))
    return np.where(equal, 0.0, np.where(np.isnan(distance), np.inf, distance))
