"""Writing plan nodes: fresh values with known dtype and shape, constants, channels-last conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from octavo.ir import Graph, Node, Shape, plan_node


def to_last(rank: int) -> tuple[int, ...]:
    """Permutation [N, C, spatial...] -> [N, spatial..., C]."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """Permutation [N, spatial..., C] -> [N, C, spatial...]."""
    return (0, rank - 1, *range(1, rank - 1))


def permuted(shape: Shape | None, perm: Sequence[int]) -> Shape | None:
    return None if shape is None else tuple(shape[p] for p in perm)


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(perm))


class Emit:
    """Collects the nodes that replace one node of the graph."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name
        self.nodes: list[Node] = []

    def const(self, array: Any, dtype: Any = None) -> str:
        return self.graph.new_const(f"{self.name}.const", np.asarray(array, dtype=dtype))

    def op(
        self,
        op: str,
        inputs: Sequence[str],
        dtype: Any,
        shape: Shape | None,
        attrs: Mapping[str, Any] | None = None,
        out: str | None = None,
    ) -> str:
        """Adds one single-output node and returns its output: ``out`` when given, else a fresh value."""
        if out is None:
            out = self.graph.new_value(f"{self.name}.{op}", dtype, shape)
        else:
            self.describe(out, dtype, shape)
        self.nodes.append(plan_node(op, inputs, [out], self.name, attrs))
        return out

    def describe(self, name: str, dtype: Any, shape: Shape | None) -> None:
        """Fills in what is not known yet about an existing value; its dtype is overwritten."""
        value = self.graph.values[name]
        value.dtype = np.dtype(dtype) if dtype is not None else value.dtype
        if value.shape is None:
            value.shape = shape

    def transpose(self, x: str, perm: Sequence[int], out: str | None = None) -> str:
        shape = permuted(self.graph.shape(x), perm)
        return self.op("Transpose", [x], self.graph.dtype(x), shape, {"perm": [int(p) for p in perm]}, out)

    def channels_last(self, x: str, rank: int) -> str:
        return self.transpose(x, to_last(rank))

    def channels_first(self, x: str, rank: int, out: str | None = None) -> str:
        return self.transpose(x, to_first(rank), out)

    def image_op(
        self,
        op: str,
        inputs: Sequence[str],
        rank: int,
        dtype: Any,
        shape: Shape | None,
        attrs: Mapping[str, Any] | None,
        out: str,
    ) -> None:
        """A channels-last operator between two transposes. ``shape`` is the channels-first result, ``inputs[0]`` the image."""
        x = self.channels_last(inputs[0], rank)
        y = self.op(op, [x, *inputs[1:]], dtype, permuted(shape, to_last(rank)), attrs)
        self.describe(out, dtype, shape)
        self.channels_first(y, rank, out)
