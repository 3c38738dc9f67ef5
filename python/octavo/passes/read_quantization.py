"""QuantizeLinear and DequantizeLinear with constant parameters become plan nodes over uint8."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from octavo.ir import Graph, Node
from octavo.passes.match import MOVEMENT, Patch

FEW_BITS = {np.dtype(t) for t in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)}  # of weights
FLIP_THROUGH = (*MOVEMENT, "MaxPool", "Concat", "Resize", "Upsample")


def read_quantization(graph: Graph) -> None:
    """QuantizeLinear => Quantize (uint8), DequantizeLinear => Dequantize, with their parameters as attributes.

    int8 activations become uint8: zero point + 128, and a Flip8 step (x xor 0x80) stands where int8 is read or written
    by something else; movement operators go over to uint8 and opposite flips cancel. Constant int8 (weights) stays.
    Kept literal (activations with a note): other types, blocked scales, parameters computed at run time or not finite
    and positive.
    """
    for node in list(graph.nodes):
        if node.is_op("QuantizeLinear", "DequantizeLinear"):
            problem = read_quantize(graph, node) if node.op == "QuantizeLinear" else read_dequantize(graph, node)
            if problem and graph.const(node.inputs[0]) is None:  # constants are restored as they are read, or folded
                graph.notes.append((node.name, f"stays a literal {node.op}: {problem}"))
    for node in list(graph.nodes):
        flip_movement(graph, node)
    cancel_flips(graph)


class Parameters:
    """Scale, zero point and axis of a node; `problem` says why they cannot be used."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.problem = ""
        scale, zp = graph.const(node.inputs[1]), graph.const(node.input(2))
        rank = graph.rank(node.inputs[0])
        if scale is None or (node.input(2) and zp is None):
            self.problem = "its scale or zero point is computed at run time"
            return
        if scale.dtype != np.float32:
            self.problem = f"its scale is {scale.dtype}, not float32"
            return
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            self.problem = "its scale is not finite and positive"
            return
        if node.attrs.get("block_size", 0) or (scale.ndim > 1 and scale.size > 1):
            self.problem = "it is quantized in blocks"
            return
        if zp is not None and zp.size not in (1, scale.size):
            self.problem = "its scale and zero point differ in size"
            return
        self.scale = scale.reshape(-1)
        self.zp = (
            np.zeros(self.scale.size, np.int64)
            if zp is None
            else np.broadcast_to(zp.reshape(-1).astype(np.int64), self.scale.shape)
        )
        self.dtype = None if zp is None else zp.dtype
        self.axis = 0
        self.per_tensor = self.scale.size == 1
        if not self.per_tensor:
            axis = int(node.attrs.get("axis", 1))
            if rank is None or not -rank <= axis < rank:
                self.problem = "its axis is outside its input's rank"
                return
            self.axis = axis % rank


def read_quantize(graph: Graph, node: Node) -> str:
    p = Parameters(graph, node)
    if p.problem:
        return p.problem
    dtype = p.dtype
    if dtype is None:
        wanted = int(node.attrs.get("output_dtype", 0))
        dtype = {0: np.dtype(np.uint8), 2: np.dtype(np.uint8), 3: np.dtype(np.int8)}.get(wanted)
    if dtype not in (np.uint8, np.int8):
        return f"its output is {dtype}, not 8 bits"
    if graph.dtype(node.inputs[0]) != np.float32:
        return f"its input is {graph.dtype(node.inputs[0])}, not float32"
    if int(node.attrs.get("precision", 0)) not in (0, 1):
        return "it asks for another precision than float32"
    if (p.zp != p.zp[0]).any():
        return "its zero point differs along the axis"
    signed = dtype == np.int8
    attrs: dict[str, float] = {"y_zp": int(p.zp[0]) + (128 if signed else 0), "lo": 0, "hi": 255}
    mark_signed(graph, attrs, signed)
    inputs = [node.inputs[0]]
    if p.per_tensor:
        attrs["y_scale"] = float(p.scale[0])
    else:
        inputs.append(graph.new_const(f"{node.outputs[0]}/scale", p.scale))
        attrs["axis"] = p.axis
    patch = Patch(graph, node)
    out = node.outputs[0]
    shape = graph.shape(out) or graph.shape(node.inputs[0])
    graph.values[out].dtype, graph.values[out].shape = dtype, shape
    if signed:
        quantized = patch.emit("Quantize", inputs, np.uint8, shape, attrs)
        patch.emit("Flip8", [quantized], np.int8, shape, out=out)
    else:
        patch.emit("Quantize", inputs, np.uint8, shape, attrs, out=out)
    patch.apply()
    return ""


def read_dequantize(graph: Graph, node: Node) -> str:
    p = Parameters(graph, node)
    if p.problem:
        return p.problem
    x, out = node.inputs[0], node.outputs[0]
    dtype, const = graph.dtype(x), graph.const(x)
    if dtype not in (np.uint8, np.int8, np.int32, np.uint16, np.int16) and (const is None or dtype not in FEW_BITS):
        return f"its input is {dtype}"
    if int(node.attrs.get("output_dtype", 0)) not in (0, 1):
        return "its output is not float32"
    shape = graph.shape(out) or graph.shape(x)
    graph.values[out].dtype, graph.values[out].shape = np.dtype(np.float32), shape
    patch = Patch(graph, node)
    zp = p.zp
    attrs: dict[str, float] = {}
    if dtype == np.int8 and const is None:
        x = patch.emit("Flip8", [x], np.uint8, shape)
        dtype, zp = np.dtype(np.uint8), zp + 128
        mark_signed(graph, attrs, True)
    if p.per_tensor:
        attrs |= {"x_scale": float(p.scale[0]), "x_zp": int(zp[0])}
        patch.emit("Dequantize", [x], np.float32, shape, attrs, out)
    else:
        scales = graph.new_const(f"{out}/scale", p.scale)
        zeros = graph.new_const(f"{out}/zero_point", zp.astype(dtype))
        patch.emit("Dequantize", [x, scales, zeros], np.float32, shape, {"axis": p.axis}, out)
    patch.apply()
    return ""


def mark_signed(graph: Graph, attrs: dict[str, float], signed: bool) -> None:
    """The fixed scheme averages the file's own integers, so it must know which they were until it is recognized."""
    if signed and graph.requantize == "fixed":
        attrs["signed"] = 1


def flip_movement(graph: Graph, node: Node) -> None:
    """op(x int8)  =>  Flip8(op(Flip8(x))) for operators that only move or compare elements."""
    if (
        not node.is_op(*FLIP_THROUGH)
        or graph.dtype(node.outputs[0]) != np.int8
        or (node.op == "MaxPool" and len(node.outputs) > 1)
    ):
        return
    if node.op in ("Resize", "Upsample") and node.attrs.get("mode", "nearest") != "nearest":
        return
    data = range(len(node.inputs)) if node.op == "Concat" else [0]
    patch = Patch(graph, node)
    inputs = list(node.inputs)
    for k in data:
        const = graph.const(inputs[k])
        if const is not None:
            inputs[k] = graph.new_const(inputs[k], (const.view(np.uint8) ^ np.uint8(0x80)))
        else:
            inputs[k] = patch.emit("Flip8", [inputs[k]], np.uint8, graph.shape(inputs[k]))
    outs = [graph.new_value(o, np.uint8, graph.shape(o)) if o else "" for o in node.outputs]
    patch.nodes.append(Node(node.op, inputs, outs, node.attrs, node.name, "", node.origin))
    for old, new in zip(node.outputs, outs):
        if old:
            patch.emit("Flip8", [new], np.int8, graph.shape(old), out=old)
    patch.apply()


def cancel_flips(graph: Graph) -> None:
    """Flip8(Flip8(x))  =>  x"""
    producer = graph.producers()
    for node in list(graph.nodes):
        if node.is_plan("Flip8"):
            before = producer.get(node.inputs[0])
            if before is not None and before.is_plan("Flip8"):
                graph.replace_uses(node.outputs[0], before.inputs[0])
                graph.remove(node)
    graph.drop_dead()
