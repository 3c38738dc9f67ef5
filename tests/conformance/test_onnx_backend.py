"""The onnx package's own backend tests. What fails is in onnx_failures.txt, with the reason; nothing else may fail."""

from __future__ import annotations

import unittest

import numpy as np
import onnx
import pytest
from onnx.backend.test import BackendTest
from onnx.backend.test.runner import Runner

import octavo
import octavo.backend
from onnx_cases import DATA, PINNED, QUANTIZED, check, data_sets, expected_failures, model_folders, node_cases, outcome

if onnx.__version__ != PINNED:
    pytest.skip(
        f"onnx {onnx.__version__} is installed; the list of failures is for the cases of onnx {PINNED}",
        allow_module_level=True,
    )

FAILING = expected_failures()
# Of the operator tests, how many must run without a Python step, and how many of those are quantized ones. Raise
# them when operators move into the core; never lower them.
LEAST_NATIVE = 1650
LEAST_QUANTIZED = 45

LIGHT = {path.stem.removeprefix("light_"): path for path in sorted((DATA / "light").glob("*.onnx"))}


@pytest.mark.parametrize("name", node_cases())
def test_node(name: str) -> None:
    result = outcome(name)
    if name in FAILING:
        assert result.error is not None, f"{name} passes: take it off onnx_failures.txt"
        pytest.xfail(FAILING[name])
    if result.error is not None:
        raise result.error


def test_every_listed_failure_is_a_case() -> None:
    assert not set(FAILING) - set(node_cases())


def test_counts() -> None:
    """What must be shown: 1,865 of the 1,884 pass, all quantized ones among them, most without Python."""
    passed = {name for name in node_cases() if outcome(name).error is None}
    quantized = {name for name in node_cases() if any(word in name for word in QUANTIZED)}
    native = {name for name in passed if outcome(name).native}
    assert len(node_cases()) == 1884 and len(quantized) == 45
    assert len(passed) >= 1865
    assert passed >= quantized
    print(f"{len(passed)} pass, {len(native)} without Python, {len(native & quantized)} quantized ones without Python")
    assert len(native) >= LEAST_NATIVE
    assert len(native & quantized) >= LEAST_QUANTIZED


@pytest.mark.parametrize("name", model_folders())
def test_model_folder(name: str) -> None:
    """simple, pytorch-converted, pytorch-operator: all of them."""
    folder = model_folders()[name]
    model = onnx.load(folder / "model.onnx")
    session = octavo.Session(folder / "model.onnx")
    sets = list(data_sets(folder, model))
    assert sets
    for inputs, outputs in sets:
        check(session.run(None, inputs), outputs, 1e-3, 1e-7)


@pytest.mark.parametrize("name", [*LIGHT, "shufflenet as it is", "squeezenet as it is"])
def test_light_model(name: str) -> None:
    """Whole classifiers of 2012 to 2017, their weights made by ConstantOfShape; here made constants, or as they are."""
    path = LIGHT[name.removesuffix(" as it is")]
    model = onnx.load(path)
    if not name.endswith("as it is"):
        weights_made_constants(model)
    session = octavo.Session(model)
    slow = [step for step in session.python_steps if "weights" in step[1]]
    assert not slow or name.endswith("as it is"), slow
    constants = {t.name for t in model.graph.initializer}
    inputs = [Runner.generate_dummy_data(i) for i in model.graph.input if i.name not in constants]
    output = onnx.TensorProto.FromString(path.with_name(path.stem + "_output_0.pb").read_bytes())
    check(session.run(None, inputs)[0], onnx.numpy_helper.to_array(output), 1e-3, 1e-7)


def weights_made_constants(model: onnx.ModelProto) -> None:
    """ConstantOfShape over an initializer => initializer."""
    known = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "ConstantOfShape"]:
        value = onnx.numpy_helper.to_array(node.attribute[0].t)
        made = np.full(known[node.input[0]], value.item(), value.dtype)
        model.graph.initializer.append(onnx.numpy_helper.from_array(made, node.output[0]))
        model.graph.node.remove(node)


def test_the_packages_own_runner() -> None:
    """BackendTest accepts octavo.backend and finds nothing wrong."""
    tests = BackendTest(octavo.backend, __name__)
    tests.include("test_add_|test_qlinearconv_|test_sequence_insert|test_Conv2d_|test_operator_conv|test_strnorm_model")
    result = unittest.TestResult()
    tests.test_suite.run(result)
    wrong = [*result.errors, *result.failures]
    assert not wrong, wrong[0]
    ran = result.testsRun - len(result.skipped)
    assert ran >= 20


def test_run_node() -> None:
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    a, b = np.float32([[1], [2]]), np.float32([3, 4])
    (c,) = octavo.backend.run_node(node, [a, b])
    assert np.array_equal(c, a + b)
    (c,) = octavo.backend.run_node(node, {"b": b, "a": a}, "CPU", [(np.float32, (2, 2))], opset_version=13)
    assert np.array_equal(c, a + b)
    split = onnx.helper.make_node("Split", ["x"], ["p", "q"], axis=0, num_outputs=2)
    results = octavo.backend.run_node(split, np.arange(4), opset_version=18)
    assert [r.tolist() for r in results] == [[0, 1], [2, 3]]
    grow = onnx.helper.make_node("SequenceInsert", ["s", "x"], ["t"])
    (t,) = octavo.backend.run_node(grow, [[a], b])
    assert len(t) == 2 and np.array_equal(t[1], b)
    (text,) = octavo.backend.run_node(onnx.helper.make_node("StringConcat", ["l", "r"], ["y"]), [np.array(["a"])] * 2)
    assert text.tolist() == ["aa"]
    with pytest.raises(octavo.InvalidArgument, match="2 inputs, but 1"):
        octavo.backend.run_node(node, [a])


def test_prepare_and_run_model() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    x = np.float32([1, -2])
    ready = octavo.backend.prepare(model, "CPU", threads=1)
    outputs = ready.run(x)
    assert outputs["y"] is outputs[0] and outputs.y.tolist() == [-1, 2]
    assert octavo.backend.run_model(model, {"x": x}).y.tolist() == [-1, 2]
    assert octavo.backend.supports_device("CPU") and not octavo.backend.supports_device("CUDA")
    with pytest.raises(octavo.Unsupported, match="runs on the CPU"):
        octavo.backend.prepare(model, "CUDA:0")
    assert octavo.backend.is_compatible(model)
    model.graph.node[0].domain = "somebody.else"
    model.opset_import.append(onnx.helper.make_opsetid("somebody.else", 1))
    assert not octavo.backend.is_compatible(model)
