"""``octavo inspect``: what a model takes, gives and costs, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from octavo.compress.record import record_text
from octavo.engine import Session
from octavo.errors import InvalidArgument
from octavo.feeds import TYPES, TensorInfo, did_you_mean
from octavo.report.table import count, shape_text, size, table


def input_shapes(inputs: list[TensorInfo], dims: Mapping[str, int]) -> list[list[int]]:
    """The inputs' shapes with symbolic dimensions taken from `dims`, and 1 where they say nothing."""
    return [[d if isinstance(d, int) else dims.get(d, 1) if d else 1 for d in i.shape] for i in inputs]


def checked_dims(inputs: list[TensorInfo], given: Sequence[tuple[str, int]]) -> dict[str, int]:
    """(name, size) pairs as a dict; raises InvalidArgument for a name that is no symbolic dimension of an input."""
    symbols = {d for i in inputs for d in i.shape if isinstance(d, str)}
    for name, _ in given:
        if name not in symbols:
            raise InvalidArgument(f"no input has a dimension '{name}'{did_you_mean(name, sorted(symbols))}")
    return dict(given)


def inspect(session: Session, dims: Mapping[str, int]) -> dict[str, Any]:
    """Everything the command prints, ready for JSON.

    Sizes of symbolic dimensions come from `dims`; multiply-accumulates count the others as 1 ("assumed" lists them).
    A layer's weight_bytes are those of the constants it is the first to read; params counts the weights and biases.
    """
    plan = session.plan
    values, counted = plan.values, set[int]()
    layers = []
    symbols = {d for i in session.get_inputs() for d in i.shape if isinstance(d, str)}
    for step, info in zip(plan.steps, session.steps_for(input_shapes(session.get_inputs(), dims))):
        trained = PARAMETERS.get(step["op"])
        held = [k for k in step["inputs"] if k >= 0 and values[k]["constant"] and k not in counted]
        counted.update(held)
        out = values[step["outputs"][0]] if step["outputs"] else None
        layers.append(
            {
                "name": step["name"],
                "op": step["op"] + (f" {step['attrs']['fn']}" if step["op"] in NAMED_FUNCTIONS else ""),
                "inputs": [
                    resolved(values[k]["dims"], dims) for k in step["inputs"] if k >= 0 and not values[k]["constant"]
                ],
                "output": known(resolved(out["dims"], dims), info.shapes[0] if info.shapes else None, symbols)
                if out
                else None,
                "dtype": TYPES[out["dtype"]][0] if out else None,
                "params": sum(
                    math.prod(values[k]["dims"])
                    for at, k in enumerate(step["inputs"])
                    if k in held and values[k]["dtype"] != INT64 and (trained is None or at in trained)
                ),
                "weight_bytes": sum(values[k]["bytes"] for k in held),
                "macs": info.macs,
                "kernel": info.kernel,
            }
        )
    return {
        "inputs": [described(i, dims) for i in session.get_inputs()],
        "outputs": [described(o, dims) for o in session.get_outputs()],
        "assumed": {s: 1 for s in sorted(symbols - set(dims))},
        "isa": session.isa,
        "layers": layers,
        "totals": {
            "layers": len(layers),
            "params": sum(layer["params"] for layer in layers),
            "weight_bytes": sum(layer["weight_bytes"] for layer in layers),
            "macs": sum(layer["macs"] for layer in layers),
            "packed_bytes": session.memory.weights,
        },
        "python_steps": [{"node": n, "reason": r} for n, r in session.python_steps],
        "notes": [{"node": n, "note": r} for n, r in session.notes],
        "metadata": dict(plan.metadata),
    }


NAMED_FUNCTIONS = ("Unary", "Binary", "Reduce")
INT64 = 7  # constants of this type are shapes and indices
# The inputs that hold weights and biases, where other constants (scales, tables) stand beside them.
PARAMETERS = {"QConv": (1, 2), "QGemm": (1, 2), "QGemmDynamic": (2, 5), "Lut": (), "QAdd": (), "Quantize": ()}


def resolved(shape: list[Any] | None, dims: Mapping[str, int]) -> list[Any] | None:
    return None if shape is None else [dims.get(d, d) if isinstance(d, str) else d for d in shape]


def known(declared: list[Any] | None, shape: tuple[int, ...] | None, symbols: set[str]) -> list[Any] | None:
    """The declared dims, with what is neither a size nor a symbol of an input taken from the planned shape."""
    if declared is None or shape is None:
        return declared if shape is None else list(shape)
    return [d if isinstance(d, int) or d in symbols else n for d, n in zip(declared, shape)]


def described(info: TensorInfo, dims: Mapping[str, int]) -> dict[str, Any]:
    return {"name": info.name, "type": info.type, "shape": resolved(info.shape, dims)}


def inspect_text(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = []
    for what in ("inputs", "outputs"):
        rows = [[t["name"], t["type"], shape_text(t["shape"])] for t in report[what]]
        lines += [table([what[:-1], "type", "shape"], rows, left=(what[:-1], "type", "shape"), width=60), ""]
    headers = ["#", "operator", "output", "dtype", "params", "weights", "MACs", "kernel", "node"]
    rows = [
        [
            str(k),
            layer["op"],
            shape_text(layer["output"]),
            layer["dtype"] or "",
            count(layer["params"]) if layer["params"] else "",
            size(layer["weight_bytes"]) if layer["weight_bytes"] else "",
            count(layer["macs"]) if layer["macs"] else "",
            layer["kernel"],
            layer["name"],
        ]
        for k, layer in enumerate(report["layers"])
    ]
    lines += [table(headers, rows, left=("operator", "output", "dtype", "kernel", "node")), ""]
    totals = report["totals"]
    lines.append(
        f"{totals['layers']} layers, {count(totals['params'])} parameters, {size(totals['weight_bytes'])} of weights "
        f"({size(totals['packed_bytes'])} packed for {report['isa']}), {count(totals['macs'])} multiply-accumulates"
    )
    if report["assumed"]:
        names = ", ".join(f"{n}=1" for n in report["assumed"])
        lines.append(f"Multiply-accumulates are for {names}; choose others with --dim NAME=SIZE.")
    lines += record_text(report["metadata"])
    for step in report["python_steps"]:
        lines.append(f"Runs in Python: {step['node']}: {step['reason']}")
    for note in report["notes"]:
        lines.append(f"Note: {note['node']}: {note['note']}")
    return "\n".join(lines)
