"""Operators that move elements, or count and measure them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from octavo.ir import plan_node
from octavo.passes.context import F32, S32, S64, Context, Refuse, Rule
from octavo.passes.match import ints, normal_axes


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
    if "axes" not in c.node.attrs and c.node.input(1) and c.graph.const(c.node.inputs[1]) is None:
        return c.emit(c.node.op, list(c.node.inputs))
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
    if not all(c.node.outputs):
        raise Refuse("one of its outputs is absent")
    if "split" not in c.node.attrs and c.node.input(1) and c.graph.const(c.node.inputs[1]) is None:
        inputs = list(c.node.inputs)
        return c.patch.nodes.append(plan_node("Split", inputs, c.node.outputs, c.node.name, {"axis": axis}))
    sizes = ints(c.graph, c.node, "split", 1)
    parts, shape = len(c.node.outputs), c.graph.shape(c.x)
    length = shape[axis] if shape is not None else None
    attrs: dict[str, Any] = {"axis": axis, "num_outputs": parts}
    if sizes is None and isinstance(length, int):
        chunk = -(-length // parts)
        sizes = [min(chunk, max(length - chunk * k, 0)) for k in range(parts)]
    if sizes is not None:
        attrs["split"] = sizes
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
        return space_to_depth_crd(c)
    c.emit(c.node.op, [c.x], attrs)


def space_to_depth_crd(c: Context) -> None:
    """[N, C, H, W] => [N, C, h, b, w, b] => [N, C, b, b, h, w] => [N, C * b * b, h, w]"""
    b, shape = int(c.attr("blocksize", 0)), c.graph.shape(c.x)
    if shape is None or any(not isinstance(d, int) for d in shape[1:]) or b < 1:
        raise Refuse("mode CRD of sizes known only at run time")
    _, ch, h, wd = shape
    dims = [0, ch, h // b, b, wd // b, b]  # type: ignore[operator]
    cut = c.patch.emit("Reshape", [c.x, c.const_ints(dims, "cut")], c.dtype(), (shape[0], *dims[1:]))  # type: ignore[arg-type]
    turned = c.patch.transpose(cut, [0, 1, 3, 5, 2, 4])
    c.emit("Reshape", [turned, c.const_ints([0, ch * b * b, h // b, wd // b], "whole")])  # type: ignore[operator,list-item]


def concat(c: Context) -> None:
    c.emit("Concat", list(c.node.inputs), {"axis": normal_axes([int(c.attr("axis", 1))], c.rank())[0]})


def flatten(c: Context) -> None:
    c.emit("Flatten", [c.x], {"axis": int(c.attr("axis", 1))})


def gather(c: Context) -> None:
    if c.dtype(1) not in (S32, S64):
        raise Refuse("its indices are not int32 or int64")
    if c.node.op == "Gather" and (small := c.stored(0)) is not None:
        return c.emit("Gather", [small.codes, c.node.inputs[1], *small.others], {"axis": 0, **small.attrs})
    c.emit(c.node.op, list(c.node.inputs), {"axis": int(c.attr("axis", 0))})


def arg(c: Context) -> None:
    if c.dtype() == np.bool_:
        raise Refuse("the core does not order booleans")
    last = {"select_last_index": 1} if c.attr("select_last_index", 0) else {}
    c.emit(c.node.op, [c.x], {"axis": int(c.attr("axis", 0)), "keepdims": int(c.attr("keepdims", 1)), **last})


def range_op(c: Context) -> None:
    if c.dtype() not in (F32, S32, S64):
        raise Refuse(f"the core does not count in {c.dtype()}")
    c.emit("Range", list(c.node.inputs))


RULES: dict[str, Rule] = {
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
}  # fmt: skip
