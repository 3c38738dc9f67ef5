"""Operators that search, count, gather and scatter by data: ONNX node -> plan operators of the same kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.ir import plan_node
from octavo.passes.context import F32, S32, S64, Context, Refuse, Rule
from octavo.passes.match import normal_axes
from octavo.passes.rules.composed import Writer

SUMMED = {np.dtype(t) for t in ("f4", "f8", "u1", "i1", "u4", "i4", "u8", "i8")}
ORDERED = SUMMED | {np.dtype(t) for t in ("u2", "i2", "f2")}


def cumulative(c: Context) -> None:
    if c.dtype() not in SUMMED:
        raise Refuse(f"the core does not accumulate {c.dtype()}")
    attrs = {"fn": c.node.op.removeprefix("Cum")}
    flags = {k: int(c.attr(k, 0)) for k in ("exclusive", "reverse")}
    c.emit("Cumulative", list(c.node.inputs), {**attrs, **flags})


def outputs_of(c: Context, dtypes: list[Any]) -> list[str]:
    """The node's outputs, new values in place of absent ones, of the shape of one that is there."""
    shape = next(c.graph.shape(o) for o in c.node.outputs if o)
    names = [*c.node.outputs, *[""] * len(dtypes)][: len(dtypes)]
    return [o or c.graph.new_value(f"{c.node.name}/unused", t, shape) for o, t in zip(names, dtypes)]


def top_k(c: Context) -> None:
    if c.dtype() not in ORDERED:
        raise Refuse(f"the core does not order {c.dtype()}")
    k = c.node.inputs[1] if len(c.node.inputs) > 1 else c.const_ints([int(c.attr("k", 0))], "k")
    attrs = {"axis": normal_axes([int(c.attr("axis", -1))], c.rank())[0], "largest": int(c.attr("largest", 1))}
    outputs = outputs_of(c, [c.dtype(), S64])
    c.patch.nodes.append(plan_node("TopK", [c.x, k], outputs, c.node.name, attrs))


def non_zero(c: Context) -> None:
    c.emit("NonZero", [c.x])


def compress(c: Context) -> None:
    """Gather where the condition holds."""
    w, axis = Writer(c), c.attr("axis", None)
    found = w.emit("NonZero", [c.node.inputs[1]], S64, (1, None))
    index = w.squeeze(found, [0])
    x = c.x
    if axis is None:
        x = w.reshape(x, [-1])
    c.emit("Gather", [x, index], {"axis": 0 if axis is None else normal_axes([int(axis)], c.rank())[0]})


def scatter(c: Context) -> None:
    if c.dtype(1) not in (S32, S64):
        raise Refuse("its indices are not int32 or int64")
    reduction = c.attr("reduction", "none")
    if reduction != "none" and c.dtype() not in ORDERED - {np.dtype(np.float16)}:
        raise Refuse(f"the core does not reduce {c.dtype()}")
    attrs: dict[str, Any] = {} if reduction == "none" else {"reduction": reduction}
    if c.node.op != "ScatterND":
        attrs["axis"] = int(c.attr("axis", 0))
    c.emit("ScatterND" if c.node.op == "ScatterND" else "ScatterElements", list(c.node.inputs), attrs)


def gather_nd(c: Context) -> None:
    if c.dtype(1) not in (S32, S64):
        raise Refuse("its indices are not int32 or int64")
    batch = int(c.attr("batch_dims", 0))
    c.emit("GatherND", list(c.node.inputs), {"batch_dims": batch} if batch else {})


def max_unpool(c: Context) -> None:
    """Values scattered over a flat tensor of zeros."""
    w = Writer(c)
    shape = c.graph.shape(c.y)
    if c.node.input(2):
        raise Refuse("its indices are those of another size than its output's")
    if shape is None or any(not isinstance(d, int) for d in shape):
        raise Refuse("its output's size is known only at run time")
    size = c.const_ints([int(d) for d in shape if isinstance(d, int)], "shape")
    total = w.emit("Reduce", [size], S64, (1,), fn="Prod", axes=[0], keepdims=1)
    zeros = w.emit("ConstantOfShape", [total, w.const([0], c.dtype())], c.dtype(), (None,))
    flat = [w.reshape(name, [-1]) for name in (c.node.inputs[1], c.x)]
    filled = w.emit("ScatterElements", [zeros, *flat], c.dtype(), (None,), axis=0)
    c.emit("Reshape", [filled, size])


def non_max_suppression(c: Context) -> None:
    c.need_f32(0, 1, 3, 4)
    c.emit("NonMaxSuppression", list(c.node.inputs), {"center_point_box": int(c.attr("center_point_box", 0))})


def grid_sample(c: Context) -> None:
    c.need_f32(0, 1)
    if c.rank() not in (3, 4, 5):
        raise Refuse("the core samples images of one to three dimensions")
    mode = c.attr("mode", "linear")
    attrs = {
        "mode": {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode),
        "padding_mode": c.attr("padding_mode", "zeros"),
        "align_corners": int(c.attr("align_corners", 0)),
    }
    c.emit("GridSample", list(c.node.inputs), attrs)


# -- recurrent networks ------------------------------------------------------------------------------------------------

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
# Activations that take parameters -> their defaults.
ALPHA = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "Elu": 1.0, "HardSigmoid": 0.2}
BETA = {"HardSigmoid": 0.5}
KNOWN = {name.lower(): name for name in ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", *ALPHA)}


def activations(c: Context, directions: int) -> dict[str, Any]:
    names = [str(n) for n in c.attr("activations", None) or FUNCTIONS[c.node.op] * directions]
    unknown = [n for n in names if n.lower() not in KNOWN]
    if unknown:
        raise Refuse(f"its activation {unknown[0]}")
    names = [KNOWN[n.lower()] for n in names]
    attrs: dict[str, Any] = {"activations": ",".join(names)}
    for key, defaults in (("alpha", ALPHA), ("beta", BETA)):
        given = [float(v) for v in c.attr(f"activation_{key}", None) or []]
        takers = [n for n in names if n in defaults]
        if takers:  # values belong to the functions that take one, in order
            values = iter([*given, *(defaults[n] for n in takers[len(given) :])])
            attrs[key] = [next(values) if n in defaults else 0.0 for n in names]
    return attrs


def recurrent(c: Context) -> None:
    """One product for the inputs' part of all gates and steps, then the recurrence."""
    c.need_f32(0, 1, 2, 3, 5, 6, 7)
    node, w, kind = c.node, Writer(c), c.node.op
    r = w.shape(node.inputs[2])
    units = int(c.attr("hidden_size", 0)) or r[2]
    if not isinstance(units, int):
        raise Refuse("its hidden_size is not known")
    directions = 2 if c.attr("direction", "forward") == "bidirectional" else 1
    gates, batch_first = GATES[kind], bool(c.attr("layout", 0))
    rows = gates * units
    x = c.patch.transpose(c.x, [1, 0, 2]) if batch_first else c.x
    bias, hidden_bias = recurrent_bias(c, w, units, directions)
    columns = (*w.shape(x)[:2], directions * rows)
    weights = c.graph.const(node.inputs[1])
    inputs = [x]
    attrs: dict[str, Any] = {"trans_b": 1}
    if weights is not None:
        inputs.append(c.graph.new_const(node.inputs[1], np.ascontiguousarray(weights.reshape(directions * rows, -1))))
    else:
        inputs.append(c.patch.transpose(w.reshape(node.inputs[1], [directions * rows, -1]), [1, 0]))
        attrs = {}
    p = w.emit("MatMul", [*inputs, *([bias] if bias else [])], F32, columns, **attrs)
    states = [node.input(k) for k in (5, 6)] if kind == "LSTM" else [node.input(5), ""]
    if batch_first:
        states = [c.patch.transpose(s, [1, 0, 2]) if s else "" for s in states]
    peepholes = node.input(7) if kind == "LSTM" else ""
    given = [p, node.inputs[2], *states, node.input(4), peepholes, hidden_bias]
    while not given[-1]:
        given.pop()
    options: dict[str, Any] = {"fn": kind, "direction": c.attr("direction", "forward"), **activations(c, directions)}
    if c.attr("clip", 0.0):
        options["clip"] = float(c.attr("clip", 0.0))
    if kind == "LSTM" and c.attr("input_forget", 0):
        options["input_forget"] = 1
    state = (directions, columns[1], units)
    shapes = [(columns[0], directions, columns[1], units), state, state][: 3 if kind == "LSTM" else 2]
    results = []
    for k, shape in enumerate(shapes):
        out = node.outputs[k] if k < len(node.outputs) else ""
        results.append(out if out and not batch_first else c.graph.new_value(f"{node.name}/{k}", F32, shape))
    c.patch.nodes.append(plan_node("Recurrent", given, results, node.name, options))
    for k, name in enumerate(node.outputs if batch_first else []):
        if name:
            c.patch.transpose(results[k], [2, 0, 1, 3] if k == 0 else [1, 0, 2], name)


def recurrent_bias(c: Context, w: Writer, units: int, directions: int) -> tuple[str, str]:
    """Both biases as one; a GRU that multiplies before the reset keeps its hidden gate's recurrent one apart."""
    name, rows = c.node.input(3), GATES[c.node.op] * units
    if not name:
        apart = c.node.op == "GRU" and c.attr("linear_before_reset", 0)
        return "", w.const(np.zeros((directions, units)), np.float32) if apart else ""
    size = [rows, rows]
    if c.node.op == "GRU" and c.attr("linear_before_reset", 0):
        size = [2 * units, units, 2 * units, units]
    parts = [c.graph.new_value(f"{name}/part", F32, (directions, n)) for n in size]
    attrs = {"axis": 1, "num_outputs": len(size), "split": size}
    c.patch.nodes.append(plan_node("Split", [name], parts, c.node.name, attrs))
    total, apart_bias = w.binary("Add", parts[0], parts[len(size) // 2]), ""
    if len(size) == 4:
        total = w.emit("Concat", [total, parts[1]], F32, (directions, rows), axis=1)
        apart_bias = parts[3]
    return w.reshape(total, [directions * rows]), apart_bias


RULES: dict[str, Rule] = {
    "CumSum": cumulative,
    "CumProd": cumulative,
    "TopK": top_k,
    "NonZero": non_zero,
    "Compress": compress,
    "Scatter": scatter,
    "ScatterElements": scatter,
    "ScatterND": scatter,
    "GatherND": gather_nd,
    "MaxUnpool": max_unpool,
    "NonMaxSuppression": non_max_suppression,
    "GridSample": grid_sample,
    "RNN": recurrent,
    "GRU": recurrent,
    "LSTM": recurrent,
}
