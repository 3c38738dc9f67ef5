"""Quantized operators (QLinear*, onnxruntime's own) spelled as DequantizeLinear -> operator -> QuantizeLinear.

Recognition then has one spelling to know. The arithmetic of these operators is defined by that very sequence, up to the
order of roundings that docs/arithmetic.md fixes for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class Expansion:
    """Writes the nodes that replace one; names derive from the node's first output."""

    def __init__(self, node: NodeProto, constants: dict[str, TensorProto]) -> None:
        self.node, self.constants = node, constants
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self.attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.y = node.output[0]

    def input(self, k: int) -> str:
        return self.node.input[k] if k < len(self.node.input) else ""

    def emit(self, op: str, inputs: Sequence[str], out: str = "", outputs: Sequence[str] = (), **attrs: Any) -> str:
        names = list(outputs) or [out or f"{self.y}/{op}.{len(self.nodes)}"]
        inputs = list(inputs)
        while inputs and not inputs[-1]:
            inputs.pop()
        # The operator carries the node's name; the quantization around it stays distinguishable.
        name = self.node.name or self.y
        if op in ("QuantizeLinear", "DequantizeLinear"):
            name = f"{name}/{op}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attrs))
        return names[0]

    def dequantize(self, k: int, axis: int | None = None) -> str:
        """Inputs k, k + 1, k + 2: values, scale, zero point."""
        attrs: dict[str, Any] = {} if axis is None else {"axis": axis}
        return self.emit("DequantizeLinear", [self.input(k), self.input(k + 1), self.input(k + 2)], **attrs)

    def quantize(self, x: str, k: int) -> None:
        """Inputs k, k + 1: the output's scale and zero point."""
        self.emit("QuantizeLinear", [x, self.input(k), self.input(k + 1)], self.y)

    def array(self, k: int) -> np.ndarray | None:
        tensor = self.constants.get(self.input(k))
        return None if tensor is None else numpy_helper.to_array(tensor)

    def bias(self, k: int, x_scale: int, w_scale: int) -> str:
        """int32 bias in units of the product of two scales."""
        a, b = self.array(x_scale), self.array(w_scale)
        if not self.input(k):
            return ""
        if a is None or b is None:
            raise LookupError
        scale = f"{self.y}/bias_scale"
        self.tensors.append(numpy_helper.from_array((a.reshape(()) * b).astype(np.float32), scale))
        return self.emit("DequantizeLinear", [self.input(k), scale], axis=0)

    def keep(self, *names: str) -> dict[str, Any]:
        return {k: v for k, v in self.attrs.items() if k in names}


WINDOW = ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode", "count_include_pad", "group")


def conv(e: Expansion) -> None:
    bias = e.bias(8, 1, 4)
    e.quantize(e.emit("Conv", [e.dequantize(0), e.dequantize(3, 0), bias], **e.keep(*WINDOW)), 6)


def matmul(e: Expansion) -> None:
    e.quantize(e.emit("MatMul", [e.dequantize(0, -2), e.dequantize(3, -1)]), 6)


def gemm(e: Expansion) -> None:
    if float(e.attrs.get("alpha", 1.0)) != 1.0:
        raise LookupError
    bias = e.bias(6, 1, 4)
    trans = int(e.attrs.get("transB", 0))
    y = e.emit("Gemm", [e.dequantize(0), e.dequantize(3, 0 if trans else 1), bias], **e.keep("transA", "transB"))
    if e.input(7):
        e.quantize(y, 7)
    else:
        e.nodes[-1].output[0] = e.y


def binary(op: str) -> Callable[[Expansion], None]:
    def rule(e: Expansion) -> None:
        e.quantize(e.emit(op, [e.dequantize(0), e.dequantize(3)]), 6)

    return rule


def unary(op: str, *attrs: str) -> Callable[[Expansion], None]:
    def rule(e: Expansion) -> None:
        if e.attrs.get("channels_last", 0):
            raise LookupError
        e.quantize(e.emit(op, [e.dequantize(0)], **e.keep(*attrs)), 3)

    return rule


def concat(e: Expansion) -> None:
    parts = [e.dequantize(k) for k in range(2, len(e.node.input), 3)]
    e.quantize(e.emit("Concat", parts, **e.keep("axis")), 0)


def where(e: Expansion) -> None:
    e.quantize(e.emit("Where", [e.input(0), e.dequantize(1), e.dequantize(4)]), 7)


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
    ("", "QLinearMatMul"): matmul,
    (MICROSOFT, "QGemm"): gemm,
    (MICROSOFT, "QLinearAdd"): binary("Add"),
    (MICROSOFT, "QLinearMul"): binary("Mul"),
    (MICROSOFT, "QLinearAveragePool"): unary("AveragePool", *WINDOW),
    (MICROSOFT, "QLinearGlobalAveragePool"): unary("GlobalAveragePool"),
    (MICROSOFT, "QLinearSigmoid"): unary("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): unary("LeakyRelu", "alpha"),
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
    constants = {t.name: t for t in copy.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        rule = RULES.get((node.domain, node.op_type))
        if rule is not None:
            expansion = Expansion(node, constants)
            try:
                rule(expansion)
            except LookupError:  # parameters not constant: the node stays, for a Python step
                nodes.append(node)
                continue
            nodes += expansion.nodes
            copy.graph.initializer.extend(expansion.tensors)
        else:
            nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
