"""Weights of few bits are learned block by block: gradients, blocks, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo.compress import samples
from octavo.compress.blocks import find_blocks
from octavo.compress.gradient import Product
from octavo.compress.learned import Learned, Network
from octavo.compress.options import Options
from octavo.compress.prepare import prepare
from octavo.compress.reconstruct import learnable
from octavo.compress.samples import Recorded, record
from octavo.compress.scheme import WeightScheme
from octavo.compress.static import Calibrated, start, written
from octavo.compress.variants import variants
from octavo.compress.write import quantized_weights
from octavo.ir import Graph, Node, Value
from octavo.onnx_export import export_model
from small_models import model, tensor

FORMS = [
    {"channels": (4, 6), "kernel": (3, 3), "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"channels": (6, 6), "group": 6, "kernel": (3, 3), "pads": [0, 1, 1, 2]},
    {"channels": (6, 6), "group": 6, "kernel": (5, 5), "strides": [2, 1], "pads": [2, 2, 2, 2]},
    {"channels": (6, 4), "group": 2, "kernel": (3, 3), "dilations": [2, 2], "pads": [0, 0, 0, 0]},
    {"channels": (5, 7), "kernel": (1, 1)},
    {"channels": (3, 4), "kernel": (3,), "pads": [1, 1]},
    {"channels": (5, 7)}, {"channels": (5, 7), "transB": 1},
]  # fmt: skip


def one_node(form: dict[str, Any]) -> tuple[Graph, Node]:
    form = dict(form)
    (inputs, outputs), kernel = form.pop("channels"), form.pop("kernel", None)
    rng = np.random.default_rng(3)
    if kernel is None:
        shape, op, x = (outputs, inputs) if form.get("transB") else (inputs, outputs), "Gemm", ("N", inputs)
    else:
        shape, op = (outputs, inputs // form.get("group", 1), *kernel), "Conv"
        x = ("N", inputs, *[9] * len(kernel))
    w, bias = rng.normal(size=shape).astype(np.float32), rng.normal(size=outputs).astype(np.float32)
    net = model(
        [helper.make_node(op, ["x", "w", "b"], ["y"], "layer", **form)],
        [tensor("x", x)], [tensor("y", ["N", outputs, *[None] * (len(x) - 2)])], {"w": w, "b": bias},
    )  # fmt: skip
    graph, _ = prepare(net, 21)
    return graph, graph.nodes[0]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_products_have_the_gradients_that_differences_show(form: dict[str, Any]) -> None:
    graph, node = one_node(form)
    product, rng = Product(graph, node), np.random.default_rng(4)
    w, bias = (graph.const(name) for name in node.inputs[1:3])
    assert w is not None and bias is not None
    packed = product.packed(w)
    assert np.array_equal(product.unpacked(packed), w)
    shape = graph.shape("x")
    assert shape is not None
    x = rng.normal(size=(3, *shape[1:])).astype(np.float32)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    y = product.forward(last, packed, bias)
    (want,) = run(graph, x)
    assert np.allclose(np.moveaxis(y, -1, 1), want, atol=1e-4)
    dy = rng.normal(size=y.shape).astype(np.float32)
    dw, dbias, dx = product.backward(last, packed, dy, True)
    assert dx is not None
    places = [last.astype(np.float64), packed.astype(np.float64), bias.astype(np.float64)]
    for k, gradient in enumerate((dx, dw, dbias)):
        way = rng.normal(size=places[k].shape)
        ends = []
        for sign in (1, -1):
            moved = list(places)
            moved[k] = moved[k] + sign * 1e-3 * way
            ends.append(float((product.forward(*moved) * dy).sum()))
        slope = (ends[0] - ends[1]) / 2e-3
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-3, abs=1e-3)
    assert product.backward(last, packed, dy, False)[2] is None


def run(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    return octavo.run(export_model(graph), [x])


def network(batch: int | str = "N") -> onnx.ModelProto:
    """A stem, an inverted residual, a fire module, a part without gradients, a mean and a classifier."""
    rng = np.random.default_rng(8)
    constants: dict[str, np.ndarray] = {"lo": np.float32(0), "hi": np.float32(6)}  # type: ignore[dict-item]
    nodes = []

    def conv(name: str, x: str, inputs: int, outputs: int, kernel: int = 1, group: int = 1) -> str:
        size = (2.0 / (inputs // group * kernel * kernel)) ** 0.5
        spread = np.exp(rng.normal(0, 0.3, (outputs, 1, 1, 1)))
        w = rng.normal(0, size, (outputs, inputs // group, kernel, kernel)) * spread
        constants[f"{name}/w"] = w.astype(np.float32)
        constants[f"{name}/b"] = rng.normal(0, 0.2, outputs).astype(np.float32)
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [x, f"{name}/w", f"{name}/b"], [name], name, pads=pads, group=group))
        return name

    def then(op: str, name: str, *inputs: str, **attrs: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [name], name, **attrs))
        return name

    x = then("Clip", "a", conv("stem", "x", 3, 8, 3), "lo", "hi")
    y = then("Clip", "c", conv("expand", x, 8, 16), "lo", "hi")
    y = then("Clip", "d", conv("depthwise", y, 16, 16, 3, 16), "lo", "hi")
    x = then("Add", "sum", conv("project", y, 16, 8), x)
    x = then("MaxPool", "pool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = then("Relu", "s", conv("squeeze", x, 8, 6))
    left, right = then("Relu", "l", conv("left", x, 6, 8)), then("Relu", "r", conv("right", x, 6, 8, 3))
    x = then("Concat", "cat", left, right, axis=1)
    x = then("GlobalAveragePool", "mean", x)
    x = then("Flatten", "flat", x)
    constants["head/w"] = rng.normal(0, 0.4, (16, 5)).astype(np.float32)
    then("Gemm", "y", x, "head/w")
    return model(nodes, [tensor("x", [batch, 3, 12, 12])], [tensor("y", [batch, 5])], constants)


def pictures(count: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    """Smooth ones: neighbours are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (count, 1, 3, 4, 4))
    return [
        {"x": (np.kron(c, np.ones((1, 1, 3, 3))) + rng.normal(0, 0.2, (1, 3, 12, 12))).astype(np.float32)}
        for c in coarse
    ]


def calibrated(**options: Any) -> tuple[Calibrated, Options]:
    chosen = Options(**options)
    graph, _ = prepare(network(), chosen.opset)
    return start(graph, pictures(16), chosen), chosen


def test_blocks_lie_between_tensors_that_everything_flows_through() -> None:
    graph, _ = prepare(network(), 21)
    cuts = {n.outputs[0] for n in graph.nodes} | {"x"}
    found = [(b.entry, b.exit, [n.name for n in b.layers(graph)]) for b in find_blocks(graph, cuts)]
    assert found == [
        ("x", "a", ["stem"]),
        ("a", "sum", ["expand", "depthwise", "project"]),
        ("pool", "cat", ["squeeze", "left", "right"]),
        ("flat", "y", ["y"]),
    ]
    without = [b.exit for b in find_blocks(graph, cuts - {"a"})]  # may not begin there: joins what is before it
    assert without == ["sum", "cat", "y"]


def test_a_network_computes_what_its_layers_compute_and_learns() -> None:
    graph, _ = prepare(network(), 21)
    cuts = {n.outputs[0] for n in graph.nodes} | {"x"}
    rng = np.random.default_rng(2)
    for block in find_blocks(graph, cuts):
        scheme = WeightScheme(8)
        layers = {}
        for node in block.layers(graph):
            weights = quantized_weights(graph, node, scheme, Options().activation_scheme.params(-4, 4))
            layers[node.outputs[0]] = Learned(graph, node, weights, scheme, biases=True)
        net = Network(graph, block, layers)
        shape = graph.shape(block.entry)
        assert shape is not None
        channels = shape[1]
        x = rng.normal(size=(4, channels) if len(shape) == 2 else (4, channels, 8, 8)).astype(np.float32)
        part, _ = graph.copied()
        part.nodes = [n for n in part.nodes if n.name in {m.name for m in block.nodes}]
        part.inputs, part.outputs = [block.entry], [(block.exit, block.exit)]
        part.values[block.entry] = Value(block.entry, np.dtype(np.float32), x.shape)
        want = np.moveaxis(run(part, x)[0], 1, -1)
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        start_error = float(((net.forward(last)[block.exit] - want) ** 2).sum())
        assert start_error < 1e-3 * float((want**2).sum())
        for layer in layers.values():  # away from what it should be, and back
            layer.bias.value += np.float32(0.1)
        errors = []
        for _ in range(150):
            values = net.forward(last)
            off = values[block.exit] - want
            errors.append(float((off**2).sum()))
            net.backward(values, off * np.float32(2 / off.size), 2.0, integers=False)
        assert errors[-1] < 0.2 * errors[0], block.exit


def logits(net: Any, data: list[dict[str, np.ndarray]]) -> np.ndarray:
    session = octavo.Session(net)
    return np.concatenate([session.run(None, feeds)[0] for feeds in data])


def test_learned_int4_weights_are_better_on_other_pictures_and_stay_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    net, other = network(), pictures(40, seed=7)
    want = logits(net, other)

    def error(**options: Any) -> float:
        return float(
            ((logits(octavo.quantize(net, pictures(24), weight_bits=4, **options).model, other) - want) ** 2).sum()
        )

    learned, nearest = error(), error(rounding="nearest")
    monkeypatch.setattr("octavo.compress.static.FEW", 0)
    single = error()
    assert learned < 0.7 * single and learned < 0.5 * nearest
    monkeypatch.undo()
    report = octavo.quantize(net, pictures(8), weight_bits=4)
    stored = {i.name: i.data_type for i in report.model.graph.initializer}
    int4 = [n for n, kind in stored.items() if kind == onnx.TensorProto.INT4 and "zero_point" not in n]
    assert len(int4) == 8
    onnx.checker.check_model(report.model, full_check=True)
    session = octavo.Session(report.model)
    assert sum(step.op == "QConv" for step in session.steps) == 7 and not session.notes


@pytest.mark.parametrize(
    "options",
    [
        {"per_channel": False}, {"power_of_two": True}, {"bias_correction": False}, {"weight_symmetric": False},
        {"weight_bits": 2}, {"weight_bits": "ternary"}, {"activations": "int8"}, {"layer_bits": {"depthwise": 8}},
        {"layer_bits": {"project": "float"}}, {"exclude": ["sum"]}, {"opset": 13},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_learned_keeps_to_the_options(options: dict[str, Any]) -> None:
    choices = {"weight_bits": 4, **options}
    work, chosen = calibrated(**choices)
    nodes = {n.name: n for n in work.graph.nodes}
    before = {name: work.graph.const(n.inputs[2]) for name, n in nodes.items() if n.op == "Conv"}
    placement = work.place(chosen)
    params = work.parameters(placement, chosen)
    for out, weights in work.weights(placement, params, chosen).items():
        node = next(n for n in work.graph.nodes if n.outputs[0] == out)
        scheme = chosen.weights_of(node.name)
        assert weights.q.dtype == scheme.dtype
        assert scheme.limits[0] <= weights.q.min() and weights.q.max() <= scheme.limits[1]
        assert weights.params.scale.size == (1 if not chosen.per_channel else node_outputs(work.graph, node))
        if chosen.power_of_two:
            assert np.array_equal(np.exp2(np.rint(np.log2(weights.params.scale))), weights.params.scale)
        if not chosen.bias_correction:
            assert weights.bias is None or np.array_equal(weights.bias, before[node.name])
    first = octavo.quantize(network(), pictures(8), **choices).model
    again = octavo.quantize(network(), pictures(8), **choices).model
    assert first.SerializeToString() == again.SerializeToString()
    assert octavo.run(first, pictures(1)[0])[0].shape == (1, 5)


def node_outputs(graph: Graph, node: Node) -> int:
    w = graph.const(node.inputs[1])
    assert w is not None
    return w.shape[0] if node.op == "Conv" else w.shape[1]


def test_what_is_recorded_of_a_block_is_the_same_from_the_block_before(monkeypatch: pytest.MonkeyPatch) -> None:
    work, chosen = calibrated(weight_bits=4)
    placement = work.place(chosen)
    params = work.parameters(placement, chosen)
    with work.unlearned():
        weights = work.weights(placement, params, chosen)
    rough = written(work.graph, placement, params, weights, chosen.activation_scheme)[0]
    last: Recorded | None = None
    read: list[Any] = []
    reads = []
    monkeypatch.setattr("octavo.compress.samples.VARIANTS", 5)
    monkeypatch.setattr("octavo.compress.samples.fresh", counted(read, samples.fresh))
    for block in find_blocks(work.graph, set(params)):
        assert learnable(work.graph, block, weights)
        given = params[block.entry]
        whole = record(work.graph, rough, block, given, work.data, None)
        read.clear()
        last = record(work.graph, rough, block, given, work.data, last)
        assert len(last.pairs) == len(whole.pairs) == 16 * last.count and last.whole
        for one, other in zip(last.pairs, whole.pairs):
            assert one[0].dtype == given.dtype and np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
        reads.append(len(read))
    assert reads == [1, 0, 0, 0] and last is not None
    monkeypatch.setattr("octavo.compress.samples.BYTES", last.pairs[0][0].nbytes * 2)
    short = record(work.graph, rough, block, given, work.data, None)
    assert len(short.pairs) < 3 and not short.whole


def counted(calls: list[Any], function: Any) -> Any:
    def call(*args: Any) -> Any:
        calls.append(args)
        return function(*args)

    return call


def test_a_search_learns_once_and_keeps_no_worse_than_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Any] = []
    monkeypatch.setattr(Calibrated, "reconstruct", counted(learned, Calibrated.reconstruct))
    data, net = pictures(16), network()
    report = octavo.quantize(net, data, weight_bits=4, max_drop=50.0, mix=(4, 8))
    assert len(learned) == 1 and report.budget is not None
    point, want = report.budget.points[report.budget.chosen], logits(net, data).argmax(1)
    assert point.drop == pytest.approx(100 * float(np.mean(logits(report.model, data).argmax(1) != want)))
    monkeypatch.setattr(Calibrated, "reconstruct", spoil)
    kept = octavo.quantize(net, data, weight_bits=4, max_drop=50.0, mix=(4, 8)).model
    single = logits(kept, data)
    assert 100 * float(np.mean(single.argmax(1) != want)) <= 50


def spoil(_: Calibrated, __: Any, ___: Any, weights: dict[str, Any], *____: Any) -> None:
    for name, w in weights.items():
        weights[name] = replace(w, q=np.zeros_like(w.q))


def test_variants_are_pictures_like_the_first_and_always_the_same() -> None:
    (feeds,) = pictures(1)
    found = list(variants(feeds, 3, 4))
    assert len(found) == 4 and found[0] is feeds
    assert np.array_equal(found[1]["x"], feeds["x"][..., ::-1])
    for one, other in zip(found, variants(feeds, 3, 4)):
        assert np.array_equal(one["x"], other["x"]) and one["x"].dtype == np.float32
        assert one["x"].min() >= feeds["x"].min() and one["x"].max() <= feeds["x"].max()
    assert not np.array_equal(found[2]["x"], next(v for k, v in enumerate(variants(feeds, 4, 4)) if k == 2)["x"])
    for other_input in (
        {"x": np.zeros((1, 4, 9, 9), np.float32)},
        {"x": np.zeros((1, 9), np.float32)},
        {**feeds, "y": feeds["x"]},
    ):
        assert len(list(variants(other_input, 0, 4))) == 1


def test_pictures_of_different_sizes_are_learned_from() -> None:
    net = network()
    net.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"
    data = pictures(6) + [{"x": feeds["x"][:, :, :8]} for feeds in pictures(5, seed=3)]
    model = octavo.quantize(net, data, weight_bits=4).model
    assert logits(model, data[:1]).shape == (1, 5)
