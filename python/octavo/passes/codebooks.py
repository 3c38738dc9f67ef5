"""Codebook weights: codes that index a small table."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from octavo.ir import Graph, Node, Uses
from octavo.passes.small_weights import restorable, restore_node

LARGEST = 256
FLOATS = {np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16)}
INTEGERS = {np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16)}
CODES = [(4, np.dtype(ml_dtypes.uint2)), (16, np.dtype(ml_dtypes.uint4)), (256, np.dtype(np.uint8))]


def read_codebooks(graph: Graph) -> None:
    """[Cast ->] Gather(table, codes) [-> DequantizeLinear]  =>  Restore, all of it over constants, where everything
    that reads the weight can restore it itself. Kept for recognition as integers: weights beside a
    dequantized activation.
    """
    for node in list(graph.nodes):
        if node.is_op("Gather"):
            read_codebook(graph, Uses(graph), node)
    graph.drop_dead()


def read_codebook(graph: Graph, uses: Uses, gather: Node) -> None:
    table, codes = graph.const(gather.inputs[0]), graph.const(gather.inputs[1])
    cast = uses.producer.get(gather.inputs[1])
    if codes is None and cast is not None and cast.is_op("Cast"):
        codes = graph.const(cast.inputs[0])
    if table is None or codes is None or table.ndim != 1 or not 0 < table.size <= LARGEST or codes.ndim < 2:
        return
    if table.dtype not in FLOATS | INTEGERS or (codes.dtype.kind == "f"):
        return
    last, scale, zp, axis, block = gather, "", "", 1, 0
    after = uses.single_reader(gather.outputs[0])
    if after is not None and after.is_op("DequantizeLinear") and after.inputs[0] == gather.outputs[0]:
        scale, zp = after.inputs[1], after.input(2)
        if graph.const(scale) is None or (zp and graph.const(zp) is None):
            return
        last, axis, block = after, int(after.attrs.get("axis", 1)), int(after.attrs.get("block_size", 0) or 0)
    elif table.dtype != np.float32:
        return
    out = weight = last.outputs[0]
    turn, shape = uses.single_reader(out), codes.shape
    if turn is not None and turn.is_op("Transpose") and codes.ndim == 2 and turn.attrs.get("perm") in (None, [1, 0]):
        weight, shape = (
            turn.outputs[0],
            shape[::-1],
        )  # the weight takes the transpose in when it becomes plan arithmetic
    if graph.dtype(out) not in (None, np.dtype(np.float32)) or not restorable(graph, uses.readers, weight, shape):
        return
    if any(dequantized(graph, uses, reader) for reader in uses.readers[weight]):
        return
    wide = codes if codes.dtype.kind in "iu" else codes.astype(np.uint8 if "u" in codes.dtype.name else np.int8)
    if wide.dtype.kind == "i" and (wide < 0).any():
        wide = np.where(wide < 0, wide + table.size, wide)
    if int(wide.min()) < 0 or int(wide.max()) >= table.size:
        return  # the Gather that stays reports it
    dtype = next(d for most, d in CODES if int(wide.max()) < most)
    small = graph.new_const(gather.inputs[1], wide.astype(np.uint8, copy=False).view(dtype))
    node = restore_node(graph, out, small, scale, zp, gather.inputs[0], last.name, axis, block)
    graph.nodes[graph.nodes.index(last)] = node


def dequantized(graph: Graph, uses: Uses, reader: Node) -> bool:
    """Whether the reader's activation comes out of a DequantizeLinear: its weights then serve as integers."""
    producer = uses.producer.get(reader.inputs[0]) if reader.op != "Gather" else None
    return producer is not None and producer.is_op("DequantizeLinear") and graph.const(producer.inputs[0]) is None
