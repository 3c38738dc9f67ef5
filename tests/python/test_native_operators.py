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
