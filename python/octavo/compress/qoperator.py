"""A quantized graph spelled with quantized operators: QLinearConv where DequantizeLinear, Conv, QuantizeLinear were.

ONNX has QLinearConv and QLinearMatMul; the others are onnxruntime's (domain com.microsoft). What neither has stays
between its DequantizeLinear and QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from octavo.compress.scheme import QParams
from octavo.ir import Graph, Node, Uses
from octavo.passes.elementwise import clip_bounds

MICROSOFT = "com.microsoft"
WINDOW = ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode", "count_include_pad", "group")
# Operators that onnxruntime runs on 8-bit tensors as they are.
MOVES = {
    "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Expand", "Tile",
    "Identity", "Concat", "Pad", "Resize",
}  # fmt: skip
Operand = tuple[str, str, str]  # the integers, their scale, their zero point


class NoForm(Exception):
    """Why a node keeps its spelling."""


def to_qoperator(graph: Graph, integer: Collection[str]) -> list[tuple[str, str]]:
    """Rewrites every Dequantize - operator - Quantize in place, where there is an operator for it.

    integer: names of the nodes that were quantized, which alone are rewritten; returns notes on those that keep their
    spelling. Integers of the graph have 8 bits, and none are in blocks.
    """
    notes = []
    gone: set[int] = set()
    for node in list(graph.nodes):
        if node.domain or id(node) in gone or node.name not in integer:
            continue
        spelling = Spelling(graph, node)
        if not any(spelling.operand(name) for name in node.inputs if name):
            continue
        rule = RULES.get(node.op, move if node.op in MOVES else None)
        try:
            if rule is None:
                raise NoForm(f"{node.op} has no quantized operator")
            rule(spelling)
        except NoForm as e:
            notes.append((node.name, f"{e}: it stays between DequantizeLinear and QuantizeLinear"))
            continue
        gone |= spelling.replace()
    graph.sort()
    graph.drop_dead()
    return notes


class Spelling:
    """One node, what it reads, and what is written in its stead."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node, self.uses = graph, node, Uses(graph)
        self.old: list[Node] = [node]
        self.new: list[Node] = []

    def operand(self, name: str) -> Operand | None:
        """The integers behind a restored value."""
        node = self.uses.producer.get(name)
        if node is None or not node.is_op("DequantizeLinear"):
            return None
        return node.inputs[0], node.inputs[1], node.inputs[2]

    def need(self, k: int) -> Operand:
        found = self.operand(self.node.inputs[k])
        if found is None:
            raise NoForm("an operand of it is float")
        return found

    def result(self, value: str) -> tuple[list[Node], Node] | None:
        """(clamps, QuantizeLinear) that follow a result and nothing else reads in between; None: it stays float."""
        clamps: list[Node] = []
        while True:
            reader = self.uses.single_reader(value)
            if reader is None:
                return None
            if reader.is_op("QuantizeLinear"):
                return clamps, reader
            if not reader.is_op("Relu", "Clip") or reader.inputs[0] != value:
                return None
            clamps.append(reader)
            value = reader.outputs[0]

    def quantized(self, value: str, operator: str) -> tuple[Operand, str]:
        """(where the node's result goes and its parameters, the value to write): clamps follow as Clip of integers."""
        found = self.result(value)
        if found is None:
            raise NoForm(f"its result is float, which {operator} does not give")
        clamps, q = found
        out, scale, zero = q.outputs[0], q.inputs[1], q.inputs[2]
        lo, hi = self.limits(clamps, scale, zero)
        kind = np.iinfo(self.const(zero).dtype)
        self.old += [*clamps, q]
        if (lo, hi) == (kind.min, kind.max):
            return (out, scale, zero), out
        dtype = self.const(zero).dtype
        whole = self.graph.new_value(f"{out}/unclipped", dtype, self.graph.shape(out))
        bounds = [self.graph.new_const(f"{out}/{k}", np.array(v, dtype)) for k, v in (("lo", lo), ("hi", hi))]
        self.new.append(Node("Clip", [whole, *bounds], [out], {}, clamps[-1].name))
        return (out, scale, zero), whole

    def limits(self, clamps: list[Node], scale: str, zero: str) -> tuple[int, int]:
        """The integers that clamps leave: quantization is monotone, so clamping may come after it."""
        z = self.const(zero)
        params = QParams(self.const(scale), z)
        lo, hi = np.iinfo(z.dtype).min, np.iinfo(z.dtype).max
        for clamp in clamps:
            bounds = (0.0, np.inf) if clamp.op == "Relu" else clip_bounds(self.graph, clamp)
            if bounds is None:
                raise NoForm("the bounds of its Clip are computed")
            least, most = (int(params.quantize(np.array(b, np.float32))) for b in bounds)
            lo, hi = min(max(lo, least), most), min(max(hi, least), most)
        return lo, hi

    def const(self, name: str) -> np.ndarray:
        found = self.graph.const(name)
        if found is None:
            raise NoForm("an operand that quantization needs is computed")
        return found

    def emit(self, op: str, inputs: list[str], out: str, domain: str = MICROSOFT, **attrs: Any) -> None:
        self.new.insert(0, Node(op, inputs, [out], attrs, self.node.name, domain))

    def keep(self, *names: str) -> dict[str, Any]:
        return {k: v for k, v in self.node.attrs.items() if k in names}

    def replace(self) -> set[int]:
        """Puts the new nodes in the old ones' place; returns ids of those."""
        at = self.graph.nodes.index(self.node)
        self.graph.nodes[at:at] = self.new
        for node in self.old:
            self.graph.remove(node)
        for node in self.new:
            if node.domain:
                self.graph.opsets[node.domain] = 1
        return {id(node) for node in self.old}


def bias(s: Spelling, k: int) -> list[str]:
    """The int32 bias, if there is one."""
    name = s.node.input(k)
    if not name:
        return []
    found = s.operand(name)
    if found is None or s.graph.dtype(found[0]) != np.int32:
        raise NoForm("its bias is float")
    return [found[0]]


def conv(s: Spelling) -> None:
    x, w, add = s.need(0), s.need(1), bias(s, 2)
    y, out = s.quantized(s.node.outputs[0], "QLinearConv")
    s.emit("QLinearConv", [*x, *w, *y[1:], *add], out, "", **s.keep(*WINDOW))


def gemm(s: Spelling) -> None:
    a, b, add = s.need(0), s.need(1), bias(s, 2)
    value = s.node.outputs[0]
    if s.result(value) is None:
        s.emit("QGemm", [*a, *b, *add], value, **s.keep("transA", "transB"))
        return
    y, out = s.quantized(value, "QGemm")
    s.emit("QGemm", [*a, *b, *(add or [""]), *y[1:]], out, **s.keep("transA", "transB"))


def matmul(s: Spelling) -> None:
    """With a bias that a node of its own adds: QGemm of matrices; others keep a float result, since no operator adds a
    bias before it rounds.
    """
    a, b = s.need(0), s.need(1)
    value = s.node.outputs[0]
    w = s.graph.const(b[0])
    if w is None or w.ndim != 2:
        y, out = s.quantized(value, "QLinearMatMul")
        return s.emit("QLinearMatMul", [*a, *b, *y[1:]], out, "")
    add, sum_ = added_bias(s, value, w.shape[1])
    whole = None if add is None else integer_bias(s, add, a, b)
    if whole is not None and s.graph.rank(s.node.inputs[0]) == 2:
        if s.result(sum_) is None:
            return s.emit("QGemm", [*a, *b, whole], sum_)
        y, out = s.quantized(sum_, "QGemm")
        return s.emit("QGemm", [*a, *b, whole, *y[1:]], out)
    if add is not None or s.result(value) is None:
        return s.emit("MatMulIntegerToFloat", [a[0], b[0], a[1], b[1], a[2], b[2], *([add] if add else [])], sum_)
    y, out = s.quantized(value, "QLinearMatMul")
    s.emit("QLinearMatMul", [*a, *b, *y[1:]], out, "")


def added_bias(s: Spelling, value: str, outputs: int) -> tuple[str | None, str]:
    """(the float bias that the next node adds, its sum); (None, the product itself) without one."""
    after = s.uses.single_reader(value)
    if after is None or not after.is_op("Add"):
        return None, value
    other = after.inputs[1] if after.inputs[0] == value else after.inputs[0]
    held = s.graph.const(other)
    if held is None or held.shape != (outputs,):
        return None, value
    s.old.append(after)
    return other, after.outputs[0]


def integer_bias(s: Spelling, add: str, a: Operand, b: Operand) -> str | None:
    """The bias as int32 in units of the product; None where it does not fit."""
    unit = (s.const(a[1]).astype(np.float64) * s.const(b[1])).astype(np.float32).astype(np.float64)
    q = np.rint(s.const(add) / unit)
    return s.graph.new_const(f"{add}/quantized", q.astype(np.int32)) if np.abs(q).max(initial=0) < 2**31 - 1 else None


def binary(s: Spelling) -> None:
    a, b = s.need(0), s.need(1)
    if any(s.const(zero).ndim for *_, zero in (a, b)):
        raise NoForm("an operand has a scale a channel")
    op = f"QLinear{s.node.op}"
    y, out = s.quantized(s.node.outputs[0], op)
    s.emit(op, [*a, *b, *y[1:]], out)


def single(*attrs: str) -> Callable[[Spelling], None]:
    def rule(s: Spelling) -> None:
        x, op = s.need(0), f"QLinear{s.node.op}"
        y, out = s.quantized(s.node.outputs[0], op)
        s.emit(op, [*x, *y[1:]], out, **s.keep(*attrs))

    return rule


def concat(s: Spelling) -> None:
    parts = [s.need(k) for k in range(len(s.node.inputs))]
    if len({p[1:] for p in parts}) == 1 and same_parameters(s, parts[0]):
        return move(s)
    y, out = s.quantized(s.node.outputs[0], "QLinearConcat")
    s.emit("QLinearConcat", [*y[1:], *(name for part in parts for name in part)], out, **s.keep("axis"))


def same_parameters(s: Spelling, x: Operand) -> bool:
    """Whether every result is quantized with the operand's scale and zero point, and nothing clamps it."""
    for value in s.node.outputs:
        found = s.result(value)
        if found is None or found[0]:
            return False
        _, scale, zero = found[1].inputs
        if s.const(scale) != s.const(x[1]) or s.const(zero) != s.const(x[2]):
            return False
    return True


def move(s: Spelling) -> None:
    """An operator that only moves or compares runs on the integers themselves."""
    x = s.need(0)
    if not same_parameters(s, x):
        raise NoForm("its result has another scale than its operand, or stays float")
    data = range(len(s.node.inputs)) if s.node.op == "Concat" else [0]
    inputs = [s.need(k)[0] if k in data else name for k, name in enumerate(s.node.inputs)]
    if s.node.op == "Pad":  # with the integer that stands for zero
        inputs = [*inputs, ""][:3] if len(inputs) < 3 else inputs
        inputs[2] = x[2]
    outs = []
    for value in s.node.outputs:
        found = s.result(value)
        assert found is not None
        s.old.append(found[1])
        outs.append(found[1].outputs[0])
    s.new.append(Node(s.node.op, inputs, outs, dict(s.node.attrs), s.node.name))


RULES: dict[str, Callable[[Spelling], None]] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "Add": binary,
    "Mul": binary,
    "AveragePool": single(*WINDOW),
    "GlobalAveragePool": single(),
    "Sigmoid": single(),
    "LeakyRelu": single("alpha"),
    "Concat": concat,
}
