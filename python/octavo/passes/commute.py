"""Movement commutes with quantization: f(DQ(q)) = DQ(f(q)) and Q(f(x)) = f(Q(x)), bit for bit."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node, Uses
from octavo.passes.quant import Scale, activation, scalar, tensor_scale

U8 = np.dtype(np.uint8)
MOVES = frozenset(
    "Transpose Reshape Flatten Squeeze Unsqueeze Slice Gather Split Expand Tile DepthToSpace SpaceToDepth MaxPool Resize Pad "
    "Concat Identity".split()
)


def movable(graph: Graph, node: Node) -> bool:
    """Whether the node only moves (or selects the largest of) the elements of its data input(s)."""
    if node.domain != "" or node.op not in MOVES:
        return False
    if node.op == "MaxPool":
        return len([o for o in node.outputs if o]) == 1
    if node.op == "Resize":
        return node.attrs.get("mode", "nearest") == "nearest"
    if node.op == "Pad" and node.attrs.get("mode", "constant") == "constant":
        return graph.opset >= 11 and (not node.input(2) or scalar(graph, node.inputs[2]) is not None)
    return True


def data_inputs(node: Node) -> range:
    return range(len(node.inputs)) if node.op == "Concat" else range(1)


def pad_in_integers(graph: Graph, node: Node, params: Scale) -> None:
    """A constant Pad of a float tensor, rewritten for its quantized form: the pad value is quantized too."""
    if node.op != "Pad" or node.attrs.get("mode", "constant") != "constant":
        return
    value = scalar(graph, node.input(2))
    q = params.quantize(np.float32(0) if value is None else value)
    node.inputs = [*(node.inputs + [""] * 3)[:2], graph.new_const(f"{node.name}.value", q), *node.inputs[3:]]


def pads_exactly(graph: Graph, node: Node, params: Scale) -> bool:
    """Whether the pad value survives quantization, so that DQ(pad(q)) = pad(DQ(q))."""
    if node.op != "Pad" or node.attrs.get("mode", "constant") != "constant":
        return True
    value = scalar(graph, node.input(2))
    wanted = np.float32(0) if value is None else np.float32(value)
    return bool(params.dequantize(params.quantize(wanted)) == wanted)


def push_dequantize_down(graph: Graph) -> bool:
    """f(DQ(q)) => DQ(f(q)) for movement f; Concat only where every part has the same scale and zero point."""
    changed = False
    for node in list(graph.nodes):
        if not movable(graph, node):
            continue
        uses = Uses(graph)
        sources = [activation(uses, node.inputs[k]) for k in data_inputs(node)]
        first = sources[0] if sources else None
        if first is None or any(s is None or s.params != first.params for s in sources):
            continue
        if not pads_exactly(graph, node, first.params) or graph.const(first.value) is not None:
            continue
        template = uses.producer[node.inputs[0]]
        for k, source in zip(data_inputs(node), sources):
            assert source is not None
            node.inputs[k] = source.value
        pad_in_integers(graph, node, first.params)
        after = []
        for k, out in enumerate(node.outputs):
            if not out:
                continue
            moved = graph.new_value(f"{out}.q", U8, graph.shape(out))
            node.outputs[k] = moved
            after.append(Node("DequantizeLinear", [moved, *template.inputs[1:]], [out], {}, template.name))
        graph.insert_after(node, after)
        changed = True
    return changed


def push_quantize_up(graph: Graph) -> bool:
    """Q(f(x)) => f(Q(x)) for movement f that nobody else reads."""
    changed = False
    for quantize in list(graph.nodes):
        if not quantize.is_op("QuantizeLinear"):
            continue
        params = tensor_scale(graph, quantize)
        while params is not None:
            uses = Uses(graph)
            node = uses.producer.get(quantize.inputs[0])
            if node is None or not movable(graph, node) or len([o for o in node.outputs if o]) != 1:
                break
            if uses.single_reader(node.outputs[0]) is not quantize:
                break
            if any(graph.const(node.inputs[k]) is not None for k in data_inputs(node)):
                break
            before = []
            for k in data_inputs(node):
                name = node.inputs[k]
                q = graph.new_value(f"{name}.q", U8, graph.shape(name))
                before.append(Node("QuantizeLinear", [name, *quantize.inputs[1:]], [q], {}, quantize.name))
                node.inputs[k] = q
            pad_in_integers(graph, node, params)
            graph.remove(quantize)
            node.outputs[0] = quantize.outputs[0]
            graph.insert_before(node, before)
            changed = True
            if len(before) != 1:
                break
            quantize = before[0]
    return changed


def gather_before_dequantize(graph: Graph) -> bool:
    """Gather(DQ(int8 table)) => DQ(Gather(table)): an embedding stays in 8 bits."""
    changed = False
    uses = Uses(graph)
    for node in list(graph.nodes):
        if not node.is_op("Gather"):
            continue
        dq = uses.producer.get(node.inputs[0])
        if dq is None or not dq.is_op("DequantizeLinear") or graph.const(dq.inputs[0]) is None:
            continue
        scale = scalar(graph, dq.input(1))
        if scale is None or scale.dtype != np.float32 or (dq.input(2) and scalar(graph, dq.inputs[2]) is None):
            continue
        out = node.outputs[0]
        small = graph.new_value(f"{out}.q", graph.dtype(dq.inputs[0]), graph.shape(out))
        node.inputs = [dq.inputs[0], node.inputs[1]]
        node.outputs = [small]
        graph.insert_after(node, [Node("DequantizeLinear", [small, *dq.inputs[1:]], [out], {}, dq.name)])
        changed = True
    return changed
