"""An ONNX model -> a plan: import, passes, and one builder call a node."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from octavo.errors import InvalidArgument, Unsupported
from octavo.ir import PLAN, Graph, Node, Value
from octavo.onnx_import import element_type, import_model
from octavo.onnx_step import make_step
from octavo.onnx_values import pack, spelled, unpack
from octavo.passes import run_passes
from octavo.passes.context import held

SCHEMES = ("float", "fixed")

Callback = Callable[[Sequence[Any]], list[Any]]

Hosted = tuple[str, np.dtype | None, list[int | str | None]]

RECORDS = "octavo."  # the file's metadata under such names goes into the plan's
NOTES = "notes"  # of the plan's metadata, so that a .octavo file keeps them
# What the operators that passes/recognize.py has rules for become where they stay float.
FLOAT_FORMS = ("Conv", "MatMul", "Binary", "AveragePool", "Reduce")


@dataclass
class Compiled:
    """A plan, and what goes with it."""

    plan: Any  # octavo._core.Plan
    callbacks: list[Callback] = field(default_factory=list)  # for _core.Session; a plan without any can be saved
    python_steps: list[tuple[str, str]] = field(default_factory=list)  # (node, why it runs through onnx.reference)
    notes: list[tuple[str, str]] = field(default_factory=list)  # (node, why it is not executed as it might be)
    # Inputs and outputs of types that the core does not hold, which the plan carries as bytes:
    # name -> (type as onnxruntime spells it, dtype of its arrays if known, shape)
    hosted: dict[str, Hosted] = field(default_factory=dict)


def compile_model(
    model: Any, *, optimize: bool = True, literal: bool = False, requantize: str = "float", builder: Any = None
) -> Compiled:
    """Compiles an ONNX model.

    model: a path, serialized bytes or an onnx.ModelProto. optimize=False keeps every operator a step of its own; the
    results are the same, byte for byte. literal=True runs the file as ONNX spells it: dequantize, float operators that
    accumulate in float64, quantize. requantize: the scheme of docs/arithmetic.md that integer operators follow, "float"
    or "fixed". builder: for tests, stands in for _core.PlanBuilder().

    Raises InvalidModel, Unsupported, InvalidArgument or IoError, naming the node or tensor.
    """
    graph = compile_graph(model, optimize=optimize, literal=literal, requantize=requantize)
    if builder is None:
        from octavo import _core

        builder = _core.PlanBuilder()
    return build(graph, builder)


def compile_graph(model: Any, *, optimize: bool = True, literal: bool = False, requantize: str = "float") -> Graph:
    """The graph of plan operators that build() lowers; for tests and for `explain`."""
    if not isinstance(model, (str, os.PathLike, bytes, bytearray, memoryview)) and not hasattr(model, "graph"):
        raise InvalidArgument(f"a model is a path, bytes or an onnx.ModelProto, not {type(model).__name__}")
    if requantize not in SCHEMES:
        raise InvalidArgument(f"requantize should be 'float' or 'fixed', not {requantize!r}")
    if literal and requantize != "float":
        raise InvalidArgument("literal=True computes in floating point, so requantize='fixed' has no meaning with it")
    graph = import_model(model)
    graph.requantize = requantize
    run_passes(graph, optimize, literal)
    return graph


def build(graph: Graph, builder: Any) -> Compiled:
    """Hands a graph of plan operators, and its constants for good, to a plan builder."""
    done = Compiled(None, notes=notes_of(graph))
    numbers: dict[str, int] = {"": -1}

    def number(name: str) -> int:
        if name not in numbers:
            value = graph.values[name]
            if value.const is None:
                raise Unsupported(f"value '{name}' is read but never written")
            const = value.const if held(value) else pack(value.const)
            numbers[name] = builder.add_constant(name, np.ascontiguousarray(const).reshape(const.shape))
            value.const = None  # the plan holds it now
        return numbers[name]

    for name in graph.inputs:
        value = graph.values[name]
        numbers[name] = builder.add_input(name, *typed(value))
    for node in graph.nodes:
        inputs, attrs = list(node.inputs), dict(node.attrs)
        if node.domain != PLAN:
            raise Unsupported(f"node '{node.name}' ({node.op}) was not lowered")
        if node.op == "Python":
            inputs, attrs = python_step(graph, node, done)
        while inputs and not inputs[-1]:
            inputs.pop()
        read = [number(name) for name in inputs]
        written = []
        for name in node.outputs:
            if name:
                numbers[name] = add_value(builder, graph.values[name], node)
            if name or node.op != "Python":
                written.append(numbers[name])
        builder.add_step(node.op, node.name, read, written, {k: plain(v) for k, v in attrs.items()})
    add_outputs(graph, builder, number)
    for public, name in [*((n, n) for n in graph.inputs), *graph.outputs]:
        value = graph.values[name]
        if not held(value):
            done.hosted[public] = (spelled(value.host, value.dtype), value.dtype, dims(value) or [])
    if done.notes:
        builder.set_metadata(NOTES, json.dumps(done.notes))
    if graph.requantize != "float":
        builder.set_metadata("requantize", graph.requantize)
    for key, text in graph.metadata.items():
        if key.startswith(RECORDS):
            builder.set_metadata(key, text)
    done.plan = builder.build()
    return done


def notes_of(graph: Graph) -> list[tuple[str, str]]:
    """What the passes noted, and the reasons of those nodes that are float steps in the end (not tables, say)."""
    notes = list(graph.notes)
    for node in graph.nodes:
        if node.is_plan(*FLOAT_FORMS):
            found = ((part, graph.reasons.get(part, "")) for part in node.name.split("+"))
            notes += [(part, f"{node.op} stays float: {why}") for part, why in found if why]
    return notes


def add_outputs(graph: Graph, builder: Any, number: Callable[[str], int]) -> None:
    computed = {out for node in graph.nodes for out in node.outputs}
    for public, name in graph.outputs:
        source = number(name)
        if name not in computed:  # a constant, or an input handed through
            value = graph.values[name]
            copy = builder.add_value(f"{public}.copy", *typed(value))
            builder.add_step("Identity", f"output {public}", [source], [copy], {})
            source = copy
        builder.add_output(public, source)


def add_value(builder: Any, value: Value, node: Node) -> int:
    if node.op != "Python" and not held(value):
        raise Unsupported(f"node '{node.name}' ({node.op}): the type of its output '{value.name}' is not known")
    if value.shape is None and node.op != "Python":
        raise Unsupported(f"node '{node.name}' ({node.op}): the rank of its output '{value.name}' is not known")
    return int(builder.add_value(value.name, *typed(value)))


def typed(value: Value) -> tuple[int, list[int | str | None] | None]:
    """dtype and dimensions as builders take them; bytes for what the core does not hold."""
    if held(value):
        return element_type(value.dtype), dims(value)  # type: ignore[arg-type]
    return element_type(np.uint8), [None]


def dims(value: Value) -> list[int | str | None] | None:
    return None if value.shape is None else [d if isinstance(d, (int, str)) else None for d in value.shape]


def python_step(graph: Graph, node: Node, done: Compiled) -> tuple[list[str], dict[str, Any]]:
    reason = str(node.attrs["reason"])
    node.op, node.domain = str(node.attrs["onnx_op"]), str(node.attrs["onnx_domain"])
    inputs, callback = make_step(graph, node)
    node.op, node.domain = "Python", PLAN
    done.callbacks.append(carried(graph, inputs, [o for o in node.outputs if o], callback))
    done.python_steps.append((node.name, reason))
    return inputs, {"callback": len(done.callbacks) - 1}


def carried(graph: Graph, inputs: list[str], outputs: list[str], callback: Callback) -> Callback:
    """The callback between values as the plan carries them."""
    reads = [bool(name) and not held(graph.values[name]) for name in inputs]
    writes = [not held(graph.values[name]) for name in outputs]
    if not any(reads) and not any(writes):
        return callback

    def run(arrays: Sequence[Any]) -> list[Any]:
        results = callback([unpack(a) if packed else a for a, packed in zip(arrays, reads)])
        return [pack(a) if packed else a for a, packed in zip(results, writes)]

    return run


def plain(value: Any) -> Any:
    """An attribute as the builder takes it: int, float, str, or a list of one of the numbers."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return [v.item() if isinstance(v, np.generic) else v for v in value]
    return value.item() if isinstance(value, np.generic) else value
