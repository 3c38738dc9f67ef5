"""Graphs as real files have them: odd names, odd wiring, old operator sets, functions, external data, empty tensors."""

# ruff: noqa: E501 (graphs are written in lines of their own)

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import octavo

ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")


def parse(body: str, opset: int = 18, others: str = "") -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{others}]> {body}')


def as_onnxruntime(model: onnx.ModelProto, feeds: dict[str, np.ndarray], native: bool = True) -> list[np.ndarray]:
    """octavo's results, found equal to onnxruntime's (floats within rounding)."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    want = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)
    session = octavo.Session(model)
    got = session.run(None, feeds)
    assert not session.python_steps or not native, session.python_steps
    for one, other in zip(got, want, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(octavo.Session(model, optimize=False).run(None, feeds), got):
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return got


def ramp(*shape: int) -> np.ndarray:
    return np.linspace(-3, 3, int(np.prod(shape)), dtype=np.float32).reshape(shape)


# -- forms that changed over the operator sets ---------------------------------------------------------------------------

NORM = "<float[2] s = {1,2}, float[2] b = {0,1}, float[2] m = {0.5,-1}, float[2] v = {1,4}>"
OLD = {
    "BatchNormalization-7 spatial": (7, f"g (float[1,2,3] x) => (float[1,2,3] y) {NORM} {{ y = BatchNormalization <epsilon = 0.01> (x, s, b, m, v) }}"),
    "BatchNormalization-9": (9, f"g (float[1,2,3] x) => (float[1,2,3] y) {NORM} {{ y = BatchNormalization <momentum = 0.5> (x, s, b, m, v) }}"),
    "BatchNormalization-14": (14, f"g (float[1,2,3] x) => (float[1,2,3] y) {NORM} {{ y = BatchNormalization <training_mode = 0> (x, s, b, m, v) }}"),
    "Resize-10": (10, "g (float[1,1,3,3] x) => (float[1,1,6,6] y) <float[4] s = {1,1,2,2}> { y = Resize <mode = \"nearest\"> (x, s) }"),
    "Resize-10 linear": (10, "g (float[1,1,3,3] x) => (float[1,1,6,6] y) <float[4] s = {1,1,2,2}> { y = Resize <mode = \"linear\"> (x, s) }"),
    "Resize-11 sizes": (11, "g (float[1,1,3,3] x) => (float[1,1,5,7] y) <float[0] r = {}, float[0] s = {}, int64[4] z = {1,1,5,7}> { y = Resize <mode = \"linear\"> (x, r, s, z) }"),
    "Upsample-9": (9, "g (float[1,1,3,3] x) => (float[1,1,6,6] y) <float[4] s = {1,1,2,2}> { y = Upsample <mode = \"linear\"> (x, s) }"),
    "Slice-1": (9, "g (float[4,6] x) => (float[2,4] y) { y = Slice <starts = [1,-5], ends = [3,-1]> (x) }"),
    "Slice-10 steps": (10, "g (float[4,6] x) => (float[4,3] y) <int64[1] a = {-1}, int64[1] e = {-99}, int64[1] x1 = {1}, int64[1] t = {-2}> { y = Slice (x, a, e, x1, t) }"),
    "Pad-2 reflect": (10, "g (float[4,6] x) => (float[7,6] y) { y = Pad <mode = \"reflect\", pads = [1,0,2,0]> (x) }"),
    "Pad-11 negative": (11, "g (float[4,6] x) => (float[3,6] y) <int64[4] p = {0,1,-1,-1}, float c = {2}> { y = Pad (x, p, c) }"),
    "Clip-6 one bound": (10, "g (float[4] x) => (float[4] y) { y = Clip <min = 0.5> (x) }"),
    "Dropout-7": (7, "g (float[4] x) => (float[4] y) { y = Dropout <ratio = 0.5> (x) }"),
    "Dropout-10 with an unread mask": (10, "g (float[4] x) => (float[4] y) { y, m = Dropout (x) }"),
    "Dropout-12 inputs": (12, "g (float[4] x) => (float[4] y) <float r = {0.5}, bool t = {0}> { y, m = Dropout (x, r, t) }"),
    "Squeeze of every one": (13, "g (float[1,4,1] x) => (float[4] y) { y = Squeeze (x) }"),
    "TopK-1": (9, "g (float[2,5] x) => (float[2,2] y, int64[2,2] i) { y, i = TopK <k = 2, axis = 1> (x) }"),
    "Softmax-1 default axis": (11, "g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax (x) }"),
    "ReduceSum-1": (11, "g (float[2,3,4] x) => (float[1,1,1] y) { y = ReduceSum (x) }"),
    "ReduceSum-13 nothing to do": (13, "g (float[2,3] x) => (float[2,3] y) { y = ReduceSum <noop_with_empty_axes = 1> (x) }"),
    "Cast-6 and Gather-1": (9, "g (float[4,6] x) => (float[2,6] y) <float[2] f = {3,0}> { i = Cast <to = 7> (f) y = Gather (x, i) }"),
    "MatMul of vectors": (13, "g (float[4] x) => (float y) <float[4] w = {1,2,3,4}> { y = MatMul (x, w) }"),
    "Flatten-1 axis 0": (9, "g (float[2,3] x) => (float[1,6] y) { y = Flatten <axis = 0> (x) }"),
    "AveragePool-7": (7, "g (float[1,1,4,4] x) => (float[1,1,2,2] y) { y = AveragePool <kernel_shape = [3,3], strides = [2,2], auto_pad = \"SAME_LOWER\"> (x) }"),
    "MaxPool-8 with an unread index": (8, "g (float[1,1,4,4] x) => (float[1,1,2,2] y) { y, i = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x) }"),
    "Gemm-7 without broadcasting": (7, "g (float[2,3] x) => (float[2,2] y) <float[3,2] w = {1,2,3,4,5,6}, float[2] c = {1,2}> { y = Gemm (x, w, c) }"),
    "Gemm-11 without c": (11, "g (float[2,3] x) => (float[2,2] y) <float[3,2] w = {1,2,3,4,5,6}> { y = Gemm (x, w, ) }"),
    "Split-2 equal parts": (11, "g (float[2,6] x) => (float[2,3] y, float[2,3] z) { y, z = Split <axis = -1> (x) }"),
    "absent inputs in the middle": (13, "g (float[1,1,3,3] x) => (float[1,1,6,6] y) <int64[4] z = {1,1,6,6}> { y = Resize <coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"> (x, , , z) }"),
}  # fmt: skip
# These run in Python, in part or for now; that they are right is what is tested.
MAY_BE_PYTHON = {"TopK-1", "MatMul of vectors", "Slice-10 steps", "MaxPool-8 with an unread index"}


@pytest.mark.parametrize("name", OLD)
def test_operator_sets(name: str) -> None:
    opset, body = OLD[name]
    model = parse(body, opset)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    as_onnxruntime(model, {"x": ramp(*shape)}, native=name not in MAY_BE_PYTHON)


def test_operator_set_6_is_converted() -> None:
    """Add with `broadcast` and `axis`, Gemm with `broadcast`: what operator set 7 did away with."""
    add = parse(
        "g (float[2,3,4] x) => (float[2,3,4] y) <float[3] w = {1,2,3}> { y = Add <axis = 1, broadcast = 1> (x, w) }", 6
    )
    x = ramp(2, 3, 4)
    assert np.array_equal(octavo.run(add, x)[0], x + np.float32([1, 2, 3])[:, None])
    slope = parse("g (float[2,3,4] x) => (float[2,3,4] y) <float[3] w = {1,2,3}> { y = PRelu (x, w) }", 6)
    assert np.array_equal(octavo.run(slope, x)[0], np.where(x < 0, x * np.float32([1, 2, 3])[:, None], x))
    with pytest.raises(octavo.Unsupported, match=r"\(Tile\) is of operator set 5.*cannot convert"):
        octavo.Session(parse("g (float[2] x) => (float[4] y) <float t = {2}, float a = {0}> { y = Tile (x, t, a) }", 5))


# -- wiring --------------------------------------------------------------------------------------------------------------


def test_inputs_and_initializers_as_outputs_and_unused_inputs() -> None:
    body = """g (float[2] x, int64[3] unused, float[N] same) => (float[2] x, float[2] w, float[2] y, float[N] z)
        <float[2] w = {1,2}> { y = Add (x, w) z = Identity (same) }"""
    model = parse(body)
    x = np.float32([5, 6])
    got = octavo.run(model, {"x": x, "unused": np.zeros(3, np.int64), "same": np.float32([9])}, as_dict=True)
    assert {k: v.tolist() for k, v in got.items()} == {"x": [5, 6], "w": [1, 2], "y": [6, 8], "z": [9]}


def test_one_value_as_two_outputs() -> None:
    got = as_onnxruntime(
        parse("g (float[2] x) => (float[2] y, float[2] z) { y = Abs (x) z = Identity (y) }"), {"x": ramp(2)}
    )
    got[0][:] = 0
    assert got[1].any(), "outputs do not share memory"


def test_no_inputs() -> None:
    model = parse("g () => (float[2] y, int64[2] s) <float[2] w = {1,-2}> { y = Abs (w) s = Shape <start = -1> (w) }")
    model.graph.output[1].type.tensor_type.shape.dim[0].dim_value = 1
    y, s = as_onnxruntime(model, {})
    assert y.tolist() == [1, 2] and s.tolist() == [2]


def test_absent_outputs() -> None:
    body = "g (float[2,6] x) => (float[2,2] b) <int64[3] s = {1,2,3}> { , b, = Split <axis = 1> (x, s) }"
    model = parse(body)
    session = octavo.Session(model)
    assert np.array_equal(session.run(None, ramp(2, 6))[0], ramp(2, 6)[:, 1:3])


def test_names() -> None:
    """Slashes, colons, semicolons, spaces, letters of the world; very long ones; the same node name twice."""
    long = "n" * 5000
    nodes = [
        helper.make_node("Relu", ["输入/x:0"], [f"{long};1"], name="same:name"),
        helper.make_node("Neg", [f"{long};1"], ["выход ; é"], name="same:name"),
        helper.make_node("Abs", ["выход ; é"], ["a.1"], name=""),
    ]
    io = [
        helper.make_tensor_value_info("输入/x:0", 1, ["batch/size:0", 2]),
        helper.make_tensor_value_info("a.1", 1, ["b", 2]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g/h:i", io[:1], io[1:]), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )
    session = octavo.Session(model)
    assert np.array_equal(session.run(None, {"输入/x:0": ramp(3, 2)})[0], np.maximum(ramp(3, 2), 0))
    assert session.get_inputs()[0].name == "输入/x:0" and session.get_inputs()[0].shape == ["batch/size:0", 2]


def test_nodes_out_of_order() -> None:
    """Sorted by hand before onnxruntime, which refuses such files."""
    model = parse("g (float[2] x) => (float[2] y) { a = Abs (x) y = Neg (a) }")
    want = as_onnxruntime(model, {"x": ramp(2)})
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    assert np.array_equal(octavo.run(model, ramp(2))[0], want[0])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_tensors_of_no_elements(shape: tuple[int, ...]) -> None:
    body = """g (float[N,M] x) => (float[A,B] y, float[K] t, float[N,M] s, float[B] m, int64[2] h) <float[2,3] w = {1,2,3,4,5,6}> {
        r = Relu (x) y = Concat <axis = 0> (r, r) p = Constant <value_ints = [-1]> () t = Reshape (r, p)
        s = Softmax <axis = -1> (x) z = Constant <value_ints = [0]> () m = ReduceSum <keepdims = 0> (x, z) h = Shape (y) }"""
    as_onnxruntime(parse(body), {"x": np.zeros(shape, np.float32)})


def test_products_over_no_elements_are_zero() -> None:
    body = "g (float[N,0] x) => (float[N,3] y) <float[0,3] w = {}, float[3] b = {1,2,3}> { p = MatMul (x, w) y = Add (p, b) }"
    assert octavo.run(parse(body), np.zeros((2, 0), np.float32))[0].tolist() == [[1, 2, 3], [1, 2, 3]]


def test_scalars() -> None:
    body = """g (float x, int64 k) => (float y, int64 j, float[1] u, float p) <float c = {2}> {
        a = Mul (x, c) y = Neg (a) j = Add (k, k) z = Constant <value_ints = [0]> () u = Unsqueeze (y, z) p = Squeeze (u, z) }"""
    y, j, u, p = as_onnxruntime(parse(body), {"x": np.array(3, np.float32), "k": np.array(4)})
    assert y.shape == () and y == -6 and j == 8 and u.shape == (1,) and p.shape == ()


def test_torch_shape_arithmetic() -> None:
    """view, expand and unflatten with symbolic sizes: Shape, Gather, Mul, Unsqueeze, Concat, Slice, ConstantOfShape, Where."""
    body = """g (float[N,T,6] x) => (float[A,3,2] y, float[N,T,6] e) <int64 zero = {0}, int64 one = {1}, int64[1] at = {0}> {
        s = Shape (x) n = Gather (s, zero) t = Gather (s, one) nt = Mul (n, t)
        nt1 = Unsqueeze (nt, at) tail = Constant <value_ints = [3,2]> () shape = Concat <axis = 0> (nt1, tail) y = Reshape (x, shape)
        minus = Constant <value_ints = [-1]> () m = Gather (s, minus)
        n1 = Unsqueeze (n, at) t1 = Unsqueeze (t, at) full = Concat <axis = 0> (n1, t1, m)
        rank = Shape (full) ones = ConstantOfShape <value = int64[1] {1}> (rank) hit = Equal (full, minus) target = Where (hit, ones, full)
        six = Constant <value_floats = [1.0,2.0,3.0,4.0,5.0,6.0]> () wide = Expand (six, target) e = Add (x, wide) }"""
    for n, t in ((1, 1), (2, 5)):
        as_onnxruntime(parse(body), {"x": ramp(n, t, 6)})


def test_several_operator_sets() -> None:
    body = """g (float[2,3] x) => (float[2,3] y) {
        a = com.microsoft.Gelu (x) b = ai.onnx.Relu (a) y = Abs (b) }"""
    model = parse(body, 17, ', "ai.onnx.ml" : 3, "com.microsoft" : 1, "unused.domain" : 9')
    as_onnxruntime(model, {"x": ramp(2, 3)})


FUNCTIONS = """<ir_version: 9, opset_import: ["" : 18, "mine" : 1]>
g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = mine.outer <slope = 0.25> (x)  z = mine.outer (x) }
<opset_import: ["" : 18, "mine" : 1], domain: "mine">
outer <slope: float = 0.5> (a) => (c) { b = mine.inner <k = @slope> (a)  c = mine.inner <k = @slope> (b) }
<opset_import: ["" : 18], domain: "mine">
inner <k> (a) => (b) {
    s = Constant <value_float: float = @k> ()
    n = LeakyRelu <alpha: float = @k> (a)
    b = Mul (n, s)
}"""


def test_functions_in_functions_with_attributes() -> None:
    y, z = as_onnxruntime(parser.parse_model(FUNCTIONS), {"x": ramp(2, 3)})
    x = ramp(2, 3)

    def inner(a: np.ndarray, k: float) -> np.ndarray:
        return np.where(a < 0, a * np.float32(k), a) * np.float32(k)

    assert np.array_equal(y, inner(inner(x, 0.25), 0.25)) and np.array_equal(z, inner(inner(x, 0.5), 0.5))


def test_functions_of_another_operator_set_than_the_model() -> None:
    """A function body of operator set 11 (Squeeze with an attribute) in a model of 18."""
    text = """<ir_version: 9, opset_import: ["" : 18, "mine" : 1]> g (float[2,1,3] x) => (float[2,3] y) { y = mine.f (x) }
    <opset_import: ["" : 11], domain: "mine"> f (a) => (b) { c = Squeeze <axes = [1]> (a) b = Relu (c) }"""
    x = ramp(2, 1, 3)
    assert np.array_equal(octavo.run(parser.parse_model(text), x)[0], np.maximum(x[:, 0], 0))


# -- external data -------------------------------------------------------------------------------------------------------


def external(folder: Path, location: str, offset: int | None = None, length: int | None = None) -> Path:
    """A model in `folder` whose weight of 4 floats lies at `location`."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", io[:1], io[1:], [tensor])
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return path


W = np.float32([1, 2, 3, 4])


def test_external_data_with_offset_and_in_a_folder(tmp_path: Path) -> None:
    path = external(tmp_path, "data/w.bin", 4096, 16)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/w.bin").write_bytes(bytes(4096) + W.tobytes() + bytes(7))
    assert np.array_equal(octavo.run(path, np.zeros(4, np.float32))[0], W)
    here = os.getcwd()
    try:  # from anywhere, by a relative path
        os.chdir(tmp_path / "data")
        assert np.array_equal(octavo.run("../m.onnx", np.zeros(4, np.float32))[0], W)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("how", ["parent", "absolute", "link", "link to a folder"])
def test_external_data_cannot_leave_the_models_folder(tmp_path: Path, how: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(W.tobytes())
    inside = tmp_path / "model"
    location = {
        "parent": "../secret.bin",
        "absolute": str(secret),
        "link": "w.bin",
        "link to a folder": "d/secret.bin",
    }[how]
    path = external(inside, location)
    if how == "link":
        (inside / "w.bin").symlink_to(secret)
    elif how == "link to a folder":
        (inside / "d").symlink_to(tmp_path)
    with pytest.raises(octavo.Error):
        octavo.Session(path)


@pytest.mark.parametrize(
    "damage", ["absent", "short", "offset beyond", "negative offset", "length too small", "no location", "a folder"]
)
def test_damaged_external_data_is_named(tmp_path: Path, damage: str) -> None:
    offset = {"offset beyond": 1 << 40, "negative offset": -4}.get(damage)
    path = external(
        tmp_path, "" if damage == "no location" else "w.bin", offset, 8 if damage == "length too small" else None
    )
    if damage == "a folder":
        (tmp_path / "w.bin").mkdir()
    elif damage != "absent":
        (tmp_path / "w.bin").write_bytes(W.tobytes()[: 9 if damage == "short" else None])
    with pytest.raises(octavo.Error, match=r"w|m\.onnx"):
        octavo.Session(path)


def test_external_data_of_a_model_in_memory_is_refused_by_name() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", io[:1], io[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    for given in (model, model.SerializeToString()):
        with pytest.raises(octavo.Error, match=r"'w'.*external"):
            octavo.Session(given)


def gather_from(folder: Path, rows: int, columns: int) -> Path:
    """A model that picks rows of an external matrix, zero but for the last four elements, in a sparse file."""
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[rows, columns], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="w.bin")
    io = [
        helper.make_tensor_value_info("i", TensorProto.INT64, [2]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    call = helper.make_node("pick", ["w", "i"], ["y"], domain="mine")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    body = helper.make_function(
        "mine", "pick", ["w", "i"], ["y"], [helper.make_node("Gather", ["w", "i"], ["y"])], opsets[:1]
    )
    model = helper.make_model(
        helper.make_graph([call], "g", io[:1], io[1:], [tensor]), opset_imports=opsets, functions=[body]
    )
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with open(folder / "w.bin", "wb") as f:
        f.truncate(rows * columns * 4)
        f.seek(-16, os.SEEK_END)
        f.write(W.tobytes())
    return folder / "m.onnx"


@pytest.mark.parametrize("large", [False, True])
def test_a_model_beyond_what_one_protobuf_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    """2.2 GB of weights with OCTAVO_TEST_LARGE=1; always the same path with the limits lowered to a megabyte."""
    rows, columns = (1 << 15, 16896) if large else (1 << 10, 512)
    if large and os.environ.get("OCTAVO_TEST_LARGE") != "1":
        pytest.skip("set OCTAVO_TEST_LARGE=1: needs 8 GB of memory")
    if not large:
        monkeypatch.setattr("octavo.onnx_upgrade.LARGEST_COPY", 1 << 20)
    y = octavo.run(gather_from(tmp_path, rows, columns), np.array([0, rows - 1]))[0]
    assert y.shape == (2, columns) and not y[0].any() and y[1, -4:].tolist() == [1, 2, 3, 4]


def test_sparse_initializer() -> None:
    values = numpy_helper.from_array(np.float32([5, 6]), "w")
    indices = numpy_helper.from_array(np.array([[0, 1], [1, 2]]), "w.at")
    sparse = helper.make_sparse_tensor(values, indices, [2, 3])
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", io[:1], io[1:], sparse_initializer=[sparse]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert octavo.run(model, np.zeros((2, 3), np.float32))[0].tolist() == [[0, 5, 0], [0, 0, 6]]
