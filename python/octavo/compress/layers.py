"""One node of a graph as a model of its own: how calibration measures what a choice does to a layer's results."""

from __future__ import annotations

import numpy as np

from octavo.engine import Session
from octavo.ir import Graph, Node, Value
from octavo.onnx_export import export_model


class Layer:
    """A node with constant weights, ready to run on float arrays of its first input."""

    def __init__(self, graph: Graph, node: Node, weights: np.ndarray | None = None, bias: bool = True) -> None:
        """weights: in place of the node's own. bias: False leaves the node's bias out."""
        small = Graph(node.name, graph.opset)
        small.opsets = dict(graph.opsets)
        inputs = list(node.inputs) if bias else node.inputs[:2]
        for name in inputs:
            value = graph.values.get(name)
            if value is not None:
                small.values[name] = Value(name, value.dtype, value.shape, value.const)
        x, w = inputs[0], inputs[1]
        rank = graph.rank(x)
        small.values[x].shape = (None,) * (rank if rank is not None else 2)
        if weights is not None:
            small.values[w].const = weights
        out = node.outputs[0]
        small.values[out] = Value(out, np.dtype(np.float32), graph.shape(out))
        small.nodes = [Node(node.op, inputs, [out], dict(node.attrs), node.name, node.domain)]
        small.inputs, small.outputs = [x], [(out, out)]
        self.session = Session(export_model(small))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, [np.ascontiguousarray(x)])[0]
