"""Convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.passes.context import F32, S8, S32, U8, Context, Refuse, Rule
from octavo.passes.images import emit_channels_last, geometry
from octavo.passes.match import to_channels_last

ONNX_INT32 = 6  # the number of the dtype in ONNX files


def literal(c: Context) -> dict[str, Any]:
    return {"acc64": 1} if c.attr("acc64", 0) else {}


def conv(c: Context) -> None:
    c.need_f32(0, 1, 2)
    w, small = c.graph.const(c.node.inputs[1]), None
    if w is None and c.node.op == "Conv" and c.graph.rank(c.node.inputs[1]) in (3, 4):
        small = c.stored(1, to_channels_last(c.rank(1)))
    dims = w.shape if w is not None else c.graph.shape(c.node.inputs[1])
    computed = w is None and small is None
    if dims is None or (computed and (c.node.op != "Conv" or not all(isinstance(d, int) and d > 0 for d in dims))):
        raise Refuse("its weights are computed at run time")
    if len(dims) not in (3, 4):
        raise Refuse("the core convolves in one and two dimensions")
    if c.rank() != len(dims):
        raise Refuse(f"its input has {c.rank()} dimensions, its weights {len(dims)}")
    transposed = c.node.op == "ConvTranspose"
    attrs = (
        transposed_geometry(c, w)
        if transposed and w is not None
        else geometry(c.graph, c.node, [int(d) for d in dims[2:] if isinstance(d, int)])
    )
    group = int(c.attr("group", 1))
    attrs |= {"group": group, **literal(c)}
    if transposed and w is not None:  # [C, O/group, k..] -> [O, C/group, k..]
        if group < 1 or w.shape[0] % group:
            raise Refuse("its group does not divide its channels")
        w = (
            w.reshape(group, w.shape[0] // group, *w.shape[1:])
            .swapaxes(1, 2)
            .reshape(-1, w.shape[0] // group, *w.shape[2:])
        )
    if c.node.input(2) and c.graph.const(c.node.inputs[2]) is None and c.node.op != "Conv":
        raise Refuse("its bias is computed at run time")
    if small is not None:
        others = [small.codes, c.node.input(2), "", *small.others]
        attrs |= small.attrs
    elif computed:
        last = c.patch.transpose(c.node.inputs[1], to_channels_last(len(dims)))
        others = [last, *([c.node.inputs[2]] if c.node.input(2) else [])]
        attrs |= {"w_type": 1, "w_shape": list(c.graph.shape(last) or ())}
    else:
        assert w is not None
        packed = c.graph.new_const(c.node.inputs[1], np.ascontiguousarray(np.moveaxis(w, 1, -1)))
        others = [packed, *([c.node.inputs[2]] if c.node.input(2) else [])]
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
    if (small := c.stored(1)) is not None:
        trans = {"trans_b": 1} if c.attr("trans_b", 0) else {}
        return c.emit("MatMul", [c.x, small.codes, "", "", *small.others], {**trans, **small.attrs})
    b = c.graph.const(c.node.inputs[1])
    if b is not None and b.ndim == 2 and c.rank() >= 1:
        packed = c.graph.new_const(c.node.inputs[1], np.ascontiguousarray(b if c.attr("trans_b", 0) else b.T))
        return c.emit("MatMul", [c.x, packed], {"trans_b": 1, **literal(c)})
    vectors = [c.rank(k) < 2 for k in (0, 1)]
    if not any(vectors):
        return c.emit("MatMul", [c.x, c.node.inputs[1]], literal(c))
    # A vector is a matrix of one row (or one column) whose axis goes again afterwards.
    sides = [c.x, c.node.inputs[1]]
    for k in (0, 1):
        if vectors[k]:
            (n,) = c.graph.shape(sides[k]) or (None,)
            shape = (1, n) if k == 0 else (n, 1)
            sides[k] = c.patch.emit("Unsqueeze", [sides[k]], F32, shape, {"axes": [k]})
    rank = max(c.graph.rank(side) or 0 for side in sides)
    product = c.patch.emit("MatMul", sides, F32, (None,) * rank, literal(c))
    gone = [rank - 2 + k for k in (0, 1) if vectors[k]]
    c.emit("Squeeze", [product], {"axes": gone})


def gemm(c: Context) -> None:
    """Gemm => [Transpose] MatMul [* alpha] [+ beta * c]"""
    c.need_f32(0, 1, 2)
    g, node = c.graph, c.node
    alpha, beta = np.float32(c.attr("alpha", 1.0)), np.float32(c.attr("beta", 1.0))
    x = c.patch.transpose(c.x, [1, 0]) if c.attr("transA", 0) else c.x
    b = g.const(node.inputs[1])
    attrs = literal(c)
    small = c.stored(1)
    after: list[str] = []
    if small is not None:
        w, after = small.codes, ["", "", *small.others]
        attrs = {**({"trans_b": 1} if c.attr("transB", 0) else {}), **small.attrs}
    elif b is not None and b.ndim == 2:
        b = np.ascontiguousarray(b if c.attr("transB", 0) else b.T)
        w, attrs = g.new_const(node.inputs[1], b), {"trans_b": 1, **attrs}
    else:
        w = c.patch.transpose(node.inputs[1], [1, 0]) if c.attr("transB", 0) else node.inputs[1]
    shape = g.shape(c.y)
    has_c = bool(node.input(2)) and beta != 0
    inputs = [x, w, *after]
    bias = g.const(node.input(2)) if has_c else None
    if (
        has_c
        and alpha == 1
        and bias is not None
        and bias.size == (shape or (0, 0))[-1]
        and (bias.ndim == 1 or bias.shape[0] == 1)
    ):
        inputs[2:3] = [g.new_const(node.inputs[2], (bias * beta).reshape(-1))]
        return c.emit("MatMul", inputs, attrs)
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
    zero = c.graph.shape(c.node.input(2)) if c.node.input(2) else ()
    if zero is None:
        raise Refuse("the rank of its left zero point is not known")
    if all(d == 1 for d in zero):
        return c.emit("MatMulInteger", list(c.node.inputs))
    if len(zero) != 1:
        raise Refuse("its left zero point has several axes")
    # One zero point a row: a b - a_zp colsum(b), the column sums as a product with a row of ones.
    right, shape = c.graph.shape(c.node.inputs[1]) or (), c.graph.shape(c.y)
    if not isinstance(right[-2], int):
        raise Refuse("it has a zero point a row, and the length of its sums is not known")
    a, b, b_zp = c.node.inputs[0], c.node.inputs[1], c.node.input(3)
    ones = c.graph.new_const(f"{c.y}/ones", np.ones((1, right[-2]), np.uint8))
    sums = c.patch.emit("MatMulInteger", [ones, b, "", b_zp], S32, (*right[:-2], 1, right[-1]))
    column = c.patch.emit("Unsqueeze", [c.node.inputs[2]], c.dtype(2), (*zero, 1), {"axes": [1]})
    column = c.patch.emit("Cast", [column], S32, (*zero, 1), {"to": ONNX_INT32})
    correction = c.patch.emit("Binary", [column, sums], S32, shape, {"fn": "Mul"})
    product = c.patch.emit("MatMulInteger", [a, b, "", b_zp], S32, shape)
    c.patch.emit("Binary", [product, correction], S32, shape, {"fn": "Sub"}, c.y)


def conv_integer(c: Context) -> None:
    """QConv's sums as they are. A zero point known only at run time pads the image, and zp * sum(w) is taken off
    afterwards."""
    g, node = c.graph, c.node
    w, rank, shape = g.const(node.inputs[1]), c.rank(), g.shape(c.y)
    if w is None or w.ndim not in (3, 4) or rank != w.ndim or c.dtype() not in (U8, S8) or shape is None:
        raise Refuse("the core convolves one- and two-dimensional images with constant weights")
    w_zp = g.const(node.inputs[3]) if node.input(3) else np.zeros((), w.dtype)
    zero = g.const(node.inputs[2]) if node.input(2) else np.zeros((), c.dtype())
    if w_zp is None or (zero is not None and zero.size != 1):
        raise Refuse("a zero point of its weights is computed at run time, or that of its input is not one number")
    wide = w.astype(np.int32) - w_zp.astype(np.int32).reshape(-1, *[1] * (w.ndim - 1))
    fits = wide.min(initial=0) >= -128 and wide.max(initial=0) <= 127
    packed = np.ascontiguousarray(np.moveaxis(wide, 1, -1)).astype(np.int8 if fits else np.int16)
    sums = wide.reshape(len(w), -1).sum(axis=1, dtype=np.int64)
    attrs = {**geometry(g, node, list(w.shape[2:])), "group": int(c.attr("group", 1)), "out_s32": 1}
    x, flip = c.x, 0
    if c.dtype() == S8:
        x, flip = c.patch.emit("Flip8", [x], U8, g.shape(x)), 128
    weights = [g.new_const(node.inputs[1], packed), "", g.new_const(f"{c.y}/one", np.ones(1, np.float32))]
    if zero is not None:
        attrs["x_zp"] = int(zero.reshape(())) + flip
        weights[1] = g.new_const(f"{c.y}/bias", (-sums * attrs["x_zp"]).astype(np.int32))
        return emit_channels_last(c.patch, "QConv", x, weights, attrs, S32, shape, c.y)
    zp = c.patch.emit("Reshape", [node.inputs[2], c.const_ints([], "scalar")], c.dtype(), ())
    if flip:
        zp = c.patch.emit("Flip8", [zp], U8, ())
    pads, d = attrs["pads"], rank - 2
    if any(pads):
        around = c.const_ints([0, 0, *pads[:d], 0, 0, *pads[d:]], "pads")
        known = g.shape(x)
        grown = None if known is None else (*known[:2], *[None] * d)
        x = c.patch.emit("Pad", [x, around, zp], U8, grown, {"mode": "constant"})
        attrs["pads"] = [0] * len(pads)
    raw = g.new_value(f"{c.y}/sums", S32, shape)
    emit_channels_last(c.patch, "QConv", x, weights, attrs, S32, shape, raw)
    channel = g.new_const(f"{c.y}/weights", sums.astype(np.int32).reshape(-1, *[1] * d))
    zp = c.patch.emit("Cast", [zp], S32, (), {"to": ONNX_INT32})
    correction = c.patch.emit("Binary", [zp, channel], S32, (len(w), *[1] * d), {"fn": "Mul"})
    c.patch.emit("Binary", [raw, correction], S32, shape, {"fn": "Sub"}, c.y)


RULES: dict[str, Rule] = {
    "Conv": conv,
    "ConvTranspose": conv,
    "MatMul": matmul,
    "Gemm": gemm,
    "MatMulInteger": matmul_integer,
    "ConvInteger": conv_integer,
}  # fmt: skip
