"""Quantized operators (QLinear*, onnxruntime's own) spelled as DequantizeLinear -> operator -> QuantizeLinear.

Recognition then has one spelling to know. Operators of onnxruntime that round otherwise than this sequence are marked
(ir.QLINEAR), and recognition follows them (docs/arithmetic.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from octavo.ir import QLINEAR

MICROSOFT = "com.microsoft"
WINDOW = ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode", "count_include_pad", "group")


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

    def learn(self, node: NodeProto, was: NodeProto) -> None:
        """Types of quantized results; ranks where an operator keeps its input's."""
        if node.op_type == "QuantizeLinear":
            zero = node.input[2] if len(node.input) > 2 else ""
            self.types[node.output[0]] = self.types.get(zero, TensorProto.UINT8)
        source = next((n for n in was.input if n in self.ranks and self.ranks[n] > 1), "")
        if source and was.op_type not in RESHAPES | {"QLinearReduceMean"}:
            self.ranks.setdefault(node.output[0], self.ranks[source])
        if was.op_type in MOVES and was.input and was.input[0] in self.types:
            self.types.setdefault(node.output[0], self.types[was.input[0]])


# Operators whose result has another rank than their input, and those that keep its integers.
RESHAPES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Gather", "Expand", "ReduceMean"}
MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MaxPool", "Slice", "Split", "Concat", "Pad"}


def conv(e: Expansion) -> None:
    bias = e.bias(8, e.input(1), e.input(4))
    known = all(e.array(e.input(k)) is not None for k in (1, 4))
    with e.channels_last(e.rank(3)) as image:
        x = e.dequantize(0, x=image[0])
        image[0] = e.emit("Conv", [x, e.dequantize(3, 0), bias if known else ""], **e.keep(*WINDOW))
        if bias and not known:
            column = e.const("column", np.array([-1, *[1] * (e.rank(3) - 2)], np.int64))
            image[0] = e.emit("Add", [image[0], e.emit("Reshape", [bias, column])])
    e.quantize(e.result, 6)


def matmul(e: Expansion) -> None:
    e.quantize(e.emit("MatMul", [e.dequantize(0, -2), e.dequantize(3, -1)]), 6)


def gemm(e: Expansion) -> None:
    scale = e.input(1)
    alpha = np.float32(e.attrs.get("alpha", 1.0))
    if alpha != 1:  # onnxruntime multiplies alpha into the first scale; the bias is in units of the product
        a = e.array(scale)
        if a is None:
            raise LookupError
        scale = e.const("scale", (alpha * a).astype(np.float32))
        e.known.constants[scale] = e.tensors[-1]
    trans = int(e.attrs.get("transB", 0))
    factors = [e.dequantize(0, scale=scale), e.dequantize(3, 0 if trans else 1), e.bias(6, scale, e.input(4))]
    y = e.emit("Gemm", factors, **e.keep("transA", "transB"))
    if e.input(7):
        e.quantize(y, 7)
    else:
        e.nodes[-1].output[0] = e.y


def binary(op: str) -> Callable[[Expansion], None]:
    def rule(e: Expansion) -> None:
        e.quantize(e.emit(op, [e.dequantize(0), e.dequantize(3)], **e.qlinear()), 6)

    return rule


def unary(op: str, *attrs: str) -> Callable[[Expansion], None]:
    def rule(e: Expansion) -> None:
        e.quantize(e.emit(op, [e.dequantize(0)], **e.keep(*attrs)), 3)

    return rule


def pool(op: str) -> Callable[[Expansion], None]:
    def rule(e: Expansion) -> None:
        rank = len(e.attrs["kernel_shape"]) + 2 if "kernel_shape" in e.attrs else e.rank()
        with e.channels_last(rank) as image:
            image[0] = e.emit(op, [e.dequantize(0, x=image[0])], **e.keep(*WINDOW), **e.qlinear())
        e.quantize(e.result, 3)

    return rule


def softmax(e: Expansion) -> None:
    """The attribute `opset` says whether it normalizes one axis or, before 13, all from `axis` on."""
    new = int(e.attrs["opset"]) >= 13
    axis = int(e.attrs.get("axis", -1 if new else 1))
    rank = e.known.ranks.get(e.input(0))
    last = axis == -1 or (rank is not None and axis == rank - 1)
    x = e.dequantize(0)
    if last or new == (e.known.opset >= 13):
        return e.quantize(e.emit("Softmax", [x], axis=axis), 3)
    if new:  # an axis amid others, where the model's own Softmax would take all behind it
        if rank is None:
            raise LookupError
        perm = list(range(rank))
        perm[axis], perm[-1] = perm[-1], perm[axis]
        y = e.emit("Softmax", [e.emit("Transpose", [x], perm=perm)], axis=rank - 1)
        return e.quantize(e.emit("Transpose", [y], perm=perm), 3)
    y = e.emit("Softmax", [e.emit("Flatten", [x], axis=axis)], axis=1)
    e.quantize(e.emit("Reshape", [y, e.emit("Shape", [e.input(0)])]), 3)


def reduce_mean(e: Expansion) -> None:
    e.quantize(e.emit("ReduceMean", [e.dequantize(0)], **e.keep("axes", "keepdims")), 3)


def concat(e: Expansion) -> None:
    parts = [e.dequantize(k) for k in range(2, len(e.node.input), 3)]
    e.quantize(e.emit("Concat", parts, **e.keep("axis")), 0, like=2)


def where(e: Expansion) -> None:
    e.quantize(e.emit("Where", [e.input(0), e.dequantize(1), e.dequantize(4)]), 7, like=1)


def same(e: Expansion) -> None:
    e.nodes.append(
        helper.make_node(e.node.op_type, list(e.node.input), list(e.node.output), name=e.node.name, **e.attrs)
    )


def integer_to_float(e: Expansion) -> None:
    """A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias"""
    product(e, [e.input(0), e.input(1), e.input(4), e.input(5)], e.input(2), e.input(3), e.input(6))


def dynamic_matmul(e: Expansion) -> None:
    """A, B, b_scale, b_zero_point, bias"""
    q = [f"{e.y}/{part}" for part in ("quantized", "scale", "zero_point")]
    e.emit("DynamicQuantizeLinear", [e.input(0)], outputs=q)
    product(e, [q[0], e.input(1), q[2], e.input(3)], q[1], e.input(2), e.input(4))


def product(e: Expansion, inputs: list[str], a_scale: str, b_scale: str, bias: str) -> None:
    scale = e.emit("Mul", [a_scale, b_scale])
    y = e.emit("Cast", [e.emit("MatMulInteger", inputs)], to=TensorProto.FLOAT)
    y = e.emit("Mul", [y, scale], "" if bias else e.y)
    if bias:
        e.emit("Add", [y, bias], e.y)


RULES: dict[tuple[str, str], Callable[[Expansion], None]] = {
    ("", "QLinearConv"): conv,
    (MICROSOFT, "QLinearConv"): conv,
    ("", "QLinearMatMul"): matmul,
    (MICROSOFT, "QGemm"): gemm,
    (MICROSOFT, "QLinearAdd"): binary("Add"),
    (MICROSOFT, "QLinearMul"): binary("Mul"),
    (MICROSOFT, "QLinearAveragePool"): pool("AveragePool"),
    (MICROSOFT, "QLinearGlobalAveragePool"): pool("GlobalAveragePool"),
    (MICROSOFT, "QLinearReduceMean"): reduce_mean,
    (MICROSOFT, "QLinearSigmoid"): unary("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): unary("LeakyRelu", "alpha"),
    (MICROSOFT, "QLinearSoftmax"): softmax,
    (MICROSOFT, "QLinearConcat"): concat,
    (MICROSOFT, "QLinearWhere"): where,
    (MICROSOFT, "QuantizeLinear"): same,
    (MICROSOFT, "DequantizeLinear"): same,
    (MICROSOFT, "Gelu"): same,
    (MICROSOFT, "MatMulIntegerToFloat"): integer_to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): dynamic_matmul,
}


def expand_qoperators(model: ModelProto) -> ModelProto:
    """A copy of the model without the operators of RULES; the model itself when it has none."""
    if not any((node.domain, node.op_type) in RULES for node in model.graph.node):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    known = Known.of(copy.graph)
    known.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), known.opset)
    nodes: list[NodeProto] = []
    for node in list(copy.graph.node):
        rule = RULES.get((node.domain, node.op_type))
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
        known.learn(replaced[-1], node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
