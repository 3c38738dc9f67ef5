"""Plans that only a hostile or careless writer makes: refused with a clear error, or run within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import octavo
from octavo import _core

F32, I64, U8, BF16 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.BFLOAT16


def planned(op: str, inputs: list[tuple[int, Any]], out: tuple[int, Any], attrs: dict[str, Any]) -> Any:
    """A plan of one step. An input of unknown rank comes out of a Reshape to a shape that is an input."""
    b = _core.PlanBuilder()
    values = []
    for k, (dtype, dims) in enumerate(inputs):
        if dims is not None:
            values.append(b.add_input(f"x{k}", dtype, dims))
            continue
        data, shape = b.add_input(f"x{k}", dtype, ["n"]), b.add_input(f"shape{k}", I64, ["r"])
        values.append(b.add_value(f"reshaped{k}", dtype, None))
        b.add_step("Reshape", "reshape", [data, shape], [values[-1]], {})
    y = b.add_value("y", out[0], out[1])
    b.add_step(op, "the step", values, [y], attrs)
    b.add_output("y", y)
    return b.build()


def run(plan: Any, *arrays: np.ndarray) -> np.ndarray:
    return _core.Session(plan, threads=1).run(list(arrays))[0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("side", [5, 64, 130])
def test_a_residual_that_lies_where_the_operand_does(side: int, threads: int) -> None:
    """y = a w + z where a and z are one value under two names: y must not take its place while it is still read."""
    rng = np.random.default_rng(side)
    w = rng.normal(0, 1, (side, side)).astype(np.float32)
    b = _core.PlanBuilder()
    x = b.add_input("x", F32, [2, side, side])
    names = ("h", "a", "z", "y")
    h, a, z, y = (b.add_value(n, F32, [2, side, side] if n == "h" else [2 * side, side]) for n in names)
    flat = b.add_constant("flat", np.array([2 * side, side]))
    b.add_step("Unary", "relu", [x], [h], {"fn": "Relu"})
    b.add_step("Reshape", "one", [h, flat], [a], {})
    b.add_step("Reshape", "two", [h, flat], [z], {})
    b.add_step("MatMul", "product", [a, b.add_constant("w", w), -1, z], [y], {"trans_b": 1})
    last = b.add_value("last", F32, [2 * side, side])
    b.add_step("Unary", "keep y inside", [y], [last], {"fn": "Neg"})
    b.add_output("last", last)
    data = rng.normal(0, 1, (2, side, side)).astype(np.float32)
    h = np.maximum(data, 0).reshape(-1, side)
    got = _core.Session(b.build(), threads=threads).run([data])[0]
    assert np.allclose(-got, h @ w.T + h, rtol=1e-4, atol=1e-4)


def test_empty_index_vectors_cost_no_time() -> None:
    plan = planned("ScatterND", [(F32, [0]), (I64, ["n", 0]), (F32, ["n", 0])], (F32, [0]), {})
    many = np.zeros((2**40, 0))
    assert run(plan, np.zeros(0, np.float32), many.astype(np.int64), many.astype(np.float32)).shape == (0,)


def test_boxes_without_scores_cost_no_memory() -> None:
    plan = planned("NonMaxSuppression", [(F32, [0, "n", 4]), (F32, [0, 1, "n"])], (I64, [None, 3]), {})
    boxes, scores = np.zeros((0, 2**30, 4), np.float32), np.zeros((0, 1, 2**30), np.float32)
    assert run(plan, boxes, scores).shape == (0, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: planned("Unary", [(BF16, [4])], (BF16, [4]), {"fn": "Neg"}),
        lambda: planned("QReduceMean", [(U8, None)], (U8, None), {"axes": [0], "r": 1.0}),
    ],
)
def test_refused_when_it_is_made(make: Callable[[], Any]) -> None:
    with pytest.raises(octavo.Error):
        _core.Session(make(), threads=1)
