"""ONNX operators without a plan operator of their own: the onnx package's node tests run on the core alone.

Every case of an operator below must give ONNX's values without a Python step, and the same bytes on every ISA level,
with one thread and two, optimised or not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import pytest
from onnx import numpy_helper

import octavo
from one_step import NUMBERS, RUNS

# Operator -> words in the names of cases it does not run natively (types or forms the core does not have).
OPERATORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan"), ()),
    **dict.fromkeys(("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"), ()),
    **dict.fromkeys(("Celu", "Mish", "Selu", "Shrink", "Softsign", "ThresholdedRelu"), ("16",)),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"), ("16",)),
    **dict.fromkeys(("Max", "Min", "Pow", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceLogSumExp"), ("16",)),
    **dict.fromkeys(("Compress", "CumProd", "CumSum", "Einsum", "GatherND", "GridSample", "NonZero"), ()),
    **dict.fromkeys(("GRU", "LSTM", "NonMaxSuppression", "RNN", "ScatterElements", "ScatterND", "Scatter", "TopK"), ()),
    "Attention": ("16", "softmax_precision", "gqa_rank4_mask"),
    "BlackmanWindow": (),
    "CenterCropPad": (),
    "Dropout": ("training_dropout",),
    "EyeLike": (),
    "GroupNormalization": (),
    "HammingWindow": (),
    "HannWindow": (),
    "Hardmax": (),
    "InstanceNormalization": (),
    "IsInf": (),
    "IsNaN": (),
    "LayerNormalization": (),
    "LRN": (),
    "LpNormalization": (),
    "LpPool": ("3d", "1d_default_"),
    **dict.fromkeys(("AveragePool", "Conv", "ConvInteger", "MaxPool", "QLinearConv"), ()),
    "ConvTranspose": ("output_shape",),
    "MaxUnpool": ("with_output_shape",),
    "Mean": (),
    "MeanVarianceNormalization": (),
    "Mod": ("float16",),
    "NegativeLogLikelihoodLoss": (),
    "OneHot": (),
    "ReduceLogSum": (),
    "RMSNormalization": (),
    "ReverseSequence": (),
    "RotaryEmbedding": (),
    "SoftmaxCrossEntropyLoss": (),
    "SpaceToDepth": (),
    "Split": (),
    "Squeeze": (),
    "SwiGLU": ("16",),
    "Trilu": (),
    "Unsqueeze": (),
}

HELD = set(NUMBERS.values())  # dtypes of the core


@cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return list(collect_testcases(None))


def cases_of(op: str) -> Iterator[Any]:
    for case in cases():
        mine = [node.op_type for node in case.model.graph.node] == [op]
        held = all(v.type.tensor_type.elem_type in HELD for v in [*case.model.graph.input, *case.model.graph.output])
        if mine and held and not any(word in case.name for word in OPERATORS[op]):
            yield case


def array(proto: Any) -> np.ndarray:
    return numpy_helper.to_array(proto) if isinstance(proto, onnx.TensorProto) else np.asarray(proto)


@pytest.mark.parametrize("op", OPERATORS)
def test_node_tests_run_on_the_core(op: str) -> None:
    found = list(cases_of(op))
    assert found, f"onnx has no node test of {op} alone"
    for case in found:
        names = [i.name for i in case.model.graph.input]
        sessions = [octavo.Session(case.model, isa=isa, threads=threads) for isa, threads in RUNS]
        assert not sessions[0].python_steps, (case.name, sessions[0].python_steps)
        sessions.append(octavo.Session(case.model, optimize=False))
        for inputs, outputs in case.data_sets:
            feeds = dict(zip(names, map(array, inputs)))
            first = sessions[0].run(None, feeds)
            for got, want in zip(first, map(array, outputs), strict=True):
                assert got.dtype == want.dtype and got.shape == want.shape, case.name
                np.testing.assert_allclose(got, want, rtol=case.rtol, atol=max(case.atol, 1e-6), err_msg=case.name)
            for session in sessions[1:]:
                for got, want in zip(session.run(None, feeds), first, strict=True):
                    np.testing.assert_array_equal(got, want, err_msg=case.name)  # NaN payloads are open


@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_lp_pool(p: int) -> None:
    node = onnx.helper.make_node("GlobalLpPool", ["x"], ["y"], p=p)
    info = [onnx.helper.make_tensor_value_info(n, 1, [2, 3, "h", "w"]) for n in "xy"]
    session = octavo.Session(onnx.helper.make_model(onnx.helper.make_graph([node], "g", info[:1], info[1:])))
    assert not session.python_steps
    x = np.random.default_rng(p).standard_normal((2, 3, 5, 7), np.float32)
    want = (np.abs(x.astype(np.float64)) ** p).sum((2, 3), keepdims=True) ** (1 / p)
    np.testing.assert_allclose(session.run(None, [x])[0], want, rtol=1e-5)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("group", [1, 2])
def test_convolutions_with_weights_known_at_run_time(op: str, axes: int, group: int) -> None:
    """Against onnx's reference, for strides, dilations, uneven padding, groups and three dimensions."""
    rng = np.random.default_rng(axes)
    attrs: dict[str, Any] = {"strides": [2, 1, 3][:axes], "dilations": [1, 2, 1][:axes], "group": group}
    attrs["pads"] = [1, 0, 2][:axes] + [0, 1, 1][:axes]
    if op == "ConvTranspose" and axes < 3:
        attrs["output_padding"] = [1, 0, 2][:axes]
    if op == "ConvTranspose":
        attrs["group"] = group = 1  # onnx's reference has no groups here
    x = rng.standard_normal((2, 4, *[7, 6, 5][:axes]), np.float32)
    w = rng.standard_normal((4 if op == "ConvTranspose" else 6, 4 // group, *[3, 2, 3][:axes]), np.float32)
    b = rng.standard_normal(w.shape[1] if op == "ConvTranspose" else 6, np.float32)
    node = onnx.helper.make_node(op, ["x", "w", "b"], ["y"], **attrs)
    info = [onnx.helper.make_tensor_value_info(n, 1, a.shape) for n, a in (("x", x), ("w", w), ("b", b))]
    out = onnx.helper.make_tensor_value_info("y", 1, None)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", info, [out]))
    want = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x, "w": w, "b": b})[0]
    first = None
    for isa, threads in RUNS:
        session = octavo.Session(model, isa=isa, threads=threads)
        assert not session.python_steps
        (got,) = session.run(None, [x, w, b])
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        first = got if first is None else first
        np.testing.assert_array_equal(got, first)


def in_both_modes(text: str, *feeds: np.ndarray) -> list[np.ndarray]:
    """The first output of a model in ONNX's text form, optimised and not; both have ONNX's values."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> agraph {text}')
    named = dict(zip((i.name for i in model.graph.input), feeds))
    wanted = onnx.reference.ReferenceEvaluator(model).run(None, named)[0]
    found = [np.asarray(octavo.Session(model, optimize=flag).run(None, named)[0]) for flag in (True, False)]
    for got in found:
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert found[0].tobytes() == found[1].tobytes()
    return found


def test_silu_of_doubles_stays_two_steps() -> None:
    x = np.random.default_rng(0).normal(size=2000) * 3
    text = "(double[2000] x) => (double[2000] y) { s = Sigmoid(x) y = Mul(x, s) }"
    in_both_modes(text, x)


@pytest.mark.parametrize("op", ["SumSquare", "L1", "L2", "Sum", "Max"])
def test_reductions_over_no_axes(op: str) -> None:
    x = np.array([[-3, 2.5]], np.float32)
    body = f"y = Reduce{op}<noop_with_empty_axes = 1>(x"
    in_both_modes(f"(float[1, 2] x) => (float[1, 2] y) {{ {body}) }}", x)
    none = np.zeros(0, np.int64)
    in_both_modes(f"(float[1, 2] x, int64[A] a) => (float[1, 2] y) {{ {body}, a) }}", x, none)


def test_crop_and_resize_of_a_quantized_image() -> None:
    x = np.arange(1, 17, dtype=np.uint8).reshape(1, 1, 4, 4) * 10
    text = """(uint8[1, 1, 4, 4] x) => (float[1, 1, 6, 6] y)
        <float s = {0.5}, uint8 z = {100}, float[8] roi = {0, 0, -0.5, -0.5, 1, 1, 1.5, 1.5},
         int64[4] to = {1, 1, 6, 6}>
        { d = DequantizeLinear(x, s, z)
          y = Resize<mode = "nearest", coordinate_transformation_mode = "tf_crop_and_resize">(d, roi, , to) }"""
    in_both_modes(text, x)


def test_convolution_padded_beyond_its_kernel() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=s).astype(np.float32) for s in ((1, 2, 3, 3, 3), (3, 2, 1, 1, 1)))
    body = "y = Conv<pads = [0, 0, 0, 2, 0, 1]>(x, w)"
    in_both_modes(f"(float[1, 2, 3, 3, 3] x, float[3, 2, 1, 1, 1] w) => (float[1, 3, A, B, C] y) {{ {body} }}", x, w)


@pytest.mark.parametrize(("op", "rank"), [("Squeeze", 2), ("Unsqueeze", 4)])
def test_axes_given_at_run_time_behind_a_transpose(op: str, rank: int) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
    dims = ", ".join("ABCD"[:rank])
    body = f"t = Transpose<perm = [1, 0, 2]>(x) y = {op}(t, a)"
    text = f"(float[2, 1, 3] x, int64[1] a) => (float[{dims}] y) {{ {body} }}"
    in_both_modes(text, x, np.array([0]))


def test_transpose_of_an_empty_tensor() -> None:
    in_both_modes(
        "(float[0, 1, 4] x) => (float[1, 0, 4] y) { y = Transpose<perm = [1, 0, 2]>(x) }",
        np.zeros((0, 1, 4), np.float32),
    )


def test_layer_normalization_with_scales_that_broadcast() -> None:
    rng = np.random.default_rng(0)
    x, s, b = (rng.normal(size=n).astype(np.float32) for n in ((2, 3, 4), (4,), (3, 1)))
    body = "y = LayerNormalization<axis = 1>(x, s, b)"
    in_both_modes(f"(float[2, 3, 4] x, float[4] s, float[3, 1] b) => (float[2, 3, 4] y) {{ {body} }}", x, s, b)


@pytest.mark.parametrize("axis", [0, 1, -2, 2])
def test_hardmax_before_operator_set_13(axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    text = '<ir_version: 7, opset_import: ["": 11]> agraph (float[2, 3, 4] x) => (float[2, 3, 4] y)'
    model = onnx.parser.parse_model(text + f" {{ y = Hardmax<axis = {axis}>(x) }}")
    flat = x.reshape(int(np.prod(x.shape[: axis % 3])), -1)
    wanted = (np.arange(flat.shape[1]) == flat.argmax(1)[:, None]).reshape(x.shape)
    for flag in (True, False):
        np.testing.assert_array_equal(octavo.Session(model, optimize=flag).run(None, {"x": x})[0], wanted)


def test_resize_10_rounds_up_where_it_shrinks() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 5, opset_import: ["": 10]> agraph (float[1, 1, 2, 4] x) => (float[1, 1, 1, 2] y)'
        ' <float[4] s = {1, 1, 0.6, 0.6}> { y = Resize<mode = "nearest">(x, s) }'
    )
    x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
    for flag in (True, False):
        got = octavo.Session(model, optimize=flag).run(None, {"x": x})[0]
        np.testing.assert_array_equal(np.asarray(got).reshape(-1), [1, 3])


def test_attention_refuses_a_mask_of_ends_and_starts() -> None:
    rng = np.random.default_rng(0)
    feeds = {k: rng.normal(size=s).astype(np.float32) for k, s in (("x", (1, 3, 4)), ("w", (4, 12)), ("b", (12,)))}
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        agraph (float[1, 3, 4] x, int32[N] m) => (float[1, 3, 4] y) <float[4, 12] w, float[12] b>
        { y = com.microsoft.Attention<num_heads = 2>(x, w, b, m) }"""
    )
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(feeds.pop(k), k) for k in ("w", "b"))
    for flag in (True, False):
        session = octavo.Session(model, optimize=flag)
        assert session.run(None, {**feeds, "m": np.array([3], np.int32)})[0].shape == (1, 3, 4)
        with pytest.raises(octavo.Error, match="elements"):
            session.run(None, {**feeds, "m": np.array([3, 1], np.int32)})
