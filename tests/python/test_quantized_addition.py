"""Addition between Dequantize and Quantize equals literal execution: every pair of bytes, every ISA, ties too."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import octavo
from octavo import _core

LEVELS = [name for name, supported in _core.isas() if supported]
# (s_a, s_b, s_y): a residual of resnet8, decimals and powers of two that tie, scales far apart, both ends of float32.
SCALES = [
    (0.039393551647663116, 0.10419496148824692, 0.050945673137903214),
    (0.05, 0.07, 0.1),
    (0.1, 0.3, 0.2),
    (0.5, 0.25, 1.0),
    (0.3, 1e-6, 0.6),
    (1e-42, 3e-43, 2e-42),
    (3e-44, 1e-38, 2e-39),
    (1e36, 2e36, 3e36),
    (1.0, 2.0, 1e-30),
]
ROUND = np.arange(256, dtype=np.uint8)


def graph(op: str, scales: tuple[float, float, float], conv: bool) -> bytes:
    """a [1, 1, 256, 1], b [1, 1, 1, 256] -> quantize(op(a, b)), `conv`: of convolutions of them."""
    constants = {
        **{name: np.float32(s) for name, s in zip(("sa", "sb", "sy"), scales)},
        **{name: np.uint8(z) for name, z in (("za", 3), ("zb", 250), ("zy", 117))},
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "sa", "za"], ["fa"]),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["fb"]),
    ]
    left, right, side = "fa", "fb", 1
    if conv:  # of weight 1 and the same scale: the convolutions hand their inputs on
        constants |= {"w": np.ones((1, 1, 1, 1), np.int8), "sw": np.float32(1), "zw": np.int8(0)}
        nodes.append(helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["fw"]))
        for k in "ab":
            nodes += [
                helper.make_node("Conv", [f"f{k}", "fw"], [f"c{k}"]),
                helper.make_node("QuantizeLinear", [f"c{k}", f"s{k}", f"z{k}"], [f"q{k}"]),
                helper.make_node("DequantizeLinear", [f"q{k}", f"s{k}", f"z{k}"], [f"d{k}"]),
            ]
        left, right, side = "da", "db", 256
    nodes += [
        helper.make_node(op, [left, right], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "sy", "zy"], ["y"]),
    ]
    byte = TensorProto.UINT8
    inputs = [
        helper.make_tensor_value_info("a", byte, [1, 1, 256, side]),
        helper.make_tensor_value_info("b", byte, [1, 1, side, 256]),
    ]
    output = helper.make_tensor_value_info("y", byte, [1, 1, 256, 256])
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    opset = [helper.make_opsetid("", 21)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, [output], tensors), opset_imports=opset, ir_version=10
    )
    return bytes(model.SerializeToString())


def numpy_literal(op: str, scales: tuple[float, float, float]) -> np.ndarray:
    sa, sb, sy = (np.float32(s) for s in scales)
    with np.errstate(over="ignore"):
        return literal_of(op, sa, sb, sy)


def literal_of(op: str, sa: np.float32, sb: np.float32, sy: np.float32) -> np.ndarray:
    a = (ROUND.astype(np.int32) - 3).astype(np.float32) * sa
    b = (ROUND.astype(np.int32) - 250).astype(np.float32) * sb
    total = a[:, None] + b[None, :] if op == "Add" else a[:, None] - b[None, :]
    return np.clip(np.rint(total / sy).astype(np.float64) + 117, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("op", ["Add", "Sub"])
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("isa", LEVELS)
def test_every_pair_of_bytes(isa: str, scales: tuple[float, float, float], op: str) -> None:
    feeds = {"a": ROUND.reshape(1, 1, 256, 1), "b": ROUND.reshape(1, 1, 1, 256)}
    model = graph(op, scales, conv=False)
    session = octavo.Session(model, isa=isa)
    assert [step["op"] for step in session.plan.steps] == ["QAdd"]
    (got,), (literal,) = session.run(None, feeds), octavo.Session(model, isa=isa, literal=True).run(None, feeds)
    assert np.array_equal(got[0, 0], numpy_literal(op, scales))
    assert np.array_equal(got, literal)


@pytest.mark.parametrize("scales", SCALES[:5])
@pytest.mark.parametrize("isa", LEVELS)
def test_as_the_residual_of_a_convolution(isa: str, scales: tuple[float, float, float]) -> None:
    a, b = np.broadcast_to(ROUND[:, None], (256, 256)), np.broadcast_to(ROUND[None, :], (256, 256))
    feeds = {"a": np.ascontiguousarray(a[None, None]), "b": np.ascontiguousarray(b[None, None])}
    session = octavo.Session(graph("Add", scales, conv=True), isa=isa)
    assert "QAdd" not in [step["op"] for step in session.plan.steps]
    assert np.array_equal(session.run(None, feeds)[0][0, 0], numpy_literal("Add", scales))


@pytest.mark.parametrize(
    "attrs", [{"sy": 0.0}, {"sy": -1.0}, {"sy": 1e-60}, {"sy": np.inf}, {"sa": np.nan}, {"sb": 1e39}]
)
def test_scales_that_cannot_be_are_refused(attrs: dict[str, float]) -> None:
    builder = _core.PlanBuilder()
    a, b = builder.add_input("a", TensorProto.UINT8, [4]), builder.add_input("b", TensorProto.UINT8, [4])
    y = builder.add_value("y", TensorProto.UINT8, [4])
    builder.add_step("QAdd", "sum", [a, b], [y], {"sa": 0.5, "sb": 0.5, "sy": 0.5, **attrs})
    builder.add_output("y", y)
    with pytest.raises(octavo.Error, match=f"sum.*{next(iter(attrs))}") as caught:
        _core.Session(builder.build())
    assert "float32" in str(caught.value)
