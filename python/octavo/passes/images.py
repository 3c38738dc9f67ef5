"""Geometry of convolutions and pools: attributes resolved, channels-last wrapping."""

from __future__ import annotations

from typing import Any

from octavo.ir import Graph, Node, Shape
from octavo.passes.match import Patch, to_channels_first, to_channels_last


def geometry(graph: Graph, node: Node, kernel: list[int]) -> dict[str, Any]:
    """strides, dilations and explicit pads of a Conv or pool node.

    Raises LookupError when SAME padding depends on sizes known only at run time, or the attributes contradict.
    """
    n = len(kernel)
    strides = [int(v) for v in node.attrs.get("strides") or [1] * n]
    dilations = [int(v) for v in node.attrs.get("dilations") or [1] * n]
    pads = [int(v) for v in node.attrs.get("pads") or [0] * (2 * n)]
    if not len(strides) == len(dilations) == n or len(pads) != 2 * n:
        raise LookupError("its strides, dilations or pads do not match its kernel's rank")
    auto = node.attrs.get("auto_pad", "NOTSET")
    if auto == "VALID":
        pads = [0] * (2 * n)
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        shape = graph.shape(node.inputs[0])
        spatial = shape[2:] if shape is not None else ()
        begin, end = [], []
        for size, k, s, d in zip(spatial, kernel, strides, dilations):
            if s == 1:
                total = (k - 1) * d
            elif isinstance(size, int):
                total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            else:
                raise LookupError(f"auto_pad={auto} with a size known only at run time")
            small = total // 2
            begin.append(small if auto == "SAME_UPPER" else total - small)
            end.append(total - small if auto == "SAME_UPPER" else small)
        pads = begin + end
    elif auto not in ("NOTSET", ""):
        raise LookupError(f"auto_pad={auto} is unknown")
    return {"strides": strides, "dilations": dilations, "pads": pads}


def kernel_shape(graph: Graph, node: Node) -> list[int]:
    if "kernel_shape" in node.attrs:
        return [int(k) for k in node.attrs["kernel_shape"]]
    shape = graph.shape(node.inputs[1]) if len(node.inputs) > 1 else None
    if shape is None or any(not isinstance(d, int) for d in shape[2:]):
        raise LookupError("its kernel's shape is not known")
    return [int(d) for d in shape[2:]]  # type: ignore[arg-type]


def emit_channels_last(
    patch: Patch, op: str, x: str, others: list[str], attrs: dict[str, Any], dtype: Any, shape: Shape, out: str
) -> None:
    """out = NC..(op(N..C(x), others)); `shape` is out's, channels first."""
    rank = len(shape)
    last = patch.transpose(x, to_channels_last(rank))
    perm = to_channels_last(rank)
    y = patch.emit(op, [last, *others], dtype, tuple(shape[p] for p in perm), attrs)
    patch.transpose(y, to_channels_first(rank), out)
