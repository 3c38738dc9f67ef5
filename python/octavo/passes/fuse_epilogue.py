"""Bias, residual and activation move into the product before them, in the order the product's epilogue applies them."""

from __future__ import annotations

import math

import numpy as np

from octavo.ir import Graph, Node, Uses, same_shape
from octavo.passes.match import join

# Where each product keeps its bias and residual inputs.
BIAS = {"Conv": 2, "ConvTranspose": 2, "MatMul": 2, "QGemmDynamic": 5}
RESIDUAL = {"Conv": 3, "MatMul": 3, "QGemmDynamic": 6}


def fuse_bias(graph: Graph) -> None:
    """Add(product(x), one constant a channel)  =>  product(x, bias). Kept when the sum is read elsewhere."""
    for node in list(graph.nodes):
        if not is_add(node):
            continue
        uses = Uses(graph)
        for k in (0, 1):
            product = uses.producer.get(node.inputs[k])
            bias = graph.const(node.inputs[1 - k])
            if (
                product is None
                or not open_ended(product, BIAS)
                or absent(product, BIAS[product.op]) is False
                or bias is None
            ):
                continue
            shape = graph.shape(node.inputs[k])
            if uses.single_reader(node.inputs[k]) is None or shape is None or bias.ndim > len(shape):
                continue
            if not isinstance(shape[-1], int) or bias.size != shape[-1] or bias.shape[-1:] != (shape[-1],):
                continue
            merge(graph, product, node, {BIAS[product.op]: graph.new_const(node.inputs[1 - k], bias.reshape(-1))})
            break


def fuse_residual(graph: Graph) -> None:
    """Add(product(x), z) of equal shapes  =>  product(x, z). Of two products the later one takes the other."""
    for node in list(graph.nodes):
        if not is_add(node):
            continue
        uses = Uses(graph)
        found = []
        for k in (0, 1):
            product = uses.producer.get(node.inputs[k])
            if product is None or not open_ended(product, RESIDUAL) or uses.single_reader(node.inputs[k]) is not node:
                continue
            if same_shape(graph.shape(node.inputs[0]), graph.shape(node.inputs[1])):
                found.append((graph.nodes.index(product), k, product))
        if found:
            _, k, product = max(found, key=lambda f: f[0])
            merge(graph, product, node, {RESIDUAL[product.op]: node.inputs[1 - k]})


def fuse_activation(graph: Graph) -> None:
    """Unary(product or Binary)  =>  the same with `act`. Kept when anything else reads the value before."""
    for node in list(graph.nodes):
        if not node.is_plan("Unary") or graph.dtype(node.inputs[0]) != np.float32:
            continue
        uses = Uses(graph)
        product = uses.producer.get(node.inputs[0])
        if product is None or not product.is_plan(*BIAS, "Binary") or "act" in product.attrs:
            continue
        if uses.single_reader(node.inputs[0]) is None or graph.dtype(product.inputs[0]) not in (np.float32, np.uint8):
            continue
        product.attrs["act"] = node.attrs["fn"]
        for key, value in node.attrs.items():
            if key != "fn" and not math.isinf(float(value)):
                product.attrs[f"act_{key}"] = value
        merge(graph, product, node, {})


def is_add(node: Node) -> bool:
    return node.is_plan("Binary") and node.attrs["fn"] == "Add" and "act" not in node.attrs


def open_ended(product: Node, slots: dict[str, int]) -> bool:
    """A product that may take one more stage of epilogue: no residual and no activation yet."""
    return product.is_plan(*slots) and "act" not in product.attrs and absent(product, RESIDUAL.get(product.op, 99))


def absent(node: Node, k: int) -> bool:
    return not node.input(k)


def merge(graph: Graph, product: Node, last: Node, inputs: dict[int, str]) -> None:
    """product takes the place of `last`, writes what it wrote, and reads the inputs given by position."""
    for k, name in inputs.items():
        product.inputs += [""] * (k + 1 - len(product.inputs))
        product.inputs[k] = name
    product.outputs = list(last.outputs)
    product.name = join(product.name, last.name)
    graph.nodes.remove(product)
    graph.nodes[graph.nodes.index(last)] = product
