"""Tables, residual additions and transposes move into the integer operators before them. Every rounding is kept."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Uses, same_shape
from octavo.passes.fuse_epilogue import merge

TABLE = {"QConv": 5, "QGemm": 5, "QAdd": 2}
Z = 4  # the residual input of QConv and QGemm


def fuse_qadd(graph: Graph) -> None:
    """QAdd(QConv(x), z) of equal shapes  =>  QConv(x, z), both roundings kept; QGemm likewise.

    Kept: another reader of the convolution's result, or a table between. Of two the later one takes the other.
    """
    for node in list(graph.nodes):
        if not node.is_plan("QAdd"):
            continue
        uses = Uses(graph)
        found = []
        for k in (0, 1):
            conv = uses.producer.get(node.inputs[k])
            if conv is None or not conv.is_plan("QConv", "QGemm") or uses.single_reader(node.inputs[k]) is not node:
                continue
            if conv.input(Z) or conv.input(TABLE[conv.op]) or conv.attrs.get("out_f32", 0):
                continue
            if same_shape(graph.shape(node.inputs[0]), graph.shape(node.inputs[1])):
                found.append((graph.nodes.index(conv), k, conv))
        if not found:
            continue
        _, k, conv = max(found, key=lambda f: f[0])
        a, b = ("a", "b") if k == 0 else ("b", "a")
        conv.attrs |= {f"add_{name}": node.attrs[name] for name in ("zp", "lo", "hi")}
        s = "fixed_" if "fixed_y" in node.attrs else "s"
        conv.attrs |= {
            "add_za": node.attrs[f"z{a}"], f"add_{s}a": node.attrs[f"{s}{a}"],
            "add_zb": node.attrs[f"z{b}"], f"add_{s}b": node.attrs[f"{s}{b}"],
        }  # fmt: skip
        if "c" in node.attrs:
            conv.attrs |= {"add_c": node.attrs["c"], "add_inner_a": int(node.attrs.get("inner_a", 0)) ^ k}
        else:
            conv.attrs[f"add_{s}y"] = node.attrs[f"{s}y"]
        inputs = {Z: node.inputs[1 - k]}
        if node.input(TABLE["QAdd"]):
            inputs[TABLE[conv.op]] = node.inputs[TABLE["QAdd"]]
        merge(graph, conv, node, inputs)


def fuse_lut(graph: Graph) -> None:
    """Lut(QConv | QGemm | QAdd | Lut)  =>  the same with a table, composed with the one it has."""
    for node in list(graph.nodes):
        if not node.is_plan("Lut"):
            continue
        uses = Uses(graph)
        source = uses.producer.get(node.inputs[0])
        table = graph.const(node.inputs[1])
        if source is None or table is None or table.dtype != np.uint8 or uses.single_reader(node.inputs[0]) is None:
            continue
        if not source.is_plan(*TABLE, "Lut") or source.attrs.get("out_f32", 0):
            continue
        slot = TABLE.get(source.op, 1)
        first = graph.const(source.input(slot))
        if first is not None:
            table = table[first]
        merge(graph, source, node, {slot: graph.new_const(f"{node.outputs[0]}/table", table)})


def fuse_transpose_into_quantize(graph: Graph) -> None:
    """Transpose(Quantize(x))  =>  Quantize(x, perm)"""
    for node in list(graph.nodes):
        if not node.is_plan("Transpose"):
            continue
        uses = Uses(graph)
        source = uses.producer.get(node.inputs[0])
        if source is None or not source.is_plan("Quantize") or len(source.inputs) > 1 or "perm" in source.attrs:
            continue
        if uses.single_reader(node.inputs[0]) is not None:
            source.attrs["perm"] = node.attrs["perm"]
            merge(graph, source, node, {})


def fuse_pad(graph: Graph) -> None:
    """Conv(Pad(x, constant 0)) => Conv(x) with larger pads; QConv when the padding value is its zero point."""
    for node in list(graph.nodes):
        if not node.is_plan("Conv", "QConv"):
            continue
        pad = graph.producers().get(node.inputs[0])
        if pad is None or not pad.is_plan("Pad") or pad.attrs.get("mode", "constant") != "constant" or pad.input(3):
            continue
        around = graph.const(pad.inputs[1])
        value = graph.const(pad.input(2)) if pad.input(2) else np.zeros(1)
        wanted = node.attrs["x_zp"] if node.op == "QConv" else 0
        rank = graph.rank(pad.inputs[0])
        if around is None or value is None or value.size != 1 or value.reshape(-1)[0] != wanted or rank not in (3, 4):
            continue
        sides = around.reshape(2, -1)
        if sides.shape[1] != rank or (sides < 0).any() or sides[:, [0, -1]].any():
            continue
        node.attrs["pads"] = [int(p) + int(q) for p, q in zip(node.attrs["pads"], sides[:, 1:-1].reshape(-1))]
        node.inputs[0] = pad.inputs[0]
    graph.drop_dead()


def mark_graph_inputs(graph: Graph) -> None:
    """Quantize of a graph input refuses NaN, and says which input had it."""
    for node in graph.nodes:
        if node.is_plan("Quantize") and node.inputs[0] in graph.inputs:
            node.attrs |= {"graph_input": 1, "source": node.inputs[0]}
