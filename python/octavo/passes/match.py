"""Small helpers every pass uses: building plan nodes, reading constants and attributes, permuting shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from octavo.ir import PLAN, Graph, Node, Shape, Uses, plan_node

# Operators that only move elements of input 0 about; they commute with every elementwise function.
MOVEMENT = (
    "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Identity", "DepthToSpace",
    "SpaceToDepth", "Expand", "Tile", "Split", "GatherElements",
)  # fmt: skip


class Patch:
    """New nodes that take the place of one node: collected with emit(), put in with apply()."""

    def __init__(self, graph: Graph, anchor: Node) -> None:
        self.graph, self.anchor, self.nodes = graph, anchor, list[Node]()

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        dtype: Any,
        shape: Shape | None,
        attrs: dict[str, Any] | None = None,
        out: str | None = None,
        name: str | None = None,
    ) -> str:
        """Adds a plan node with one output, new unless `out` names it; returns the output."""
        if out is None:
            out = self.graph.new_value(f"{self.anchor.outputs[0]}/{op}", dtype, shape)
        self.nodes.append(plan_node(op, inputs, [out], self.anchor.name if name is None else name, attrs))
        return out

    def transpose(self, x: str, perm: Sequence[int], out: str | None = None) -> str:
        shape = self.graph.shape(x)
        return self.emit(
            "Transpose", [x], self.graph.dtype(x), permuted(shape, perm), {"perm": [int(p) for p in perm]}, out
        )

    def apply(self, *also: Node) -> None:
        """Puts the new nodes where the anchor was; the anchor and the nodes in `also` go."""
        at = self.graph.nodes.index(self.anchor)
        gone = {id(node) for node in also}
        self.graph.nodes[at : at + 1] = self.nodes
        if gone:
            self.graph.nodes = [node for node in self.graph.nodes if id(node) not in gone]


def permuted(shape: Shape | None, perm: Sequence[int]) -> Shape | None:
    return None if shape is None else tuple(shape[p] for p in perm)


def inverse(perm: Sequence[int]) -> list[int]:
    return [int(k) for k in np.argsort(np.asarray(perm))]


def to_channels_last(rank: int) -> list[int]:
    """NC.. -> N..C"""
    return [0, *range(2, rank), 1]


def to_channels_first(rank: int) -> list[int]:
    """N..C -> NC.."""
    return [0, rank - 1, *range(1, rank - 1)]


def join(*names: str) -> str:
    """The name of a step that stands for several nodes."""
    parts: list[str] = []
    for name in names:
        parts += [part for part in name.split("+") if part and part not in parts]
    return "+".join(parts)


def ints(graph: Graph, node: Node, attr: str, k: int | None = None) -> list[int] | None:
    """A list of integers that is an attribute in some operator sets and constant input k in others; None if absent.

    Raises LookupError when it is an input whose value is not known.
    """
    if attr in node.attrs:
        value = node.attrs[attr]
        return [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]
    if k is None or not node.input(k):
        return None
    const = graph.const(node.input(k))
    if const is None:
        raise LookupError(f"'{attr}' is computed at run time")
    return [int(v) for v in const.reshape(-1)]


def scalar(graph: Graph, name: str) -> float | None:
    """The value of a constant of one element; None otherwise."""
    const = graph.const(name)
    return float(const.reshape(-1)[0]) if const is not None and const.size == 1 else None


def normal_axes(axes: Sequence[int], rank: int) -> list[int]:
    return [a + rank if a < 0 else a for a in axes]


def is_float(graph: Graph, name: str) -> bool:
    return graph.dtype(name) == np.float32


def renamed(node: Node, inputs: Sequence[str]) -> None:
    node.inputs = list(inputs)


def single_user(uses: Uses, value: str) -> Node | None:
    return uses.single_reader(value)


def broadcast_shape(a: Shape | None, b: Shape | None) -> Shape | None:
    """numpy's broadcasting of two shapes with symbols; an unknown pair of dimensions gives None there."""
    if a is None or b is None:
        return None
    rank = max(len(a), len(b))
    out: list[int | str | None] = []
    for x, y in zip((1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)):
        out.append(
            y if x == 1 else x if y == 1 or x == y else x if isinstance(x, int) else y if isinstance(y, int) else None
        )
    return tuple(out)


__all__ = [
    "MOVEMENT",
    "PLAN",
    "Patch",
    "broadcast_shape",
    "ints",
    "inverse",
    "is_float",
    "join",
    "normal_axes",
    "permuted",
    "renamed",
    "scalar",
    "single_user",
    "to_channels_first",
    "to_channels_last",
]  # fmt: skip
