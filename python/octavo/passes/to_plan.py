"""Every remaining ONNX node becomes plan operators, or a Python step with the reason why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from octavo.ir import Graph, Node
from octavo.passes.context import F32, S8, S32, S64, U8, Context, Refuse
from octavo.passes.elementwise import BINARY, unary
from octavo.passes.images import emit_channels_last, geometry, kernel_shape
from octavo.passes.match import (
    Patch,
    broadcast_shape,
    ints,
    normal_axes,
    to_channels_last,
)

CORE_DTYPES = {np.dtype(t) for t in ("f4", "u1", "i1", "u2", "i2", "i4", "i8", "?", "f2", "f8", "u4", "u8")}
MAX_RANK = 8


def to_plan(graph: Graph) -> None:
    """ONNX nodes => plan nodes. A node without a rule, or one whose rule refuses, becomes a `Python` step."""
    producers = graph.producers()
    for node in list(graph.nodes):
        if node.domain == "plan":
            continue
        patch = Patch(graph, node)
        try:
            rule = RULES.get(node.op) if node.domain == "" else None
            if rule is None:
                raise Refuse("the core has no such operator")
            check_types(graph, node)
            rule(Context(graph, node, patch, producers))
            check_known(graph, patch)
        except (Refuse, LookupError) as e:
            python_step(graph, node, str(e))
            continue
        patch.apply()


def check_types(graph: Graph, node: Node) -> None:
    for name in [*node.inputs, *node.outputs]:
        if not name:
            continue
        value = graph.values[name]
        if value.dtype is not None and value.dtype not in CORE_DTYPES:
            raise Refuse(f"the core does not hold {value.dtype}")
        if value.rank is not None and value.rank > MAX_RANK:
            raise Refuse(f"the core holds at most {MAX_RANK} dimensions")


def check_known(graph: Graph, patch: Patch) -> None:
    for node in patch.nodes:
        for name in node.outputs:
            if name and (graph.rank(name) is None or graph.dtype(name) is None):
                raise Refuse(f"the rank or type of '{name}' is not known")


def python_step(graph: Graph, node: Node, reason: str) -> None:
    node.domain, node.attrs = "plan", {**node.attrs, "reason": reason, "onnx_op": node.op, "onnx_domain": node.domain}
    node.op = "Python"


# -- elementwise -------------------------------------------------------------------------------------------------------


def elementwise(c: Context) -> None:
    found = unary(c.graph, c.node)
    if found is None:
        raise Refuse("its parameters are computed at run time" if c.node.op == "Clip" else "its parameters are unusual")
    fn, attrs = found
    if fn == "Not":
        if c.dtype() != np.bool_:
            raise Refuse("Not needs booleans")
    elif c.dtype() in (S32, S64):
        if fn not in ("Neg", "Abs", "Sign", "Relu", "Clip"):
            raise Refuse(f"the core runs it in float32, not {c.dtype()}")
    else:
        c.need_f32()
    c.emit("Unary", [c.x], {"fn": fn, **attrs})


def clip(c: Context) -> None:
    """With bounds computed at run time: Max, then Min."""
    if unary(c.graph, c.node) is not None:
        return elementwise(c)
    x = c.x
    for k, fn in ((1, "Max"), (2, "Min")):
        if c.node.input(k):
            last = fn == "Min" or not c.node.input(2)
            value = c.graph.values[c.y]
            x = c.patch.emit(
                "Binary", [x, c.node.input(k)], value.dtype, value.shape, {"fn": fn}, c.y if last else None
            )


def binary(c: Context) -> None:
    fn = c.node.op
    a, b = c.dtype(0), c.dtype(1)
    allowed: set[Any]
    if fn in ("And", "Or", "Xor"):
        allowed = {np.dtype(bool)}
    elif fn == "Equal":
        allowed = {F32, S32, S64, U8, S8, np.dtype(bool)}
    elif fn in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Min", "Max", "Add", "Sub", "Mul", "Div"):
        allowed = {F32, S32, S64, U8, S8}
    else:
        allowed = {F32, S32, S64} if fn in ("Pow", "Mod") else {F32}
    if a != b or a not in allowed:
        raise Refuse(f"the core does not compute {fn} of {a} and {b}")
    if (fn == "Mod" and c.attr("fmod", 0) and a != F32) or (fn == "Mod" and a == F32 and not c.attr("fmod", 0)):
        raise Refuse("the core has fmod for floats and the floor remainder for integers only")
    if "axis" in c.node.attrs or "broadcast" in c.node.attrs:
        raise Refuse("its broadcasting is that of operator sets before 7")
    c.emit("Binary", [c.x, c.node.inputs[1]], {"fn": fn})


def variadic(c: Context) -> None:
    """Min, Max, Sum of any number of operands: from left to right."""
    fn = "Add" if c.node.op == "Sum" else c.node.op
    if any(d not in (F32, S32, S64) for d in map(c.dtype, range(len(c.node.inputs)))):
        raise Refuse(f"the core does not compute {c.node.op} of {c.dtype()}")
    x = c.x
    if len(c.node.inputs) == 1:
        return c.emit("Identity", [x])
    shape = c.graph.shape(x)
    for k, other in enumerate(c.node.inputs[1:], 2):
        shape = broadcast_shape(shape, c.graph.shape(other))
        last = k == len(c.node.inputs)
        x = c.patch.emit("Binary", [x, other], c.dtype(), shape, {"fn": fn}, c.y if last else None)


def where(c: Context) -> None:
    c.emit("Where", list(c.node.inputs))


def cast(c: Context) -> None:
    target = c.graph.dtype(c.y)
    if target is None or target not in CORE_DTYPES or c.dtype() is None:
        raise Refuse(f"the core does not cast {c.dtype()} to {target}")
    if c.dtype() == target:
        return c.emit("Identity", [c.x])
    from octavo.onnx_import import element_type

    c.emit("Cast", [c.x], {"to": element_type(target)})


# -- products ----------------------------------------------------------------------------------------------------------


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
            first = total - total // 2 if auto == "SAME_UPPER" else total // 2
            if auto == "SAME_UPPER":
                first = total // 2
            elif auto == "SAME_LOWER":
                first = total - total // 2
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


# -- windows -----------------------------------------------------------------------------------------------------------


def pool(c: Context) -> None:
    if len(c.node.outputs) > 1 and c.node.outputs[1]:
        raise Refuse("the core does not return MaxPool's indices")
    if c.dtype() not in ({F32, U8, S8} if c.node.op == "MaxPool" else {F32}):
        raise Refuse(f"the core does not pool {c.dtype()}")
    if c.rank() not in (3, 4):
        raise Refuse("the core pools in one and two dimensions")
    kernel = kernel_shape(c.graph, c.node)
    if len(kernel) != c.rank() - 2:
        raise Refuse("its kernel_shape does not match its input's rank")
    attrs = {"kernel_shape": kernel, **geometry(c.graph, c.node, kernel), "ceil_mode": int(c.attr("ceil_mode", 0))}
    if c.node.op == "AveragePool":
        attrs["count_include_pad"] = int(c.attr("count_include_pad", 0))
    shape = c.graph.shape(c.y)
    if shape is None:
        raise Refuse("its output's rank is not known")
    emit_channels_last(c.patch, c.node.op, c.x, [], attrs, c.dtype(), shape, c.y)


def global_pool(c: Context) -> None:
    c.need_f32()
    fn = "Mean" if c.node.op == "GlobalAveragePool" else "Max"
    c.emit("Reduce", [c.x], {"fn": fn, "axes": list(range(2, c.rank())), "keepdims": 1})


def reduce(c: Context) -> None:
    fn = c.node.op.removeprefix("Reduce")
    if c.dtype() not in (F32, S32, S64) or (fn in ("L2", "Mean") and c.dtype() != F32):
        raise Refuse(f"the core does not reduce {c.dtype()} by {fn}")
    keep, rank = int(c.attr("keepdims", 1)), c.rank()
    if "axes" not in c.node.attrs and c.node.input(1) and c.graph.const(c.node.inputs[1]) is None:
        empty = int(c.attr("noop_with_empty_axes", 0))
        return c.emit("Reduce", [c.x, c.node.inputs[1]], {"fn": fn, "keepdims": keep, "noop_with_empty_axes": empty})
    axes = ints(c.graph, c.node, "axes", 1)
    if not axes:
        if c.attr("noop_with_empty_axes", 0):
            return c.emit("Identity", [c.x])
        axes = list(range(rank))
    c.emit("Reduce", [c.x], {"fn": fn, "axes": sorted(normal_axes(axes, rank)), "keepdims": keep})


def resize(c: Context) -> None:
    rank = c.rank()
    if rank not in (3, 4):
        raise Refuse("the core resizes images of one and two dimensions")
    mode = c.attr("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic") or (mode != "nearest" and c.dtype() != F32):
        raise Refuse(f"the core does not resize {c.dtype()} by '{mode}'")
    old = c.node.op == "Upsample" or c.graph.opset < 11
    coordinates = "asymmetric" if old else c.attr("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else c.attr("nearest_mode", "round_prefer_floor")
    if coordinates not in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
        raise Refuse(f"coordinate_transformation_mode '{coordinates}'")
    if c.attr("antialias", 0) or c.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Refuse("antialias and keep_aspect_ratio_policy")
    attrs = {
        "mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": rounding,
        "cubic_coeff_a": float(c.attr("cubic_coeff_a", -0.75)), "exclude_outside": int(c.attr("exclude_outside", 0)),
    }  # fmt: skip
    axes = c.attr("axes", None)
    axes = normal_axes(axes, rank) if axes else list(range(rank))
    sizes = c.node.input(3)
    scales = (
        ("" if c.node.op == "Upsample" and "scales" in c.node.attrs else c.node.input(1)) if old else c.node.input(2)
    )
    perm = to_channels_last(rank)
    if sizes:
        others = [resize_input(c, sizes, axes, perm, None)]
    else:
        const = c.graph.const(scales) if scales else np.array(c.attr("scales", []), np.float32)
        if const is None or const.size != len(axes):
            raise Refuse("its scales are computed at run time")
        whole = np.ones(rank, np.float32)
        whole[axes] = const
        others = ["", c.graph.new_const(f"{c.y}/scales", whole[perm])]
    shape = c.graph.shape(c.y)
    if shape is None:
        raise Refuse("its output's rank is not known")
    emit_channels_last(c.patch, "Resize", c.x, others, attrs, c.dtype(), shape, c.y)


def resize_input(c: Context, sizes: str, axes: list[int], perm: list[int], _: None) -> str:
    const = c.graph.const(sizes)
    if const is None:
        if axes != list(range(len(perm))):
            raise Refuse("its sizes are computed at run time for some axes only")
        index = c.graph.new_const(f"{c.y}/perm", np.array(perm, np.int64))
        return c.patch.emit("Gather", [sizes, index], S64, (len(perm),), {"axis": 0})
    x = c.graph.shape(c.x)
    whole = [0] * len(perm)
    for axis, size in zip(axes, const.reshape(-1)):
        whole[axis] = int(size)
    for axis in range(len(whole)):
        if axis not in axes:
            if x is None or not isinstance(x[axis], int):
                raise Refuse("its sizes leave out an axis whose length is known only at run time")
            whole[axis] = int(x[axis])  # type: ignore[arg-type]
    return c.graph.new_const(f"{c.y}/sizes", np.array(whole, np.int64)[perm])


# -- normalization -----------------------------------------------------------------------------------------------------


def softmax(c: Context) -> None:
    c.need_f32()
    rank = c.rank()
    axis = int(c.attr("axis", 1 if c.graph.opset < 13 else -1))
    axis += rank if axis < 0 else 0
    attrs = {"log": int(c.node.op == "LogSoftmax")}
    if c.graph.opset >= 13 or axis == rank - 1:
        return c.emit("Softmax", [c.x], {"axis": axis, **attrs})
    # Before operator set 13: over all axes from `axis` on, as one.
    shape = c.graph.shape(c.x)
    flat = c.patch.emit("Flatten", [c.x], F32, (None, None), {"axis": axis})
    soft = c.patch.emit("Softmax", [flat], F32, (None, None), {"axis": 1, **attrs})
    original = c.patch.emit("Shape", [c.x], S64, (rank,), {})
    c.patch.emit("Reshape", [soft, original], F32, shape, {}, c.y)


def layer_normalization(c: Context) -> None:
    c.need_f32(0, 1, 2)
    if any(c.node.outputs[1:]):
        raise Refuse("the core returns LayerNormalization's result only, not its mean and deviation")
    axis = normal_axes([int(c.attr("axis", -1))], c.rank())[0]
    c.emit("LayerNormalization", list(c.node.inputs), {"axis": axis, "epsilon": float(c.attr("epsilon", 1e-5))})


def batch_normalization(c: Context) -> None:
    raise Refuse("training mode, or statistics computed at run time")


# -- typeless ----------------------------------------------------------------------------------------------------------


def transpose(c: Context) -> None:
    perm = c.attr("perm", None) or list(range(c.rank()))[::-1]
    if sorted(perm) != list(range(c.rank())):
        raise Refuse("its perm is not a permutation of the axes")
    c.emit("Transpose", [c.x], {"perm": [int(p) for p in perm]})


def same(*keep: str) -> Callable[[Context], None]:
    """The plan's operator is ONNX's, attributes and inputs alike."""

    def rule(c: Context) -> None:
        attrs = {k: c.node.attrs[k] for k in keep if k in c.node.attrs}
        c.emit(c.node.op, list(c.node.inputs), {k: v for k, v in attrs.items() if v is not None})

    return rule


def axes_op(c: Context) -> None:
    """Squeeze, Unsqueeze: axes as attribute when they are known."""
    axes = ints(c.graph, c.node, "axes", 1)
    rank = c.rank() if c.node.op == "Squeeze" else c.graph.rank(c.y)
    if rank is None:
        raise Refuse("its output's rank is not known")
    if axes is None:
        shape = c.graph.shape(c.x)
        if shape is None or any(not isinstance(d, int) for d in shape):
            raise Refuse("which axes it removes is known only at run time")
        axes = [k for k, d in enumerate(shape) if d == 1]
    c.emit(c.node.op, [c.x], {"axes": sorted(normal_axes(axes, rank))})


def reshape(c: Context) -> None:
    if "shape" in c.node.attrs:
        return c.emit("Reshape", [c.x, c.const_ints(c.node.attrs["shape"], "shape")])
    c.emit("Reshape", list(c.node.inputs), {"allowzero": int(c.attr("allowzero", 0))})


def slice_op(c: Context) -> None:
    if "starts" not in c.node.attrs:
        return c.emit("Slice", list(c.node.inputs))
    starts, ends = c.node.attrs["starts"], c.node.attrs["ends"]
    axes = c.attr("axes", list(range(len(starts))))
    c.emit("Slice", [c.x, *(c.const_ints(v, h) for v, h in ((starts, "starts"), (ends, "ends"), (axes, "axes")))])


def pad(c: Context) -> None:
    attrs = {"mode": c.attr("mode", "constant")}
    if "pads" not in c.node.attrs:
        return c.emit("Pad", list(c.node.inputs), attrs)
    inputs = [c.x, c.const_ints(c.node.attrs["pads"], "pads")]
    if c.attr("value", 0.0) != 0:
        inputs.append(c.graph.new_const(f"{c.y}/value", np.array(c.node.attrs["value"], c.dtype())))
    c.emit("Pad", inputs, attrs)


def split(c: Context) -> None:
    axis = normal_axes([int(c.attr("axis", 0))], c.rank())[0]
    sizes = ints(c.graph, c.node, "split", 1)
    if not all(c.node.outputs):
        raise Refuse("one of its outputs is absent")
    parts, shape = len(c.node.outputs), c.graph.shape(c.x)
    length = shape[axis] if shape is not None else None
    attrs: dict[str, Any] = {"axis": axis, "num_outputs": parts}
    if sizes is None and isinstance(length, int):
        chunk = -(-length // parts)
        sizes = [min(chunk, max(length - chunk * k, 0)) for k in range(parts)]
    if sizes is not None:
        attrs["split"] = sizes
    from octavo.ir import plan_node

    c.patch.nodes.append(plan_node("Split", [c.x], c.node.outputs, c.node.name, attrs))


def tile(c: Context) -> None:
    if len(c.node.inputs) != 2:
        raise Refuse("Tile of operator sets before 6")
    c.emit("Tile", list(c.node.inputs))


def constant_of_shape(c: Context) -> None:
    value = c.attr("value", np.zeros(1, np.float32))
    c.graph.values[c.y].dtype = value.dtype
    c.emit("ConstantOfShape", [c.x, c.graph.new_const(f"{c.y}/value", np.asarray(value).reshape(-1)[:1])])


def depth_to_space(c: Context) -> None:
    attrs: dict[str, Any] = {"blocksize": int(c.attr("blocksize", 0))}
    if c.node.op == "DepthToSpace":
        attrs["mode"] = c.attr("mode", "DCR")
    elif c.attr("mode", "DCR") != "DCR":
        raise Refuse("mode CRD")
    c.emit(c.node.op, [c.x], attrs)


def concat(c: Context) -> None:
    c.emit("Concat", list(c.node.inputs), {"axis": normal_axes([int(c.attr("axis", 1))], c.rank())[0]})


def flatten(c: Context) -> None:
    c.emit("Flatten", [c.x], {"axis": int(c.attr("axis", 1))})


def gather(c: Context) -> None:
    if c.dtype(1) not in (S32, S64):
        raise Refuse("its indices are not int32 or int64")
    c.emit(c.node.op, list(c.node.inputs), {"axis": int(c.attr("axis", 0))})


def arg(c: Context) -> None:
    if c.dtype() not in (F32, S32, S64, U8, S8) or c.attr("select_last_index", 0):
        raise Refuse("select_last_index, or an unusual type")
    c.emit(c.node.op, [c.x], {"axis": int(c.attr("axis", 0)), "keepdims": int(c.attr("keepdims", 1))})


def range_op(c: Context) -> None:
    if c.dtype() not in (F32, S32, S64):
        raise Refuse(f"the core does not count in {c.dtype()}")
    c.emit("Range", list(c.node.inputs))


def quantize(c: Context) -> None:
    """The literal forms, for what recognition leaves over."""
    kinds = (c.dtype(0), c.graph.dtype(c.y))
    if any(k is None or k.itemsize > 4 or k not in CORE_DTYPES for k in kinds) or c.dtype(1) != F32:
        raise Refuse(f"the core does not convert {kinds[0]} to {kinds[1]} with {c.dtype(1)} scales")
    attrs = {"axis": int(c.attr("axis", 1)), "block_size": int(c.attr("block_size", 0))}
    inputs = list(c.node.inputs)
    if c.node.op == "QuantizeLinear" and not c.node.input(2) and kinds[1] != U8:  # output_dtype says which
        scales = c.graph.shape(inputs[1])
        if scales is None or any(not isinstance(d, int) for d in scales):
            raise Refuse("its output_dtype comes without a zero point, and its scale has no known shape")
        inputs[2:] = [c.graph.new_const(f"{c.y}/zero_point", np.zeros(scales, kinds[1]))]  # type: ignore[arg-type]
    c.emit(c.node.op, inputs, attrs)


def dynamic_quantize(c: Context) -> None:
    from octavo.ir import plan_node

    c.need_f32()
    outs = [
        o or c.graph.new_value(f"{c.node.name}/unused", d, ()) for o, d in zip([*c.node.outputs, "", ""], (U8, F32, U8))
    ]
    for out, dtype, shape in zip(outs, (U8, F32, U8), (c.graph.shape(c.x), (), ())):
        c.graph.values[out].dtype, c.graph.values[out].shape = np.dtype(dtype), shape
    c.patch.nodes.append(plan_node("DynamicQuantizeLinear", [c.x], outs, c.node.name))


RULES: dict[str, Callable[[Context], None]] = {
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Exp",
         "Log", "Sqrt", "Swish", "Reciprocal", "Neg", "Abs", "Floor", "Ceil", "Round", "Softplus", "Sign", "Sin", "Cos",
         "Not"),
        elementwise,
    ),
    "Clip": clip,
    **dict.fromkeys(BINARY - {"Min", "Max"}, binary),
    **dict.fromkeys(("Min", "Max", "Sum"), variadic),
    "Where": where,
    "Cast": cast,
    "Conv": conv,
    "ConvTranspose": conv,
    "MatMul": matmul,
    "Gemm": gemm,
    "MatMulInteger": matmul_integer,
    "MaxPool": pool,
    "AveragePool": pool,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    **dict.fromkeys(("Reduce" + fn for fn in ("Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2")), reduce),
    "Resize": resize,
    "Upsample": resize,
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "LayerNormalization": layer_normalization,
    "BatchNormalization": batch_normalization,
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": axes_op,
    "Unsqueeze": axes_op,
    "Identity": same(),
    "Expand": same(),
    "Concat": concat,
    "Split": split,
    "Slice": slice_op,
    "Pad": pad,
    "Gather": gather,
    "GatherElements": gather,
    "Tile": tile,
    "Shape": same("start", "end"),
    "Size": same(),
    "ConstantOfShape": constant_of_shape,
    "Range": range_op,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": depth_to_space,
    "ArgMax": arg,
    "ArgMin": arg,
    "QuantizeLinear": quantize,
    "DequantizeLinear": quantize,
    "DynamicQuantizeLinear": dynamic_quantize,
}  # fmt: skip
