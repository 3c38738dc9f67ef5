"""Resize against its reference: every mode and coordinate transformation, by sizes and by scales."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from one_step import check, run

Array = np.ndarray[Any, Any]
TRANSFORMS = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
SIZES = [((5, 7), (10, 14)), ((8, 6), (4, 3)), ((5, 4), (7, 9)), ((7, 9), (3, 5)), ((3, 3), (1, 1)), ((1, 1), (4, 2))]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("source, target", SIZES)
def test_nearest(transform: str, source: tuple[int, int], target: tuple[int, int]) -> None:
    for dtype, mode in product((np.uint8, np.float32, np.int64), NEAREST):
        x = np.arange(2 * source[0] * source[1] * 5).reshape(2, *source, 5).astype(dtype)
        sizes = np.asarray([2, *target, 5], np.int64)
        attrs = {"coordinate_transformation_mode": transform, "nearest_mode": mode}
        check("Resize", [x, sizes, None], attrs, constants=(1,))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("source, target", SIZES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("outside", [0, 1])
def test_linear_and_cubic(
    transform: str, source: tuple[int, int], target: tuple[int, int], mode: str, outside: int
) -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 3, 17):
        x = rng.normal(size=(2, *source, channels)).astype(np.float32)
        sizes = np.asarray([2, *target, channels], np.int64)
        attrs = {"mode": mode, "coordinate_transformation_mode": transform, "exclude_outside": outside}
        (y,), (expected,) = run("Resize", [x, sizes, None], attrs, (1,))
        assert np.max(np.abs(y - expected)) <= 1e-5


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_scales(mode: str, transform: str) -> None:
    x = np.random.default_rng(0).normal(size=(1, 6, 7, 4)).astype(np.float32)
    attrs = {"mode": mode, "coordinate_transformation_mode": transform}
    for height, width in product((0.5, 1.0, 1.7, 2.0, 3.3), repeat=2):
        scales = np.asarray([1, height, width, 1], np.float32)
        (y,), (expected,) = run("Resize", [x, None, scales], attrs, (2,))
        assert np.max(np.abs(y - expected)) <= 1e-5
        (again,), _ = run("Resize", [x, None, scales], attrs)
        assert np.array_equal(again, y)
