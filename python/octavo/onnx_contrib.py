"""onnxruntime's fused operators (domain com.microsoft), as its optimizers write them, spelled in ONNX's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from octavo.onnx_expansion import Expansion

LAST = np.array([-1], np.int64)


def product(e: Expansion, inputs: list[str], a_scale: str, b_scale: str, bias: str, out: str) -> str:
    """MatMulInteger(inputs) * (a_scale * b_scale) + bias"""
    scale = e.emit("Mul", [a_scale, b_scale])
    y = e.emit("Cast", [e.emit("MatMulInteger", inputs)], to=TensorProto.FLOAT)
    y = e.emit("Mul", [y, scale], "" if bias else out)
    return e.emit("Add", [y, bias], out) if bias else y


def biased(e: Expansion, k: int, bias: int) -> str:
    return e.emit("Add", [e.input(k), e.input(bias)]) if e.input(bias) else e.input(k)


def fast_gelu(e: Expansion) -> None:
    e.emit("Gelu", [biased(e, 0, 1)], e.y, approximate="tanh")


def bias_gelu(e: Expansion) -> None:
    e.emit("Gelu", [biased(e, 0, 1)], e.y)


def quick_gelu(e: Expansion) -> None:
    """x * sigmoid(alpha * x)"""
    alpha = e.const("alpha", np.float32(e.attrs.get("alpha", 1.702)))
    e.emit("Mul", [e.input(0), e.emit("Sigmoid", [e.emit("Mul", [e.input(0), alpha])])], e.y)


def fused_matmul(e: Expansion) -> None:
    """alpha * A' B', A' and B' transposed in their last two axes where transA, transB say so."""
    if e.attrs.get("transBatchA", 0) or e.attrs.get("transBatchB", 0):
        raise LookupError
    factors = [e.input(0), e.input(1)]
    for k, key in enumerate(("transA", "transB")):
        rank = e.known.ranks.get(e.input(k))
        if e.attrs.get(key, 0):
            if rank is None:
                raise LookupError
            if rank > 1:
                perm = [*range(rank - 2), rank - 1, rank - 2]
                factors[k] = e.emit("Transpose", [factors[k]], perm=perm)
    alpha = float(e.attrs.get("alpha", 1.0))
    y = e.emit("MatMul", factors, e.y if alpha == 1 else "")
    if alpha != 1:
        e.emit("Mul", [y, e.const("alpha", np.float32(alpha))], e.y)


def fused_conv(e: Expansion) -> None:
    """activation(Conv(X, W, B) + Z)"""
    act = e.attrs.pop("activation", b"")
    params = [float(v) for v in e.attrs.pop("activation_params", [])]
    kind = act.decode() if isinstance(act, bytes) else str(act)
    z = e.input(3)
    y = e.emit("Conv", [e.input(k) for k in range(3)], "" if kind or z else e.y, **e.attrs)
    if z:
        y = e.emit("Add", [y, z], "" if kind else e.y)
    if kind == "Clip":
        e.emit("Clip", [y, *(e.const(f"bound{k}", np.float32(v)) for k, v in enumerate(params))], e.y)
    elif kind:
        names = {"LeakyRelu": ["alpha"], "HardSigmoid": ["alpha", "beta"]}.get(kind, [])
        given: dict[str, Any] = dict(zip(names, params))
        e.emit(kind, [y], e.y, **given)


def layer_norm(e: Expansion, x: str, scale: str, bias: str, epsilon: float = 1e-12) -> None:
    if any(e.node.output[1:3]) and e.node.op_type == "SkipLayerNormalization":  # mean and deviation, for training
        raise LookupError
    e.emit("LayerNormalization", [x, scale, bias], e.y, axis=-1, epsilon=float(e.attrs.get("epsilon", epsilon)))


def skip_layer_normalization(e: Expansion) -> None:
    """input, skip, gamma, beta, bias -> LayerNormalization(input + skip + bias), .., .., that sum"""
    total = e.node.output[3] if len(e.node.output) > 3 else ""
    x = e.emit("Add", [e.input(0), e.input(1)], "" if e.input(4) else total)
    if e.input(4):
        x = e.emit("Add", [x, e.input(4)], total)
    layer_norm(e, x, e.input(2), e.input(3))


def embed_layer_normalization(e: Expansion) -> None:
    """Words, positions and segments looked up, added and normalized; how many tokens each row has."""
    ids, segments, words, places, kinds, gamma, beta, mask, position = (e.input(k) for k in range(9))
    outputs = [*e.node.output, "", ""][:3]
    if position:
        place = e.emit("Gather", [places, position], axis=0)
    else:
        length = e.emit("Slice", [e.emit("Shape", [ids]), e.const("one", np.array([1])), e.const("two", np.array([2]))])
        zero = e.const("zero", np.array([0]))
        place = e.emit("Slice", [places, zero, length, zero])
    x = e.emit("Gather", [words, ids], axis=0)
    segmented = bool(segments and kinds)
    x = e.emit("Add", [x, place], "" if segmented else outputs[2])
    if segmented:
        x = e.emit("Add", [x, e.emit("Gather", [kinds, segments], axis=0)], outputs[2])
    layer_norm(e, x, gamma, beta)
    if outputs[1]:
        if not mask:  # zeros, one a row
            mask = e.emit("Mul", [e.emit("Cast", [ids], to=TensorProto.INT32), e.const("none", np.int32(0))])
        total = e.emit(
            "ReduceSum", [e.emit("Cast", [mask], to=TensorProto.FLOAT), e.const("axis", np.array([1]))], keepdims=0
        )
        e.emit("Cast", [total], outputs[1], to=TensorProto.INT32)


def attention(e: Expansion) -> None:
    """input, weights, bias, mask_index, past, attention_bias"""
    if e.input(4) or e.input(6) or e.input(5):
        raise LookupError
    projected = e.emit("Add", [e.emit("MatMul", [e.input(0), e.input(1)]), e.input(2)])
    attend(e, projected, e.input(3))


def quantized_attention(e: Expansion) -> None:
    """input, weight, bias, input_scale, weight_scale, mask_index, input_zero_point, weight_zero_point, past"""
    if e.input(8):
        raise LookupError
    inputs = [e.input(0), e.input(1), e.input(6), e.input(7)]
    projected = product(e, inputs, e.input(3), e.input(4), e.input(2), f"{e.y}/projected")
    attend(e, projected, e.input(5))


def attend(e: Expansion, projected: str, mask: str) -> None:
    """Multi-head attention of [batch, length, 3 * hidden]: Vaswani et al. 2017, section 3.2."""
    heads = int(e.attrs["num_heads"])
    if e.attrs.get("unidirectional", 0) or e.attrs.get("do_rotary", 0) or len(e.node.output) > 1:
        raise LookupError
    if e.attrs.get("qkv_hidden_sizes"):
        raise LookupError
    shape = e.const("heads", np.array([0, 0, 3, heads, -1], np.int64))
    split = e.emit("Reshape", [projected, shape])
    parts = []
    for k, perm in enumerate(([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])):
        part = e.emit("Gather", [split, e.const(f"part{k}", np.array(k, np.int64))], axis=2)
        parts.append(e.emit("Transpose", [part], perm=perm))
    scores = e.emit("MatMul", parts[:2])
    # 1 / sqrt of a head's width, which the weights' shape tells
    width = e.known.constants.get(e.input(1))
    scale = float(e.attrs.get("scale", 0.0))
    if not scale:
        if width is None:
            raise LookupError
        scale = 1.0 / np.sqrt(width.dims[-1] / 3 / heads)
    scores = e.emit("Mul", [scores, e.const("scale", np.float32(scale))])
    if mask:
        scores = e.emit("Add", [scores, masked(e, mask, parts[0])])
    y = e.emit("Transpose", [e.emit("MatMul", [e.emit("Softmax", [scores], axis=-1), parts[2]])], perm=[0, 2, 1, 3])
    e.emit("Reshape", [y, e.const("joined", np.array([0, 0, -1], np.int64))], e.y)


def masked(e: Expansion, mask: str, queries: str) -> str:
    """What is added to the scores: mask_filter_value where the mask [batch, length] is 0, or from the length on that
    mask [batch] gives."""
    rank = e.known.ranks.get(mask)
    low = e.const("low", np.float32(e.attrs.get("mask_filter_value", -10000.0)))
    if rank == 1:
        length = e.emit(
            "Slice", [e.emit("Shape", [queries]), e.const("three", np.array([2])), e.const("four", np.array([3]))]
        )
        length = e.emit("Squeeze", [length])
        places = e.emit("Range", [e.const("from", np.array(0)), length, e.const("step", np.array(1))])
        # One number a row: the forms of two (ends, starts) and more fit no such column, and the step says so.
        rows = [e.emit("Shape", [queries]), e.const("first", np.array([0])), e.const("second", np.array([1]))]
        column = e.emit("Concat", [e.emit("Slice", rows), e.const("column", np.array([1]))], axis=0)
        ends = e.emit("Reshape", [e.emit("Cast", [mask], to=TensorProto.INT64), column])
        mask = e.emit("Less", [places, ends])
    elif rank != 2:
        raise LookupError
    keep = e.emit("Cast", [mask], to=TensorProto.FLOAT)
    away = e.emit("Mul", [e.emit("Sub", [e.const("all", np.float32(1)), keep]), low])
    return e.emit("Unsqueeze", [away, e.const("spread", np.array([1, 2]))])


def quantized_lstm(e: Expansion) -> None:
    """LSTM with weights restored to float: W, R [directions, inputs, 4 * hidden], their scales and zero points one a
    direction or one a column. onnxruntime quantizes the activations besides, and loses what that costs."""
    restored = []
    for k, first in ((1, 8), (2, 10)):
        q, scale, zero = (e.array(e.input(i)) for i in (k, first, first + 1))
        if q is None or scale is None:
            raise LookupError
        zeros = np.zeros((), np.float32) if zero is None else zero.astype(np.float32)
        spread = [(v.reshape(len(q), 1, -1) if v.size > 1 else v.reshape(1, 1, 1)) for v in (zeros, scale)]
        real = (q.astype(np.float32) - spread[0]) * spread[1]
        restored.append(e.const(f"weights{k}", np.ascontiguousarray(real.transpose(0, 2, 1)).astype(np.float32)))
    attrs = {k: v for k, v in e.attrs.items() if k != "input_forget" or v}
    e.emit("LSTM", [e.input(0), *restored, *(e.input(k) for k in range(3, 8))], outputs=e.node.output, **attrs)


RULES: dict[str, Callable[[Expansion], None]] = {
    "DynamicQuantizeLSTM": quantized_lstm,
    "FastGelu": fast_gelu,
    "BiasGelu": bias_gelu,
    "QuickGelu": quick_gelu,
    "FusedMatMul": fused_matmul,
    "FusedConv": fused_conv,
    "SkipLayerNormalization": skip_layer_normalization,
    "EmbedLayerNormalization": embed_layer_normalization,
    "Attention": attention,
    "QAttention": quantized_attention,
}
