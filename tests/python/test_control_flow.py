"""If, Loop and Scan: values of the graph around them, nesting, zero trips, axes and directions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import octavo


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


COUNTING = """
agraph (int64 trips, float[N] x) => (float[N] last, float[T, N] all, float[T, N] sums) {
  scale = Constant <value_float = 2.0> ()
  outer = Mul(x, scale)
  last, all, sums = Loop(trips, , x) <body = body (int64 i, bool go, float[N] state) =>
      (bool more, float[N] next, float[N] seen, float[N] sum) {
    more = Identity(go)
    next = Add(state, outer)
    seen = Mul(next, scale)
    sum = Add(seen, x)
  }>
}"""


def test_loop_reads_what_is_around_it() -> None:
    x = np.float32([1, -2])
    s = octavo.Session(model(COUNTING))
    last, seen, sums = s.run(None, {"trips": np.array(3), "x": x})
    states = np.stack([x + 2 * x * k for k in (1, 2, 3)])
    assert np.array_equal(last, states[-1])
    assert np.array_equal(seen, 2 * states)
    assert np.array_equal(sums, 2 * states + x)


def test_loop_of_no_trips() -> None:
    last, seen, _ = octavo.run(model(COUNTING), {"trips": np.array(0), "x": np.float32([1, -2])})
    assert last.tolist() == [1, -2]
    assert seen.shape[0] == 0 and seen.dtype == np.float32


def test_loop_ends_by_its_condition_and_nests() -> None:
    text = """
    agraph (int64 limit) => (int64 total) {
      zero = Constant <value_int = 0> ()
      one = Constant <value_int = 1> ()
      yes = Cast <to = 9> (one)
      i, total = Loop( , yes, zero, zero) <body = outer (int64 k, bool go, int64 n, int64 sum) =>
          (bool more, int64 m, int64 next) {
        m = Add(n, one)
        more = Less(m, limit)
        next = Loop(m, , sum) <body = inner (int64 j, bool going, int64 s) => (bool still, int64 t) {
          still = Identity(going)
          t = Add(s, m)
        }>
      }>
    }"""
    assert octavo.run(model(text), [np.array(4)])[0] == 1 + 4 + 9 + 16


@pytest.mark.parametrize("flag", [True, False])
def test_if_takes_one_branch_and_captures_constants_folded_away(flag: bool) -> None:
    text = """
    agraph (bool flag, float[2] x) => (float[2] y) {
      one = Constant <value_float = 1.0> ()
      two = Add(one, one)
      y = If(flag) <then_branch = yes () => (float[2] a) { a = Mul(x, two) },
                    else_branch = no () => (float[2] b) { c = Neg(two)
                                                          b = Add(x, c) }>
    }"""
    x = np.float32([3, -4])
    assert np.array_equal(octavo.run(model(text), [np.array(flag), x])[0], x * 2 if flag else x - 2)


def test_a_body_may_hide_a_name_of_the_graph_around_it() -> None:
    """An initializer of a body wins over an outer value of the same name (files of careless exporters)."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["b"])],
        "body",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.float32([10]), "w")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "w"], ["m"]),
            helper.make_node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner),
        ],
        "hiding",
        [
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("m", "y")],
        [numpy_helper.from_array(np.float32([3]), "w")],
    )
    m, y = octavo.run(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), [np.array(True), np.float32([2])]
    )
    assert m == 6 and y == 12


@pytest.mark.parametrize("backward", [0, 1])
@pytest.mark.parametrize("flip", [0, 1])
def test_scan_axes_and_directions(backward: int, flip: int) -> None:
    text = f"""
    agraph (float[2] start, float[2, 3] x) => (float[2] last, float[2, 3] sums) {{
      last, sums = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-1],
          scan_input_directions = [{backward}], scan_output_directions = [{flip}],
          body = body (float[2] s, float[2] v) => (float[2] t, float[2] out) {{
        t = Add(s, v)
        out = Identity(t)
      }}> (start, x)
    }}"""
    start, x = np.float32([1, 2]), np.arange(6, dtype=np.float32).reshape(2, 3)
    want = np.cumsum(np.concatenate([start[:, None], x[:, ::-1] if backward else x], 1), 1)[:, 1:]
    last, sums = octavo.run(model(text), [start, x])
    assert np.array_equal(last, want[:, -1])
    assert np.array_equal(sums, want[:, ::-1] if flip else want)


def test_scan_of_operator_set_8_has_a_batch_and_lengths() -> None:
    text = """
    agraph (int64[2] lengths, float[2, 1] start, float[2, 3, 1] x) => (float[2, 1] last, float[2, 3, 1] sums) {
      last, sums = Scan <num_scan_inputs = 1, body = body (float[1] s, float[1] v) => (float[1] t, float[1] out) {
        t = Add(s, v)
        out = Identity(t)
      }> (lengths, start, x)
    }"""
    x = np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1)
    last, sums = octavo.run(model(text, 8), [np.array([3, 2]), np.zeros((2, 1), np.float32), x])
    assert last.ravel().tolist() == [6, 9]
    assert sums[..., 0].tolist() == [[1, 3, 6], [4, 9, 0]]


def test_scan_over_nothing() -> None:
    text = """
    agraph (float[2] start, float[N, 2] x) => (float[2] last, float[N, 2] sums) {
      last, sums = Scan <num_scan_inputs = 1, body = body (float[2] s, float[2] v) => (float[2] t, float[2] out) {
        t = Add(s, v)
        out = Identity(t)
      }> (start, x)
    }"""
    last, sums = octavo.run(model(text), [np.float32([1, 2]), np.zeros((0, 2), np.float32)])
    assert last.tolist() == [1, 2] and sums.shape == (0, 2)


def test_errors_name_the_node() -> None:
    text = """
    agraph (float[2] a, float[3] b) => (float[2] y) {
      y = Scan <num_scan_inputs = 2, body = body (float u, float v) => (float t) { t = Add(u, v) }> (a, b)
    }"""
    with pytest.raises(octavo.Error, match=r"'Scan_0' \(Scan\) failed.*different lengths"):
        octavo.run(model(text), [np.zeros(2, np.float32), np.zeros(3, np.float32)])
