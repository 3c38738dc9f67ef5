"""Values the core does not hold (strings, sequences, optionals, other element types, many axes) pass through Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

import octavo
from octavo.onnx_values import pack, unpack


def session(text: str) -> octavo.Session:
    return octavo.Session(parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}'))


def same(got: Any, want: Any) -> bool:
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want))
    if want is None:
        return got is None
    return got.dtype == want.dtype and got.shape == want.shape and bool((got == want).all())


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [None, np.float32(3).reshape(())],
        [[np.arange(3)], []],
        np.array(["a", "ü€", ""], object),
        np.zeros((0, 3), object),
        np.array([1 + 2j], np.complex64),
        np.array([1.5, -2], ml_dtypes.bfloat16),
        np.array([1.5, -2], ml_dtypes.float8_e4m3fn),
        np.array([[-8, 7, 3]], ml_dtypes.int4),
        np.zeros((1,) * 9, np.float32),
        np.float64(2).reshape(()),
    ],
)
def test_pack_and_unpack(value: Any) -> None:
    data = pack(value)
    assert data.dtype == np.uint8 and data.ndim == 1
    assert same(unpack(data), value)


def test_strings() -> None:
    s = session("agraph (string[N] x) => (string[M] y, int64 n) { y = Concat <axis=0> (x, x)\n n = Size(x) }")
    assert [i.type for i in s.get_inputs()] == ["tensor(string)"]
    assert [o.type for o in s.get_outputs()] == ["tensor(string)", "tensor(int64)"]
    y, n = s.run(None, {"x": np.array(["a", "b c"])})
    assert y.tolist() == ["a", "b c", "a", "b c"] and n == 2
    assert [name for name, _ in s.python_steps] == ["Concat_0", "Size_1"]
    assert all(reason == "the core does not hold strings" for _, reason in s.python_steps)
    with pytest.raises(octavo.InvalidArgument, match=r"'x' should be tensor\(string\)"):
        s.run(None, {"x": np.zeros(2, np.float32)})


def test_sequences_between_native_steps(tmp_path: Path) -> None:
    s = session(
        "agraph (float[2, N] x) => (float[2, M] y) { a = Relu(x)\n s = SequenceConstruct(a, x)\n"
        "c = ConcatFromSequence <axis=1> (s)\n y = Neg(c) }"
    )
    x = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)
    assert np.array_equal(s.run(None, [x])[0], -np.concatenate([np.maximum(x, 0), x], 1))
    assert [step.op for step in s.steps] == ["Unary", "Python", "Python", "Unary"]
    with pytest.raises(octavo.Unsupported, match=r"SequenceConstruct_1.*runs in Python"):
        s.save(tmp_path / "x.octavo")


def test_sequences_and_optionals_as_inputs_and_outputs(tmp_path: Path) -> None:
    s = session(
        "agraph (seq(float[N]) x, optional(float[2]) z) => (seq(float[N]) y, bool has, optional(float[2]) same)"
        "{ y = SequenceErase(x)\n has = OptionalHasElement(z)\n same = Identity(z) }"
    )
    assert [i.type for i in s.get_inputs()] == ["seq(tensor(float))", "optional(tensor(float))"]
    a, b = np.float32([1]), np.float32([2, 3])
    y, has, z = s.run(None, {"x": [a, b]})
    assert same(y, [a]) and not has and z is None
    y, has, z = s.run(None, {"x": [a, b, a], "z": b})
    assert same(y, [a, b]) and has and same(z, b)
    assert same(s.run(["y"], [[b, a], None]), [[b]])
    with pytest.raises(octavo.InvalidArgument, match="'x' should be a list"):
        s.run(None, {"x": a})
    with pytest.raises(octavo.InvalidArgument, match="lack input 'x'"):
        s.run(None, {"z": b})
    with pytest.raises(octavo.InvalidArgument, match="no input 'q'"):
        s.run(None, {"x": [a], "q": b})
    with pytest.raises(octavo.Unsupported):
        s.bind({"x": [a], "z": b})
    with pytest.raises(octavo.Unsupported):
        s.run(None, {"x": [a]}, out=[None, None, None])


def test_inputs_handed_through_cannot_be_packed(tmp_path: Path) -> None:
    s = session("agraph (string[N] x) => (string[N] y) { y = Identity(x) }")
    assert s.run(None, [np.array(["q"], object)])[0].tolist() == ["q"] and not s.python_steps
    with pytest.raises(octavo.Unsupported, match="does not hold its inputs or outputs"):
        s.save(tmp_path / "x.octavo")


def test_many_axes() -> None:
    shape = (1, 2, 1, 3, 1, 1, 2, 1, 2)
    x = np.arange(24, dtype=np.float32).reshape(shape)
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Reshape", ["n", "flat"], ["y"])],
        "nine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [24])],
        [onnx.numpy_helper.from_array(np.array([24]), "flat")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert np.array_equal(octavo.run(model, [x])[0], -np.arange(24, dtype=np.float32))


def test_maps_are_refused() -> None:
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph = helper.make_graph(
        [helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", int64_vocabulary=[1])],
        "maps",
        [helper.make_value_info("x", kind)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    with pytest.raises(octavo.Unsupported, match="map type"):
        octavo.Session(helper.make_model(graph, opset_imports=opsets))
