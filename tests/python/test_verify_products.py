"""octavo verify of models whose activations stay float or are quantized at run time: product by product."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.report.verify import verify
from octavo.report.verify_html import verify_page
from small_models import model, tensor


def tower() -> onnx.ModelProto:
    """ids [N] -> rows of a table, twice product and relu, product -> y [N, 8]."""
    rng = np.random.default_rng(2)
    shapes = {"table": (40, 16), "w1": (16, 32), "w2": (32, 32), "w3": (32, 8)}
    constants = {n: rng.normal(0, 0.5, s).astype(np.float32) for n, s in shapes.items()}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "rows"),
        helper.make_node("MatMul", ["rows", "w1"], ["p1"], "first"),
        helper.make_node("Relu", ["p1"], ["a1"], "relu1"),
        helper.make_node("MatMul", ["a1", "w2"], ["p2"], "second"),
        helper.make_node("Relu", ["p2"], ["a2"], "relu2"),
        helper.make_node("MatMul", ["a2", "w3"], ["y"], "third"),
    ]
    return model(nodes, [tensor("ids", ["N"], onnx.TensorProto.INT64)], [tensor("y", ["N", 8])], constants)


DATA = [{"ids": np.array([k, 2 * k, 39 - k])} for k in range(8)]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "dynamic"},
        {"mode": "weight_only"},
        {"mode": "weight_only", "weight_bits": 4},
        {"mode": "weight_only", "weight_bits": 4, "block_size": 8, "weight_symmetric": False},
    ],
)
def test_each_product_alone_and_accumulated(options: dict[str, object]) -> None:
    net = tower()
    small = octavo.quantize(net, None, **options).model
    report = verify(net, small, DATA)
    known = {(e.node, e.op) for e in report.layers}
    assert {("rows", "Gather"), ("first", "MatMul"), ("second", "MatMul")} <= known and report.samples == 8
    assert all(e.alone is not None and 5 < e.alone < 80 for e in report.layers)
    errors = {e.node: e for e in report.layers}
    # The table reads ids, so by itself it loses what it loses; behind it errors accumulate.
    assert errors["rows"].alone == pytest.approx(errors["rows"].sqnr)
    assert errors["third"].sqnr < (errors["third"].alone or 0)
    assert "times the median channel" not in "".join(e.cause for e in report.layers)  # no scale serves the results
    want, got = (np.concatenate([octavo.run(m, f)[0] for f in DATA]).astype(np.float64) for m in (net, small))
    ratio = (want**2).sum() / ((want - got) ** 2).sum()
    assert errors["third"].sqnr == pytest.approx(10 * math.log10(ratio), abs=0.1)


def test_a_layer_alone_reads_the_float_models_values() -> None:
    net = tower()
    coarse = octavo.quantize(net, None, mode="weight_only", weight_bits=4).model
    table = next(n for n in coarse.graph.node if n.op_type == "DequantizeLinear" and "table" in n.input[0])
    for tensor_ in coarse.graph.initializer:  # spoil the table: what reads it loses nothing by itself
        if tensor_.name == table.input[1]:
            tensor_.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor_) * 9, tensor_.name))
    before = {
        e.node: e for e in verify(net, octavo.quantize(net, None, mode="weight_only", weight_bits=4).model, DATA).layers
    }
    after = {e.node: e for e in verify(net, coarse, DATA).layers}
    assert (after["rows"].alone or 0) < (before["rows"].alone or 0) - 10
    assert after["first"].alone == pytest.approx(before["first"].alone)
    assert after["first"].sqnr < before["first"].sqnr - 5


def test_few_bits_are_named_and_drawn() -> None:
    net = tower()
    small = octavo.quantize(net, None, mode="weight_only", weight_bits=4).model
    report = verify(net, small, DATA, histograms=True)
    assert {e.cause for e in report.layers} == {"its weights have few bits"}
    text = verify_page(report, net, small)
    assert text.count("weights; ") >= 3 and "alone" in text


def test_the_same_weights_are_nothing_to_compare() -> None:
    with pytest.raises(octavo.InvalidArgument, match="no quantized tensor"):
        verify(tower(), tower(), DATA)
