"""A plan builder that records and runs what it recorded through the numpy references: no core needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from octavo.lower import Compiled, compile_model
from octavo.ops import reference


class Recorder:
    """Stands in for `_core.PlanBuilder` and for the plan and session it builds."""

    def __init__(self) -> None:
        self.values: list[tuple[str, int, Any, np.ndarray | None]] = []
        self.steps: list[tuple[str, str, list[int], list[int], dict[str, Any]]] = []
        self.inputs: list[int] = []
        self.outputs: list[tuple[str, int]] = []
        self.metadata: dict[str, str] = {}

    def add(self, name: str, dtype: int, dims: Any, array: np.ndarray | None = None) -> int:
        self.values.append((name, dtype, dims, array))
        return len(self.values) - 1

    def add_input(self, name: str, dtype: int, dims: Any) -> int:
        self.inputs.append(self.add(name, dtype, dims))
        return self.inputs[-1]

    def add_value(self, name: str, dtype: int, dims: Any) -> int:
        return self.add(name, dtype, dims)

    def add_constant(self, name: str, array: np.ndarray) -> int:
        return self.add(name, 0, array.shape, array)

    def add_step(self, op: str, name: str, inputs: list[int], outputs: list[int], attrs: dict[str, Any]) -> None:
        assert all(isinstance(v, (int, float, str, list)) for v in attrs.values()), attrs
        self.steps.append((op, name, inputs, outputs, attrs))

    def add_output(self, name: str, value: int) -> None:
        self.outputs.append((name, value))

    def set_metadata(self, key: str, value: str) -> None:
        self.metadata[key] = value

    def build(self) -> Recorder:
        return self

    @property
    def ops(self) -> list[str]:
        return [step[0] for step in self.steps]

    def attrs(self, op: str) -> dict[str, Any]:
        """Attributes of the only step of this operator."""
        (found,) = [step[4] for step in self.steps if step[0] == op]
        return found

    def run(self, feeds: list[np.ndarray], callbacks: list[Any]) -> list[np.ndarray]:
        arrays = {k: v[3] for k, v in enumerate(self.values) if v[3] is not None}
        arrays.update(zip(self.inputs, feeds, strict=True))
        for op, name, inputs, outputs, attrs in self.steps:
            given = [arrays[k] if k >= 0 else None for k in inputs]
            results = callbacks[attrs["callback"]](given) if op == "Python" else reference(op, given, attrs)
            for k, result in zip(outputs, results):
                dims = self.values[k][2]
                where = f"{op} {name}: declared {dims}, computed {result.shape}"
                if dims is not None:
                    assert len(dims) == result.ndim, where
                    assert all(not isinstance(d, int) or d == n for d, n in zip(dims, result.shape)), where
                arrays[k] = result
        return [arrays[k] for _, k in self.outputs]


def compiled(model: onnx.ModelProto, **options: Any) -> Compiled:
    return compile_model(model, builder=Recorder(), **options)


def run(model: onnx.ModelProto, feeds: list[np.ndarray], **options: Any) -> list[np.ndarray]:
    done = compiled(model, **options)
    return done.plan.run(feeds, done.callbacks)
