"""Scaled dot-product attention, written out as projections' Reshape and Transpose, two MatMul and a Softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.ir import Graph, Node, Uses
from octavo.passes.match import Patch, join, scalar

HEADS = [0, 2, 1, 3]  # [B, M, H, D] <-> [B, H, M, D]
KEYS = [0, 2, 3, 1]  # [B, N, H, D] -> [B, H, D, N]


def fuse_attention(graph: Graph) -> None:
    """Transpose(MatMul(Softmax(MatMul(Transpose q, Transpose k) / c + mask), Transpose v)) => Attention(q, k, v, mask).

    The same roundings in the same order. Scale and mask may be missing. Kept apart when a result in between is read
    elsewhere or the heads lie otherwise.
    """
    for node in list(graph.nodes):
        if node.is_plan("Softmax"):
            fuse(graph, Uses(graph), node)


def fuse(graph: Graph, uses: Uses, softmax: Node) -> bool:
    shape = graph.shape(softmax.inputs[0])
    if shape is None or len(shape) != 4 or softmax.attrs.get("log") or softmax.attrs.get("axis", -1) not in (-1, 3):
        return False
    attrs: dict[str, Any] = {}
    gone = [softmax]
    mask = ""
    step = before(uses, softmax.inputs[0])
    if step is not None and is_binary(step, "Add"):
        mask = step.inputs[1]
        mask_shape = graph.shape(mask)
        if mask_shape is None or len(mask_shape) > 4:
            return False
        gone.append(step)
        step = before(uses, step.inputs[0])
    if step is not None and is_binary(step, "Div", "Mul"):
        factor = scalar(graph, step.inputs[1])
        factor_shape = graph.shape(step.inputs[1])
        if factor is None or factor_shape is None or len(factor_shape) > 4:
            return False
        attrs["divide" if step.attrs["fn"] == "Div" else "multiply"] = factor
        gone.append(step)
        step = before(uses, step.inputs[0])
    if step is None or not is_product(step):
        return False
    gone.append(step)
    q = untransposed(graph, uses, step.inputs[0], HEADS)
    k = untransposed(graph, uses, step.inputs[1], KEYS)
    product = uses.single_reader(softmax.outputs[0])
    if product is None or not is_product(product) or product.inputs[0] != softmax.outputs[0]:
        return False
    v = untransposed(graph, uses, product.inputs[1], HEADS)
    last = uses.single_reader(product.outputs[0])
    if last is None or not last.is_plan("Transpose") or list(last.attrs["perm"]) != HEADS:
        return False
    if q is None or k is None or v is None:
        return False
    gone.append(product)
    inputs = [q, k, v, mask] if mask else [q, k, v]
    patch = Patch(graph, last)
    name = join(*(n.name for n in (*reversed(gone[1:-1]), softmax, product, last)))
    patch.emit("Attention", inputs, np.float32, graph.shape(last.outputs[0]), attrs, last.outputs[0], name)
    patch.apply(*gone)
    return True


def before(uses: Uses, value: str) -> Node | None:
    """The node that wrote `value`, when nothing but the next one reads it."""
    return uses.producer.get(value) if uses.single_reader(value) is not None else None


def is_binary(node: Node, *fns: str) -> bool:
    return node.is_plan("Binary") and node.attrs["fn"] in fns and "act" not in node.attrs


def is_product(node: Node) -> bool:
    return node.is_plan("MatMul") and len(node.inputs) == 2 and not node.attrs


def untransposed(graph: Graph, uses: Uses, value: str, perm: list[int]) -> str | None:
    node = uses.producer.get(value)
    if node is None or not node.is_plan("Transpose") or list(node.attrs["perm"]) != perm:
        return None
    return node.inputs[0] if graph.dtype(value) == np.float32 else None
