"""Quantization as ONNX spells it, for what recognition leaves over."""

from __future__ import annotations

import numpy as np

from octavo.ir import plan_node
from octavo.passes.context import CORE_DTYPES, F32, U8, Context, Refuse, Rule


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
