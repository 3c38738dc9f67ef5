"""QLinear operators and onnxruntime's own quantized ones, node by node against onnxruntime: integers equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import octavo
from test_golden import LEVELS

ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")

U8, S8, F32 = np.uint8, np.int8, np.float32
QTYPES = pytest.mark.parametrize("dtype", [U8, S8])
MICROSOFT = "com.microsoft"


class Case:
    """One node; every argument is a constant unless it is a feed."""

    def __init__(self, op: str, domain: str = MICROSOFT, **attrs: Any) -> None:
        self.node = helper.make_node(op, [], ["y"], name="node", domain=domain, **attrs)
        self.inputs: list[Any] = []
        self.constants: list[Any] = []
        self.feeds: dict[str, np.ndarray] = {}

    def const(self, *arrays: Any) -> Case:
        for array in arrays:
            name = "" if array is None else f"c{len(self.node.input)}"
            self.node.input.append(name)
            if name:
                self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return self

    def feed(self, array: np.ndarray, dims: Sequence[int | str] | None = None) -> Case:
        name = f"x{len(self.node.input)}"
        self.node.input.append(name)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims or array.shape))
        self.feeds[name] = array
        return self

    def model(self) -> onnx.ModelProto:
        result = onnx.ValueInfoProto(name="y")
        graph = helper.make_graph([self.node], "case", self.inputs, [result], self.constants)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def check(self, most: float = 0, python: bool = False, ops: Sequence[str] = ()) -> np.ndarray:
        """octavo and onnxruntime differ by `most` at the most; octavo's bytes are the same whatever the options."""
        model = self.model()
        options = ort.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        peer = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        want = peer.run(None, self.feeds)[0]
        session = octavo.Session(model, threads=1)
        got = session.run(None, self.feeds)[0]
        assert python or not session.python_steps, session.python_steps
        assert got.dtype == want.dtype and got.shape == want.shape
        kind = np.int64 if want.dtype.kind in "iu" else np.float64
        apart = np.abs(got.astype(kind) - want.astype(kind)).max(initial=0)
        assert apart <= most * (1 if kind == np.int64 else np.abs(want).max(initial=1)), apart
        steps = [step["op"] for step in session.plan.steps]
        for op in ops:
            assert op in steps, steps
        for isa in LEVELS:
            for optimize, threads in ((True, 2), (False, 1)):
                other = octavo.Session(model, isa=isa, threads=threads, optimize=optimize)
                assert other.run(None, self.feeds)[0].tobytes() == got.tobytes(), (isa, optimize, threads)
        return got


def numbers(rng: np.random.Generator, dtype: type, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def zero(rng: np.random.Generator, dtype: type) -> np.ndarray:
    return numbers(rng, dtype)[()]


def real(rng: np.random.Generator, low: float, high: float, *shape: int) -> np.ndarray:
    return np.asarray(rng.uniform(low, high, shape), F32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("types", [(U8, U8), (U8, S8), (S8, S8)])
@pytest.mark.parametrize("kind", ["plain", "depthwise", "grouped", "dilated", "one_d", "pointwise", "channels_last"])
def test_conv(kind: str, types: tuple[type, type], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_type, w_type = types
    group = {"depthwise": 12, "grouped": 3}.get(kind, 1)
    d = 1 if kind == "one_d" else 2
    size, out = (1 if kind == "pointwise" else 3), 24
    attrs: dict[str, Any] = {"group": group, "strides": [1 + seed % 2] * d, "pads": [size // 2] * 2 * d}
    if kind == "dilated":
        attrs["dilations"] = [2, 1]
    if kind == "channels_last":
        attrs["channels_last"] = 1
    x = numbers(rng, x_type, 2, 12, *[11, 9][:d])
    if kind == "channels_last":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    w = numbers(rng, w_type, out, 12 // group, *[size] * d)
    if w_type == S8:
        w = (w // 2).astype(S8)  # onnxruntime's kernels for older CPUs saturate pairs of larger products
    scales = real(rng, 0.01, 0.03, *([out] if seed % 2 else []))
    w_zp = np.full(scales.shape, 0 if w_type == S8 else 120, w_type)
    case = Case("QLinearConv", MICROSOFT if kind == "channels_last" else "", **attrs)
    case.feed(x, ["N", *x.shape[1:]]).const(F32(0.05), zero(rng, x_type), w, scales, w_zp, F32(0.4), zero(rng, x_type))
    if seed > 1:
        case.const(rng.integers(-9000, 9000, out).astype(np.int32))
    case.check(ops=["QConv"])


@pytest.mark.parametrize("shape", [((5, 7), (7, 9)), ((2, 3, 5, 16), (16, 33)), ((2, 4, 8), (2, 8, 3))])
@pytest.mark.parametrize("types", [(U8, U8), (U8, S8), (S8, S8)])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("columns", [True, False])
def test_matmul(shape: Any, types: tuple[type, type], constant: bool, columns: bool) -> None:
    rng = np.random.default_rng(1)
    a, b = numbers(rng, types[0], *shape[0]), numbers(rng, types[1], *shape[1])
    columns = columns and b.ndim == 2
    b_scale = real(rng, 0.01, 0.03, *([b.shape[-1]] if columns else []))
    b_zp = numbers(rng, types[1], *b_scale.shape)
    case = Case("QLinearMatMul", "").feed(a, ["N", *a.shape[1:]]).const(F32(0.05), zero(rng, types[0]))
    case = case.const(b) if constant else case.feed(b)
    case.const(b_scale, b_zp, F32(0.9), zero(rng, types[0]))
    case.check(ops=["QGemm"] if constant and b.ndim == 2 else [] if columns else ["QMatMul"])


SHAPES = [
    ((2, 5, 7, 3), (2, 5, 7, 3)), ((2, 5, 7, 3), (5, 1, 1)), ((5, 1, 1), (2, 5, 7, 3)), ((4, 40), (40,)),
    ((1,), (4, 40)), ((4, 40), ()), ((4, 1), (1, 40)), ((8, 10, 1), (8, 1, 1)), ((3, 1), (3, 1)),
]  # fmt: skip


@QTYPES
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_elementwise(op: str, shapes: Any, dtype: type, seed: int) -> None:
    """Ties and near ties, which scales that divide one another bring, go as in onnxruntime."""
    rng = np.random.default_rng(seed)
    a, b = (numbers(rng, dtype, *s) for s in shapes)
    base = real(rng, 0.01, 0.1)
    sa, sb = base, np.asarray(base * rng.choice([1, 2, 0.5, 3]), F32)
    sy = np.asarray(base * rng.choice([2, 4, 6]), F32)
    if op == "QLinearMul":
        sy = np.asarray(sa * sb * rng.choice([2, 8, 128, 256]), F32)
    case = Case(op).feed(a).const(sa, zero(rng, dtype))
    case = case.const(b) if seed == 3 else case.feed(b)
    case.const(sb, zero(rng, dtype), sy, *([zero(rng, dtype)] if seed else [])).check(
        ops=["QAdd" if op == "QLinearAdd" else "QMul"]
    )


@QTYPES
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("last", [0, 1])
def test_average_pool(dtype: type, seed: int, last: int) -> None:
    rng = np.random.default_rng(seed)
    scale = real(rng, 0.05, 0.2)
    kernel = [[2, 2], [3, 3], [4, 4], [8, 8]][seed % 4]
    pads = [0] * 4 if kernel[0] % 2 == 0 else [1] * 4
    x = numbers(rng, dtype, 2, 8, 9, 5) if last else numbers(rng, dtype, 2, 40, 16, 16)
    if last:
        x = numbers(rng, dtype, 2, 16, 16, 40)
    attrs = {"kernel_shape": kernel, "strides": [1 + seed % 3] * 2, "pads": pads, "count_include_pad": seed % 2}
    y_scale = scale if seed % 3 else real(rng, 0.05, 0.2)
    case = Case("QLinearAveragePool", channels_last=last, **attrs).feed(x)
    case.const(scale, zero(rng, dtype), y_scale, zero(rng, dtype)).check(ops=["QAveragePool"])


@QTYPES
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("last", [0, 1])
def test_global_average_pool(dtype: type, seed: int, last: int) -> None:
    rng = np.random.default_rng(seed)
    scale = real(rng, 0.05, 0.2)
    shape = [2, 7, 7, 300] if last else [2, 300, 7, 7]
    case = Case("QLinearGlobalAveragePool", channels_last=last).feed(numbers(rng, dtype, *shape))
    y_scale = scale if seed % 2 else real(rng, 0.01, 0.2)
    case.const(scale, zero(rng, dtype), y_scale, zero(rng, dtype)).check(ops=["QReduceMean"])


@QTYPES
def test_nhwc_max_pool(dtype: type) -> None:
    rng = np.random.default_rng(0)
    case = Case("NhwcMaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]).feed(
        numbers(rng, dtype, 2, 9, 8, 5)
    )
    case.check(ops=["MaxPool"])


@QTYPES
@pytest.mark.parametrize("op", ["QLinearSigmoid", "QLinearLeakyRelu"])
def test_tables(op: str, dtype: type) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        attrs = {"alpha": 0.1 + 0.05 * seed} if op == "QLinearLeakyRelu" else {}
        x = np.arange(256).astype(U8).view(dtype)
        case = Case(op, **attrs).feed(x).const(real(rng, 0.01, 0.1), zero(rng, dtype))
        case.const(real(rng, 0.003, 0.01), zero(rng, dtype)).check(ops=["Lut"])


@QTYPES
@pytest.mark.parametrize("op", ["QLinearConcat", "QLinearWhere"])
def test_choices(op: str, dtype: type) -> None:
    rng = np.random.default_rng(3)
    a, b = numbers(rng, dtype, 4, 9, 10), numbers(rng, dtype, 4, 9, 10)
    scales = [real(rng, 0.02, 0.1) for _ in range(3)]
    if op == "QLinearConcat":
        case = Case(op, axis=1).const(scales[2], zero(rng, dtype))
        for x, s in zip((a, b), scales):
            case.feed(x).const(s, zero(rng, dtype))
    else:
        case = Case(op).feed(rng.integers(0, 2, (9, 1)).astype(bool))
        for x, s in zip((a, b), scales):
            case.feed(x).const(s, zero(rng, dtype))
        case.const(scales[2], zero(rng, dtype))
    case.check()


@QTYPES
@pytest.mark.parametrize("opset", [12, 13])
@pytest.mark.parametrize("axis", [1, -1])
def test_softmax(dtype: type, opset: int, axis: int) -> None:
    """onnxruntime takes exponentials from a table of its own: at most one step apart."""
    rng = np.random.default_rng(4)
    case = Case("QLinearSoftmax", axis=axis, opset=opset).feed(numbers(rng, dtype, 2, 10, 10))
    case.const(F32(0.03), zero(rng, dtype), F32(1 / 256), dtype(0 if dtype == U8 else -128)).check(most=1)


@pytest.mark.parametrize("types", [(U8, U8), (U8, S8), (S8, S8)])
@pytest.mark.parametrize("bias", [None, (9,), (1,), (1, 9), (5, 1), (5, 9)])
@pytest.mark.parametrize("result", [True, False])
def test_gemm(types: tuple[type, type], bias: Any, result: bool) -> None:
    rng = np.random.default_rng(5)
    case = Case("QGemm", transB=1, alpha=0.75 if result else 1.0).feed(numbers(rng, types[0], 5, 40))
    case.const(F32(0.05), zero(rng, types[0])).const(numbers(rng, types[1], 9, 40), F32(0.02), zero(rng, types[1]))
    case.const(None if bias is None else rng.integers(-9000, 9000, bias).astype(np.int32))
    if result:
        case.const(F32(2.1), zero(rng, types[0]))
    case.check(most=0 if result else 1e-6, ops=["QGemm"] if bias in (None, (9,), (1,), (1, 9)) else [])


@pytest.mark.parametrize("types", [(U8, U8), (U8, S8), (S8, S8), (S8, U8)])
@pytest.mark.parametrize("zeros", ["none", "scalars", "rows", "columns"])
@pytest.mark.parametrize("constant", [True, False])
def test_matmul_integer(types: tuple[type, type], zeros: str, constant: bool) -> None:
    rng = np.random.default_rng(6)
    a, b = numbers(rng, types[0], 6, 50), numbers(rng, types[1], 50, 20)
    case = Case("MatMulInteger", "").feed(a)
    case = case.const(b) if constant else case.feed(b)
    a_zp = None if zeros == "none" else numbers(rng, types[0], *([6] if zeros == "rows" else []))
    b_zp = None if zeros in ("none", "rows") else numbers(rng, types[1], *([20] if zeros == "columns" else []))
    if zeros != "none":
        case.const(a_zp).const(b_zp)
    if zeros == "rows" or types == (S8, U8):  # onnxruntime has neither
        got = octavo.Session(case.model()).run(None, case.feeds)[0]
        left = a.astype(np.int64) - (0 if a_zp is None else a_zp.astype(np.int64).reshape(-1, 1))
        right = b.astype(np.int64) - (0 if b_zp is None else b_zp.astype(np.int64))
        assert np.array_equal(got, left @ right)
        return
    case.check()


@pytest.mark.parametrize("w_type", [U8, S8])
@pytest.mark.parametrize("zeros", ["none", "constant", "run time"])
@pytest.mark.parametrize("group", [1, 3])
def test_conv_integer(w_type: type, zeros: str, group: int) -> None:
    rng = np.random.default_rng(7)
    case = Case("ConvInteger", "", group=group, pads=[1, 0, 1, 2], strides=[2, 1]).feed(numbers(rng, U8, 2, 6, 9, 8))
    case.const(numbers(rng, w_type, 9, 6 // group, 3, 3))
    if zeros == "constant":
        case.const(zero(rng, U8), zero(rng, w_type))
    elif zeros == "run time":
        case.feed(np.asarray(zero(rng, U8))).const(zero(rng, w_type))
    case.check()


@pytest.mark.parametrize("w_type", [U8, S8])
@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("op", ["MatMulIntegerToFloat", "DynamicQuantizeMatMul"])
@pytest.mark.parametrize("bias", [True, False])
def test_integer_products_to_float(op: str, w_type: type, columns: bool, bias: bool) -> None:
    rng = np.random.default_rng(8)
    b = numbers(rng, w_type, 30, 17)
    scale = real(rng, 0.01, 0.02, *([17] if columns else []))
    b_zp = numbers(rng, w_type, *scale.shape)
    b_bias = real(rng, -1, 1, 17) if bias else None
    if op == "DynamicQuantizeMatMul":
        case = Case(op).feed(real(rng, -2, 3, 4, 30), ["N", 30]).const(b, scale, b_zp, b_bias)
    else:
        case = Case(op).feed(numbers(rng, U8, 4, 30)).const(b, F32(0.04), scale, zero(rng, U8), b_zp, b_bias)
    case.check(most=1e-6)


@pytest.mark.parametrize("op", ["QLinearConv", "QLinearAdd", "QLinearAveragePool", "QLinearMatMul"])
def test_scales_known_at_run_time(op: str) -> None:
    """Scales that are inputs of the graph: no integer operator, but the same result within a step."""
    rng = np.random.default_rng(9)
    scale = real(rng, 0.04, 0.06)
    case = Case(op, "" if op in ("QLinearConv", "QLinearMatMul") else MICROSOFT)
    if op == "QLinearConv":
        case.feed(numbers(rng, U8, 1, 4, 6, 6)).feed(scale).const(zero(rng, U8), numbers(rng, S8, 8, 4, 3, 3))
        case.const(F32(0.02), S8(0), F32(0.4), zero(rng, U8), rng.integers(-999, 999, 8).astype(np.int32))
    elif op == "QLinearAveragePool":
        case.node.attribute.append(helper.make_attribute("kernel_shape", [2, 2]))
        case.feed(numbers(rng, U8, 1, 4, 6, 6)).feed(scale).const(zero(rng, U8), scale, zero(rng, U8))
    else:
        case.feed(numbers(rng, U8, 6, 6)).feed(scale).const(zero(rng, U8), numbers(rng, U8, 6, 6))
        case.const(F32(0.02), zero(rng, U8), F32(0.3), zero(rng, U8))
    case.check(most=1)
