"""Bits a layer by hand, and what the file records about its layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.cli import main
from octavo.compress.options import Options
from octavo.compress.prepare import prepare
from octavo.compress.record import QUANTIZE, read_record, record_text, recorded_reasons
from octavo.compress.static import start
from octavo.engine import Session
from octavo.onnx_export import export_model
from octavo.report.bench import bench, bench_text
from octavo.report.explain import explain, explain_text
from octavo.report.inspect import inspect, inspect_text
from small_models import model, tensor
from test_quantize import convnet, outputs, samples, sqnr


def bits_of(report: octavo.QuantizeReport) -> dict[str, str]:
    return {layer.name: layer.weights.partition(",")[0] or layer.kind for layer in report.layers}


def test_each_layer_has_the_bits_it_was_given() -> None:
    given = {"first": 4, "depthwise": 2, "project": "float"}
    report = octavo.quantize(convnet(), samples(), layer_bits=given)
    found = bits_of(report)
    assert [found[n] for n in ("first", "depthwise", "project", "head")] == ["int4", "int2 in int4", "float", "int8"]
    graph = {n.name: n for n in report.model.graph.node}
    made = {out: n for n in report.model.graph.node for out in n.output}
    for name, most in (("first", 7), ("depthwise", 2), ("head", 127)):
        (source,) = (i for i in report.model.graph.initializer if i.name == made[graph[name].input[1]].input[0])
        q = onnx.numpy_helper.to_array(source).astype(int)
        assert most / 2 <= np.abs(q).max() <= most, name
    session = octavo.Session(report.model, optimize=False)
    assert ("Conv", "project") in {(s.op, s.name) for s in session.steps}
    assert report.as_dict()["options"]["layer_bits"] == given


def test_the_other_layers_are_what_they_are_without_it() -> None:
    def integers(net: onnx.ModelProto, name: str) -> bytes:
        node = next(n for n in net.graph.node if n.name == name)
        restore = next(n for n in net.graph.node if n.output[0] == node.input[1])
        source = next(i for i in net.graph.initializer if i.name == restore.input[0])
        return onnx.numpy_helper.to_array(source).astype(np.int8).tobytes()

    plain = octavo.quantize(convnet(), samples()).model
    mixed = octavo.quantize(convnet(), samples(), layer_bits={"depthwise": "float", "project": 4}).model
    for name in ("first", "head"):
        assert integers(plain, name) == integers(mixed, name)
    assert integers(plain, "project") != integers(mixed, "project")


def test_one_calibration_serves_several_methods_and_schemes() -> None:
    """What start() returned quantizes as often as it likes: ranges of one method are not those of another."""
    graph, _ = prepare(convnet(), 21)
    work = start(graph, samples(), Options())
    for options in (Options(), Options(method="minmax"), Options(activations="int8", symmetric=True), Options()):
        alone = start(prepare(convnet(), 21)[0], samples(), options).quantize(options)
        got, want = (export_model(r.graph).SerializeToString() for r in (work.quantize(options), alone))
        assert got == want, options


def test_what_is_fused_with_a_float_layer_stays_float_too() -> None:
    rng = np.random.default_rng(1)
    w = {k: rng.normal(0, 0.4, s).astype(np.float32) for k, s in {"w1": (6, 8), "b1": (8,), "w2": (8, 4)}.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"], "product"),
        helper.make_node("Add", ["m", "b1"], ["s"], "bias"),
        helper.make_node("Relu", ["s"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "last"),
    ]
    net = model(nodes, [tensor("x", ["N", 6])], [tensor("y", ["N", 4])], w)
    data = [{"x": rng.normal(0, 1, (1, 6)).astype(np.float32)} for _ in range(16)]
    report = octavo.quantize(net, data, layer_bits={"product": "float"})
    assert {layer.name for layer in report.float_layers} == {"product", "bias", "relu"}
    assert sqnr(outputs(net, data), outputs(report.model, data)) > 30


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"nowhere": 4}, "layer_bits names 'nowhere'"),
        ({"first": 5}, "layer_bits of 'first' should be 8, .* or 'float', not 5"),
        ({"first": 16}, "layer_bits of 'first' should be"),
        ({"mean": 4}, "layer_bits gives 'mean' 4 bits, but it is no layer with weights"),
    ],
)
def test_wrong_layers_are_named(layers: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(octavo.InvalidArgument, match=message):
        octavo.quantize(convnet(), samples(), tmp_path / "out.onnx", layer_bits=layers)
    assert not list(tmp_path.iterdir())


def test_all_float_is_nothing_to_quantize() -> None:
    names = ("first", "depthwise", "project", "head")
    with pytest.raises(octavo.Unsupported, match="every layer with weights is left float"):
        octavo.quantize(convnet(), samples(), layer_bits=dict.fromkeys(names, "float"))


def test_the_file_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(convnet(), tmp_path / "float.onnx")
    np.savez(tmp_path / "data.npz", x=np.concatenate([f["x"] for f in samples()]))
    out = str(tmp_path / "mixed.onnx")
    command = ["quantize", str(tmp_path / "float.onnx"), "--calibration", str(tmp_path / "data.npz"), "-o", out]
    assert main([*command, "--layer", "depthwise=float", "--layer", "project=4", "--exclude", "mean"]) == 0
    capsys.readouterr()
    session = Session(out)
    session.save(tmp_path / "mixed.octavo")
    for metadata in (session.plan.metadata, Session(tmp_path / "mixed.octavo").plan.metadata):
        assert recorded_reasons(metadata)["depthwise"] == "layer_bits says so"
        assert recorded_reasons(metadata)["mean"] == "excluded"
        assert {str(g.get("weights"))[:4] for g in read_record(metadata)["layers"]} == {"int8", "int4", "None"}
        assert "weights int4" in record_text(metadata)[0]
    report = explain(out, rounds=1)
    assert {"node": "depthwise", "op": "Conv", "reason": "quantize left it float: layer_bits says so"} in [
        {**e, "node": e["node"].split("+")[0]} for e in report["float"]
    ]
    for text in (explain_text(report), inspect_text(inspect(session, {})), bench_text(bench(out, rounds=1))):
        assert "Quantized by octavo: activations uint8" in text
    with pytest.raises(SystemExit):
        main([*command, "--layer", "depthwise"])


@pytest.mark.parametrize("text", ["", "[]", "{", '{"layers": 3}', '{"layers": [1, {"nodes": [2]}]}', "[" * 100000])
def test_a_record_of_another_making_says_nothing(text: str) -> None:
    assert recorded_reasons({QUANTIZE: text}) == {} and record_text({QUANTIZE: text}) == []


def test_a_record_is_small() -> None:
    report = octavo.quantize(convnet(), samples())
    text = next(p.value for p in report.model.metadata_props if p.key == QUANTIZE)
    assert len(text) < 1200 and json.loads(text)["options"]["activations"] == "uint8"
