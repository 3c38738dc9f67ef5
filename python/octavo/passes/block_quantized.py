"""onnxruntime's operators over weights quantized in blocks, spelled out over Restore."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from octavo.ir import Graph, Node
from octavo.ops._restore import unpack
from octavo.passes.small_weights import restore_node

DOMAIN = "com.microsoft"
CODES = {2: np.dtype(ml_dtypes.uint2), 4: np.dtype(ml_dtypes.uint4), 8: np.dtype(np.uint8)}


def read_block_quantized(graph: Graph) -> None:
    """MatMulNBits(a, b, scales, zero_points?, bias?)  =>  MatMul(a, Restore) [-> Add];
    GatherBlockQuantized(data, indices, scales, zero_points?)  =>  Gather(Restore, indices).

    Kept (and then reported as unknown): g_idx, parameters computed at run time, other layouts.
    """
    for node in list(graph.nodes):
        if node.domain != DOMAIN:
            continue
        if node.op == "MatMulNBits":
            matmul(graph, node)
        elif node.op == "GatherBlockQuantized":
            gather(graph, node)


def constants(graph: Graph, node: Node, *ks: int) -> list[np.ndarray | None] | None:
    """Inputs that must be constants (None where absent); None if one is computed."""
    found = [graph.const(node.input(k)) for k in ks]
    return None if any(a is None and node.input(k) for a, k in zip(found, ks)) else found


def matmul(graph: Graph, node: Node) -> None:
    bits, block = int(node.attrs.get("bits", 4)), int(node.attrs.get("block_size", 0))
    n, k = int(node.attrs.get("N", 0)), int(node.attrs.get("K", 0))
    given = constants(graph, node, 1, 2, 3)
    if given is None or bits not in CODES or min(block, n, k) < 1 or node.input(4):
        return
    b, scales, zeros = given
    blocks = -(-k // block)
    if b is None or scales is None or scales.size != n * blocks or b.size * 8 != n * blocks * block * bits:
        return
    codes = unpack(np.ascontiguousarray(b).reshape(-1), CODES[bits], [n, blocks * block])[:, :k]
    zp: np.ndarray
    if zeros is None:
        zp = np.array(1 << (bits - 1), np.uint8)
    elif zeros.dtype == np.uint8:
        row = -(-blocks * bits // 8)
        if zeros.size != n * row:
            return
        zp = unpack(np.ascontiguousarray(zeros).reshape(-1), CODES[bits], [n, row * 8 // bits])[:, :blocks]
        zp = zp.astype(np.uint8)
    else:
        zp = zeros.astype(np.float32).reshape(n, blocks)
    out, x = node.outputs[0], graph.shape(node.inputs[0])
    value = graph.values[out]
    value.dtype = value.dtype or graph.dtype(node.inputs[0])
    value.shape = value.shape or (None if x is None else (*x[:-1], n))
    weight = weight_node(graph, node, 1, np.ascontiguousarray(codes), scales.reshape(n, blocks), zp, 1, block)
    product = out if not node.input(5) else graph.new_value(f"{out}/product", value.dtype, value.shape)
    nodes = [weight, Node("MatMul", [node.inputs[0], weight.outputs[0]], [product], {"trans_b": 1}, node.name)]
    if node.input(5):
        nodes.append(Node("Add", [product, node.inputs[5]], [out], {}, node.name))
    put(graph, node, nodes)


def gather(graph: Graph, node: Node) -> None:
    bits, block = int(node.attrs.get("bits", 4)), int(node.attrs.get("block_size", 128))
    given = constants(graph, node, 0, 2, 3)
    if given is None or block < 1:
        return
    data, scales, zeros = given
    if data is None or scales is None:
        return
    axis = int(node.attrs.get("quantize_axis", 1)) % data.ndim
    zp = zeros
    if data.dtype == np.uint8:
        if bits not in (4, 8) or axis != data.ndim - 1:
            return
        if zeros is None:
            zp = np.array(1 << (bits - 1), np.uint8)
        if bits == 4:
            data = unpack(np.ascontiguousarray(data).reshape(-1), CODES[4], [*data.shape[:-1], data.shape[-1] * 2])
            if zeros is not None:
                wide = [*zeros.shape[:-1], zeros.shape[-1] * 2]
                zp = unpack(np.ascontiguousarray(zeros).reshape(-1), CODES[4], wide)[..., : scales.shape[-1]]
    zp = np.array(0, np.uint8) if zp is None else zp.astype(np.int8 if zp.dtype == ml_dtypes.int4 else np.uint8)
    out, indices = node.outputs[0], graph.shape(node.inputs[1])
    value = graph.values[out]
    value.dtype = value.dtype or scales.dtype
    at = int(node.attrs.get("gather_axis", 0)) % data.ndim
    if value.shape is None and indices is not None:
        value.shape = (*data.shape[:at], *indices, *data.shape[at + 1 :])
    weight = weight_node(graph, node, 0, np.ascontiguousarray(data), scales, zp, axis, block)
    wide_out = out if value.dtype == np.float32 else graph.new_value(f"{out}/wide", np.float32, value.shape)
    nodes = [weight, Node("Gather", [weight.outputs[0], node.inputs[1]], [wide_out], {"axis": at}, node.name)]
    if wide_out != out:
        number = 10 if value.dtype == np.float16 else 16
        nodes.append(Node("Cast", [wide_out], [out], {"to": number}, node.name))
    put(graph, node, nodes)


def weight_node(
    graph: Graph, node: Node, k: int, codes: np.ndarray, scales: np.ndarray, zp: np.ndarray, axis: int, block: int
) -> Node:
    hint = node.inputs[k]
    out = graph.new_value(f"{hint}/restored", np.float32, codes.shape)
    names = [
        graph.new_const(f"{hint}/{what}", array) for what, array in (("codes", codes), ("scale", scales), ("zp", zp))
    ]
    return restore_node(graph, out, names[0], names[1], names[2], "", node.name, axis, block)


def put(graph: Graph, node: Node, nodes: list[Node]) -> None:
    at = graph.nodes.index(node)
    graph.nodes[at : at + 1] = nodes
