"""Why steps of a plan are what they are: Q/DQ that stayed, steps in float, steps in Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from octavo.compress.record import recorded_reasons
from octavo.engine import Session

INTEGER = (
    "QConv", "QGemm", "QMatMul", "QGemmDynamic", "MatMulInteger", "QAdd", "QMul", "Lut", "Flip8", "QAveragePool",
    "QReduceMean",
)  # fmt: skip
BORDER = ("Quantize", "Dequantize", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
# Operators that move elements about, or compute shapes; they have no arithmetic that could be float or integer.
MOVES = (
    "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Expand", "Concat", "Split", "Slice", "Pad",
    "Gather", "GatherElements", "Tile", "Shape", "Size", "ConstantOfShape", "Range", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip
FLOATS = (1, 10, 11)  # float32, float16, float64


def kind_of(step: dict[str, Any], values: Sequence[dict[str, Any]]) -> str:
    """One of "int8", "float", "q/dq", "move", "index" (integer arithmetic of shapes and masks) or "python"."""
    if step["op"] == "Python":
        return "python"
    if step["op"] in INTEGER:
        return "int8"
    if step["op"] in BORDER:
        return "q/dq"
    if step["op"] in MOVES:
        return "move"
    read = [values[v]["dtype"] for v in (*step["inputs"], *step["outputs"]) if v >= 0]
    if any(dtype in FLOATS for dtype in read):
        return "float"
    return "int8" if 2 in read or 3 in read else "index"  # uint8 or int8: MaxPool, Resize


def reasons(session: Session) -> dict[str, list[dict[str, str]]]:
    """{"quantization": [...], "float": [...], "python": [...]}, each a list of {"node", "op", "reason"}."""
    plan = PlanGraph(session)
    python = [{"node": node, "op": "Python", "reason": reason} for node, reason in session.python_steps]
    border = [entry(s, plan.why_border(s)) for s in plan.steps if s["op"] in BORDER]
    floats = [s for s in plan.steps if kind_of(s, plan.values) == "float"]
    if floats and not any(kind_of(s, plan.values) in ("int8", "q/dq") for s in plan.steps):
        small = any(s["attrs"].get("w_type", 1) != 1 for s in plan.steps)
        reason = "its weights alone are stored small" if small else "the model holds no quantization: a float model"
        return {"quantization": [], "float": [{"node": f"{len(floats)} steps", "op": "all", "reason": reason}],
                "python": python}  # fmt: skip
    return {"quantization": border, "float": [entry(s, plan.why_float(s)) for s in floats], "python": python}


def entry(step: dict[str, Any], reason: str) -> dict[str, str]:
    function = step["attrs"].get("fn", "")
    return {"node": step["name"], "op": f"{step['op']} {function}".strip(), "reason": reason}


class PlanGraph:
    """Who writes and reads each value of a plan, and what the compiler noted."""

    def __init__(self, session: Session) -> None:
        self.plan = session.plan
        self.steps, self.values = self.plan.steps, self.plan.values
        self.notes = dict(session.notes)
        self.recorded = recorded_reasons(self.plan.metadata)
        self.writer = {v: s for s in self.steps for v in s["outputs"]}
        self.readers: dict[int, list[dict[str, Any]]] = {}
        for s in self.steps:
            for v in s["inputs"]:
                self.readers.setdefault(v, []).append(s)
        self.outputs = {v: name for v, (name, *_) in zip(self.plan.output_values, self.plan.outputs)}

    def note(self, step: dict[str, Any]) -> str:
        """What the compiler noted on one of the nodes behind a step."""
        return next((self.notes[part] for part in step["name"].split("+") if part in self.notes), "")

    def record(self, step: dict[str, Any]) -> str:
        """Why the quantizer left one of the nodes behind a step in float, as the file records it."""
        return next((self.recorded[part] for part in step["name"].split("+") if part in self.recorded), "")

    def source(self, value: int) -> dict[str, Any] | None:
        """The step that computes a value, past steps that only move elements; None for an input or a constant."""
        step = self.writer.get(value)
        while step is not None and step["op"] in MOVES and step["inputs"]:
            value = step["inputs"][0]
            step = self.writer.get(value)
        return step

    def sinks(self, value: int) -> Iterator[tuple[dict[str, Any] | None, str]]:
        """(step, "") that computes with a value past moves, and (None, name) where it becomes a graph output."""
        if value in self.outputs:
            yield None, self.outputs[value]
        for step in self.readers.get(value, []):
            if step["op"] in MOVES:
                for out in step["outputs"]:
                    yield from self.sinks(out)
            else:
                yield step, ""

    def why_border(self, step: dict[str, Any]) -> str:
        if step["op"] in ("QuantizeLinear", "DequantizeLinear"):
            return self.note(step) or "its parameters are computed at run time"
        if step["op"] == "DynamicQuantizeLinear":
            return "the file quantizes this activation at run time, from its own range"
        if step["op"] == "Quantize":
            source = self.source(step["inputs"][0])
            return (
                "the graph's input is float"
                if source is None
                else f"it quantizes the result of {self.computes(source)}"
            )
        for sink, output in self.sinks(step["outputs"][0]):
            return f"the graph's output '{output}' is float" if sink is None else f"it feeds {self.computes(sink)}"
        return "nothing reads it"

    def computes(self, step: dict[str, Any]) -> str:
        """A step, and why it computes in float, where that was noted."""
        where = "in Python" if step["op"] == "Python" else "in float"
        note = self.record(step) or self.note(step)
        return f"{step['op']} '{step['name']}', which computes {where}" + (f" ({note})" if note else "")

    def why_float(self, step: dict[str, Any]) -> str:
        if self.record(step):
            return f"quantize left it float: {self.record(step)}"
        note = self.note(step)
        if note:
            return note.partition(" stays float: ")[2] or note
        operands = [self.source(v) for v in step["inputs"] if v >= 0 and not self.values[v]["constant"]]
        quantized = [s for s in operands if s is not None and s["op"] in ("Dequantize", "DequantizeLinear")]
        if not quantized:
            return "its operands are float in the file"
        ends = any(s is not None and s["op"] in BORDER for s, _ in self.sinks(step["outputs"][0]))
        if ends:
            return f"{step['op']} has no integer form, so it stands between DQ and Q in float"
        return "its operand is quantized, its result is not"
