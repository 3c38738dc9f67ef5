"""Channels-last operators: convolutions, pools, resizing. Each is wrapped in transposes; the layout pass removes them."""

from __future__ import annotations

import numpy as np

from octavo.ir import Node
from octavo.passes.convert_math import literal
from octavo.passes.convert_move import HELD, Converter
from octavo.passes.emit import Emit, to_last
from octavo.passes.refusal import require
from octavo.passes.windows import conv_attrs, pool_attrs, window_attrs

F32 = np.dtype(np.float32)


def conv(emit: Emit, node: Node) -> None:
    graph, out = emit.graph, node.outputs[0]
    weights = graph.const(node.inputs[1])
    require(weights is not None and weights.dtype == F32, "its weights are not float32 constants")
    require(weights.ndim in (3, 4), f"it has {weights.ndim - 2} spatial dimensions; the core has 1 and 2")  # type: ignore[union-attr]
    require(graph.dtype(node.inputs[0]) == F32, "its input is not float32")
    rank = weights.ndim  # type: ignore[union-attr]
    attrs = conv_attrs(graph, node, rank)
    require(attrs is not None, "its padding depends on a size that is not known")
    inputs = [node.inputs[0], emit.const(np.ascontiguousarray(np.moveaxis(weights, 1, -1)))]  # type: ignore[arg-type]
    if node.input(2):
        require(graph.const(node.inputs[2]) is not None, "its bias is not a constant")
        inputs.append(node.inputs[2])
    emit.image_op("Conv", inputs, rank, F32, graph.shape(out), {**attrs, **literal(graph)}, out)  # type: ignore[dict-item]


def conv_transpose(emit: Emit, node: Node) -> None:
    graph, out = emit.graph, node.outputs[0]
    weights = graph.const(node.inputs[1])
    require(weights is not None and weights.dtype == F32, "its weights are not float32 constants")
    rank = weights.ndim  # type: ignore[union-attr]
    require(rank in (3, 4), "the core has 1 and 2 spatial dimensions")
    group = int(node.attrs.get("group", 1))
    attrs = transposed_window(emit, node, rank)
    inputs_per_group = weights.shape[0] // group  # type: ignore[union-attr]
    # [C, O/g, k...] -> [g, C/g, O/g, k...] -> [g, O/g, k..., C/g] -> [O, k..., C/g]
    w = weights.reshape(group, inputs_per_group, *weights.shape[1:])  # type: ignore[union-attr]
    w = np.moveaxis(w, 1, -1)
    inputs = [node.inputs[0], emit.const(np.ascontiguousarray(w.reshape(-1, *w.shape[2:])))]
    if node.input(2):
        require(graph.const(node.inputs[2]) is not None, "its bias is not a constant")
        inputs.append(node.inputs[2])
    emit.image_op("ConvTranspose", inputs, rank, F32, graph.shape(out), {**attrs, "group": group}, out)


def transposed_window(emit: Emit, node: Node, rank: int) -> dict[str, object]:
    """Explicit pads of ConvTranspose, also where output_shape or auto_pad asks for a size."""
    spatial = rank - 2
    extra = [int(p) for p in node.attrs.get("output_padding") or [0] * spatial]
    auto = node.attrs.get("auto_pad", "NOTSET") or "NOTSET"
    wanted = node.attrs.get("output_shape")
    strides = [int(s) for s in node.attrs.get("strides") or [1] * spatial]
    dilations = [int(d) for d in node.attrs.get("dilations") or [1] * spatial]
    if wanted is None and auto in ("NOTSET", "VALID"):
        pads = [0] * 2 * spatial if auto == "VALID" else [int(p) for p in node.attrs.get("pads") or [0] * 2 * spatial]
        return {"strides": strides, "dilations": dilations, "pads": pads, "output_padding": extra}
    shape = emit.graph.shape(node.inputs[0])
    require(shape is not None and all(isinstance(d, int) for d in shape[2:]), "its padding depends on a size that is not known")
    kernel = emit.graph.const(node.inputs[1]).shape[2:]  # type: ignore[union-attr]
    sizes = wanted[-spatial:] if wanted is not None else [int(d) * s for d, s in zip(shape[2:], strides)]  # type: ignore
    begin, end = [], []
    for size, k, s, d, p, target in zip(shape[2:], kernel, strides, dilations, extra, sizes):  # type: ignore[index]
        total = max(0, s * (int(size) - 1) + p + (k - 1) * d + 1 - int(target))  # type: ignore[arg-type]
        small = total // 2
        begin.append(total - small if auto == "SAME_LOWER" else small)
        end.append(total - begin[-1])
    return {"strides": strides, "dilations": dilations, "pads": begin + end, "output_padding": extra}


def pool(emit: Emit, node: Node) -> None:
    graph, x, out = emit.graph, node.inputs[0], node.outputs[0]
    rank, dtype = graph.rank(x), graph.dtype(x)
    require(len([o for o in node.outputs if o]) == 1, "its indices are asked for")
    require(rank in (3, 4), "the core has 1 and 2 spatial dimensions")
    allowed = (F32, np.uint8, np.int8) if node.op == "MaxPool" else (F32,)
    require(dtype in allowed, f"the core does not pool {dtype}")
    attrs = pool_attrs(graph, node, rank)  # type: ignore[arg-type]
    require(attrs is not None, "its padding depends on a size that is not known")
    emit.image_op(node.op, [x], rank, dtype, graph.shape(out), attrs, out)  # type: ignore[arg-type]


RESIZE_ATTRS = ("mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside")


def resize(emit: Emit, node: Node) -> None:
    graph, x, out = emit.graph, node.inputs[0], node.outputs[0]
    rank, dtype = graph.rank(x), graph.dtype(x)
    attrs = {k: node.attrs[k] for k in RESIZE_ATTRS if k in node.attrs}
    scales, sizes = node.input(2), node.input(3)
    if node.op == "Upsample" or graph.opset < 11:
        attrs |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        scales, sizes = node.input(1), ""
        if "scales" in node.attrs:
            scales = emit.const(node.attrs["scales"], np.float32)
    require(rank in (3, 4), "the core resizes images only")
    require(dtype == F32 or (dtype in HELD and attrs.get("mode", "nearest") == "nearest"), f"the core does not resize {dtype}")
    for key in ("antialias", "axes", "keep_aspect_ratio_policy"):
        require(not node.attrs.get(key) or node.attrs[key] == "stretch", f"it has the attribute {key}")
    mode = attrs.get("coordinate_transformation_mode", "half_pixel")
    require(mode != "tf_crop_and_resize", "it crops while it resizes")
    given = scales if scales and graph.shape(scales) != (0,) else ""
    require(bool(given) != bool(sizes), "it needs either scales or sizes")
    permuted = permute_vector(emit, given or sizes, rank)  # type: ignore[arg-type]
    inputs = [x, "", permuted] if given else [x, permuted]
    emit.image_op("Resize", inputs, rank, dtype, graph.shape(out), attrs, out)  # type: ignore[arg-type]


def permute_vector(emit: Emit, name: str, rank: int) -> str:
    """A vector over [N, C, spatial...] in the order [N, spatial..., C]."""
    perm = np.array(to_last(rank), np.int64)
    const = emit.graph.const(name)
    if const is not None:
        require(const.size == rank, "its scales or sizes do not match the rank")
        return emit.const(const.reshape(-1)[perm])
    return emit.op("Gather", [name, emit.const(perm)], emit.graph.dtype(name), (rank,), {"axis": 0})


IMAGE: dict[str, Converter] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": pool,
    "AveragePool": pool,
    "Resize": resize,
    "Upsample": resize,
}

__all__ = ["IMAGE", "window_attrs"]
