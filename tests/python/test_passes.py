"""The graph passes: what each rewrites, what it keeps, and that optimizing never changes a byte."""

# ruff: noqa: E501 (graphs are written in lines of their own)

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from interpreter import compiled, run
from octavo import errors
from octavo.ops import reference
from octavo.passes import tables


@pytest.fixture(autouse=True)
def numpy_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables from the numpy references, so that these tests are about the passes and need no built core."""
    monkeypatch.setattr(tables, "unary_f32", lambda fn, x, attrs: reference("Unary", [x], {"fn": fn, **attrs})[0])


class Net:
    """Writes quantized graphs: values by name, every constant its own initializer."""

    def __init__(self, seed: int = 0, opset: int = 21) -> None:
        self.rng, self.opset = np.random.default_rng(seed), opset
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.feeds: list[np.ndarray] = []

    def const(self, array: Any, dtype: Any = None) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def input(self, array: np.ndarray) -> str:
        name = f"x{len(self.inputs)}"
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
        self.feeds.append(array)
        return name

    def op(self, op: str, *inputs: str, outputs: int = 1, **attrs: Any) -> Any:
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attrs))
        return names[0] if outputs == 1 else names

    def q(self, x: str, scale: float = 0.05, zp: int = 3, dtype: str = "uint8") -> str:
        return self.op("QuantizeLinear", x, self.const(scale, np.float32), self.const(zp, dtype))

    def dq(self, x: str, scale: Any = 0.05, zp: Any = 3, dtype: str = "uint8", **attrs: Any) -> str:
        return self.op("DequantizeLinear", x, self.const(scale, np.float32), self.const(zp, dtype), **attrs)

    def image(self, *shape: int, dtype: str = "uint8") -> str:
        """A quantized graph input, dequantized."""
        info = np.iinfo(dtype)
        return self.dq(self.input(self.rng.integers(info.min, info.max + 1, shape).astype(dtype)), dtype=dtype)

    def weight(self, *shape: int, dtype: str = "int8", axis: int | None = 0) -> str:
        """Constant weights, dequantized; per channel unless axis is None."""
        info = np.iinfo(dtype)
        w = self.const(self.rng.integers(info.min, info.max + 1, shape), dtype)
        if axis is None:
            return self.dq(w, 0.01, 0 if dtype == "int8" else 128, dtype)
        n = shape[axis]
        return self.dq(w, self.rng.integers(1, 9, n) / 512, np.full(n, 0 if dtype == "int8" else 131), dtype, axis=axis)

    def done(self, *outputs: str) -> Net:
        self.outputs += [helper.make_empty_tensor_value_info(name) for name in outputs]
        return self

    @property
    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)

    def check(self, slack: int = 1) -> list[str]:
        """Optimized equals unoptimized byte for byte; both are near the literal reading. Returns the optimized steps."""
        fast, slow = run(self.model, self.feeds), run(self.model, self.feeds, optimize=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = run(self.model, self.feeds, literal=True)
            want = ReferenceEvaluator(self.model).run(None, dict(zip([i.name for i in self.inputs], self.feeds)))
        for a, b, c, d in zip(fast, slow, plain, want, strict=True):
            assert a.dtype == b.dtype == d.dtype
            np.testing.assert_array_equal(a, b)
            step = slack if a.dtype.kind in "iu" else slack * 0.06
            for other in (c, d):
                assert np.abs(a.astype(np.float64) - other.astype(np.float64)).max(initial=0) <= step
            assert len(np.unique(d)) > 3, "a saturated result proves nothing"
        return compiled(self.model).plan.ops


MIXES = [(x, w, axis) for x in ("uint8", "int8") for w in ("uint8", "int8") for axis in (None, 0)]


@pytest.mark.parametrize("x,w,axis", MIXES)
def test_conv(x: str, w: str, axis: int | None) -> None:
    """Dequantize, Conv, Relu, Quantize become one QConv; its zero point is gone and Relu is a lower bound."""
    net = Net()
    y = net.op("Conv", net.image(1, 3, 6, 5, dtype=x), net.weight(4, 3, 3, 3, dtype=w, axis=axis), pads=[1, 1, 1, 1])
    net.done(net.q(net.op("Relu", y), 0.5, 7, x))
    ops = net.check()
    assert ops.count("QConv") == 1 and set(ops) <= {"QConv", "Transpose", "Flip8"}
    attrs = compiled(net.model).plan.attrs("QConv")
    assert attrs["lo"] == attrs["y_zp"] == 7 + 128 * (x == "int8") and attrs["x_zp"] == 3 + 128 * (x == "int8")


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", ["none", "int32", "float", "after"])
def test_products(transposed: bool, bias: str) -> None:
    """MatMul and Gemm with every spelling of weights and bias become QGemm."""
    net = Net()
    x = net.image(3, 8)
    w = net.op("Transpose", net.weight(5, 8), perm=[1, 0]) if transposed else net.weight(8, 5, axis=1)
    q = net.rng.integers(-900, 900, 5)
    if bias == "none":
        y = net.op("MatMul", x, w)
    elif bias == "int32":
        y = net.op("Gemm", x, net.weight(8, 5, axis=None), net.dq(net.const(q, np.int32), 0.05 * 0.01, 0, "int32"))
    elif bias == "float":
        y = net.op("Gemm", x, w, net.const(q / 300, np.float32))
    else:
        y = net.op("Add", net.const(q / 300, np.float32), net.op("MatMul", x, w))
    net.done(net.q(y, 0.25, 120))
    assert net.check() == ["QGemm"]


@pytest.mark.parametrize("opset", [13, 21])
def test_literal_weights_are_float_constants(opset: int) -> None:
    """literal=True runs the core's float convolution in float64, not a Python step, in every operator set."""
    net = Net(opset=opset)
    net.done(net.q(net.op("Conv", net.image(1, 2, 4, 4), net.weight(3, 2, 3, 3)), 0.5, 100))
    done = compiled(net.model, literal=True)
    assert not done.python_steps and done.plan.attrs("Conv")["acc64"] == 1
    difference = run(net.model, net.feeds)[0].astype(int) - run(net.model, net.feeds, literal=True)[0]
    assert np.abs(difference).max() <= 1


def test_weights_beyond_int8_become_int16() -> None:
    net = Net()
    w = net.dq(net.const(np.array([[0, 255], [255, 7]]), np.uint8), 0.01, 0)
    net.done(net.q(net.op("MatMul", net.image(4, 2), w), 0.25, 9))
    assert net.check() == ["QGemm"]
    assert np.dtype(np.int16) in [v[3].dtype for v in compiled(net.model).plan.values if v[3] is not None]


def test_without_quantize_the_result_is_float() -> None:
    net = Net()
    y = net.op("Conv", net.image(1, 2, 4, 4), net.weight(3, 2, 1, 1))
    net.done(y)
    ops = net.check()
    assert "QConv" in ops and "Quantize" not in ops and compiled(net.model).plan.attrs("QConv")["out_f32"] == 1


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_two_operands(op: str) -> None:
    net = Net()
    a, b = net.image(2, 3, 4), net.dq(net.input(net.rng.integers(0, 256, (3, 1)).astype(np.uint8)), 0.03, 100)
    net.done(net.q(net.op("Relu", net.op(op, a, b)), 0.1, 40))
    assert net.check() == ["QMul" if op == "Mul" else "QAdd"]


def test_products_of_activations() -> None:
    net = Net()
    net.done(net.q(net.op("MatMul", net.image(2, 3, 4, 5), net.image(2, 3, 5, 6)), 2.0, 50))
    assert net.check() == ["QMatMul"]


@pytest.mark.parametrize("op", ["GlobalAveragePool", "AveragePool", "ReduceMean"])
def test_means(op: str) -> None:
    net = Net()
    x = net.image(2, 3, 6, 6)
    if op == "AveragePool":
        y = net.op(op, x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    elif op == "ReduceMean":
        y = net.op(op, x, net.const([1, 2], np.int64), keepdims=0)
    else:
        y = net.op(op, x)
    net.done(net.q(y, 0.04, 5))
    assert ("QAveragePool" if op == "AveragePool" else "QReduceMean") in net.check()


def test_unary_chains_become_one_table() -> None:
    net = Net()
    x = net.image(4, 64)
    y = net.op("Mul", net.op("HardSigmoid", x), x)
    net.done(net.q(net.op("LeakyRelu", y, alpha=0.2), 0.05, 10))
    assert net.check(0) == ["Lut"]


def test_tables_are_what_the_float_steps_compute() -> None:
    net = Net()
    x = net.input(np.arange(256, dtype=np.uint8))
    net.done(net.q(net.op("Sigmoid", net.dq(x, 0.05, 128)), 1 / 256, 0))
    table = compiled(net.model).plan.values[-2][3]
    real = reference("Unary", [(np.arange(256) - 128).astype(np.float32) * np.float32(0.05)], {"fn": "Sigmoid"})[0]
    want = np.clip(np.rint(real * 256), 0, 255)
    assert any(v[3] is not None and np.array_equal(v[3], want) for v in compiled(net.model).plan.values), table


def test_requantize_is_a_table_and_the_same_parameters_are_nothing() -> None:
    other, same = Net(), Net()
    other.done(other.q(other.image(3, 50), 0.1, 9))
    same.done(same.q(same.op("Relu", same.dq(same.q(same.image(3, 50), 0.05, 3), 0.05, 3)), 0.05, 0))
    assert other.check(0) == ["Lut"] and same.check(0) == ["Lut"]


def test_concat_of_other_scales_requantizes_its_inputs() -> None:
    net = Net()
    a = net.image(1, 2, 4, 4)
    b = net.dq(net.input(net.rng.integers(0, 256, (1, 3, 4, 4)).astype(np.uint8)), 0.02, 77)
    net.done(net.q(net.op("Concat", a, b, axis=1)))
    assert sorted(net.check()) == ["Concat", "Lut"]


MOVES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "Transpose": ((), {"perm": [0, 2, 3, 1]}),
    "Reshape": (([2, -1],), {}),
    "Flatten": ((), {}),
    "Slice": (([1], [4], [2]), {}),
    "Gather": (([2, 0],), {"axis": 2}),
    "MaxPool": ((), {"kernel_shape": [2, 2], "strides": [2, 1]}),
    "Pad": (([0, 0, 1, 0, 0, 0, 0, 2],), {}),
}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", MOVES)
def test_movement_works_on_bytes(op: str, dtype: str) -> None:
    net = Net()
    others, attrs = MOVES[op]
    y = net.op(op, net.image(2, 3, 4, 4, dtype=dtype), *(net.const(v, np.int64) for v in others), **attrs)
    net.done(net.q(y, dtype=dtype))
    ops = net.check(0)
    assert not {"Quantize", "Dequantize"} & set(ops), ops
    assert set(ops) <= {op, "Transpose", "Flip8", "Reshape"}


def test_embedding_tables_stay_bytes() -> None:
    net = Net()
    table = net.weight(20, 8, axis=None)
    net.done(net.op("Gather", table, net.input(np.array([[3, 1], [19, 0]]))))
    assert net.check(0) == ["Gather", "Dequantize"]


def test_one_dequantize_read_by_integers_and_floats() -> None:
    net = Net()
    x = net.image(1, 2, 5, 5)
    y = net.op("Conv", x, net.weight(2, 2, 3, 3), pads=[1, 1, 1, 1])
    net.done(net.q(y, 0.5, 100), net.op("Softmax", x))
    ops = net.check()
    assert ops.count("QConv") == ops.count("Dequantize") == ops.count("Softmax") == 1


KEPT = {
    "scale of zero": (lambda net: net.dq(net.input(np.arange(8, dtype=np.uint8)), 0.0, 0), "finite and positive"),
    "infinite scale": (lambda net: net.dq(net.input(np.arange(8, dtype=np.uint8)), np.inf, 0), "finite and positive"),
    "16 bits": (lambda net: net.q(net.input(np.arange(8, dtype=np.float32)), 0.1, 5, "int16"), "8 bits"),
}


@pytest.mark.parametrize("make,words", KEPT.values(), ids=KEPT)
def test_what_stays_literal_is_noted(make: Any, words: str) -> None:
    net = Net()
    net.done(make(net))
    done = compiled(net.model)
    assert done.plan.ops in (["DequantizeLinear"], ["QuantizeLinear"])
    assert any(words in why for _, why in done.notes)


def test_sums_that_may_overflow_stay_float() -> None:
    net = Net()
    big = net.const(np.full((70000, 1), 127), np.int8)
    net.done(net.q(net.op("MatMul", net.image(1, 70000), net.dq(big, 0.01, 0, "int8")), 100.0, 0))
    done = compiled(net.model)
    assert "QGemm" not in done.plan.ops and done.plan.attrs("MatMul")["acc64"] == 1
    assert any("int32" in why for _, why in done.notes)


def test_a_float_bias_that_rounding_would_move_stays_float() -> None:
    net = Net()
    y = net.op("Gemm", net.image(2, 4), net.dq(net.const(np.full((4, 2), 90), np.int8), 0.5, 0, "int8"),
               net.const([0.012, 0.0], np.float32))  # fmt: skip
    net.done(net.q(y, 0.0001, 0))
    done = compiled(net.model)
    assert "QGemm" not in done.plan.ops and any("quarter step" in why for _, why in done.notes)


# -- layout and fusion -------------------------------------------------------------------------------------------------


def float_net(body: str, shape: str, opset: int = 17) -> onnx.ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[{shape}] x) => (float[a,b,c,d] y) {body}'
    model = onnx.parser.parse_model(text)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


W = "<float[2,2,3,3] w = {1,-1,2,0.5,1,1,-2,1,1,1,0,1,2,-1,1,1,1,1,0,1,1,1,2,1,-1,1,1,1,1,1,0,2,1,1,1,1}>"
W1 = W.replace(">", ", float[1,2,1,1] k = {2,-3}>")
CHAINS = {
    "residual block": (W, """{ a = Conv <pads = [1,1,1,1]> (x, w) r = Relu (a) b = Conv <pads = [1,1,1,1]> (r, w)
        s = Add (b, r) y = Relu (s) }""", ["Transpose", "Conv", "Conv", "Transpose"]),
    "channels-last model": (W, """{ t = Transpose <perm = [0,3,1,2]> (x) a = Conv (t, w) r = HardSwish (a)
        y = Transpose <perm = [0,2,3,1]> (r) }""", ["Conv"]),
    "silu": (W, """{ a = Conv (x, w) s = Sigmoid (a) m = Mul (a, s) y = GlobalAveragePool (m) }""",
             ["Transpose", "Conv", "Reduce", "Reshape"]),
    "scale by channel": (W1, "{ a = Conv (x, w) b = Mul (k, a) c = Conv (b, w) y = Flatten (c) }", None),
    "split and concat": (W, """{ a = Conv <pads = [1,1,1,1]> (x, w) b, c = Split <axis = 1> (a) d = Concat <axis = 1> (c, b)
        y = Conv (d, w) }""", ["Transpose", "Conv", "Split", "Concat", "Conv", "Transpose"]),
    "padding": (W, """{ p = Constant <value_ints = [0,0,1,2,0,0,0,1]> () a = Conv (x, w) b = Pad (a, p) y = Conv (b, w) }""",
                ["Transpose", "Conv", "Conv", "Transpose"]),
    "slice": (W, """{ o = Constant <value_ints = [1]> () e = Constant <value_ints = [5]> () k = Constant <value_ints = [3]> ()
        a = Conv (x, w) b = Slice (a, o, e, k) y = Conv (b, w) }""", ["Transpose", "Conv", "Slice", "Conv", "Transpose"]),
    "pixels merge": (W, """{ s = Constant <value_ints = [0,2,-1]> () a = Conv (x, w) b = Reshape (a, s)
        y = Transpose <perm = [0,2,1]> (b) }""", ["Transpose", "Conv", "Reshape"]),
    "read twice": (W, "{ a = Conv <pads = [1,1,1,1]> (x, w) r = Relu (a) y = Add (a, r) }", None),
}  # fmt: skip


@pytest.mark.parametrize("weights,body,steps", CHAINS.values(), ids=CHAINS)
def test_layout_and_fusions_keep_the_result(weights: str, body: str, steps: list[str] | None) -> None:
    last = "channels" in body or "t = Transpose" in body
    model = float_net(f"{weights} {body}", "2,7,8,2" if last else "2,2,7,8")
    x = np.random.default_rng(1).normal(size=(2, 7, 8, 2) if last else (2, 2, 7, 8)).astype(np.float32)
    fast, slow = run(model, [x])[0], run(model, [x], optimize=False)[0]
    if "Sigmoid" in body:  # the numpy reference of Silu rounds once
        np.testing.assert_allclose(fast, slow, rtol=1e-6)
    else:
        np.testing.assert_array_equal(fast, slow)
    np.testing.assert_allclose(fast, ReferenceEvaluator(model).run(None, {"x": x})[0], rtol=1e-4, atol=1e-4)
    if steps is not None:
        assert compiled(model).plan.ops == steps
    assert len(compiled(model).plan.ops) <= len(compiled(model, optimize=False).plan.ops)


def test_integer_block_fuses_table_residual_and_transposed_input() -> None:
    net = Net()
    x = net.input(net.rng.normal(size=(1, 2, 6, 6)).astype(np.float32) * 3)
    a = net.dq(net.q(x, 0.05, 100), 0.05, 100)
    b = net.op("Conv", a, net.weight(2, 2, 3, 3), pads=[1, 1, 1, 1])
    c = net.dq(net.q(b, 0.1, 90), 0.1, 90)
    d = net.dq(net.q(net.op("HardSwish", c), 0.06, 20), 0.06, 20)
    e = net.op("Conv", d, net.weight(2, 2, 1, 1))
    f = net.op("Add", a, net.dq(net.q(e, 0.07, 60), 0.07, 60))
    net.done(net.dq(net.q(f, 0.1, 80), 0.1, 80))
    # A tie that the first layer rounds the other way is worth up to two steps after weights of up to 2.
    assert net.check(4) == ["Quantize", "QConv", "QConv", "Dequantize", "Transpose"]
    attrs = compiled(net.model).plan.attrs("Quantize")
    assert attrs["perm"] == [0, 2, 3, 1] and attrs["graph_input"] == 1 and attrs["source"] == "x0"


def test_fusion_stops_at_graph_outputs() -> None:
    net = Net()
    y = net.q(net.op("Conv", net.image(1, 2, 4, 4), net.weight(2, 2, 1, 1)), 0.3, 100)
    z = net.q(net.op("HardSwish", net.dq(y, 0.3, 100)), 0.2, 5)
    net.done(y, z)
    assert "Lut" in net.check()


def dynamic(order: str) -> Net:
    net = Net(opset=17)
    x = net.input(net.rng.normal(size=(3, 16)).astype(np.float32))
    q, s, z = net.op("DynamicQuantizeLinear", x, outputs=3)
    w, wz, ws = (
        net.const(net.rng.integers(-128, 128, (16, 5)), np.int8),
        net.const(2, np.int8),
        net.const(0.01, np.float32),
    )
    acc = net.op("Cast", net.op("MatMulInteger", q, w, z, wz), to=1)
    if order == "scales first":
        y = net.op("Mul", acc, net.op("Mul", s, ws))
    else:
        y = net.op("Mul", net.op("Mul", acc, s), ws)
    return net.done(net.op("Add", y, net.const(net.rng.normal(size=5), np.float32)))


def test_dynamic_quantization() -> None:
    """Fused only when the file multiplies the scales first: another order rounds otherwise."""
    assert dynamic("scales first").check(0.01) == ["DynamicQuantizeLinear", "QGemmDynamic"]  # type: ignore[arg-type]
    assert "MatMulInteger" in dynamic("one by one").check(0.01)  # type: ignore[arg-type]


def test_qlinear_operators_read_like_their_qdq_spelling() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (1, 2, 5, 5)).astype(np.uint8), rng.integers(-128, 128, (3, 2, 3, 3)).astype(np.int8)
    net = Net(opset=17)
    f = np.float32
    parts = [net.input(x), net.const(0.05, f), net.const(3, np.uint8), net.const(w), net.const([0.01, 0.02, 0.03], f),
             net.const(np.zeros(3), np.int8), net.const(0.4, f), net.const(110, np.uint8), net.const([50, -60, 7], np.int32)]  # fmt: skip
    net.done(net.op("QLinearConv", *parts))
    plan = compiled(net.model).plan
    assert plan.ops.count("QConv") == 1 and set(plan.ops) <= {"QConv", "Transpose"}
    got = run(net.model, [x])[0]
    assert np.abs(got.astype(int) - ReferenceEvaluator(net.model).run(None, {"x0": x})[0].astype(int)).max() <= 1


def test_constants_fold_but_never_grow_without_bound() -> None:
    small = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[6] y)
        { s = Shape (x) p = ReduceProd <keepdims = 1> (s) y = Reshape (x, p) }"""
    )
    assert compiled(small).plan.ops == ["Reshape"]
    large = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[n] y)
        { s = Constant <value_ints = [100000000]> () z = ConstantOfShape (s) y = Add (x, z) }"""
    )
    plan = compiled(large).plan
    assert "ConstantOfShape" in plan.ops and sum(v[3].nbytes for v in plan.values if v[3] is not None) < 1000


def test_transcendental_constants_are_left_to_the_core() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) <float[2] k = {1,2}>
        { e = Exp (k) q = Sqrt (k) s = Add (e, q) y = Add (x, s) }"""
    )
    assert compiled(model).plan.ops.count("Unary") == 1  # Exp stays, Sqrt is exact


def test_nothing_is_silently_wrong_about_ranks() -> None:
    """A convolution whose weights do not match its input's rank is refused by name, not lowered."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y)
        <float[1,1,1,1] w = {1}> { [odd] y = Conv (x, w) }"""
    )
    with pytest.raises(errors.Error, match="odd"):
        run(model, [np.zeros((2, 3), np.float32)])


def float_attention(mask: bool, scale: str, last: list[int]) -> Net:
    net = Net(opset=17)
    rng = net.rng

    def image(*shape: int) -> str:
        return net.input(rng.normal(size=shape).astype(np.float32))

    q, k, v = (net.op("Transpose", image(2, n, 3, 8), perm=p) for n, p in ((5, [0, 2, 1, 3]), (7, [0, 2, 3, 1]), (7, [0, 2, 1, 3])))  # fmt: skip
    s = net.op("MatMul", q, k)
    if scale:
        s = net.op(scale, s, net.const(2.8284271, np.float32))
    if mask:
        s = net.op("Add", s, image(2, 1, 1, 7))
    y = net.op("MatMul", net.op("Softmax", s, axis=-1), v)
    return net.done(net.op("Transpose", y, perm=last))


def test_attention() -> None:
    """One step for the whole of it, and the same bytes; heads that end up elsewhere stay apart."""
    for mask in (False, True):
        for scale in ("", "Div", "Mul"):
            net = float_attention(mask, scale, [0, 2, 1, 3])
            assert net.check(1e-3) == ["Attention"]  # type: ignore[arg-type]
    assert "Softmax" in float_attention(True, "Div", [0, 2, 3, 1]).check(1e-3)  # type: ignore[arg-type]


def test_gelu_by_its_definition() -> None:
    """Every order of its products, and nothing that only looks like it."""

    def spelled(order: int, one: float = 1.0) -> Net:
        net = Net(opset=17)
        x = net.input(net.rng.normal(size=(4, 19)).astype(np.float32) * 3)
        half, root = net.const(0.5, np.float32), net.const(2**0.5, np.float32)
        e = net.op("Add", net.op("Erf", net.op("Div", x, root)), net.const(one, np.float32))
        if order == 0:
            return net.done(net.op("Mul", net.op("Mul", x, e), half))
        if order == 1:
            return net.done(net.op("Mul", x, net.op("Mul", e, half)))
        return net.done(net.op("Mul", net.op("Mul", x, half), e))

    for order in range(3):
        assert spelled(order).check(1e-3) == ["Unary"]  # type: ignore[arg-type]
    assert "Binary" in spelled(0, 1.25).check(1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", range(4))
def test_hard_swish_by_its_definition(order: int) -> None:
    net = Net(opset=17)
    x = net.input(net.rng.normal(size=(4, 19)).astype(np.float32) * 3)
    zero, three, six = (net.const(v, np.float32) for v in (0.0, 3.0, 6.0))
    inner = net.op("Clip", net.op("Add", *((three, x) if order % 2 else (x, three))), zero, six)
    if order < 2:
        net.done(net.op("Div", net.op("Mul", x, inner), six))
    else:
        net.done(net.op("Mul", net.op("Mul", inner, net.const(1 / 6, np.float32)), x))
    assert net.check(1e-3) == ["Unary"]  # type: ignore[arg-type]


def test_only_hard_swish_is_hard_swish() -> None:
    """Another bound, or a sum that is read twice, stays as it is."""
    for high, twice in ((5.0, False), (6.0, True)):
        net = Net(opset=17)
        x = net.input(net.rng.normal(size=(4, 19)).astype(np.float32) * 3)
        zero, three, six, top = (net.const(v, np.float32) for v in (0.0, 3.0, 6.0, high))
        plus = net.op("Add", x, three)
        y = net.op("Div", net.op("Mul", x, net.op("Clip", plus, zero, top)), six)
        net.done(*((y, plus) if twice else (y,)))
        assert "Binary" in net.check(1e-3)  # type: ignore[arg-type]
