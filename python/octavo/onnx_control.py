"""If, Loop, Scan, Optional and Scatter for Python steps: what ``onnx.reference`` lacks or does only in part.

Bodies see the values of the graph around them by name. A body computes with ``onnx.reference``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TypeProto, helper
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_scatter_elements import scatter_elements


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """The graphs among a node's attributes."""
    found: list[GraphProto] = []
    for attr in node.attribute:
        found += [attr.g] if attr.type == AttributeProto.GRAPH else attr.graphs
    return found


def captured(graph: GraphProto) -> list[str]:
    """Names that a subgraph, or one inside it, takes from the graph around it, in order of first use."""
    found: list[str] = []

    def walk(graph: GraphProto, known: set[str]) -> None:
        known = known | {i.name for i in graph.input} | {i.name for i in graph.initializer}
        known |= {i.values.name for i in graph.sparse_initializer}
        for inner in graph.node:
            for name in inner.input:
                if name and name not in known and name not in found:
                    found.append(name)
            for sub in subgraphs(inner):
                walk(sub, known)
            known |= set(inner.output)
        for out in graph.output:
            if out.name and out.name not in known and out.name not in found:
                found.append(out.name)

    walk(graph, set())
    return found


def outer_names(node: NodeProto) -> list[str]:
    """Names that a node's subgraphs (If, Loop, Scan) take from the graph around them, in order of first use."""
    return list(dict.fromkeys(name for graph in subgraphs(node) for name in captured(graph)))


class Body:
    """A subgraph and what it may read of the graph around it."""

    def __init__(self, evaluator: Any, context: Mapping[str, Any], attributes: Any) -> None:
        graph = evaluator.proto_
        self.evaluator, self.attributes = evaluator, attributes
        self.inputs: list[str] = [i.name for i in graph.input]
        self.input_types: list[TypeProto] = [i.type for i in graph.input]
        self.output_types: list[TypeProto] = [o.type for o in graph.output]
        self.outer = {name: context[name] for name in captured(graph) if name in context}

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        feeds = {**self.outer, **dict(zip(self.inputs, values))}
        return list(self.evaluator.run(None, feeds, attributes=self.attributes))

    def scalar(self, k: int, value: Any, dtype: type) -> np.ndarray:
        """An iteration number or condition as input k declares it: ONNX has a scalar, some files a vector of one."""
        shape = self.input_types[k].tensor_type.shape
        return np.full((1,) * min(len(shape.dim), 1), value, dtype)

    def stacked(self, k: int, values: list[np.ndarray], axis: int = 0) -> np.ndarray:
        """Output k over all iterations, along a new axis."""
        if values:
            return np.stack(values, axis)
        kind = self.output_types[k].tensor_type
        if not kind.elem_type:
            raise ValueError("the body ran zero times and does not declare the type of what it would give")
        shape = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
        axis += len(shape) + 1 if axis < 0 else 0
        return np.zeros((*shape[:axis], 0, *shape[axis:]), helper.tensor_dtype_to_np_dtype(kind.elem_type))


class Control(OpRun):
    """An operator that sees its surroundings and whose results may be optionals without a value."""

    def need_context(self) -> bool:
        """True: bodies read the values around them."""
        return True

    def _check_and_fix_outputs(self, res: tuple[Any, ...]) -> tuple[Any, ...]:
        return res


class If(Control):
    """ONNX If."""

    then_branch: Any
    else_branch: Any

    def _run(self, cond: Any, context: Any = None, attributes: Any = None, **_: Any) -> tuple[Any, ...]:
        if np.size(cond) != 1:
            raise ValueError(f"its condition has {np.size(cond)} elements instead of one")
        branch = self.then_branch if np.asarray(cond).item() else self.else_branch
        return tuple(Body(branch, context, attributes)([]))


class Loop(Control):
    """ONNX Loop: scan outputs get a new first axis."""

    body: Any

    def _run(
        self, trips: Any = None, cond: Any = None, *states: Any, context: Any = None, attributes: Any = None, **_: Any
    ) -> tuple[Any, ...]:
        body, values = Body(self.body, context, attributes), list(states)
        scans: list[list[Any]] = [[] for _ in body.output_types[1 + len(values) :]]
        last = None if trips is None else int(np.asarray(trips).item())
        going, k = cond is None or bool(np.asarray(cond).item()), 0
        while going and (last is None or k < last):
            results = body([body.scalar(0, k, np.int64), body.scalar(1, True, np.bool_), *values])
            going, values = bool(np.asarray(results[0]).item()), results[1 : 1 + len(values)]
            for scan, value in zip(scans, results[1 + len(values) :]):
                scan.append(value)
            k += 1
        return (*values, *(body.stacked(1 + len(values) + k, scan) for k, scan in enumerate(scans)))


class Scan(Control):
    """ONNX Scan, of operator set 8 (a batch axis, sequence lengths) and of 9 and newer (axes, directions)."""

    body: Any
    num_scan_inputs: int

    def _run(self, *inputs: Any, context: Any = None, attributes: Any = None, **_: Any) -> tuple[Any, ...]:
        body = Body(self.body, context, attributes)
        if self.run_params["opsets"].get("", 9) >= 9:
            return tuple(self._scan(body, list(inputs)))
        lengths, *given = inputs
        count = len(given[0])
        rows = []
        for row in range(count):
            kept = None if lengths is None else int(lengths[row])
            rows.append(self._scan(body, [v[row] for v in given], kept))
        return tuple(np.stack(column) for column in zip(*rows))

    def _scan(self, body: Body, inputs: list[Any], length: int | None = None) -> list[np.ndarray]:
        count = int(self.num_scan_inputs)
        states, scanned = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
        given = self._each("scan_input_axes", count)
        columns = [np.moveaxis(v, axis, 0) for v, axis in zip(scanned, given)]
        full = len(columns[0])
        if any(len(c) != full for c in columns):
            raise ValueError("its scan inputs have different lengths")
        steps = full if length is None else length
        backward = self._each("scan_input_directions", count, old="directions")
        columns = [c[:steps][::-1] if flag else c[:steps] for c, flag in zip(columns, backward)]
        scans: list[list[Any]] = [[] for _ in body.output_types[len(states) :]]
        for k in range(steps):
            results = body([*states, *(c[k] for c in columns)])
            states = results[: len(states)]
            for scan, value in zip(scans, results[len(states) :]):
                scan.append(value)
        axes = self._each("scan_output_axes", len(scans))
        flips = self._each("scan_output_directions", len(scans))
        outputs = []
        for k, (scan, axis, flip) in enumerate(zip(scans, axes, flips)):
            scan += [np.zeros_like(scan[0])] * (full - len(scan)) if scan else []
            outputs.append(body.stacked(len(states) + k, scan[::-1] if flip else scan, axis))
        return [*map(np.asarray, states), *outputs]

    def _each(self, name: str, count: int, old: str = "") -> list[int]:
        values = getattr(self, name, None) or getattr(self, old, None) or []
        return [int(v) for v in values] + [0] * (count - len(values))


class Optional(Control):
    """ONNX Optional: its element itself, or None."""

    def need_context(self) -> bool:
        """False: it has no body."""
        return False

    def _run(self, x: Any = None, **_: Any) -> tuple[Any, ...]:
        return (x,)


class Scatter(OpRun):
    """Scatter of operator sets 9 and 10, since then named ScatterElements."""

    def _run(self, data: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int | None = None) -> Any:
        return (scatter_elements(data, indices, updates, axis or 0),)


OPERATORS = [If, Loop, Scan, Optional, Scatter]
