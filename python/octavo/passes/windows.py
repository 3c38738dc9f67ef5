"""Geometry of convolutions and pools: ONNX attributes -> explicit pads [begin..., end...], strides, dilations."""

from __future__ import annotations

from octavo.ir import Graph, Node


def kernel_dims(graph: Graph, node: Node, rank: int) -> list[int] | None:
    """Spatial kernel size, from the attribute or the weights."""
    given = node.attrs.get("kernel_shape")
    if given:
        return [int(k) for k in given]
    shape = graph.shape(node.input(1)) if node.op in ("Conv", "ConvTranspose") else None
    if shape is None or not all(isinstance(d, int) for d in shape[2:]):
        return None
    return [int(d) for d in shape[2:]]  # type: ignore[arg-type]


def explicit_pads(graph: Graph, node: Node, rank: int) -> list[int] | None:
    """`pads`, or what `auto_pad` means for static spatial sizes; None when the sizes are not known."""
    spatial = rank - 2
    mode = node.attrs.get("auto_pad", "NOTSET") or "NOTSET"
    if mode == "NOTSET":
        return [int(p) for p in node.attrs.get("pads") or [0] * 2 * spatial]
    if mode == "VALID":
        return [0] * 2 * spatial
    kernel, shape = kernel_dims(graph, node, rank), graph.shape(node.inputs[0])
    if kernel is None or shape is None or not all(isinstance(d, int) for d in shape[2:]):
        return None
    strides = node.attrs.get("strides") or [1] * spatial
    dilations = node.attrs.get("dilations") or [1] * spatial
    begin, end = [], []
    for size, k, s, d in zip(shape[2:], kernel, strides, dilations):
        steps = -(-int(size) // s)  # type: ignore[arg-type]
        total = max(0, (steps - 1) * s + (k - 1) * d + 1 - int(size))  # type: ignore[arg-type]
        small = total // 2
        begin.append(small if mode == "SAME_UPPER" else total - small)
        end.append(total - begin[-1])
    return begin + end


def window_attrs(graph: Graph, node: Node, rank: int) -> dict[str, object] | None:
    """strides, dilations and pads; None when they cannot be fixed or are invalid."""
    pads = explicit_pads(graph, node, rank)
    spatial = rank - 2
    strides = [int(s) for s in node.attrs.get("strides") or [1] * spatial]
    dilations = [int(d) for d in node.attrs.get("dilations") or [1] * spatial]
    if pads is None or len(pads) != 2 * spatial or len(strides) != spatial or len(dilations) != spatial:
        return None
    return {"strides": strides, "dilations": dilations, "pads": pads}


def conv_attrs(graph: Graph, node: Node, rank: int) -> dict[str, object] | None:
    """Attributes of Conv and QConv."""
    window = window_attrs(graph, node, rank)
    return None if window is None else {**window, "group": int(node.attrs.get("group", 1))}


def pool_attrs(graph: Graph, node: Node, rank: int) -> dict[str, object] | None:
    """Attributes of MaxPool, AveragePool and QAveragePool."""
    window = window_attrs(graph, node, rank)
    kernel = node.attrs.get("kernel_shape")
    if window is None or not kernel or len(kernel) != rank - 2:
        return None
    attrs = {**window, "kernel_shape": [int(k) for k in kernel], "ceil_mode": int(node.attrs.get("ceil_mode", 0))}
    if node.op == "AveragePool":
        attrs["count_include_pad"] = int(node.attrs.get("count_include_pad", 0))
    return attrs
