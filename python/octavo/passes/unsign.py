"""s8 activations become u8 (value + 128), so that every kernel has one input type. Exact: only the coding changes."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Uses, plan_node
from octavo.passes.quant import tensor_scale

S8, U8 = np.dtype(np.int8), np.dtype(np.uint8)


def unsign_activations(graph: Graph) -> bool:
    """QuantizeLinear(s8, zp) -> DequantizeLinear(s8, zp)  =>  the same in u8 with zp + 128.

    Where something else reads the s8 tensor, or it is a graph output, a Flip8 gives it back; an s8 graph input gets a
    Flip8 in front of its DequantizeLinear readers.
    """
    changed = False
    for node in list(graph.nodes):
        if not node.is_op("QuantizeLinear") or graph.const(node.inputs[0]) is not None:
            continue
        params = tensor_scale(graph, node, S8)
        if params is None:
            continue
        out = node.outputs[0]
        coded = graph.new_value(f"{out}.u8", U8, graph.shape(out))
        node.inputs = [node.inputs[0], node.inputs[1], graph.new_const(f"{out}.zp", np.array(params.zp + 128, np.uint8))]
        node.attrs.pop("output_dtype", None)
        node.outputs = [coded]
        read_coded(graph, out, coded)
        if out in graph.output_values() or out in graph.readers():
            graph.insert_after(node, [plan_node("Flip8", [coded], [out], node.name)])
        changed = True
    for name in graph.inputs:
        if graph.dtype(name) != S8:
            continue
        coded = graph.new_value(f"{name}.u8", U8, graph.shape(name))
        if read_coded(graph, name, coded):
            graph.nodes.insert(0, plan_node("Flip8", [name], [coded], name))
            changed = True
    return changed


def read_coded(graph: Graph, signed: str, coded: str) -> bool:
    """DequantizeLinear readers of the s8 value read its u8 form. Returns whether there were any."""
    found = False
    for reader in Uses(graph).readers.get(signed, []):
        if not reader.is_op("DequantizeLinear") or reader.inputs[0] != signed:
            continue
        params = tensor_scale(graph, reader, S8)
        if params is None:
            continue
        zp = graph.new_const(f"{signed}.zp", np.array(params.zp + 128, np.uint8))
        reader.inputs = [coded, reader.inputs[1], zp]
        found = True
    return found
