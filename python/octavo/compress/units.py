"""What is quantized or left float as one: a node, and those that every runtime fuses with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from octavo.compress.place import Placement, activations, is_movement, is_weighted
from octavo.ir import Graph, Node


@dataclass
class Unit:
    """head: the node with the weights, or the first; the rest is its chain: a bias, a clamp, the rest of a function."""

    head: Node
    nodes: list[Node]
    weights: int  # how many there are; 0 for an addition, a pool, a function
    channels: int

    @property
    def name(self) -> str:
        return self.head.name


def units_of(graph: Graph, placement: Placement) -> list[Unit]:
    """The units of the placement's integer nodes, in order of computation. Nodes that only move values are in none."""
    tensors, found = set(placement.tensors), list[Unit]()
    inner: dict[str, Unit] = {}  # result that is not quantized itself -> the unit it is inside
    for node in placement.nodes:
        unit = next((inner[name] for name in activations(graph, node) if name in inner), None)
        if unit is None:
            if is_movement(graph, node):
                continue
            w = graph.const(node.inputs[1]) if is_weighted(graph, node) else None
            unit = Unit(node, [], 0 if w is None else w.size, 0 if w is None else w.shape[0])
            found.append(unit)
        unit.nodes.append(node)
        inner |= {name: unit for name in node.outputs if name not in tensors}
    return found


def with_chains(units: Collection[Unit], names: Collection[str]) -> set[str]:
    """The names, and those of the nodes that are fused with one of them."""
    chained = {node.name for unit in units if unit.name in names for node in unit.nodes}
    return chained.union(names)
