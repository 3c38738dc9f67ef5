"""Convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.passes.context import F32, Context, Refuse, Rule
from octavo.passes.images import emit_channels_last, geometry


def literal(c: Context) -> dict[str, Any]:
    return {"acc64": 1} if c.attr("acc64", 0) else {}


def conv(c: Context) -> None:
    w = c.graph.const(c.node.inputs[1])
    c.need_f32(0, 1, 2)
    if w is None:
        raise Refuse("its weights are computed at run time")
    if w.ndim not in (3, 4):
        raise Refuse("the core convolves in one and two dimensions")
    if c.rank() != w.ndim:
        raise Refuse(f"its input has {c.rank()} dimensions, its weights {w.ndim}")
    transposed = c.node.op == "ConvTranspose"
    attrs = geometry(c.graph, c.node, list(w.shape[2:])) if not transposed else transposed_geometry(c, w)
    group = int(c.attr("group", 1))
    attrs |= {"group": group, **literal(c)}
    if transposed:  # [C, O/group, k..] -> [O, C/group, k..]
        if group < 1 or w.shape[0] % group:
            raise Refuse("its group does not divide its channels")
        w = (
            w.reshape(group, w.shape[0] // group, *w.shape[1:])
            .swapaxes(1, 2)
            .reshape(-1, w.shape[0] // group, *w.shape[2:])
        )
    packed = c.graph.new_const(c.node.inputs[1], np.ascontiguousarray(np.moveaxis(w, 1, -1)))
    others = [packed]
    if c.node.input(2):
        if c.graph.const(c.node.inputs[2]) is None:
            raise Refuse("its bias is computed at run time")
        others.append(c.node.inputs[2])
    shape = c.graph.shape(c.y)
    if shape is None:
        raise Refuse("its output's rank is not known")
    emit_channels_last(c.patch, c.node.op, c.x, others, attrs, F32, shape, c.y)


def transposed_geometry(c: Context, w: np.ndarray) -> dict[str, Any]:
    n = w.ndim - 2
    strides = [int(v) for v in c.attr("strides", None) or [1] * n]
    dilations = [int(v) for v in c.attr("dilations", None) or [1] * n]
    pads = [int(v) for v in c.attr("pads", None) or [0] * (2 * n)]
    extra = [int(v) for v in c.attr("output_padding", None) or [0] * n]
    auto, wanted = c.attr("auto_pad", "NOTSET"), c.attr("output_shape", None)
    if auto == "VALID":
        pads = [0] * (2 * n)
    elif auto != "NOTSET" or wanted:
        shape = c.graph.shape(c.x)
        sizes = shape[2:] if shape is not None else ()
        if len(sizes) != n or any(not isinstance(d, int) for d in sizes):
            raise Refuse("its padding depends on sizes known only at run time")
        target = [int(v) for v in wanted[-n:]] if wanted else [d * s for d, s in zip(sizes, strides)]  # type: ignore[operator]
        begin, end = [], []
        for d, s, k, dil, e, t in zip(sizes, strides, w.shape[2:], dilations, extra, target):
            total = s * (d - 1) + e + (k - 1) * dil + 1 - t
            if total < 0:
                raise Refuse("its output_shape needs negative padding")
            first = total // 2 if auto == "SAME_UPPER" else total - total // 2
            begin.append(first)
            end.append(total - first)
        pads = begin + end
    return {"strides": strides, "dilations": dilations, "pads": pads, "output_padding": extra}


def matmul(c: Context) -> None:
    c.need_f32(0, 1)
    b = c.graph.const(c.node.inputs[1])
    if b is not None and b.ndim == 2 and c.rank() >= 1:
        packed = c.graph.new_const(c.node.inputs[1], np.ascontiguousarray(b.T))
        return c.emit("MatMul", [c.x, packed], {"trans_b": 1, **literal(c)})
    if min(c.rank(0), c.rank(1)) < 2:
        raise Refuse("the core multiplies matrices, not run-time vectors")
    c.emit("MatMul", [c.x, c.node.inputs[1]], literal(c))


def gemm(c: Context) -> None:
    """Gemm => [Transpose] MatMul [* alpha] [+ beta * c]"""
    c.need_f32(0, 1, 2)
    g, node = c.graph, c.node
    alpha, beta = np.float32(c.attr("alpha", 1.0)), np.float32(c.attr("beta", 1.0))
    x = c.patch.transpose(c.x, [1, 0]) if c.attr("transA", 0) else c.x
    b = g.const(node.inputs[1])
    attrs = literal(c)
    if b is not None and b.ndim == 2:
        b = np.ascontiguousarray(b if c.attr("transB", 0) else b.T)
        w, attrs = g.new_const(node.inputs[1], b), {"trans_b": 1, **attrs}
    else:
        w = c.patch.transpose(node.inputs[1], [1, 0]) if c.attr("transB", 0) else node.inputs[1]
    shape = g.shape(c.y)
    has_c = bool(node.input(2)) and beta != 0
    inputs = [x, w]
    bias = g.const(node.input(2)) if has_c else None
    if (
        has_c
        and alpha == 1
        and bias is not None
        and bias.size == (shape or (0, 0))[-1]
        and (bias.ndim == 1 or bias.shape[0] == 1)
    ):
        return c.emit("MatMul", [*inputs, g.new_const(node.inputs[2], (bias * beta).reshape(-1))], attrs)
    y = c.patch.emit("MatMul", inputs, F32, shape, attrs, None if alpha != 1 or has_c else c.y)
    if alpha != 1:
        y = c.patch.emit(
            "Binary", [y, g.new_const("alpha", alpha.reshape(1))], F32, shape, {"fn": "Mul"}, None if has_c else c.y
        )
    if has_c:
        other = node.inputs[2]
        if beta != 1:
            other = c.patch.emit(
                "Binary", [other, g.new_const("beta", beta.reshape(1))], F32, g.shape(other), {"fn": "Mul"}
            )
        c.patch.emit("Binary", [y, other], F32, shape, {"fn": "Add"}, c.y)


def matmul_integer(c: Context) -> None:
    if min(c.rank(0), c.rank(1)) < 2:
        raise Refuse("the core multiplies matrices, not vectors")
    if c.node.input(2) and any(d != 1 for d in c.graph.shape(c.node.inputs[2]) or ()):
        raise Refuse("its left zero point is not one number")
    c.emit("MatMulInteger", list(c.node.inputs))


RULES: dict[str, Rule] = {
    "Conv": conv,
    "ConvTranspose": conv,
    "MatMul": matmul,
    "Gemm": gemm,
    "MatMulInteger": matmul_integer,
}  # fmt: skip
