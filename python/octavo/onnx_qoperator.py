"""Quantized operators (QLinear*, onnxruntime's own) spelled as DequantizeLinear -> operator -> QuantizeLinear.

Recognition then has one spelling to know. Operators of onnxruntime that round otherwise than this sequence are marked
(ir.QLINEAR), and recognition follows them (docs/arithmetic.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, helper

from octavo.onnx_contrib import RULES as CONTRIB
from octavo.onnx_contrib import product
from octavo.onnx_expansion import MICROSOFT, Expansion, expand

WINDOW = ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode", "count_include_pad", "group")


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


def max_pool(e: Expansion) -> None:
    """NhwcMaxPool: a MaxPool of channels-last images."""
    e.attrs["channels_last"] = 1
    with e.channels_last(len(e.attrs["kernel_shape"]) + 2) as image:
        image[0] = e.emit("MaxPool", image, **e.keep(*WINDOW))
    e.nodes[-1].output[0] = e.y


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
    product(e, [e.input(0), e.input(1), e.input(4), e.input(5)], e.input(2), e.input(3), e.input(6), e.y)


def dynamic_matmul(e: Expansion) -> None:
    """A, B, b_scale, b_zero_point, bias"""
    q = [f"{e.y}/{part}" for part in ("quantized", "scale", "zero_point")]
    e.emit("DynamicQuantizeLinear", [e.input(0)], outputs=q)
    product(e, [q[0], e.input(1), q[2], e.input(3)], q[1], e.input(2), e.input(4), e.y)


RULES: dict[tuple[str, str], Callable[[Expansion], None]] = {
    ("", "QLinearConv"): conv,
    (MICROSOFT, "QLinearConv"): conv,
    ("", "QLinearMatMul"): matmul,
    (MICROSOFT, "QGemm"): gemm,
    (MICROSOFT, "QLinearAdd"): binary("Add"),
    (MICROSOFT, "QLinearMul"): binary("Mul"),
    (MICROSOFT, "QLinearAveragePool"): pool("AveragePool"),
    (MICROSOFT, "QLinearGlobalAveragePool"): pool("GlobalAveragePool"),
    (MICROSOFT, "NhwcMaxPool"): max_pool,
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
    **{(MICROSOFT, op): rule for op, rule in CONTRIB.items()},
}


def expand_qoperators(model: ModelProto) -> ModelProto:
    """A copy of the model without the operators of RULES; the model itself when it has none."""
    return expand(model, RULES)
