"""Quantized graphs as converters leave them: integers from the first Quantize to the last Dequantize all the same."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import octavo
from networks import Net

ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")


def same_integers(net: Net, value: str, scale: float = 0.25, zp: int = 5, change: object = None) -> list[str]:
    """Ends the graph in Q and DQ, compares with onnxruntime and returns the plan's operators.

    What was quantized must stay so: one Quantize an input, one Dequantize, and no Python step.
    """
    net.output(net.qdq(value, scale, zp))
    model, feeds = net.build()
    if callable(change):
        change(model)
    return compared(model, feeds, scale)


def compared(model: ModelProto, feeds: dict[str, np.ndarray], scale: float) -> list[str]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    peer = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    want = peer.run(None, feeds)[0]
    ours = octavo.Session(model)
    got = ours.run(None, feeds)[0]
    assert got.dtype == want.dtype and got.shape == want.shape
    assert np.abs(got - want).max() <= scale * 1.001, "more than one step apart"
    assert len(np.unique(want)) > 4, "the test saturates: it would prove nothing"
    assert np.array_equal(octavo.Session(model, optimize=False).run(None, feeds)[0], got)
    ops = [step.op for step in ours.steps]
    assert not ours.python_steps, ours.python_steps
    assert ops.count("Quantize") == 1 and ops.count("Dequantize") == 1, ops
    assert not {"Conv", "MatMul", "Binary", "QuantizeLinear", "DequantizeLinear"} & set(ops), ops
    return ops


def image(net: Net, shape: tuple[int, ...] = (1, 4, 9, 7), dims: list[int | str] | None = None) -> str:
    return net.qdq(net.input("x", net.stream.floats(shape), dims), 1 / 32, 128)


def fake_quantized(net: Net, shape: list[int], axis: int | None, levels: int = 127) -> str:
    """A float initializer with Q and DQ behind it: what NNCF and fake-quantizing trainers export."""
    w = net.stream.floats(shape, 0.25)
    if axis is None:
        scale, zero = net.const(np.float32(1 / 64)), net.const(np.int8(0))
    else:
        scale = net.const((net.stream.ints(8, 40, [shape[axis]], "int64") / 2048).astype(np.float32))
        zero = net.const(np.zeros(shape[axis], np.int8))
    attrs = {} if axis is None else {"axis": axis}
    return net.op(
        "DequantizeLinear", net.op("QuantizeLinear", net.const(w), scale, zero, **attrs), scale, zero, **attrs
    )


@pytest.mark.parametrize("axis", [None, 0])
def test_float_weights_behind_q_and_dq(axis: int | None) -> None:
    net = Net("nncf", 1)
    ops = same_integers(net, net.op("Conv", image(net), fake_quantized(net, [6, 4, 3, 3], axis), pads=[1, 1, 1, 1]))
    assert "QConv" in ops


@pytest.mark.parametrize("axis", [None, 1])
def test_float_matrices_behind_q_and_dq(axis: int | None) -> None:
    net = Net("nncf", 2)
    x = net.qdq(net.input("x", net.stream.floats((3, 16))), 1 / 32, 128)
    assert "QGemm" in same_integers(net, net.op("MatMul", x, fake_quantized(net, [16, 8], axis)))


@pytest.mark.parametrize("place", ["between Q and DQ", "behind DQ"])
def test_transposes_of_tf2onnx(place: str) -> None:
    """NHWC graphs: Transpose between Q and DQ or after DQ, before and behind a convolution whose weights are HWIO."""
    net = Net("tf2onnx", 3)
    x = net.input("x", net.stream.floats((1, 9, 7, 4)))
    if place == "behind DQ":
        x = net.op("Transpose", net.qdq(x, 1 / 32, 128), perm=[0, 3, 1, 2])
    else:
        x = net.dq(net.op("Transpose", net.q(x, 1 / 32, 128), perm=[0, 3, 1, 2]), 1 / 32, 128)
    w = net.dq(net.const(net.stream.ints(-127, 127, [3, 3, 4, 6], "int8")), 1 / 256, 0, "int8")
    y = net.op("Conv", x, net.op("Transpose", w, perm=[3, 2, 0, 1]), pads=[1, 1, 1, 1])
    y = net.dq(net.op("Transpose", net.q(y, 0.25, 120), perm=[0, 2, 3, 1]), 0.25, 120)
    ops = same_integers(net, net.op("Relu", y))
    assert "QConv" in ops and ops.count("Transpose") == 0, "images are channels-last inside: no Transpose is left"


def test_weights_transposed_between_q_and_dq() -> None:
    net = Net("tf2onnx", 4)
    q = net.op("Transpose", net.const(net.stream.ints(-127, 127, [3, 3, 4, 6], "int8")), perm=[3, 2, 0, 1])
    ops = same_integers(net, net.op("Conv", image(net), net.dq(q, 1 / 256, 0, "int8")))
    assert "QConv" in ops


def test_constants_behind_identity_and_cast() -> None:
    """Scales and zero points behind Identity, Cast, Constant, Reshape and Squeeze; weights behind Identity and Cast."""
    net = Net("hidden", 5)
    scale = net.op("Identity", net.op("Identity", net.const(np.float32(1 / 32))))
    zero = net.op("Cast", net.op("Constant", value_int=128), to=TensorProto.UINT8)
    x = net.input("x", net.stream.floats((1, 4, 9, 7)))
    x = net.op("DequantizeLinear", net.op("QuantizeLinear", x, scale, zero), scale, zero)
    values = net.op("Cast", net.const(net.stream.ints(-127, 127, [6, 4, 3, 3], "int32")), to=TensorProto.INT8)
    steps = (net.stream.ints(8, 40, [6], "int64") / 8192).astype(np.float64)
    wide = net.op("Squeeze", net.const(steps.reshape(6, 1)), net.const(np.array([1])))
    w_scale = net.op("Cast", wide, to=TensorProto.FLOAT)
    w = net.op("DequantizeLinear", net.op("Identity", values), w_scale, axis=0)
    bias = net.const(net.stream.ints(-2000, 2000, [6], "int32"))
    b_scale = net.op("Mul", w_scale, scale)
    b = net.op("DequantizeLinear", net.op("Reshape", bias, net.const(np.array([-1]))), b_scale, axis=0)
    assert "QConv" in same_integers(net, net.op("Conv", x, w, b))


def test_duplicated_and_shared_initializers() -> None:
    """The same bytes under many names (deduplication undone), and one name read by two layers."""
    net = Net("twins", 6)
    values = net.stream.ints(-127, 127, [4, 4, 3, 3], "int8")

    def weight(shared: str = "") -> str:
        return net.dq(shared or net.const(values.copy()), 1 / 256, 0, "int8")

    first = net.qdq(net.op("Conv", image(net), weight(), pads=[1, 1, 1, 1]), 1 / 8, 128)
    shared = net.const(values)
    second = net.qdq(net.op("Conv", first, weight(shared), pads=[1, 1, 1, 1]), 1 / 4, 128)
    both = weight(shared)
    third = net.qdq(net.op("Conv", second, both, pads=[1, 1, 1, 1]), 1 / 2, 128)
    ops = same_integers(net, net.op("Conv", third, both, pads=[1, 1, 1, 1]), 1.0, 128)
    assert ops.count("QConv") == 4


@pytest.mark.parametrize("batch", [1, 3])
def test_dynamic_reshape_of_torch(batch: int) -> None:
    """x.view(x.shape[0], -1): Shape, Gather, Unsqueeze, Concat, Reshape with a symbolic batch, between two layers."""
    net = Net("torch", 7)
    x = net.input("x", net.stream.floats((batch, 4, 6, 6)), ["N", 4, 6, 6])
    y = net.qdq(net.qconv(net.qdq(x, 1 / 32, 128), 1 / 32, [4, 4, 3, 3], strides=[2, 2]), 1 / 8, 128)
    n = net.op("Gather", net.op("Shape", y), net.const(np.array(0)), axis=0)
    n = net.op("Unsqueeze", n, net.const(np.array([0])))
    rest = net.op("Unsqueeze", net.op("Constant", value_int=-1), net.const(np.array([0])))
    flat = net.op("Reshape", y, net.op("Concat", n, rest, axis=0))
    w = net.op(
        "Transpose", net.dq(net.const(net.stream.ints(-127, 127, [10, 16], "int8")), 1 / 256, 0, "int8"), perm=[1, 0]
    )
    ops = same_integers(net, net.op("MatMul", flat, w))
    assert "QGemm" in ops and "QConv" in ops


@pytest.mark.parametrize("batch", [1, 2])
def test_attention_heads_split_with_dynamic_shapes(batch: int) -> None:
    """Heads are split off by shapes that are computed from the input's, transposed, multiplied: all on integers."""
    net = Net("heads", 8)
    x = net.qdq(net.input("x", net.stream.floats((batch, 5, 8)), ["N", "T", 8]), 1 / 32, 128)
    shape = net.op("Shape", x)
    n, t = (net.op("Gather", shape, net.const(np.array([k])), axis=0) for k in (0, 1))
    target = net.op("Concat", n, t, net.const(np.array([2])), net.const(np.array([4])), axis=0)

    def projected() -> str:
        w = net.dq(net.const(net.stream.ints(-127, 127, [8, 8], "int8")), 1 / 256, 0, "int8")
        return net.op("Reshape", net.qdq(net.op("MatMul", x, w), 1 / 16, 128), target)

    q = net.op("Transpose", projected(), perm=[0, 2, 1, 3])
    k = net.op("Transpose", projected(), perm=[0, 2, 3, 1])
    ops = same_integers(net, net.op("MatMul", q, k), 1 / 4, 128)
    assert ops.count("QGemm") == 2 and "QMatMul" in ops


def test_names_with_slashes_colons_and_letters_of_the_world() -> None:
    net = Net("names", 9)
    y = net.qconv(image(net), 1 / 32, [6, 4, 3, 3])

    def rename(model: ModelProto) -> None:
        graph = model.graph
        fresh = {t.name: f"模型/层:{t.name};0 ü" for t in graph.initializer}
        fresh |= {o: f"/net/{o}:0" for node in graph.node for o in node.output if o != graph.output[0].name}
        for tensor in graph.initializer:
            tensor.name = fresh[tensor.name]
        for node in graph.node:
            node.name = f"a/b:c;{node.name} é"
            node.input[:] = [fresh.get(i, i) for i in node.input]
            node.output[:] = [fresh.get(o, o) for o in node.output]
        del graph.value_info[:]

    assert "QConv" in same_integers(net, y, change=rename)


def test_a_relu_and_a_clip_between_layer_and_quantization_are_its_bounds() -> None:
    net = Net("clipped", 10)
    y = net.op("Relu", net.qconv(image(net), 1 / 32, [6, 4, 3, 3]))
    y = net.op("Clip", y, net.op("Identity", net.const(np.float32(0))), net.op("Constant", value_float=6.0))
    assert [op for op in same_integers(net, y, 6 / 255, 0) if op not in ("Transpose", "Reshape")] == [
        "Quantize", "QConv", "Dequantize",
    ]  # fmt: skip


def test_zero_points_left_out_and_bias_left_float() -> None:
    """Q and DQ of the defaults (u8, zero point 0), and a bias nobody quantized."""
    net = Net("defaults", 11)
    scale = net.const(np.float32(1 / 16))
    x = net.input("x", np.abs(net.stream.floats((1, 4, 9, 7))))
    x = net.op("DequantizeLinear", net.op("QuantizeLinear", x, scale), scale)
    w = net.dq(net.const(net.stream.ints(-127, 127, [6, 4, 3, 3], "int8")), 1 / 256, 0, "int8")
    assert "QConv" in same_integers(net, net.op("Conv", x, w, net.const(net.stream.floats((6,)))))


def test_quantized_functions_of_the_model() -> None:
    """Q and DQ hidden in model-local functions, one inside the other, scale and axis as attributes."""
    body = """<ir_version: 9, opset_import: ["" : 18, "q" : 1]>
    g (float[1, 2, 4, 4] x) => (float[1, 2, 3, 3] y)
    <int8[2, 2, 2, 2] w = {3,-5,7,9,-11,20,30,-40,5,6,-7,8,9,10,-60,12}> {
      a = q.fake <scale = 0.03125, zero = 128> (x)
      s = Constant <value_float = 0.015625> ()
      v = DequantizeLinear (w, s)
      c = Conv (a, v)
      y = q.fake <scale = 0.03125, zero = 100> (c)
    }
    <opset_import: ["" : 18, "q" : 1], domain: "q">
    fake <scale, zero> (x) => (y) { y = q.pair <s = @scale, z = @zero> (x) }
    <opset_import: ["" : 18], domain: "q"> pair <s, z> (x) => (y) {
      scale = Constant <value_float: float = @s> ()
      wide = Constant <value_int: int = @z> ()
      zero = Cast <to = 2> (wide)
      q = QuantizeLinear (x, scale, zero)
      y = DequantizeLinear (q, scale, zero)
    }"""
    from onnx import parser

    x = Net("functions", 12).stream.floats((1, 2, 4, 4))
    assert "QConv" in compared(parser.parse_model(body), {"x": x}, 0.03125)


def test_external_weights_of_a_quantized_model(tmp_path: object) -> None:
    import onnx

    net = Net("external", 13)
    net.output(net.qdq(net.qconv(image(net), 1 / 32, [6, 4, 3, 3]), 0.25, 5))
    model, feeds = net.build()
    want = octavo.run(model, feeds)
    path = f"{tmp_path}/m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    assert np.array_equal(octavo.run(path, feeds)[0], want[0])


def test_the_same_tensor_to_a_quantized_and_a_float_reader() -> None:
    """A float reader beside the quantized one keeps its own Dequantize; the integer path stays whole."""
    net = Net("fork", 14)
    x = image(net)
    net.output(net.op("Softmax", x, axis=-1))
    y = net.qconv(x, 1 / 32, [6, 4, 3, 3])
    net.output(net.qdq(y, 0.25, 5))
    model, _ = net.build()
    ops = [step.op for step in octavo.Session(model).steps]
    assert "QConv" in ops and "Conv" not in ops and ops.count("Dequantize") == 2


def test_initializers_listed_as_inputs() -> None:
    """Files of IR version 3: every initializer is an input too."""
    net = Net("ir3", 15)
    y = net.qconv(image(net), 1 / 32, [6, 4, 3, 3])

    def listed(model: ModelProto) -> None:
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))

    assert "QConv" in same_integers(net, y, change=listed)
