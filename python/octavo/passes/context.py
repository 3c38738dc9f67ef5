"""What the rules that turn ONNX nodes into plan nodes work with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from octavo.ir import Graph, Node, Value
from octavo.ops.cast import DTYPES
from octavo.passes.match import Patch
from octavo.passes.small_weights import Stored, stored

F32, S32, S64, U8, S8 = (np.dtype(t) for t in (np.float32, np.int32, np.int64, np.uint8, np.int8))
# What the core's tensors hold.
CORE_DTYPES = {np.dtype(t) for t in DTYPES.values()}

MAX_RANK = 8


def held(value: Value) -> bool:
    """Whether the core holds it as a tensor; what it does not travels between Python steps as bytes."""
    return value.host is None and value.dtype in CORE_DTYPES and (value.rank is None or value.rank <= MAX_RANK)


class Refuse(Exception):
    """The core cannot run the node as it is; the message is the reason."""


class Context:
    """What a rule works with."""

    def __init__(self, graph: Graph, node: Node, patch: Patch, producers: dict[str, Node]) -> None:
        self.graph, self.node, self.patch, self.producers = graph, node, patch, producers
        self.x, self.y = node.input(0), node.outputs[0]

    def dtype(self, k: int = 0) -> np.dtype | None:
        return self.graph.dtype(self.node.input(k))

    def rank(self, k: int = 0) -> int:
        rank = self.graph.rank(self.node.input(k))
        if rank is None:
            raise Refuse(f"the rank of '{self.node.input(k)}' is not known")
        return rank

    def attr(self, name: str, default: Any) -> Any:
        return self.node.attrs.get(name, default)

    def stored(self, k: int, order: list[int] | None = None) -> Stored | None:
        """Input k, when it is a weight that stays small (its axes in `order`); None otherwise."""
        node = self.producers.get(self.node.input(k))
        return stored(self.graph, node, order) if node is not None and node.is_plan("Restore") else None

    def need_f32(self, *ks: int) -> None:
        for k in ks or (0,):
            if self.node.input(k) and self.dtype(k) != F32:
                raise Refuse(f"the core runs it in float32, not {self.dtype(k)}")

    def emit(self, op: str, inputs: list[str], attrs: dict[str, Any] | None = None, out: str | None = None) -> None:
        out = self.y if out is None else out
        value = self.graph.values[out]
        self.patch.emit(op, inputs, value.dtype, value.shape, attrs, out)

    def const_ints(self, values: list[int], hint: str) -> str:
        return self.graph.new_const(f"{self.y}/{hint}", np.array(values, np.int64))


Rule = Callable[[Context], None]
