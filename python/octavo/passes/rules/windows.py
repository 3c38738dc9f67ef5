"""Pools, reductions and resizing."""

from __future__ import annotations

import numpy as np

from octavo.ir import Node
from octavo.passes.context import F32, S8, S64, U8, Context, Refuse, Rule
from octavo.passes.images import emit_channels_last, geometry, kernel_shape
from octavo.passes.match import ints, normal_axes, to_channels_last


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


REDUCED = {np.dtype(t) for t in ("f4", "f8", "u1", "i1", "i4", "i8", "u4", "u8")}

COMPOSITE = {"SumSquare", "L1", "L2"}


def reduce(c: Context) -> None:
    fn = c.node.op.removeprefix("Reduce")
    if c.dtype() == np.bool_ and fn in ("Max", "Min"):
        return reduce_booleans(c)
    if c.dtype() not in REDUCED or (fn in ("L2", "Mean") and c.dtype() not in (F32, np.dtype(np.float64))):
        raise Refuse(f"the core does not reduce {c.dtype()} by {fn}")
    keep, rank = int(c.attr("keepdims", 1)), c.rank()
    if "axes" not in c.node.attrs and c.node.input(1) and c.graph.const(c.node.inputs[1]) is None:
        empty, count = int(c.attr("noop_with_empty_axes", 0)), c.graph.shape(c.node.inputs[1])
        if empty and fn in COMPOSITE and not (count and isinstance(count[0], int) and count[0] > 0):
            raise Refuse("whether it has axes at all is known only at run time")
        return c.emit("Reduce", [c.x, c.node.inputs[1]], {"fn": fn, "keepdims": keep, "noop_with_empty_axes": empty})
    axes = ints(c.graph, c.node, "axes", 1)
    if not axes:
        if c.attr("noop_with_empty_axes", 0):
            return over_nothing(c, fn)
        axes = list(range(rank))
    c.emit("Reduce", [c.x], {"fn": fn, "axes": sorted(normal_axes(axes, rank)), "keepdims": keep})


def over_nothing(c: Context, fn: str) -> None:
    """A reduction over no axes: what it does to every element before and after adding up."""
    if fn == "SumSquare":
        return c.emit("Binary", [c.x, c.x], {"fn": "Mul"})
    c.emit(*(("Unary", [c.x], {"fn": "Abs"}) if fn in COMPOSITE else ("Identity", [c.x])))


def reduce_booleans(c: Context) -> None:
    """Max and Min of truth values as bytes of 0 and 1."""
    node, out = c.node, c.graph.shape(c.y)
    x = c.patch.emit("Cast", [c.x], U8, c.graph.shape(c.x), {"to": 2})
    y = c.graph.new_value(f"{c.y}/bytes", U8, out)
    inner = Context(c.graph, Node(node.op, [x, *node.inputs[1:]], [y], node.attrs, node.name), c.patch, c.producers)
    reduce(inner)
    c.patch.emit("Cast", [y], np.dtype(bool), out, {"to": 9}, c.y)


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
    if old and c.node.op == "Resize" and mode == "nearest":  # onnx's tests and onnxruntime round up where it shrinks
        factors = c.graph.const(c.node.input(1))
        if factors is None or ((factors < 1).any() and (factors > 1).any()):
            raise Refuse("its scales are computed at run time, or both grow and shrink")
        rounding = "ceil" if (factors < 1).any() else "floor"
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
        others = [resize_input(c, sizes, axes, perm)]
    else:
        const = c.graph.const(scales) if scales else np.array(c.attr("scales", []), np.float32)
        if const is not None and const.size == len(axes):
            whole = np.ones(rank, np.float32)
            whole[axes] = const
            others = ["", c.graph.new_const(f"{c.y}/scales", whole[perm])]
        elif const is None and axes == list(range(rank)):
            index = c.graph.new_const(f"{c.y}/perm", np.array(perm, np.int64))
            others = ["", c.patch.emit("Gather", [scales, index], F32, (rank,), {"axis": 0})]
        else:
            raise Refuse("its scales are computed at run time for some axes only")
    shape = c.graph.shape(c.y)
    if shape is None:
        raise Refuse("its output's rank is not known")
    emit_channels_last(c.patch, "Resize", c.x, others, attrs, c.dtype(), shape, c.y)


def resize_input(c: Context, sizes: str, axes: list[int], perm: list[int]) -> str:
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


RULES: dict[str, Rule] = {
    "MaxPool": pool,
    "AveragePool": pool,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    **dict.fromkeys(("Reduce" + fn for fn in ("Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2")), reduce),
    "Resize": resize,
    "Upsample": resize,
}  # fmt: skip
