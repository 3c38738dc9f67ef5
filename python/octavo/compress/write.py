"""Writes quantization into a graph as QuantizeLinear and DequantizeLinear nodes.

A tensor that an integer node computes keeps its name on the restored side: ``T`` of the float model and ``T`` of the
quantized one are the same quantity, which is what layer-by-layer comparison needs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from octavo.compress.nearest import fitted, integers
from octavo.compress.place import BINARY, Placement, is_bias, is_weighted
from octavo.compress.scheme import ActivationScheme, QParams, WeightScheme
from octavo.ir import Graph, Node, Uses

INT32 = float(2**31 - 1)
LARGEST_BIAS = float(2**30)  # leaves room for the products


@dataclass
class Weights:
    """Weights as integers, ready to be written. bias is the float bias, corrected or not."""

    q: np.ndarray
    params: QParams
    bias: np.ndarray | None = None

    def stored(self, dtype: np.dtype) -> Weights:
        """The same integers as the type that a file holds them in."""
        params = replace(self.params, zero_point=self.params.zero_point.astype(dtype))
        return Weights(self.q.astype(dtype), params, self.bias)


@dataclass
class Writer:
    """Rewrites one graph in place; every method adds nodes, sort() comes last."""

    graph: Graph
    placement: Placement
    params: dict[str, QParams]
    notes: list[tuple[str, str]] = field(default_factory=list)
    restored: dict[str, str] = field(default_factory=dict)  # tensor -> its restored value
    additions: set[int] = field(default_factory=set)  # ids of nodes that add a layer's bias
    written: Counter[str] = field(default_factory=Counter)  # names of new nodes

    def activations(self) -> None:
        """T => T -> QuantizeLinear -> DequantizeLinear, for every tensor of the placement."""
        integer = {id(node) for node in self.placement.nodes}
        producers = self.graph.producers()
        for name in self.placement.tensors:
            producer = producers.get(name)
            value = self.graph.values[name]
            if producer is not None and id(producer) in integer:
                raw = self.graph.new_value(f"{name}/float", value.dtype, value.shape)
                producer.outputs = [raw if out == name else out for out in producer.outputs]
                self.pair(raw, name, self.params[name], value.shape)
                self.restored[name] = name
            else:
                restored = self.graph.new_value(f"{name}/restored", value.dtype, value.shape)
                self.pair(name, restored, self.params[name], value.shape)
                self.restored[name] = restored
                for node in self.placement.readers[name]:
                    node.inputs = [restored if n == name else n for n in node.inputs]

    def pair(self, source: str, target: str, params: QParams, shape: object) -> None:
        scale, zero = self.constants(target, params)
        q = self.graph.new_value(f"{target}/quantized", params.dtype, self.graph.shape(source))
        self.add(Node("QuantizeLinear", [source, scale, zero], [q], {}, f"{target}/QuantizeLinear"))
        self.add(Node("DequantizeLinear", [q, scale, zero], [target], {}, f"{target}/DequantizeLinear"))

    def add(self, node: Node) -> None:
        """Under a name of its own: shared weights are written for each layer, and onnxruntime wants names unique."""
        self.written[node.name] += 1
        if self.written[node.name] > 1:
            node.name += f".{self.written[node.name]}"
        self.graph.nodes.append(node)

    def constants(self, name: str, params: QParams) -> tuple[str, str]:
        scale = self.graph.new_const(f"{name}/scale", params.scale.astype(np.float32))
        return scale, self.graph.new_const(f"{name}/zero_point", params.zero_point)

    def constant(self, name: str, q: np.ndarray, params: QParams) -> str:
        """A constant tensor as integers and the DequantizeLinear that restores it; returns the restored value."""
        restored = self.graph.new_value(f"{name}/restored", np.float32, q.shape)
        scale, zero = self.constants(name, params)
        attrs = {} if params.axis is None else {"axis": params.axis}
        if params.block:
            attrs["block_size"] = params.block
        inputs = [self.graph.new_const(f"{name}/quantized", q), scale, zero]
        self.add(Node("DequantizeLinear", inputs, [restored], attrs, f"{name}/DequantizeLinear"))
        return restored

    def weights(self, node: Node, w: Weights, x: QParams) -> None:
        """Integer weights, and the bias as int32 in units of x's scale times theirs."""
        name = node.inputs[1]
        holder, k = bias_of(self.graph, node)  # while the weights are still a constant, which it looks at
        node.inputs[1] = self.constant(name, w.q, w.params)
        if holder is None and w.bias is None:
            return
        if holder is None:  # the correction of a node without a bias
            assert w.bias is not None
            if node.op == "MatMul":
                return
            node.inputs += [""] * (3 - len(node.inputs))
            holder, k = node, 2
        old = holder.inputs[k]
        value = w.bias if w.bias is not None else self.graph.const(old)
        assert value is not None
        unit = (x.scale.astype(np.float64) * w.params.scale).astype(np.float32).reshape(-1)
        flat = value.reshape(-1)
        if flat.size == 1 and unit.size > 1:
            flat = np.repeat(flat, unit.size)
        with np.errstate(divide="ignore", invalid="ignore"):  # of scales whose product float32 does not hold
            q = np.rint(flat / unit.astype(np.float64))
        if not np.abs(q).max(initial=0) <= INT32 or holder is not node:
            if holder is node:
                self.notes.append((node.name, "its bias exceeds int32 in units of its scales and stays float"))
            else:
                self.additions.add(id(holder))
            holder.inputs[k] = self.graph.new_const(old or f"{name}/bias", value.astype(np.float32))
            return
        unit = unit if unit.size > 1 else unit.reshape(())
        params = QParams(unit, np.zeros(unit.shape, np.int32), 0 if unit.ndim else None)
        holder.inputs[k] = self.constant(old or f"{name}/bias", q.astype(np.int32), params)

    def operands(self, node: Node, scheme: ActivationScheme) -> None:
        """Constant tensors that a two-operand node computes with."""
        if node.op not in BINARY or is_weighted(self.graph, node) or id(node) in self.additions:
            return
        for k, name in enumerate(node.inputs):
            const = self.graph.const(name)
            if const is not None and const.size > 1:
                params = scheme.params(float(const.min()), float(const.max()))
                node.inputs[k] = self.constant(name, params.quantize(const), params)


def bias_of(graph: Graph, node: Node) -> tuple[Node | None, int]:
    """(the node that adds the bias, its input's number): the node itself, or the Add that follows a product."""
    if node.op != "MatMul" and node.input(2):
        return node, 2
    reader = Uses(graph).single_reader(node.outputs[0])
    if reader is not None and reader.op == "Add" and is_bias(graph, node, reader, node.outputs[0]):
        return reader, int(reader.inputs[0] == node.outputs[0])
    return None, 0


def channel_axis(node: Node, w: np.ndarray) -> int:
    """The axis of a weighted node's weights that counts its outputs."""
    if node.op == "Conv":
        return 0
    return 0 if node.op == "Gemm" and node.attrs.get("transB", 0) else w.ndim - 1


def quantized_weights(graph: Graph, node: Node, scheme: WeightScheme, x: QParams | None = None) -> Weights:
    """Each weight to its nearest integer. x: of the layer's operand; None where the bias stays float.

    A channel of next to no weights gets a scale large enough for its bias to fit int32 in units of x's scale times it.
    """
    w = graph.const(node.inputs[1])
    assert w is not None
    axis = channel_axis(node, w)
    params = fitted(w, axis, scheme)
    holder, k = bias_of(graph, node) if x is not None else (None, 0)
    bias = graph.const(holder.inputs[k]) if holder is not None else None
    if x is not None and bias is not None:
        least = np.abs(bias.reshape(-1)).astype(np.float64) / (float(x.scale) * LARGEST_BIAS)
        least = least if params.axis is not None else least.max(initial=0)
        params = QParams(np.maximum(params.scale, least).astype(np.float32), params.zero_point, params.axis)
    return Weights(integers(w, params, scheme), params)
