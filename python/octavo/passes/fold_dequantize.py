"""Dequantized constants that no integer operator took: stored small where a float operator can restore them itself,
float constants otherwise."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node
from octavo.passes.fold_constants import fold_node, replace
from octavo.passes.small_weights import dense, fits, restore_node


def fold_dequantize(graph: Graph) -> None:
    """Dequantize(constant), DequantizeLinear(constants)  =>  Restore where all readers take one (MatMul, Gemm, Conv,
    Gather), else a constant: fl32(q - zp) * scale, an exact rule, either way. Other Restore nodes likewise.
    """
    readers = graph.readers()
    for node in list(graph.nodes):
        if take_transpose(graph, node, readers):
            continue
        if not (node.is_op("DequantizeLinear") or node.is_plan("Dequantize", "Restore")):
            continue
        restore = node if node.is_plan("Restore") else as_restore(graph, node)
        if restore is not None and fits(graph, restore, readers):
            graph.nodes[graph.nodes.index(node)] = restore
        elif node.is_op("DequantizeLinear"):
            fold_literal(graph, node)
        elif restore is not None:
            replace(graph, node, [dense(graph, restore) if node.op == "Restore" else exact(graph, restore)])


def take_transpose(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> bool:
    """Transpose(restored matrix)  =>  Restore of the transposed matrix, where what reads it restores it itself."""
    if not (node.is_op("DequantizeLinear") or node.is_plan("Dequantize", "Restore")):
        return False
    after = readers.get(node.outputs[0], [])
    codes = graph.const(node.inputs[0])
    if len(after) != 1 or not after[0].is_op("Transpose") or node.outputs[0] in graph.output_values():
        return False
    if codes is None or codes.ndim != 2 or list(after[0].attrs.get("perm") or [1, 0]) != [1, 0]:
        return False
    restore = node if node.is_plan("Restore") else as_restore(graph, node)
    if restore is None or "sparse_shape" in restore.attrs:
        return False
    q, scale, zp = (
        name if array is None or array.ndim < 2 else graph.new_const(name, np.ascontiguousarray(array.T))
        for name, array in ((name, graph.const(name)) for name in restore.inputs[:3])
    )
    axis, block = 1 - int(restore.attrs.get("axis", 1)) % 2, int(restore.attrs.get("block_size", 0))
    made = restore_node(graph, after[0].outputs[0], q, scale, zp, restore.inputs[3], node.name, axis, block)
    if not fits(graph, made, readers):
        return False
    graph.nodes[graph.nodes.index(after[0])] = made
    graph.remove(node)
    return True


def fold_restores(graph: Graph) -> None:
    """Restore that something still reads after conversion (a Python step)  =>  a float constant."""
    read = {name for node in graph.nodes for name in node.inputs} | graph.output_values()
    for node in list(graph.nodes):
        if node.is_plan("Restore") and node.outputs[0] in read:
            replace(graph, node, [dense(graph, node)])


def as_restore(graph: Graph, node: Node) -> Node | None:
    """The Restore node that does the work of one over constants; None for anything else."""
    q = graph.const(node.inputs[0])
    if q is None:
        return None
    scale, zp, axis, block = node.input(1), node.input(2), int(node.attrs.get("axis", 1)), 0
    if node.is_op("DequantizeLinear"):
        if graph.const(scale) is None or (zp and graph.const(zp) is None) or graph.dtype(node.outputs[0]) != np.float32:
            return None
        block = int(node.attrs.get("block_size", 0) or 0)
    elif len(node.inputs) == 1:
        scale = graph.new_const(f"{node.outputs[0]}/scale", np.array(node.attrs["x_scale"], np.float32))
        zp = graph.new_const(f"{node.outputs[0]}/zero_point", np.array(node.attrs["x_zp"], np.int64))
    return restore_node(graph, node.outputs[0], node.inputs[0], scale, zp, "", node.name, axis, block)


def exact(graph: Graph, node: Node) -> np.ndarray:
    """fl32(q - zp) * scale of any integers: differences of int32 do not fit float32, so they are taken as integers."""
    from octavo.ops._blocks import spread

    q, scale, zp = (graph.const(name) for name in node.inputs[:3])
    assert q is not None and scale is not None and zp is not None
    difference = (q.astype(np.int64) - spread(zp.astype(np.int64), q, node.attrs)).astype(np.float32)
    with np.errstate(all="ignore"):
        return np.asarray(difference * spread(scale, q, node.attrs), np.float32)


def fold_literal(graph: Graph, node: Node) -> None:
    """A DequantizeLinear that was not read as plan arithmetic: literal mode, 4-bit and blocked weights."""
    arrays = [graph.const(name) for name in node.inputs]
    if all(a is not None or not name for a, name in zip(arrays, node.inputs)):
        fold_node(graph, node, arrays)
