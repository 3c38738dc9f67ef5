"""Dequantize -> operator -> Quantize becomes one operator on integers. Meaning is fixed here (docs/arithmetic.md)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np

from octavo.ir import QLINEAR, Graph, Node, Shape, Uses
from octavo.ops._integer import fma
from octavo.passes import fixed
from octavo.passes.images import emit_channels_last, geometry, kernel_shape
from octavo.passes.match import Patch, ints, join, normal_axes
from octavo.passes.quantized import (
    Multiplier,
    NoMatch,
    Operand,
    Tail,
    bias,
    channel_bias,
    multiplier,
    operand,
    operand_name,
    tail,
    weights,
)  # fmt: skip
from octavo.passes.why import why_float


def recognize(graph: Graph) -> None:
    """Rewrites every operator whose operands are dequantized; one that cannot stays float, with a note why."""
    uses = Uses(graph)
    for node in list(graph.nodes):
        rule = RULES.get(node.op) if node.domain == "" else None
        if rule is None or node not in graph.nodes:  # absorbed by an earlier match
            continue
        try:
            rule(graph, uses, node)
        except NoMatch as e:
            if str(e):
                node.attrs["acc64"] = 1
                graph.notes.append((node.name, f"{node.op} stays float: {e}"))
            else:
                graph.reasons[node.name] = why_float(graph, uses, node)
            continue
        uses = Uses(graph)
    graph.drop_dead()


def need(graph: Graph, uses: Uses, value: str, dynamic: bool = True) -> Operand:
    found = operand(graph, uses, value)
    if found is None or (dynamic and found.const is not None):
        raise NoMatch
    return found


def written(graph: Graph, node: Node, to: Tail | None, last: Node | None = None) -> tuple[str, Shape]:
    """The value the integer operator writes, with its type set, and its shape."""
    end = last or node
    out = end.outputs[0] if to is None else to.out
    shape = graph.shape(node.outputs[0])
    if shape is None:
        shape = graph.shape(out)
    if shape is None:
        raise NoMatch
    graph.values[out].dtype, graph.values[out].shape = np.dtype(np.float32 if to is None else np.uint8), shape
    return out, shape


def conv(graph: Graph, uses: Uses, node: Node) -> None:
    """Dequantize(x), Dequantize(w), bias -> Conv [-> Add(bias)] -> [Relu | Clip] -> Quantize  =>  QConv"""
    x = need(graph, uses, node.inputs[0])
    weight = weights(graph, uses, node.inputs[1])
    if weight is None:
        raise NoMatch
    if weight.w.ndim not in (3, 4):
        raise NoMatch("only 1-D and 2-D convolutions run on integers")
    if graph.rank(node.inputs[0]) != weight.w.ndim:
        raise NoMatch("its input and its weights differ in rank")
    if weight.axis not in (None, 0):
        raise NoMatch("its weights are scaled along another axis than the output channels")
    try:
        attrs = geometry(graph, node, list(weight.w.shape[2:]))
    except LookupError as e:
        raise NoMatch(str(e)) from e
    outputs = weight.w.shape[0]
    absorbed: list[Node] = []
    add = None
    if node.input(2):
        add = bias(graph, uses, node.input(2))
        if add is None:
            raise NoMatch
    else:
        after = channel_bias(graph, uses, node.outputs[0], outputs, 1 - weight.w.ndim)
        if after is not None:
            absorbed, add = [after[0]], after[1]
    last = absorbed[0] if absorbed else node
    to = tail(graph, uses, last.outputs[0])
    k = multiplier(x, weight, weight.w.reshape(outputs, -1), add, to)
    if to is not None and graph.requantize == "fixed":
        k.m = fixed.convolution_multipliers(x, weight, to)
    out, shape = written(graph, node, to, last)
    packed = np.ascontiguousarray(np.moveaxis(k.w, 1, -1))
    patch = Patch(graph, node)
    rename(patch, node, absorbed, to)
    attrs |= {"group": int(node.attrs.get("group", 1)), "x_zp": x.zp}
    finish(patch, "QConv", x, packed, k, attrs, to, out, shape)
    patch.apply(*absorbed, *(to.nodes if to else []))


def rename(patch: Patch, node: Node, absorbed: list[Node], to: Tail | None) -> None:
    patch.anchor.name = join(node.name, *(n.name for n in absorbed), to.name if to else "")


def finish(
    patch: Patch,
    op: str,
    x: Operand,
    w: np.ndarray,
    k: Multiplier,
    attrs: dict[str, object],
    to: Tail | None,
    out: str,
    shape: Shape,
) -> None:
    """Emits QConv (wrapped channels-last) or QGemm, and a float addition for a bias that integers cannot hold."""
    graph = patch.graph
    hint = patch.anchor.inputs[1]
    inputs = [
        graph.new_const(hint, w),
        graph.new_const(f"{hint}/bias", k.bias) if k.bias is not None else "",
        graph.new_const(f"{hint}/multiplier", k.m),
    ]
    attrs = attrs | (to.attrs if to else {"out_f32": 1})
    dtype = np.float32 if to is None else np.uint8
    result = out if k.rest is None else graph.new_value(f"{out}/sum", np.float32, shape)
    if op == "QConv":
        emit_channels_last(patch, op, x.q, inputs, attrs, dtype, shape, result)
    else:
        patch.emit(op, [x.q, *inputs], dtype, shape, attrs, result)
    if k.rest is not None:
        spread = (-1, *[1] * (len(shape) - 2)) if op == "QConv" else (-1,)
        patch.emit(
            "Binary",
            [result, graph.new_const(f"{hint}/bias", k.rest.reshape(spread))],
            np.float32,
            shape,
            {"fn": "Add"},
            out,
        )


def gemm(graph: Graph, uses: Uses, node: Node) -> None:
    """Dequantize(x), Dequantize(w), c -> Gemm or MatMul [-> Add(bias)] -> [Relu | Clip] -> Quantize  =>  QGemm"""
    x = need(graph, uses, node.inputs[0])
    weight = weights(graph, uses, node.inputs[1])
    if node.op == "MatMul" and (weight is None or (weight.w.ndim > 2 and weight.axis is None)):
        return matmul(graph, uses, node, x)
    if weight is None:
        raise NoMatch
    if weight.w.ndim != 2:
        raise NoMatch("its constant weights are not a matrix")
    if node.attrs.get("transA", 0) or any(float(node.attrs.get(k, 1.0)) != 1.0 for k in ("alpha", "beta")):
        raise NoMatch("transA, alpha or beta is set")
    rows_axis = 0 if node.attrs.get("transB", 0) else 1
    if weight.axis not in (None, rows_axis):
        raise NoMatch("its weights are scaled along the summed axis")
    weight.w = np.ascontiguousarray(weight.w if rows_axis == 0 else weight.w.T)
    outputs = weight.w.shape[0]
    absorbed: list[Node] = []
    add = None
    if node.input(2):
        add = bias(graph, uses, node.input(2))
        if add is None or add.values.size not in (1, outputs):
            raise NoMatch("its bias is not a constant vector")
    else:
        after = channel_bias(graph, uses, node.outputs[0], outputs, -1)
        if after is not None:
            absorbed, add = [after[0]], after[1]
    last = absorbed[0] if absorbed else node
    to = tail(graph, uses, last.outputs[0])
    k = multiplier(x, weight, weight.w, add, to)
    if to is not None and graph.requantize == "fixed":
        k.m = fixed.matrix_multipliers(graph, node, x, weight, to, k)
    out, shape = written(graph, node, to, last)
    patch = Patch(graph, node)
    rename(patch, node, absorbed, to)
    attrs: dict[str, object] = {"once": 1} if k.m.dtype == np.int32 else {}
    finish(patch, "QGemm", x, k.w, k, attrs, to, out, shape)
    patch.apply(*absorbed, *(to.nodes if to else []))


def matmul(graph: Graph, uses: Uses, node: Node, a: Operand) -> None:
    """Dequantize(a), Dequantize(b) -> MatMul -> Quantize  =>  QMatMul

    Where the length of the sums is known at run time only (a softmax's over a sentence), QMatMul checks it then.
    """
    b = need(graph, uses, node.inputs[1], dynamic=False)
    ra, rb, shape = graph.rank(node.inputs[0]), graph.rank(node.inputs[1]), graph.shape(node.inputs[0])
    if ra is None or rb is None or ra < 2 or rb < 2 or shape is None:
        raise NoMatch
    if isinstance(shape[-1], int) and shape[-1] * reach(a) * reach(b) >= 2**31:
        raise NoMatch("its sums may not fit int32")
    to = tail(graph, uses, node.outputs[0])
    with np.errstate(all="ignore"):
        m = np.float32(a.scale * b.scale)
        m = m if to is None else np.float32(m / to.scale)
    if not np.isfinite(m) or m <= 0:
        raise NoMatch("its output multiplier leaves float32's range")
    out, result = written(graph, node, to)
    patch = Patch(graph, node)
    rename(patch, node, [], to)
    attrs = {"a_zp": a.zp, "b_zp": b.zp} | (to.attrs if to else {"out_f32": 1})
    const = graph.new_const(f"{node.outputs[0]}/multiplier", np.array([m], np.float32))
    patch.emit(
        "QMatMul", [a.q, operand_name(graph, b), const], np.float32 if to is None else np.uint8, result, attrs, out
    )
    patch.apply(*(to.nodes if to else []))


def reach(x: Operand) -> int:
    """The largest magnitude of a u8 number less its zero point."""
    return max(x.zp, 255 - x.zp)


def add(graph: Graph, uses: Uses, node: Node) -> None:
    """Dequantize(a), Dequantize(b) -> Add or Sub -> [Relu | Clip] -> Quantize  =>  QAdd, every rounding as it was"""
    a, b, to, patch, out, shape = two_operands(graph, uses, node)
    attrs: dict[str, Any] = {"za": a.zp, "zb": b.zp}
    if graph.requantize == "fixed":
        attrs |= fixed.add_attributes(a, b, to, node.op == "Sub")
    elif QLINEAR in node.attrs:
        attrs = qlinear_add(graph, node, a, b, to)
    else:
        sb = -b.scale if node.op == "Sub" else b.scale
        attrs |= {"sa": float(a.scale), "sb": float(sb), "sy": float(to.scale)}
    attrs |= renamed_zp(to) | attrs
    patch.emit("QAdd", [operand_name(graph, a), operand_name(graph, b)], np.uint8, shape, attrs, out)
    patch.apply(*to.nodes)


def qlinear_add(graph: Graph, node: Node, a: Operand, b: Operand, to: Tail) -> dict[str, Any]:
    """onnxruntime's QLinearAdd: fma(a, sa, fma(b, sb, c)) of the file's bytes, the zero points gathered in c.

    An operand that is one value along the innermost axis that has any length is added first.
    """
    offset = int(node.attrs[QLINEAR])
    first, second = (a, b) if not repeated_first(graph, node) else (b, a)
    with np.errstate(all="ignore"):
        outer, inner = np.float32(first.scale / to.scale), np.float32(second.scale / to.scale)
        zeros = fma(np.float64(first.zp - offset), outer, np.float32(inner * np.float32(second.zp - offset)))
        c = np.float32(np.float32(to.attrs["y_zp"] - offset) - zeros)
    if not np.isfinite([outer, inner, c]).all():
        raise NoMatch("its scales differ too much for float32")
    sa, sb = (outer, inner) if first is a else (inner, outer)
    attrs = {"za": offset, "zb": offset, "zp": offset, "sa": float(sa), "sb": float(sb), "c": float(c)}
    return attrs | ({} if first is a else {"inner_a": 1})


def repeated_first(graph: Graph, node: Node) -> bool:
    """Whether broadcasting repeats the first operand, and not the second, along the innermost axis longer than 1."""
    a, b = (graph.shape(name) for name in node.inputs)
    if a is None or b is None:
        return False
    for x, y in zip_longest(reversed(a), reversed(b), fillvalue=1):
        if x != 1 or y != 1:
            return x == 1
    return False


def mul(graph: Graph, uses: Uses, node: Node) -> None:
    """Dequantize(a), Dequantize(b) -> Mul -> [Relu | Clip] -> Quantize  =>  QMul"""
    a, b, to, patch, out, shape = two_operands(graph, uses, node)
    with np.errstate(all="ignore"):
        m = np.float32(np.float32(a.scale * b.scale) / to.scale)
    if not np.isfinite(m) or m <= 0:
        raise NoMatch("its output multiplier leaves float32's range")
    attrs: dict[str, Any] = {"za": a.zp, "zb": b.zp, **renamed_zp(to)}
    attrs |= fixed.mul_attributes(a, b, to) if graph.requantize == "fixed" else {"m": float(m), **zp_before(node, to)}
    patch.emit("QMul", [operand_name(graph, a), operand_name(graph, b)], np.uint8, shape, attrs, out)
    patch.apply(*to.nodes)


def two_operands(graph: Graph, uses: Uses, node: Node) -> tuple[Operand, Operand, Tail, Patch, str, Shape]:
    a, b = need(graph, uses, node.inputs[0], False), need(graph, uses, node.inputs[1], False)
    if a.const is not None and b.const is not None:
        raise NoMatch
    # A function of one operand is a table, unless the operator rounds on its own.
    single = a.q == b.q or any(v.const is not None and v.const.size == 1 for v in (a, b))
    if single and QLINEAR not in node.attrs and graph.requantize != "fixed":
        raise NoMatch
    to = tail(graph, uses, node.outputs[0])
    if to is None:
        raise NoMatch
    out, shape = written(graph, node, to)
    patch = Patch(graph, node)
    rename(patch, node, [], to)
    return a, b, to, patch, out, shape


def renamed_zp(to: Tail) -> dict[str, int]:
    return {"zp": to.attrs["y_zp"], "lo": to.attrs["lo"], "hi": to.attrs["hi"]}


def zp_before(node: Node, to: Tail) -> dict[str, int]:
    """onnxruntime's QLinear operators add the file's zero point before they round."""
    return {"zp_before": to.attrs["y_zp"] - int(node.attrs[QLINEAR])} if QLINEAR in node.attrs else {}


def average_pool(graph: Graph, uses: Uses, node: Node) -> None:
    """Dequantize(x) -> AveragePool -> [Relu | Clip] -> Quantize  =>  QAveragePool"""
    x = need(graph, uses, node.inputs[0])
    to = tail(graph, uses, node.outputs[0])
    rank = graph.rank(node.inputs[0])
    if to is None or rank not in (3, 4):
        raise NoMatch
    try:
        kernel = kernel_shape(graph, node)
        if len(kernel) != rank - 2:
            raise NoMatch
        attrs = geometry(graph, node, kernel)
    except LookupError as e:
        raise NoMatch(str(e)) from e
    out, shape = written(graph, node, to)
    patch = Patch(graph, node)
    rename(patch, node, [], to)
    attrs |= {"kernel_shape": kernel, "x_zp": x.zp}
    attrs |= {k: int(node.attrs.get(k, 0)) for k in ("count_include_pad", "ceil_mode")}
    if graph.requantize == "fixed":
        fixed_average_pool(patch, x, to, attrs, shape, out)
    else:
        attrs |= {"x_scale": float(x.scale), "y_scale": float(to.scale), **to.attrs, **zp_before(node, to)}
        emit_channels_last(patch, "QAveragePool", x.q, [], attrs, np.uint8, shape, out)
    patch.apply(*to.nodes)


def fixed_average_pool(patch: Patch, x: Operand, to: Tail, attrs: dict[str, Any], shape: Shape, out: str) -> None:
    """An average of the file's own integers; then another scale by a table, as TFLite's QUANTIZE behind it would."""
    attrs |= {"origin": 128 if x.signed else 0}
    if (x.scale, x.zp) == (to.scale, to.attrs["y_zp"]):
        return emit_channels_last(patch, "QAveragePool", x.q, [], attrs | to.attrs, np.uint8, shape, out)
    graph = patch.graph
    mean = graph.new_value(f"{out}/mean", np.uint8, shape)
    emit_channels_last(patch, "QAveragePool", x.q, [], attrs | {"y_zp": x.zp}, np.uint8, shape, mean)
    table = graph.new_const(f"{out}/table", fixed.rescaling_table(x, to.scale, **to.attrs))
    patch.emit("Lut", [mean, table], np.uint8, shape, out=out)


def reduce_mean(graph: Graph, uses: Uses, node: Node) -> None:
    """Dequantize(x) -> ReduceMean or GlobalAveragePool -> [Relu | Clip] -> Quantize  =>  QReduceMean"""
    x = need(graph, uses, node.inputs[0])
    rank = graph.rank(node.inputs[0])
    to = tail(graph, uses, node.outputs[0])
    if to is None or rank is None:
        raise NoMatch
    if node.op == "GlobalAveragePool":
        axes, keep = list(range(2, rank)), 1
    else:
        try:
            found = ints(graph, node, "axes", 1)
        except LookupError as e:
            raise NoMatch(str(e)) from e
        if not found and node.attrs.get("noop_with_empty_axes", 0):
            raise NoMatch
        axes, keep = normal_axes(found or range(rank), rank), int(node.attrs.get("keepdims", 1))
    out, shape = written(graph, node, to)
    patch = Patch(graph, node)
    rename(patch, node, [], to)
    attrs = {"axes": sorted(axes), "keepdims": keep, "x_zp": x.zp, **to.attrs}
    if graph.requantize == "fixed":
        attrs |= fixed.mean_attributes(x, to)
    else:
        attrs |= {"x_scale": float(x.scale), "y_scale": float(to.scale)}
    patch.emit("QReduceMean", [x.q], np.uint8, shape, attrs, out)
    patch.apply(*to.nodes)


def softmax(graph: Graph, uses: Uses, node: Node) -> None:
    """Dequantize(x) -> Softmax over the last axis -> Quantize  =>  QSoftmax, in the fixed scheme only

    Its bytes are units of 1/256; another output scale is a table behind it.
    """
    if graph.requantize != "fixed":
        raise NoMatch
    x = need(graph, uses, node.inputs[0])
    to = tail(graph, uses, node.outputs[0])
    rank, shape = graph.rank(node.inputs[0]), graph.shape(node.inputs[0])
    if to is None or rank is None or shape is None:
        raise NoMatch
    axis = int(node.attrs.get("axis", 1 if graph.opset < 13 else -1))
    if axis % rank != rank - 1:
        raise NoMatch("integers run it along the last axis only")
    if not isinstance(shape[-1], int) or shape[-1] > fixed.SOFTMAX_LONGEST:
        raise NoMatch(f"integers sum at most {fixed.SOFTMAX_LONGEST} exponentials")
    attrs = fixed.softmax_attributes(x)
    out, shape = written(graph, node, to)
    patch = Patch(graph, node)
    rename(patch, node, [], to)
    unit = Operand("", np.float32(1 / 256), 0)
    if (to.scale, to.attrs["y_zp"], to.attrs["lo"], to.attrs["hi"]) == (unit.scale, 0, 0, 255):
        patch.emit("QSoftmax", [x.q], np.uint8, shape, attrs, out)
    else:
        y = patch.emit("QSoftmax", [x.q], np.uint8, shape, attrs)
        table = graph.new_const(f"{out}/table", fixed.rescaling_table(unit, to.scale, **to.attrs))
        patch.emit("Lut", [y, table], np.uint8, shape, out=out)
    patch.apply(*to.nodes)


RULES: dict[str, Callable[[Graph, Uses, Node], None]] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": gemm,
    "Add": add,
    "Sub": add,
    "Mul": mul,
    "AveragePool": average_pool,
    "GlobalAveragePool": reduce_mean,
    "ReduceMean": reduce_mean,
    "Softmax": softmax,
}
