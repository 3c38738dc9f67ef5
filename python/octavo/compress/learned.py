"""A block's layers while their integers, scales and biases are learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.compress.blocks import Block, bounds
from octavo.compress.gradient import Product
from octavo.compress.scheme import SMALLEST_SCALE, QParams, WeightScheme
from octavo.compress.write import Weights, bias_of
from octavo.ir import Graph, Node

# Of a step: in integers; in the scale's logarithm; in standard deviations of a layer's results.
INTEGER_RATE, SCALE_RATE, BIAS_RATE = 0.01, 0.001, 0.001
EDGE = 0.45  # how near to the next integer a weight may start


class Adam:
    """D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; changes `value` in place."""

    def __init__(self, value: np.ndarray) -> None:
        self.value, self.mean, self.square, self.count = value, np.zeros_like(value), np.zeros_like(value), 0

    def step(self, grad: np.ndarray, rate: Any) -> None:
        self.count += 1
        self.mean += 0.1 * (grad - self.mean)
        self.square += 0.001 * (grad * grad - self.square)
        size = np.sqrt(self.square / (1 - 0.999**self.count)) + np.float32(1e-20)
        self.value -= (rate / (1 - 0.9**self.count)) * self.mean / size


class Learned:
    """A Conv or Gemm. latent: what the integers are rounded from; gain: logarithms of how scales grew."""

    def __init__(self, graph: Graph, node: Node, old: Weights, scheme: WeightScheme, biases: bool) -> None:
        """Raises LookupError for a form without gradients."""
        w = graph.const(node.inputs[1])
        assert w is not None
        self.product, self.old, self.scheme = Product(graph, node), old, scheme
        pack, limits = self.product.packed, scheme.limits
        scale, zero = (np.broadcast_to(a, w.shape) for a in old.params.spread(w.ndim))
        q = old.q.astype(np.float32)
        latent = np.clip(np.clip(w / scale + zero, q - EDGE, q + EDGE), *limits)
        self.latent = Adam(pack(latent).astype(np.float32))
        self.zero, self.scale = pack(zero), pack(scale)
        self.gain = Adam(np.zeros(old.params.scale.size, np.float32))
        holder, k = bias_of(graph, node)
        bias = old.bias if old.bias is not None else graph.const(holder.inputs[k]) if holder is not None else None
        self.moves = biases
        added = graph.const(holder.inputs[k]) if holder is not None and holder is not node else None
        self.after = added  # a bias that is no part of the layer's result: a node after it adds it
        start = np.zeros(1) if bias is None else bias.reshape(-1) - (0 if added is None else added.reshape(-1))
        self.bias = Adam(np.broadcast_to(start, (self.product.outputs,)).astype(np.float32))
        self.unit = np.zeros(0, np.float32)  # of the bias's steps: how far results spread, once some were seen
        self.settle()

    def spread(self, a: np.ndarray) -> np.ndarray:
        """Numbers, one or one an output, shaped to broadcast over packed weights."""
        if a.size == 1:
            return a
        return a if self.product.depthwise else a.reshape(self.product.groups, 1, 1, -1)

    def summed(self, dw: np.ndarray) -> np.ndarray:
        """The sum over all that one scale holds for."""
        if self.gain.value.size == 1:
            return dw.sum().reshape(1)
        return dw.sum(0) if self.product.depthwise else dw.sum((1, 2)).reshape(-1)

    def settle(self) -> None:
        self.step = self.scale * self.spread(np.exp(self.gain.value))
        self.w = (np.rint(self.latent.value) - self.zero) * self.step

    def forward(self, x: np.ndarray) -> np.ndarray:
        y = self.product.forward(x, self.w, self.bias.value)
        if not self.unit.size:
            self.unit = y.reshape(-1, y.shape[-1]).std(0)
        return y

    def backward(self, x: np.ndarray, dy: np.ndarray, wanted: bool, share: float, integers: bool) -> np.ndarray | None:
        """One step of learning; returns the gradient of x, where wanted."""
        dw, dbias, dx = self.product.backward(x, self.w, dy, wanted)
        if not self.scheme.power_of_two:
            self.gain.step(self.summed(dw * self.w), SCALE_RATE * share)
        if self.moves:
            self.bias.step(dbias, BIAS_RATE * share * self.unit)
        if integers:
            self.latent.step(dw * self.step, INTEGER_RATE * share)
            np.clip(self.latent.value, *self.scheme.limits, out=self.latent.value)
        self.settle()
        return dx

    def state(self) -> list[np.ndarray]:
        return [a.value.copy() for a in (self.latent, self.gain, self.bias)]

    def restore(self, state: list[np.ndarray]) -> None:
        self.latent.value, self.gain.value, self.bias.value = state
        self.settle()

    def result(self) -> Weights:
        old, gain = self.old.params, np.exp(self.gain.value)
        scale = np.maximum(old.scale * gain.reshape(old.scale.shape), SMALLEST_SCALE).astype(np.float32)
        q = np.ascontiguousarray(self.product.unpacked(np.rint(self.latent.value)).astype(self.old.q.dtype))
        bias = self.old.bias
        if self.moves:
            after = self.after
            bias = self.bias.value if after is None else self.bias.value.reshape(after.shape) + after
        return Weights(q, QParams(scale, old.zero_point, old.axis), bias)


class Network:
    """A block that runs and learns. Images are channels-last."""

    def __init__(self, graph: Graph, block: Block, layers: dict[str, Learned]) -> None:
        self.graph, self.block, self.layers = graph, block, layers

    def forward(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every value of the block."""
        values = {self.block.entry: x}
        for node in self.block.nodes:
            out, first = node.outputs[0], values[node.inputs[0]]
            if out in self.layers:
                values[out] = self.layers[out].forward(first)
            elif node.op in ("Relu", "Clip"):
                values[out] = np.clip(first, *bounds(self.graph, node))
            elif node.op == "Add":
                values[out] = first + values[node.inputs[1]]
            elif node.op == "Concat":
                values[out] = np.concatenate([values[n] for n in node.inputs], -1)
            else:  # GlobalAveragePool
                values[out] = first.mean(tuple(range(1, first.ndim - 1)), keepdims=True)
        return values

    def widest(self, x: np.ndarray) -> int:
        """Elements of the largest value for this input."""
        return max(value.size for value in self.forward(x).values())

    def backward(self, values: dict[str, np.ndarray], dy: np.ndarray, share: float, integers: bool) -> None:
        """One step of learning for every layer. values: of forward(); dy: the gradient of the block's result."""
        grads: dict[str, np.ndarray] = {self.block.exit: dy}

        def give(name: str, g: np.ndarray | None) -> None:
            if g is not None and name != self.block.entry:
                grads[name] = grads[name] + g if name in grads else g

        for node in reversed(self.block.nodes):
            g, x = grads.pop(node.outputs[0]), values[node.inputs[0]]
            layer = self.layers.get(node.outputs[0])
            if layer is not None:
                give(node.inputs[0], layer.backward(x, g, node.inputs[0] != self.block.entry, share, integers))
            elif node.op in ("Relu", "Clip"):
                lo, hi = bounds(self.graph, node)
                give(node.inputs[0], g * ((x > lo) & (x < hi)))
            elif node.op == "Add":
                give(node.inputs[0], g)
                give(node.inputs[1], g)
            elif node.op == "Concat":
                ends = np.cumsum([values[n].shape[-1] for n in node.inputs])[:-1]
                for name, part in zip(node.inputs, np.split(g, ends, -1)):
                    give(name, np.ascontiguousarray(part))
            else:
                give(node.inputs[0], np.broadcast_to(g / np.float32(x.size // g.size), x.shape))

    def state(self) -> dict[str, list[np.ndarray]]:
        return {name: layer.state() for name, layer in self.layers.items()}

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        for name, layer in self.layers.items():
            layer.restore(state[name])
