"""Weights that the file stores small (quantized, 16-bit, codebooks) stay so: whoever reads them restores them.

A `Restore` node (plan vocabulary, gone before lowering) stands for such a weight: inputs codes, scale, zero point,
table (all constants; absent ones ""), attributes `axis` and `block_size` as DequantizeLinear has them. With attribute
`sparse_shape`: inputs values and their positions, counted row-major.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from octavo.ir import Graph, Node, Shape, plan_node
from octavo.ops._restore import bits_of, pack
from octavo.ops.cast import DTYPES

SMALLEST = 256  # elements; below, floats are as good
NUMBERS: dict[np.dtype[Any], int] = {np.dtype(t): k for k, t in DTYPES.items()}
F32 = np.dtype(np.float32)
# Codes the core restores: integers of 2 to 16 bits, floats of 4 to 16.
CODES = {np.dtype(DTYPES[k]) for k in (2, 3, 4, 5, 10, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28)}


def restore_node(
    graph: Graph, out: str, codes: str, scale: str, zp: str, table: str, name: str, axis: int, block: int
) -> Node:
    """A Restore node that writes `out`, whose type and shape it settles."""
    value = graph.values[out]
    value.dtype, value.shape = F32, graph.shape(codes)
    return plan_node("Restore", [codes, scale, zp, table], [out], name, {"axis": axis, "block_size": block})


def restorable(graph: Graph, readers: dict[str, list[Node]], value: str, shape: Shape | None) -> bool:
    """Whether every reader of a weight can restore it itself."""
    if shape is None or np.prod([d for d in shape if isinstance(d, int)], dtype=np.int64) < SMALLEST:
        return False
    nodes = readers.get(value, [])
    if not nodes or value in graph.output_values():
        return False
    return all(reads(graph, node, value, shape) for node in nodes)


def reads(graph: Graph, node: Node, value: str, shape: Shape) -> bool:
    if node.attrs.get("acc64", 0) or list(node.inputs).count(value) != 1:
        return False
    if node.is_op("MatMul"):
        return node.inputs[1] == value and len(shape) == 2 and graph.dtype(node.inputs[0]) == F32
    if node.is_op("Gemm"):
        return node.inputs[1] == value and len(shape) == 2 and graph.dtype(node.inputs[0]) == F32
    if node.is_op("Conv"):
        return node.inputs[1] == value and len(shape) in (3, 4) and graph.dtype(node.inputs[0]) == F32
    if node.is_op("Gather"):
        index = graph.dtype(node.inputs[1])
        return (
            node.inputs[0] == value
            and int(node.attrs.get("axis", 0)) == 0
            and len(shape) >= 2
            and index in (np.dtype(np.int32), np.dtype(np.int64))
        )
    return False


@dataclass
class Stored:
    """A weight as the plan stores it: the constants' names, and the attributes that say how to read them."""

    codes: str
    others: list[str]  # scale, zp, table; "" for absent ones
    attrs: dict[str, Any]


def stored(graph: Graph, node: Node, order: list[int] | None = None) -> Stored | None:
    """The weight behind a Restore node, its axes in `order`; None when its scales do not fit that order."""
    if "sparse_shape" in node.attrs:
        return stored_sparse(graph, node, order)
    codes, scale, zp, table = (graph.const(name) if name else None for name in node.inputs)
    assert codes is not None
    order = order or list(range(codes.ndim))
    grid = scale_grid(codes.shape, scale, node.attrs, order)
    if grid is None:
        return None
    block, arrange = grid
    moved = np.ascontiguousarray(codes.transpose(order))
    attrs: dict[str, Any] = {"w_type": NUMBERS[codes.dtype], "w_shape": [int(d) for d in moved.shape]}
    hint, others = node.inputs[0], ["", "", ""]
    if scale is not None:
        attrs["w_block"] = block
        others[0] = graph.new_const(f"{hint}/scale", np.ascontiguousarray(arrange(scale.astype(np.float32))))
        if zp is not None and zp.astype(np.float32).any():
            others[1] = graph.new_const(f"{hint}/zero_point", zero_points(zp, arrange))
    if table is not None:
        padded = np.zeros(1 << bits_of(codes.dtype), np.float32)
        padded[: table.size] = table.astype(np.float32)
        others[2] = graph.new_const(f"{hint}/table", padded)
    return Stored(graph.new_const(hint, pack(moved)), others, attrs)


def stored_sparse(graph: Graph, node: Node, order: list[int] | None) -> Stored:
    """A sparse weight (inputs values and row-major positions): rows, each with its elements' columns."""
    values, at = graph.const(node.inputs[0]), graph.const(node.inputs[1])
    assert values is not None and at is not None
    shape: list[int] = node.attrs["sparse_shape"]
    order = order or list(range(len(shape)))
    moved = [shape[k] for k in order]
    index = np.unravel_index(at, shape)
    flat = np.ravel_multi_index(tuple(index[k] for k in order), tuple(moved))
    rows, columns = np.divmod(flat, int(np.prod(moved[1:])))
    sort = np.lexsort((columns, rows))
    starts = np.searchsorted(rows[sort], np.arange(moved[0] + 1)).astype(np.int32)
    columns = columns[sort].astype(np.uint16 if np.prod(moved[1:]) <= 1 << 16 else np.int32)
    hint = node.inputs[0]
    others = [graph.new_const(f"{hint}/starts", starts), graph.new_const(f"{hint}/columns", columns), ""]
    attrs = {"w_type": NUMBERS[F32], "w_sparse": 1, "w_shape": moved}
    return Stored(graph.new_const(hint, np.ascontiguousarray(values[sort])), others, attrs)


def zero_points(zp: np.ndarray, arrange: Any) -> np.ndarray:
    spread = zp.astype(np.float32).reshape(-1)
    if (spread == spread[0]).all():
        spread = spread[:1]
    else:
        spread = arrange(zp.astype(np.float32))
    for dtype in (np.uint8, np.int8):
        narrow = spread.astype(dtype)
        if (narrow.astype(np.float32) == spread).all():
            return np.ascontiguousarray(narrow)
    return np.ascontiguousarray(spread)


def scale_grid(shape: tuple[int, ...], scale: np.ndarray | None, attrs: dict[str, Any], order: list[int]) -> Any:
    """([rows, columns] of a block, function from parameters to their place in the grid) for weights seen as [first axis
    of `order`, the rest]; None when the parameters do not form such a grid."""
    rows = shape[order[0]]
    columns = int(np.prod([shape[k] for k in order[1:]], dtype=np.int64))
    block = int(attrs.get("block_size", 0) or 0)
    if scale is None or (scale.size == 1 and not block):
        return [rows, columns], lambda p: p.reshape(1, 1)
    axis = int(attrs.get("axis", 1)) % len(shape) if len(shape) > 1 else 0
    if not block:
        if axis == order[0]:
            return [1, columns], lambda p: p.reshape(-1, 1)
        rest = [k for k in order[1:] if shape[k] > 1 or k == axis]
        return ([rows, 1], lambda p: p.reshape(1, -1)) if rest == [axis] else None
    size = shape[axis]
    if axis == order[0]:
        return [block, 1], lambda p: p.transpose(order).reshape(-(-rows // block), columns)
    last = [k for k in order[1:] if shape[k] > 1 or k == axis]
    if last[-1] != axis or (len(last) > 1 and size % block):
        return None
    return [1, block], lambda p: p.transpose(order).reshape(rows, -1)


def dense(graph: Graph, node: Node) -> np.ndarray:
    """The float32 weight itself: fl(fl(value - zp) * scale)."""
    from octavo.ops._blocks import spread

    if "sparse_shape" in node.attrs:
        full = np.zeros(node.attrs["sparse_shape"], np.float32)
        full.reshape(-1)[graph.const(node.inputs[1])] = graph.const(node.inputs[0])
        return full
    codes, scale, zp, table = (graph.const(name) if name else None for name in node.inputs)
    assert codes is not None
    value = codes.astype(np.float32) if table is None else table.astype(np.float32)[codes.astype(np.int64)]
    with np.errstate(all="ignore"):
        if zp is not None:
            value = value - (
                zp.astype(np.float32) if zp.size == 1 else spread(zp.astype(np.float32), codes, node.attrs)
            )
        if scale is not None:
            value = value * spread(scale.astype(np.float32), codes, node.attrs)
    return np.asarray(value, np.float32)


def fits(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> bool:
    """Whether the readers of a Restore node can do its work, layouts and scales included."""
    if "sparse_shape" in node.attrs:
        return restorable(graph, readers, node.outputs[0], tuple(node.attrs["sparse_shape"]))
    codes, scale = graph.const(node.inputs[0]), graph.const(node.inputs[1]) if node.inputs[1] else None
    if codes is None or codes.dtype not in CODES or not restorable(graph, readers, node.outputs[0], codes.shape):
        return False
    for reader in readers[node.outputs[0]]:
        order = [0, *range(2, codes.ndim), 1] if reader.op == "Conv" else list(range(codes.ndim))
        if scale_grid(codes.shape, scale, node.attrs, order) is None:
            return False
    return True
