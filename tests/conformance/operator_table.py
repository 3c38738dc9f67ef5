"""docs/operators.md, read off the compiler: `python tests/conformance/operator_table.py --write`.

Nothing here is a list of what octavo supports. Every case of the onnx package's operator tests is compiled and asked
which of its steps run natively; then, with QuantizeLinear and DequantizeLinear put around it, whether integers stay.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from octavo import onnx_qoperator
from octavo.errors import Error
from octavo.lower import compile_graph, compile_model
from octavo.passes.match import MOVEMENT
from onnx_cases import PINNED, node_cases, value

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
NAMES = {
    "FLOAT": "f32", "FLOAT16": "f16", "BFLOAT16": "bf16", "DOUBLE": "f64", "BOOL": "bool", "STRING": "string",
    "INT8": "s8", "INT16": "s16", "INT32": "s32", "INT64": "s64", "UINT8": "u8", "UINT16": "u16", "UINT32": "u32",
    "UINT64": "u64", "COMPLEX64": "c64", "COMPLEX128": "c128",
}  # fmt: skip
HEAD = f"""# Operators

What octavo makes of every ONNX operator. This page is written by `python tests/conformance/operator_table.py --write`,
which compiles each operator test of the onnx package ({PINNED}) and asks the compiler; a test compares the two.

* **Operator sets**: those in which the operator's definition changed, from 7 on. Older models are converted to 7.
* **Native**: element types of the first input for which test cases run in the core alone, without a Python step; each
  case as it is, and with every input but the first a constant, as weights are in real models.
* **Python**: types for which cases need a Python step (`onnx.reference`, or octavo's own for control flow). A type in
  both columns runs natively in some forms only; `octavo inspect` says which node runs in Python, and why.
* **Integers**: between QuantizeLinear and DequantizeLinear (u8 activations, s8 weights) a float32 case stays in
  integers: "all" or "some" of its cases; with "weights", where all inputs but the first are constants.
"""


@dataclass
class Row:
    """What is known of one operator."""

    native: set[str] = field(default_factory=set)
    python: set[str] = field(default_factory=set)
    cases: int = 0
    float_cases: int = 0
    integers: int = 0  # float32 cases that stay in integers with every input an activation
    weights: int = 0  # ... with every input but the first a constant


def type_name(kind: TypeProto) -> str:
    form = kind.WhichOneof("value")
    if form == "tensor_type":
        name = str(TensorProto.DataType.Name(kind.tensor_type.elem_type))
        return NAMES.get(name, name.lower())
    return {"sequence_type": "sequence", "optional_type": "optional"}.get(str(form), "none")


def survey() -> dict[tuple[str, str], Row]:
    """(domain, operator) -> row, from every case that is one node."""
    rows: dict[tuple[str, str], Row] = defaultdict(Row)
    for case in node_cases().values():
        if len(case.model.graph.node) != 1:
            continue
        node = case.model.graph.node[0]
        row, kind = rows[node.domain, node.op_type], first_type(case.model, node)
        for model in forms(case):
            try:
                steps = compile_model(model).python_steps
            except Error:
                continue
            row.cases += 1
            (row.python if steps else row.native).add(kind)
        if node.domain == "" and kind == "f32" and all(type_name(o.type) == "f32" for o in case.model.graph.output):
            row.float_cases += 1
            row.integers += stays_integer(case, constants=False)
            row.weights += stays_integer(case, constants=True)
    return dict(rows)


def forms(case: Any) -> list[ModelProto]:
    """The case's model, and the same with every input but the first a constant, as weights are in real models."""
    model = ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    made = []
    for info, given in list(zip(graph.input, case.data_sets[0][0]))[1:]:
        array = value(given)
        if isinstance(array, (np.ndarray, np.generic)) and info.type.HasField("tensor_type"):
            graph.initializer.append(numpy_helper.from_array(np.asarray(array), info.name))
            made.append(info)
    for info in made:
        graph.input.remove(info)
    return [case.model, model] if made else [case.model]


def first_type(model: ModelProto, node: NodeProto) -> str:
    graph = model.graph
    kinds = {info.name: info.type for info in [*graph.input, *graph.output]}
    used = node.output if node.op_type == "QuantizeLinear" else [*node.input, *node.output]
    return next(type_name(kinds[name]) for name in used if name in kinds)


def stays_integer(case: Any, constants: bool) -> bool:
    """Whether the case's node, quantized, computes on integers from the first Quantize to the last Dequantize."""
    try:
        graph = compile_graph(quantized(case, constants))
    except Error:
        return False
    ops = [node.op for node in graph.nodes]
    return (
        "Python" not in ops
        and ops.count("Quantize") <= len(graph.inputs)
        and ops.count("Dequantize") <= len(graph.outputs)
        and not any(
            graph.dtype(name) == np.float32 and node.op not in ("Dequantize", *MOVEMENT)
            for node in graph.nodes
            for name in node.outputs
            if name
        )
    )


def quantized(case: Any, constants: bool) -> ModelProto:
    """The model with Q and DQ at its float inputs and outputs; other inputs, and with `constants` weights, constant."""
    model = ModelProto()
    model.CopyFrom(case.model)
    graph, nodes = model.graph, [model.graph.node[0]]
    node = nodes[0]
    feeds = dict(zip([i.name for i in graph.input], [value(v) for v in case.data_sets[0][0]]))
    infos = {i.name: i for i in graph.input}
    scale = numpy_helper.from_array(np.float32(1 / 16), "quantization/scale")
    zero = {t: numpy_helper.from_array(np.array(z, t), f"quantization/{t}") for t, z in (("uint8", 128), ("int8", 0))}
    graph.initializer.extend([scale, *zero.values()])

    def pair(x: str, out: str, at: int) -> list[NodeProto]:
        args = [scale.name, zero["uint8"].name]
        q = helper.make_node("QuantizeLinear", [x, *args], [f"{out}/q"], f"{out}/quantize")
        dq = helper.make_node(
            "DequantizeLinear", [f"{out}/q", *args], [f"{out}/dq" if at < 0 else out], f"{out}/dequantize"
        )
        return [q, dq]

    def dequantized(name: str, array: np.ndarray) -> NodeProto:
        graph.initializer.append(
            numpy_helper.from_array(np.clip(np.rint(array * 16), -127, 127).astype(np.int8), f"{name}/q")
        )
        args = [f"{name}/q", scale.name, zero["int8"].name]
        return helper.make_node("DequantizeLinear", args, [f"{name}/dq"], f"{name}/dequantize")

    new = list(node.input)
    for k, name in enumerate(node.input):
        if not name or name not in feeds:
            continue
        array = np.asarray(feeds[name])
        if array.dtype == np.float32 and (k == 0 or (not constants and array.ndim)):
            nodes[:0] = pair(name, name, -1)
            new[k] = f"{name}/dq"
            continue
        graph.input.remove(infos[name])
        if array.dtype == np.float32 and array.ndim >= 2:
            nodes.insert(0, dequantized(name, array))
            new[k] = f"{name}/dq"
        else:
            graph.initializer.append(numpy_helper.from_array(array, name))
    node.input[:] = new
    for k, name in enumerate(node.output):
        if name:
            node.output[k] = f"{name}/float"
            nodes += pair(f"{name}/float", name, 0)
    kept = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, 10)
    return model


def operator_sets(domain: str, op: str) -> str:
    first = 7 if domain == "" else 1
    versions = sorted(
        {
            s.since_version
            for s in onnx.defs.get_all_schemas_with_history()
            if s.name == op and s.domain == domain and s.since_version >= first
        }
    )
    oldest = min(
        (s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == op and s.domain == domain),
        default=first,
    )
    return ", ".join(map(str, sorted({max(oldest, first), *versions})))


def types(names: Iterable[str]) -> str:
    return " ".join(sorted(names, key=lambda n: (n[0] not in "fb" or n == "bool", n)))


def integers(row: Row) -> str:
    if not row.float_cases:
        return ""
    if row.integers:
        return "all" if row.integers == row.float_cases else "some"
    return "" if not row.weights else "weights" if row.weights == row.float_cases else "some, weights"


def page() -> str:
    """The text of docs/operators.md."""
    rows = survey()
    lines = [HEAD]
    for domain in sorted({domain for domain, _ in rows}):
        lines += [
            f"\n## {domain or 'ai.onnx'}\n",
            "| operator | operator sets | native | Python | integers |",
            "|---|---|---|---|---|",
        ]
        for (of, op), row in sorted(rows.items()):
            if of == domain:
                cells = [f"`{op}`", operator_sets(domain, op), types(row.native), types(row.python), integers(row)]
                lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "\n## Spelled out before compilation\n",
        "These become DequantizeLinear, the operator, QuantizeLinear when a model is read, and then run as those do.\n",
        "| operator | domain |",
        "|---|---|",
        *(f"| `{op}` | {domain or 'ai.onnx'} |" for domain, op in sorted(onnx_qoperator.RULES)),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prints docs/operators.md, or writes it.")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")
    text = page()
    if parser.parse_args().write:
        PAGE.write_text(text)
    else:
        sys.stdout.write(text)
