"""Quantization as ONNX spells it, for what recognition leaves over."""

from __future__ import annotations

import numpy as np

from octavo.ir import plan_node
from octavo.ops.cast import DTYPES, NARROW_INTEGERS
from octavo.passes.context import F32, S32, U8, Context, Refuse, Rule

INTEGERS = {np.dtype(DTYPES[k]) for k in (2, 3, 4, 5, *NARROW_INTEGERS)}
FLOATS = {np.dtype(DTYPES[k]) for k in (17, 18, 19, 20, 23, 27, 28)}
SCALES = {np.dtype(DTYPES[k]) for k in (1, 10, 16, 24)}
PLAIN = {np.dtype(DTYPES[k]) for k in (1, 10, 16)}


def quantize(c: Context) -> None:
    """The literal forms, for what recognition leaves over."""
    x, scale, y = c.dtype(0), c.dtype(1), c.graph.dtype(c.y)
    down = c.node.op == "QuantizeLinear"
    plain, narrow = (x, y) if down else (y, x)
    if plain not in (PLAIN | {S32} if down else PLAIN) or narrow not in INTEGERS | FLOATS | (set() if down else {S32}):
        raise Refuse(f"the core does not convert {x} to {y}")
    if scale not in (SCALES | {S32} if down else SCALES):
        raise Refuse(f"the core does not quantize with {scale} scales")
    attrs = {"axis": int(c.attr("axis", 1)), "block_size": int(c.attr("block_size", 0) or 0)}
    if down:
        attrs |= {"saturate": int(c.attr("saturate", 1)), "precision": int(c.attr("precision", 0) or 0)}
    attrs["output_dtype"] = element_number(y)
    c.emit(c.node.op, list(c.node.inputs), attrs)


def element_number(dtype: np.dtype | None) -> int:
    return next(k for k, d in DTYPES.items() if np.dtype(d) == dtype)


def dynamic_quantize(c: Context) -> None:
    c.need_f32()
    outs = [
        o or c.graph.new_value(f"{c.node.name}/unused", d, ()) for o, d in zip([*c.node.outputs, "", ""], (U8, F32, U8))
    ]
    for out, dtype, shape in zip(outs, (U8, F32, U8), (c.graph.shape(c.x), (), ())):
        c.graph.values[out].dtype, c.graph.values[out].shape = np.dtype(dtype), shape
    c.patch.nodes.append(plan_node("DynamicQuantizeLinear", [c.x], outs, c.node.name))


RULES: dict[str, Rule] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": quantize,
    "DynamicQuantizeLinear": dynamic_quantize,
}  # fmt: skip
