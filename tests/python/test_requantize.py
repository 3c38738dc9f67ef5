"""requantize="fixed" as a Session takes it: what it runs, what it refuses, and that a packed file keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import octavo
from octavo.cli import main
from small_models import float_net, model, quantized_net, tensor, with_python_step

IMAGE = (np.random.default_rng(1).standard_normal((2, 3, 8, 8)) * 0.7).astype(np.float32)
PARAMETERS = {"s": np.float32(1 / 16), "z": np.uint8(120)}


def between(op: str, **attrs: object) -> onnx.ModelProto:
    """x -> Q, DQ, the operator "the_node", Q, DQ -> y [2, 4, 6]."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node(op, ["d", "d"] if op == "MatMul" else ["d"], ["f"], "the_node", **attrs),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"]),
    ]
    shape: list[int | str] = [2, 6, 6]
    return model(nodes, [tensor("x", shape)], [tensor("y", shape)], PARAMETERS)


def test_fixed_is_a_step_from_float_at_most_and_says_what_it_is() -> None:
    fixed, plain = octavo.Session(quantized_net(), requantize="fixed"), octavo.Session(quantized_net())
    assert (fixed.requantize, plain.requantize) == ("fixed", "float")
    (a,), (b,) = fixed.run(None, IMAGE), plain.run(None, IMAGE)
    assert np.abs(a - b).max() <= 1 / 16
    assert any("fixed" in step.kernel for step in fixed.steps) and not any("fixed" in s.kernel for s in plain.steps)
    none = octavo.Session(quantized_net(), requantize=None).run(None, IMAGE)[0]
    assert none.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    "op,attrs", [("Softmax", {"axis": 1}), ("LpNormalization", {}), ("CumSum", {}), ("MatMul", {})]
)
def test_floats_between_quantized_layers_are_refused_by_name(op: str, attrs: dict[str, object]) -> None:
    net = between(op, **attrs)
    if op == "CumSum":
        net.graph.node[2].input.append("axis")
        net.graph.initializer.append(onnx.numpy_helper.from_array(np.int64(1), "axis"))
    octavo.Session(net)
    with pytest.raises(octavo.Unsupported, match=r"'the_node'.*requantize='float'"):
        octavo.Session(net, requantize="fixed")


def test_floats_outside_are_as_everywhere() -> None:
    nets = [float_net(), with_python_step(), between("Sigmoid"), between("Softmax", axis=-1)]
    for net in nets:
        octavo.Session(net, requantize="fixed")
    net = quantized_net()  # image -> Abs -> quantized -> Softmax
    net.graph.node.insert(0, helper.make_node("Abs", ["image"], ["a"], "abs"))
    net.graph.node[1].input[0] = "a"
    net.graph.node[-1].output[0] = "d"
    net.graph.node.append(helper.make_node("Softmax", ["d"], ["y"], "softmax"))
    assert octavo.Session(net, requantize="fixed").run(None, IMAGE)[0].dtype == np.float32


def test_dynamic_quantization_is_refused() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "dynamic"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    net = model(nodes, [tensor("x", [4])], [tensor("y", [4])])
    with pytest.raises(octavo.Unsupported, match="'dynamic'"):
        octavo.Session(net, requantize="fixed")


def test_a_packed_file_keeps_its_scheme(tmp_path: Path) -> None:
    fixed = octavo.Session(quantized_net(), requantize="fixed")
    path = tmp_path / "net.octavo"
    fixed.save(path)
    for again in (octavo.Session(path), octavo.Session(path, requantize="fixed")):
        assert again.requantize == "fixed"
        assert again.run(None, IMAGE)[0].tobytes() == fixed.run(None, IMAGE)[0].tobytes()
    with pytest.raises(octavo.InvalidArgument, match="packed with requantize='fixed'"):
        octavo.Session(path, requantize="float")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, packed = str(tmp_path / "net.onnx"), str(tmp_path / "net.octavo")
    onnx.save(quantized_net(), path)
    np.save(tmp_path / "image.npy", IMAGE)
    out = str(tmp_path / "y.npz")
    assert main(["run", path, "--input", str(tmp_path / "image.npy"), "--output", out, "--requantize", "fixed"]) == 0
    want = octavo.Session(path, requantize="fixed").run(None, IMAGE)[0]
    assert np.load(out)["y"].tobytes() == want.tobytes()
    capsys.readouterr()
    size = ["--dim", "N=1", "--json", "--requantize", "fixed"]
    assert main(["bench", path, "--rounds", "1", "--steps", *size]) == 0
    assert any("fixed" in step["kernel"] for step in json.loads(capsys.readouterr().out)["steps"])
    assert main(["pack", path, "-o", packed, "--requantize", "fixed"]) == 0
    assert octavo.Session(packed).requantize == "fixed"


def test_signed_files_average_their_own_integers() -> None:
    """Ties go away from the file's zero: -0.5 to -1 for int8, while uint8 knows no negative numbers."""
    for kind, low in ((TensorProto.INT8, -4), (TensorProto.UINT8, 124)):
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
            helper.make_node("AveragePool", ["d"], ["f"], "pool", kernel_shape=[1, 2]),
            helper.make_node("QuantizeLinear", ["f", "s", "z"], ["y"]),
        ]
        parameters = {"s": np.float32(1), "z": np.array(0 if low < 0 else 128, dtype)}
        net = model(nodes, [tensor("x", [1, 1, 1, 2], kind)], [tensor("y", [1, 1, 1, 1], kind)], parameters)
        x = np.array([[[[low, low + 1]]]], dtype)  # the mean is low + 1/2
        got = octavo.Session(net, requantize="fixed").run(None, x)[0].item()
        assert got == (low if low < 0 else low + 1)
