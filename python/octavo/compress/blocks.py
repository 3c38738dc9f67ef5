"""Cuts a network into blocks for reconstruction: between two tensors through which everything flows.

Source of the granularity: Y. Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block
Reconstruction", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from octavo.compress.place import is_weighted
from octavo.ir import Graph, Node, Uses, same_shape

LAYERS = 3  # with weights, of a block, unless a branch holds more
MOST = 8


@dataclass
class Block:
    """nodes in order; entry: the only computed tensor they read from outside; exit: the only one read outside."""

    entry: str
    exit: str
    nodes: list[Node]

    def layers(self, graph: Graph) -> list[Node]:
        return [n for n in self.nodes if is_weighted(graph, n)]


def find_blocks(graph: Graph, cuts: Container[str]) -> list[Block]:
    """Blocks of the operators that have gradients. cuts: tensors at which a block may begin and end.

    A layer in a part that has other operators, or an output of the model inside, is a block of its own.
    """
    found: list[Block] = []
    outputs = graph.output_values()
    for segment in segments(graph):
        inside = {out for node in segment.nodes for out in node.outputs} - {segment.exit}
        learned = all(has_gradient(graph, node) for node in segment.nodes)
        if not learned or inside & outputs or len(segment.layers(graph)) > MOST:
            found += singles(graph, segment, cuts)
            continue
        last = found[-1] if found else None
        if (
            last is not None
            and last.exit == segment.entry
            and segment.entry not in outputs
            and (segment.entry not in cuts or joins(len(last.layers(graph)), len(segment.layers(graph))))
        ):
            last.nodes += segment.nodes
            last.exit = segment.exit
        elif segment.entry not in cuts:
            found += singles(graph, segment, cuts)
        else:
            found.append(segment)
    return [block for block in found if block.layers(graph)]


def joins(held: int, more: int) -> bool:
    return held < LAYERS and held + more <= LAYERS


def segments(graph: Graph) -> list[Block]:
    """The graph between tensors that alone are alive where they are."""
    uses = Uses(graph)
    pending: dict[str, int] = {name: len(uses.readers.get(name, [])) for name in graph.inputs}
    pending = {name: count for name, count in pending.items() if count}
    found: list[Block] = []
    entry = next(iter(pending)) if len(pending) == 1 else None
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.append(node)
        for name in node.inputs:
            if name in pending:
                pending[name] -= 1
                if not pending[name]:
                    del pending[name]
        for name in node.outputs:
            readers = len(uses.readers.get(name, []))
            if readers:
                pending[name] = readers
        alone = next(iter(pending)) if len(pending) == 1 else None
        ends = not pending and len(node.outputs) == 1
        if (alone is not None and alone == node.outputs[0]) or ends:
            exit = alone if alone is not None else node.outputs[0]
            found.append(Block(entry or "", exit, nodes))
            entry, nodes = exit, []
    if nodes:
        found.append(Block(entry or "", nodes[-1].outputs[0], nodes))
    return found


def singles(graph: Graph, segment: Block, cuts: Container[str]) -> list[Block]:
    """Each layer and the clamp that follows it, where both ends may be cut."""
    uses, found = Uses(graph), []
    for node in segment.nodes:
        if not is_weighted(graph, node) or not has_gradient(graph, node) or node.inputs[0] not in cuts:
            continue
        block = Block(node.inputs[0], node.outputs[0], [node])
        reader = uses.single_reader(node.outputs[0])
        if reader is not None and reader.op in ("Relu", "Clip") and has_gradient(graph, reader):
            block.nodes.append(reader)
            block.exit = reader.outputs[0]
        found.append(block)
    return found


def has_gradient(graph: Graph, node: Node) -> bool:
    if node.domain != "":
        return False
    computed = [n for n in node.inputs if n and graph.const(n) is None]
    if node.op in ("Conv", "Gemm"):
        return is_weighted(graph, node)
    if node.op == "Clip":
        return len(computed) == 1 and node.input(0) in computed
    if node.op == "Add":
        return len(computed) == 2 and same_shape(graph.shape(computed[0]), graph.shape(computed[1]))
    if node.op == "Concat":
        return (
            node.attrs.get("axis") == 1
            and len(computed) == len(node.inputs)
            and graph.rank(node.outputs[0]) in (2, 3, 4)
        )
    return node.op in ("Relu", "GlobalAveragePool")


def bounds(graph: Graph, node: Node) -> tuple[float, float]:
    """Of a Relu or Clip."""
    if node.op == "Relu":
        return 0.0, np.inf
    lo, hi = (graph.const(node.input(k)) if node.input(k) else None for k in (1, 2))
    return -np.inf if lo is None else float(lo.reshape(-1)[0]), np.inf if hi is None else float(hi.reshape(-1)[0])
