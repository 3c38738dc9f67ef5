"""The graph that passes work on: nodes over named values, in topological order.

A node's ``domain`` tells its vocabulary: "" and other ONNX domains before conversion, ``PLAN`` for plan operators
(docs/plan.md). A pass rewrites ONNX nodes into plan nodes step by step; lowering accepts plan nodes only.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from octavo.errors import InvalidModel

PLAN = "plan"
# Attribute of a node written for one of onnxruntime's QLinear operators, which round in their own way: 0 where the file
# has uint8, 128 where it has int8.
QLINEAR = "qlinear"

Dim = int | str | None
Shape = tuple[Dim, ...]


@dataclass
class Value:
    """A tensor: dtype and shape as far as they are known, and its contents when it is a constant.

    host: the ONNX type of a sequence or an optional, which only Python steps read and write; None for tensors.
    """

    name: str
    dtype: np.dtype | None = None
    shape: Shape | None = None
    const: np.ndarray | None = None
    host: Any = None

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)


@dataclass(eq=False)
class Node:
    """One operator. ``inputs`` may hold "" for an absent optional input. ``origin`` is what a Python step would run."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""
    origin: Any = None

    def is_op(self, *ops: str, domain: str = "") -> bool:
        return self.domain == domain and self.op in ops

    def is_plan(self, *ops: str) -> bool:
        return self.is_op(*ops, domain=PLAN)

    def input(self, k: int) -> str:
        """Name of input k, "" when absent."""
        return self.inputs[k] if k < len(self.inputs) else ""


class Graph:
    """Nodes in topological order and the values they read and write."""

    def __init__(self, name: str = "graph", opset: int = 21) -> None:
        self.name = name
        self.opset = opset
        self.opsets: dict[str, int] = {"": opset}
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {}
        self.inputs: list[str] = []
        self.outputs: list[tuple[str, str]] = []  # (the output's public name, the value behind it)
        self.notes: list[tuple[str, str]] = []  # (node name, why it is not executed as it might be)
        self.reasons: dict[
            str, str
        ] = {}  # node name -> why integers were not for it, should it still be float at the end
        self.metadata: dict[str, str] = {}
        self.requantize = "float"  # or "fixed": the scheme that recognition follows
        self.functions: list[Any] = []  # onnx.FunctionProto of those that could not be written out
        self._count = 0

    # -- values ------------------------------------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        return self.values[name]

    def const(self, name: str) -> np.ndarray | None:
        """Contents of a constant, None for anything else (and for an absent input)."""
        return self.values[name].const if name else None

    def shape(self, name: str) -> Shape | None:
        return self.values[name].shape if name else None

    def rank(self, name: str) -> int | None:
        return self.values[name].rank if name else None

    def dtype(self, name: str) -> np.dtype | None:
        return self.values[name].dtype if name else None

    def fresh(self, hint: str) -> str:
        while True:
            self._count += 1
            name = f"{hint}.{self._count}"
            if name not in self.values:
                return name

    def new_value(self, hint: str, dtype: Any, shape: Shape | None) -> str:
        name = self.fresh(hint)
        self.values[name] = Value(name, None if dtype is None else np.dtype(dtype), shape)
        return name

    def new_const(self, hint: str, array: np.ndarray) -> str:
        name = self.fresh(hint)
        self.values[name] = Value(name, array.dtype, tuple(int(d) for d in array.shape), array)
        return name

    # -- structure ---------------------------------------------------------------------------------------------------

    def producers(self) -> dict[str, Node]:
        return {out: node for node in self.nodes for out in node.outputs if out}

    def readers(self) -> dict[str, list[Node]]:
        """Value -> nodes that read it, one entry a reading input; graph outputs are not in it (see is_output)."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                if name:
                    found.setdefault(name, []).append(node)
        return found

    def output_values(self) -> set[str]:
        return {value for _, value in self.outputs}

    def replace_uses(self, old: str, new: str) -> None:
        """Every reader of ``old``, and every output over it, reads ``new`` instead."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
        self.outputs = [(public, new if value == old else value) for public, value in self.outputs]

    def remove(self, node: Node) -> None:
        self.nodes.remove(node)

    def sort(self) -> None:
        """Restores topological order (stable). Raises InvalidModel on a cycle or a value nobody writes."""
        ready = set(self.inputs) | {n for n, v in self.values.items() if v.const is not None} | {""}
        if self._is_sorted(ready):
            return
        waiting: dict[str, list[int]] = {}
        missing = []
        for k, node in enumerate(self.nodes):
            needs = {name for name in node.inputs if name not in ready}
            missing.append(needs)
            for name in needs:
                waiting.setdefault(name, []).append(k)
        order: list[Node] = []
        heap = [k for k, needs in enumerate(missing) if not needs]
        heapq.heapify(heap)
        while heap:
            k = heapq.heappop(heap)
            order.append(self.nodes[k])
            for out in self.nodes[k].outputs:
                for reader in waiting.pop(out, ()):
                    missing[reader].discard(out)
                    if not missing[reader]:
                        heapq.heappush(heap, reader)
        if len(order) != len(self.nodes):
            stuck = next(k for k, needs in enumerate(missing) if needs)
            node, first = self.nodes[stuck], min(missing[stuck])
            written = {out for n in self.nodes for out in n.outputs}
            if first in written:
                raise InvalidModel(f"the graph has a cycle through node '{node.name}' ({node.op})")
            raise InvalidModel(f"node '{node.name}' ({node.op}) reads '{first}', which nothing writes")
        self.nodes = order

    def _is_sorted(self, ready: set[str]) -> bool:
        """Whether every node reads what is `ready` or written before it: mostly so, and quickly seen."""
        written = set(ready)
        for node in self.nodes:
            if not written.issuperset(node.inputs):
                return False
            written.update(node.outputs)
        return True

    def drop_dead(self) -> bool:
        """Removes nodes none of whose results are read. Returns whether any were."""
        wanted = {value for _, value in self.outputs}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(out in wanted for out in node.outputs):
                kept.append(node)
                wanted.update(name for name in node.inputs if name)
        changed = len(kept) != len(self.nodes)
        self.nodes = kept[::-1]
        return changed

    def copied(self) -> tuple[Graph, dict[int, Node]]:
        """A graph that may be rewritten while this one stays (constants are shared), and id of a node -> its copy."""
        other = Graph(self.name, self.opset)
        twins = {id(n): replace(n, inputs=list(n.inputs), outputs=list(n.outputs), attrs=dict(n.attrs)) for n in self}
        other.opsets, other.metadata, other._count = dict(self.opsets), dict(self.metadata), self._count
        other.nodes, other.notes = list(twins.values()), list(self.notes)
        other.functions = list(self.functions)
        other.values = {name: replace(value) for name, value in self.values.items()}
        other.inputs, other.outputs = list(self.inputs), list(self.outputs)
        return other, twins

    def drop_constants(self) -> None:
        """Lets go of constants that no node reads and no output hands out: weights in a form that a pass has left."""
        read = {name for node in self.nodes for name in node.inputs} | self.output_values()
        for name, value in self.values.items():
            if value.const is not None and name not in read:
                value.const = None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)


class Uses:
    """Who writes and who reads, for one moment of a graph; build anew after a rewrite."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producer = graph.producers()
        self.readers = graph.readers()
        self.outputs = graph.output_values()

    def single_reader(self, value: str) -> Node | None:
        """The only node that reads the value, once; None if there are others or it is a graph output."""
        nodes = self.readers.get(value, [])
        return nodes[0] if len(nodes) == 1 and value not in self.outputs else None


def plan_node(
    op: str, inputs: Sequence[str], outputs: Sequence[str], name: str, attrs: Mapping[str, Any] | None = None
) -> Node:
    """A node of the plan's vocabulary."""
    return Node(op, list(inputs), list(outputs), dict(attrs or {}), name, PLAN)


def same_shape(a: Shape | None, b: Shape | None) -> bool:
    """Whether two shapes are known to be equal (a symbol equals itself)."""
    return a is not None and b is not None and None not in a and a == b
