"""onnxruntime's dynamic quantization, fused."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node, Uses
from octavo.passes.match import Patch, join

F32 = 1  # Cast's target


def fuse_dynamic_quantization(graph: Graph) -> None:
    """DynamicQuantizeLinear(x) = (q, s, z); Mul(Cast(MatMulInteger(q, w, z, w_zp)), Mul(s, s_w)) [+ bias]
    =>  QGemmDynamic(q, z, w - w_zp, s, s_w, bias): fl(fl(acc) * fl(s * s_w)), then + bias; the same bytes.

    Kept apart: w or s_w not constant, another order of the multiplications, intermediate results read elsewhere.
    """
    for node in list(graph.nodes):
        if node.is_op("MatMulInteger"):
            fuse(graph, Uses(graph), node)
    graph.drop_dead()


def fuse(graph: Graph, uses: Uses, node: Node) -> bool:
    w, zero = graph.const(node.inputs[1]), graph.const(node.input(3))
    source = uses.producer.get(node.inputs[0])
    if source is None or not source.is_op("DynamicQuantizeLinear") or node.input(2) != source.outputs[2]:
        return False
    if w is None or w.ndim != 2 or (node.input(3) and zero is None):
        return False
    cast = uses.single_reader(node.outputs[0])
    if cast is None or not cast.is_op("Cast") or int(cast.attrs["to"]) != F32:
        return False
    scale = uses.single_reader(cast.outputs[0])
    if scale is None or not scale.is_op("Mul"):
        return False
    scales = uses.producer.get(scale.inputs[1] if scale.inputs[0] == cast.outputs[0] else scale.inputs[0])
    if scales is None or not scales.is_op("Mul") or source.outputs[1] not in scales.inputs:
        return False
    m = graph.const(scales.inputs[1] if scales.inputs[0] == source.outputs[1] else scales.inputs[0])
    if m is None or m.dtype != np.float32 or m.size not in (1, w.shape[1]) or m.ndim > 1:
        return False
    centred = w.astype(np.int32) - (0 if zero is None else zero.astype(np.int32).reshape(1, -1))
    fits = centred.min(initial=0) >= -128 and centred.max(initial=0) <= 127
    packed = np.ascontiguousarray(centred.T.astype(np.int8 if fits else np.int16))
    last, bias, gone = scale, "", [cast, scale]
    after = uses.single_reader(scale.outputs[0])
    if after is not None and after.is_op("Add"):
        other = after.inputs[1] if after.inputs[0] == scale.outputs[0] else after.inputs[0]
        b = graph.const(other)
        if b is not None and b.dtype == np.float32 and b.shape == (w.shape[1],):
            last, bias, gone = after, other, [*gone, after]
    patch = Patch(graph, node)
    name = join(*(n.name for n in (node, *gone)))
    inputs = [
        node.inputs[0], source.outputs[2], graph.new_const(node.inputs[1], packed), source.outputs[1],
        graph.new_const(f"{node.inputs[1]}/scale", m.reshape(-1)), bias,
    ]  # fmt: skip
    out = last.outputs[0]
    patch.emit("QGemmDynamic", inputs, np.float32, graph.shape(out), {}, out, name)
    patch.apply(*gone)
    return True
