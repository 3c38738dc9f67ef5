"""Writing simple ONNX nodes in place of one: what the spellings in onnx_qoperator.py and onnx_contrib.py share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from octavo.ir import QLINEAR

MICROSOFT = "com.microsoft"


class Expansion:
    """Writes the nodes that replace one; names derive from the node's first output."""

    def __init__(self, node: NodeProto, known: Known) -> None:
        self.node, self.known = node, known
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self.attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.y = self.result = node.output[0]

    def input(self, k: int) -> str:
        return self.node.input[k] if k < len(self.node.input) else ""

    def emit(self, op: str, inputs: Sequence[str], out: str = "", outputs: Sequence[str] = (), **attrs: Any) -> str:
        names = list(outputs) or [out or f"{self.y}/{op}.{len(self.nodes)}"]
        inputs = list(inputs)
        while inputs and not inputs[-1]:
            inputs.pop()
        # The operator carries the node's name; the quantization around it stays distinguishable.
        name = self.node.name or self.y
        if op in ("QuantizeLinear", "DequantizeLinear", "Transpose"):
            name = f"{name}/{op}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attrs))
        return names[0]

    def const(self, part: str, array: np.ndarray) -> str:
        name = f"{self.y}/{part}"
        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def dequantize(self, k: int, axis: int | None = None, scale: str = "", x: str = "") -> str:
        """Inputs k, k + 1, k + 2: values, scale, zero point."""
        attrs: dict[str, Any] = {} if axis is None else {"axis": axis}
        inputs = [x or self.input(k), scale or self.input(k + 1), self.input(k + 2)]
        return self.emit("DequantizeLinear", inputs, **attrs)

    def quantize(self, x: str, k: int, like: int = 0) -> None:
        """Inputs k, k + 1: the output's scale and zero point; without one, the type is that of input `like`."""
        zero = self.input(k + 1)
        if not zero:
            zero = self.const("zero_point", np.zeros((), np.int8 if self.signed(like) else np.uint8))
        self.emit("QuantizeLinear", [x, self.input(k), zero], self.y)

    def array(self, name: str) -> np.ndarray | None:
        tensor = self.known.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def signed(self, k: int) -> bool:
        return self.known.types.get(self.input(k)) == TensorProto.INT8

    def qlinear(self, k: int = 0) -> dict[str, Any]:
        """Marks an operator that rounds as onnxruntime's; input k tells the file's type."""
        return {QLINEAR: 128 if self.signed(k) else 0}

    def bias(self, k: int, x_scale: str, w_scale: str) -> str:
        """int32 bias in units of the product of two scales."""
        if not self.input(k):
            return ""
        a, b = self.array(x_scale), self.array(w_scale)
        if a is None or b is None:
            scale = self.emit("Mul", [x_scale, w_scale])
            return self.emit("Mul", [self.emit("Cast", [self.input(k)], to=TensorProto.FLOAT), scale])
        product = self.const("bias_scale", (a.reshape(()) * b).astype(np.float32))
        return self.emit("DequantizeLinear", [self.input(k), product], axis=-1)

    def keep(self, *names: str) -> dict[str, Any]:
        return {k: v for k, v in self.attrs.items() if k in names}

    def rank(self, k: int = 0, otherwise: int = 4) -> int:
        return self.known.ranks.get(self.input(k), otherwise)

    @contextmanager
    def channels_last(self, rank: int) -> Iterator[list[str]]:
        """Around an operator whose image, input 0, is channels-last: its name channels-first, to be replaced by the
        operator's result."""
        if not self.attrs.get("channels_last", 0):
            yield (names := [self.input(0)])
            self.result = names[0]
            return
        last = [0, *range(2, rank), 1]
        yield (names := [self.emit("Transpose", [self.input(0)], perm=[0, rank - 1, *range(1, rank - 1)])])
        self.result = self.emit("Transpose", names, perm=last)


@dataclass
class Known:
    """What is known of the values of a graph."""

    constants: dict[str, TensorProto]
    types: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    opset: int = 13

    @classmethod
    def of(cls, graph: GraphProto) -> Known:
        known = cls({t.name: t for t in graph.initializer})
        for t in graph.initializer:
            known.types[t.name], known.ranks[t.name] = t.data_type, len(t.dims)
        for node in graph.node:
            for a in node.attribute:
                if node.op_type == "Constant" and a.name == "value":
                    name = node.output[0]
                    known.constants[name], known.types[name], known.ranks[name] = a.t, a.t.data_type, len(a.t.dims)
        for v in [*graph.input, *graph.output, *graph.value_info]:
            known.types[v.name] = v.type.tensor_type.elem_type
            if v.type.tensor_type.HasField("shape"):
                known.ranks[v.name] = len(v.type.tensor_type.shape.dim)
        return known

    def learn(self, nodes: Sequence[NodeProto], was: NodeProto) -> None:
        """Types of quantized results and ranks, as far as they are plain; `nodes` stand in place of `was`."""
        for node in nodes:
            if node.op_type == "QuantizeLinear":
                zero = node.input[2] if len(node.input) > 2 else ""
                self.types[node.output[0]] = self.types.get(zero, TensorProto.UINT8)
        if was.op_type in MOVES and was.input and was.input[0] in self.types:
            for name in was.output:
                self.types.setdefault(name, self.types[was.input[0]])
        rank = self.rank_of(was)
        if rank is not None:
            for name in was.output:
                self.ranks.setdefault(name, rank)

    def rank_of(self, node: NodeProto) -> int | None:
        """The rank of a node's result, None where it is not plain to see."""
        ranks = [self.ranks.get(name) for name in node.input]
        kind, first = node.op_type, ranks[0] if ranks else None
        if kind in ("Reshape", "Expand"):
            shape = self.constants.get(node.input[1]) if len(node.input) > 1 else None
            return None if shape is None else int(np.prod(shape.dims))
        if kind == "Gather":
            return None if None in ranks else ranks[0] + ranks[1] - 1  # type: ignore[operator]
        if kind in ("Squeeze", "Unsqueeze"):
            axes = next((len(a.ints) for a in node.attribute if a.name == "axes"), None)
            if axes is None and len(node.input) > 1 and node.input[1] in self.constants:
                axes = int(np.prod(self.constants[node.input[1]].dims))
            return None if axes is None or first is None else first + (axes if kind == "Unsqueeze" else -axes)
        if kind == "Flatten":
            return 2
        if kind in OTHER_RANKS:
            return None
        found = [r for r in ranks if r is not None]
        return max(found) if found and (len(found) == len(ranks) or first == max(found)) else None


# Operators whose result is of another rank than their inputs, and those that keep their input's integers.
OTHER_RANKS = {"Shape", "Size", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ArgMax", "ArgMin"}
OTHER_RANKS |= {"QLinearReduceMean", "ConstantOfShape", "Einsum", "If", "Loop", "Scan", "OneHot", "GatherND"}
MOVES = {
    "NhwcMaxPool",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "MaxPool",
    "Slice",
    "Split",
    "Concat",
    "Pad",
}


def expand(model: ModelProto, rules: Mapping[tuple[str, str], Callable[[Expansion], None]]) -> ModelProto:
    """A copy of the model without the operators of `rules`, (domain, type); the model itself when it has none."""
    if not any((node.domain, node.op_type) in rules for node in model.graph.node):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    known = Known.of(copy.graph)
    known.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), known.opset)
    nodes: list[NodeProto] = []
    for node in list(copy.graph.node):
        rule = rules.get((node.domain, node.op_type))
        replaced = [node]
        if rule is not None:
            expansion = Expansion(node, known)
            try:
                rule(expansion)
                replaced = expansion.nodes
                copy.graph.initializer.extend(expansion.tensors)
            except LookupError:  # the node stays, for a Python step
                pass
        nodes += replaced
        known.learn(replaced, node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
