"""The range of a tensor that only a function of one element reads: judged by what the function makes of its integers.

Of x in SiLU (x times sigmoid(x)) everything below -8 gives next to nothing, however large it is: a range that covers it
would leave few integers for the rest. The error of a range is that of the function's results.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from octavo.compress.histogram import Histogram
from octavo.compress.place import Placement, Sources
from octavo.compress.ranges import Range, search
from octavo.compress.scheme import ActivationScheme
from octavo.engine import Session
from octavo.ir import Graph, Node, Uses, Value
from octavo.onnx_export import export_model

Function = Callable[[np.ndarray], np.ndarray]


def functions(graph: Graph, placement: Placement) -> dict[str, Function]:
    """Tensor -> what its readers compute of its elements ([n] -> [results, n]), where all of them are tables.

    What an integer node writes is read from its integers by all, the model's outputs and float nodes among them.
    """
    sources, uses = Sources(graph), Uses(graph)
    written = {out for node in placement.nodes for out in node.outputs}
    chains: dict[str, list[Node]] = {}
    for node in placement.nodes:
        out = node.outputs[0]
        source = sources.of.get(out, out)
        if source != out:
            chains.setdefault(source, []).append(node)
    found: dict[str, Function] = {}
    for name, nodes in chains.items():
        members = {id(node) for node in nodes}
        readers = uses.readers.get(name, []) if name in written else placement.readers.get(name, [])
        seen = name in written and name in uses.outputs
        if name in placement.readers and not seen and all(id(reader) in members for reader in readers):
            found[name] = Chain(graph, name, nodes)
    return found


class Chain:
    """The nodes that compute functions of one tensor, as a model of their own."""

    def __init__(self, graph: Graph, source: str, nodes: list[Node]) -> None:
        small = Graph(f"functions of {source}", graph.opset)
        small.opsets = dict(graph.opsets)
        small.values[source] = Value(source, np.dtype(np.float32), (None,))
        inside = {name for node in nodes for name in node.inputs}
        for node in nodes:
            for name in filter(None, node.inputs):
                const = graph.const(name)
                if const is not None:
                    flat = const.reshape(()) if const.size == 1 else const
                    small.values[name] = Value(name, flat.dtype, flat.shape, flat)
            out = node.outputs[0]
            small.values[out] = Value(out, np.dtype(np.float32), (None,))
            small.nodes.append(Node(node.op, list(node.inputs), [out], dict(node.attrs), node.name, node.domain))
        ends = [node.outputs[0] for node in nodes if node.outputs[0] not in inside]
        small.inputs, small.outputs = [source], [(end, end) for end in ends]
        self.session = Session(export_model(small))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.stack(self.session.run(None, [x.astype(np.float32)]))


def best_range(h: Histogram, scheme: ActivationScheme, function: Function) -> Range:
    """The range that changes the function's results least in the mean square."""
    centres, counts = h.bins()
    exact = function(centres)

    def error(lo: float, hi: float) -> float:
        off = function(scheme.params(lo, hi).through(centres.astype(np.float32))) - exact.astype(np.float64)
        return float((off * off * counts).sum())

    return search(h, error)
