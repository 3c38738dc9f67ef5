"""ONNX files in: opset differences, odd graphs, and what broken files are told."""

# ruff: noqa: E501 (graphs are written in lines of their own)

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from interpreter import compiled, run
from octavo import errors
from octavo.onnx_import import import_model

X = np.linspace(-3, 3, 24).astype(np.float32).reshape(2, 3, 4)


def parse(body: str, opset: int = 21, ir: int = 8) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]> {body}')


def same_as_reference(model: onnx.ModelProto, feeds: list[np.ndarray], native: bool = True) -> None:
    want = ReferenceEvaluator(model).run(None, {i.name: x for i, x in zip(model.graph.input, feeds)})
    for options in ({}, {"optimize": False}, {"literal": True}):
        done = compiled(model, **options)
        assert bool(done.python_steps) != native, done.python_steps
        for got, expected in zip(done.plan.run(feeds, done.callbacks), want, strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


OPSETS = {
    "squeeze attribute": (11, "g (float[2,1,4] x) => (float[2,4] y) { y = Squeeze <axes = [1]> (x) }", (2, 1, 4)),
    "squeeze input": (13, "g (float[2,1,4] x) => (float[2,4] y) { a = Constant <value_ints = [1]> () y = Squeeze (x, a) }", (2, 1, 4)),
    "unsqueeze attribute": (11, "g (float[2,4] x) => (float[2,1,4] y) { y = Unsqueeze <axes = [1]> (x) }", (2, 4)),
    "clip attributes": (6 + 1, "g (float[2,4] x) => (float[2,4] y) { y = Clip <min = -1.0, max = 1.0> (x) }", (2, 4)),
    "clip without max": (13, "g (float[2,4] x) => (float[2,4] y) { a = Constant <value_float = 0.5> () y = Clip (x, a) }", (2, 4)),
    "slice attributes": (9, "g (float[2,3,4] x) => (float[2,2,4] y) { y = Slice <axes = [1], starts = [1], ends = [9]> (x) }", (2, 3, 4)),
    "pad attribute": (10, "g (float[2,3] x) => (float[3,5] y) { y = Pad <pads = [1,0,0,2], value = 7.0> (x) }", (2, 3)),
    "split attribute": (11, "g (float[2,6] x) => (float[2,2] y, float[2,4] z) { y, z = Split <axis = 1, split = [2,4]> (x) }", (2, 6)),
    "split num_outputs": (18, "g (float[2,5] x) => (float[2,3] y, float[2,2] z) { y, z = Split <axis = 1, num_outputs = 2> (x) }", (2, 5)),
    "softmax": (13, "g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 1> (x) }", (2, 3, 4)),
    "reduce attribute": (13, "g (float[2,3,4] x) => (float[2,4] y) { y = ReduceMean <axes = [1], keepdims = 0> (x) }", (2, 3, 4)),
    "reduce input": (18, "g (float[2,3,4] x) => (float[2,1,4] y) { a = Constant <value_ints = [-2]> () y = ReduceMean (x, a) }", (2, 3, 4)),
    "gemm": (13, """g (float[3,2] x) => (float[2,4] y)
        <float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] c = {1,2,3,4}>
        { y = Gemm <alpha = 0.5, beta = 2.0, transA = 1, transB = 1> (x, w, c) }""", (3, 2)),
    "same padding": (13, """g (float[1,1,5,6] x) => (float[1,1,3,3] y) <float[1,1,2,3] w = {1,2,3,4,5,6}>
        { y = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (x, w) }""", (1, 1, 5, 6)),
    "transposed convolution": (13, """g (float[1,2,3,3] x) => (float[1,2,6,6] y) <float[2,1,2,2] w = {1,2,3,4,5,6,7,8}>
        { y = ConvTranspose <strides = [2,2], group = 2> (x, w) }""", (1, 2, 3, 3)),
    "resize": (13, """g (float[1,2,3,3] x) => (float[1,2,6,6] y) <float[4] s = {1,1,2,2}>
        { y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , s) }""", (1, 2, 3, 3)),
    "dropout": (13, "g (float[2,4] x) => (float[2,4] y) { d = Dropout (x) y = Relu (d) }", (2, 4)),
    "identity chain to an output": (13, "g (float[2,4] x) => (float[2,4] y) { a = Identity (x) y = Identity (a) }", (2, 4)),
    "constant output": (13, "g (float[2,4] x) => (float[2,4] y, int64[2] z) { y = Abs (x) z = Constant <value_ints = [3,4]> () }", (2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("opset,body,shape", OPSETS.values(), ids=OPSETS)
def test_operator_sets(opset: int, body: str, shape: tuple[int, ...]) -> None:
    x = np.linspace(-3, 3, int(np.prod(shape))).astype(np.float32).reshape(shape)
    same_as_reference(parse(body, opset), [x])


def test_softmax_before_13_is_over_all_axes_from_its_own() -> None:
    model = parse("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 1> (x) }", 11)
    e = np.exp(X.astype(np.float64))  # onnx.reference takes the newer meaning here
    want = e / e.sum(axis=(1, 2), keepdims=True)
    for options in ({}, {"optimize": False}, {"literal": True}):
        np.testing.assert_allclose(run(model, [X], **options)[0], want, rtol=1e-5)


def test_upsample() -> None:
    model = parse(
        'g (float[1,1,2,2] x) => (float[1,1,4,6] y) { y = Upsample <mode = "nearest", scales = [1.0,1.0,2.0,3.0]> (x) }',
        7,
    )
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    assert not compiled(model).python_steps
    np.testing.assert_array_equal(run(model, [x])[0], x.repeat(2, 2).repeat(3, 3))


def test_batch_normalization_folds_or_becomes_mul_and_add() -> None:
    tail = "<float[2] s = {1,2}, float[2] b = {0,1}, float[2] m = {0.5,-1}, float[2] v = {1,4}, float[2,2,1,1] w = {1,2,3,4}>"
    x = np.linspace(-3, 3, 18).astype(np.float32).reshape(1, 2, 3, 3)
    alone = parse(f"g (float[1,2,3,3] x) => (float[1,2,3,3] y) {tail} {{ y = BatchNormalization (x, s, b, m, v) }}", 15)
    after = parse(
        f"g (float[1,2,3,3] x) => (float[1,2,3,3] y) {tail} {{ c = Conv (x, w) y = BatchNormalization (c, s, b, m, v) }}",
        15,
    )
    same_as_reference(alone, [x])
    same_as_reference(after, [x])
    assert sorted(compiled(after).plan.ops) == ["Conv", "Transpose", "Transpose"]


def test_what_the_core_lacks_runs_in_python_and_says_why() -> None:
    model = parse("g (float[3,2,2] x) => (float[3] y) { a = Det (x) y = Relu (a) }")
    same_as_reference(model, [X[0].reshape(3, 2, 2)], native=False)
    ((_, reason),) = compiled(model).python_steps
    assert "no such operator" in reason


def test_subgraphs_see_the_values_around_them() -> None:
    model = parse(
        """g (float[2] x, bool c) => (float[2] y) {
            k = Abs (x) outer = Identity (k)
            y = If (c) <then_branch = t () => (float[2] a) { a = Add (outer, outer) },
                        else_branch = e () => (float[2] b) { b = Neg (outer) }>
        }"""
    )
    x = np.array([-1, 2], np.float32)
    for c, want in ((True, [2, 4]), (False, [-1, -2])):
        np.testing.assert_array_equal(run(model, [x, np.array(c)])[0], np.array(want, np.float32))


def test_functions_are_inlined() -> None:
    text = """<ir_version: 9, opset_import: ["" : 18, "mine" : 1]>
    g (float[2] x) => (float[2] y) { y = mine.twice (x) }
    <opset_import: ["" : 18], domain: "mine"> twice (a) => (b) { b = Add (a, a) }"""
    model = onnx.parser.parse_model(text)
    assert compiled(model).plan.ops == ["Binary"]
    np.testing.assert_array_equal(run(model, [np.array([1, 2], np.float32)])[0], [2, 4])


def test_initializer_that_is_also_an_input_is_a_constant() -> None:
    model = parse("g (float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add (x, w) }")
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    assert import_model(model).inputs == ["x"]


def test_external_data(tmp_path: Path) -> None:
    w = numpy_helper.from_array(np.arange(4096, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", 1, [4096])], [helper.make_tensor_value_info("y", 1, [4096])], [w],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert import_model(path).const("w") is not None
    (tmp_path / "w.bin").unlink()
    with pytest.raises(errors.Error):
        import_model(path)


GOOD = "g (float[2] x) => (float[2] y) { a = Relu (x) y = Neg (a) }"


def broken(change: str) -> onnx.ModelProto:
    model = parse(GOOD)
    nodes = model.graph.node
    nodes[0].name, nodes[1].name = "first", "second"
    if change == "missing":
        nodes[0].input[0] = "nowhere"
    elif change == "cycle":
        nodes[0].input[0] = "y"
    elif change == "duplicate":
        nodes[1].output[0] = "a"
    elif change == "no output":
        del model.graph.output[:]
    elif change == "unwritten output":
        model.graph.output[0].name = "z"
    elif change == "bad constant":
        model.graph.initializer.append(TensorProto(name="w", data_type=1, dims=[5], raw_data=b"abc"))
    return model


@pytest.mark.parametrize(
    "change,words",
    [("missing", "nowhere"), ("cycle", "cycle"), ("duplicate", "'second'"), ("no output", "outputs"),
     ("unwritten output", "'z'"), ("bad constant", "'w'")],
)  # fmt: skip
def test_malformed_graphs_are_named(change: str, words: str) -> None:
    with pytest.raises(errors.InvalidModel, match=words):
        import_model(broken(change))


def test_unreadable_files(tmp_path: Path) -> None:
    data = parse(GOOD).SerializeToString()
    for bad in (b"", b"hello, world", data[: len(data) // 2]):
        with pytest.raises(errors.InvalidModel):
            import_model(bad)
    with pytest.raises(errors.IoError, match=r"absent\.onnx"):
        import_model(tmp_path / "absent.onnx")


def test_unknown_operators_and_sets() -> None:
    with pytest.raises(errors.Unsupported, match="update onnx"):
        import_model(parse(GOOD, 999))
    foreign = helper.make_node("Magic", ["x"], ["y"], name="trick", domain="elsewhere")
    io = [helper.make_tensor_value_info(n, 1, [2]) for n in "xy"]
    model = helper.make_model(
        helper.make_graph([foreign], "g", io[:1], io[1:]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)],
    )
    with pytest.raises(errors.Unsupported, match=r"trick.*elsewhere\.Magic"):
        compiled(model)


def test_options_are_checked() -> None:
    with pytest.raises(errors.InvalidArgument, match="requantize"):
        compiled(parse(GOOD), requantize="half")
    with pytest.raises(errors.InvalidArgument, match="int"):
        compiled(3)  # type: ignore[arg-type]
