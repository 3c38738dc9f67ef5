"""Random graphs in the forms files come in: float, with Q/DQ pairs, with quantized operators, quantized dynamically.

`generate(seed)` grows a float graph, measures its values with onnxruntime, and writes it down in one of these forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from random_graphs import Writer, grow

MICROSOFT = "com.microsoft"
FORMS = ("float", "qdq", "qoperator", "dynamic")


@dataclass
class Case:
    """What `generate` returns. `depth`: the number of quantizations on the longest path to each output; `symbolic`: the
    batch is a symbol, and rows do not depend on one another."""

    model: ModelProto
    feeds: dict[str, np.ndarray]
    form: str
    depth: list[int] = field(default_factory=list)
    symbolic: bool = False
    exact: bool = False  # every operator is one whose integers are onnxruntime's


def finish(
    w: Writer, nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], outputs: Sequence[str]
) -> ModelProto:
    used = {name for node in nodes for name in node.input}
    tensors = [numpy_helper.from_array(a, name) for name, a in constants.items() if name in used]
    results = [ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(list(nodes), "random", w.inputs, results, tensors)
    opsets = [helper.make_opsetid("", w.opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if w.opset < 21 else 10)


def session(model: ModelProto, optimize: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def measured(seed: int) -> tuple[Writer, dict[str, np.ndarray]]:
    """A float graph and all its values. One that normalizes what hardly varies, and so only rounding, is grown anew."""
    while True:
        w = grow(seed)
        every = [name for node in w.nodes for name in node.output]
        values = {**w.feeds}
        values |= zip(every, session(finish(w, w.nodes, w.constants, every), False).run(None, w.feeds))
        rows = [values[node.input[0]] for node in w.nodes if node.op_type == "LayerNormalization"]
        if all((x.std(axis=-1) > 1e-2 * np.abs(x).max(initial=0)).all() for x in rows):
            return w, values
        seed += 1_000_000


def generate(seed: int) -> Case:
    w, values = measured(seed)
    form = FORMS[seed % len(FORMS)]
    read = {name for node in w.nodes for name in node.input}
    leaves = [name for node in w.nodes for name in node.output if name not in read]
    if form == "float":
        return Case(finish(w, w.nodes, w.constants, leaves), w.feeds, form, symbolic=w.symbolic)
    if form == "dynamic":
        d = Dynamic(w)
        model = finish(w, d.nodes, {**w.constants, **d.constants}, leaves)
        return Case(model, w.feeds, form, [d.depth[name] for name in leaves], w.symbolic)
    q = Quantizer(w, values)
    for node in w.nodes:
        (q.qdq if form == "qdq" else q.qoperator)(node)
    outputs = [q.quantized(name) for name in leaves]
    model = finish(w, q.nodes, {**w.constants, **q.constants}, outputs)
    exact = form == "qoperator" and q.exact
    return Case(model, w.feeds, form, [q.depth[name] for name in leaves], w.symbolic, exact)


# Operators whose result takes over the parameters of their input, and can run on its integers.
MOVES = {"MaxPool", "Reshape", "Flatten", "Unsqueeze", "Transpose", "Split", "Slice", "Gather", "Tile"}


class Quantizer:
    """Writes a measured float graph with quantized activations and weights."""

    def __init__(self, w: Writer, values: dict[str, np.ndarray]) -> None:
        self.w, self.rng, self.values = w, w.rng, values
        self.dtype = np.dtype(w.pick(np.uint8, np.uint8, np.int8))
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.params: dict[str, tuple[str, str]] = {}  # of the value's integers
        self.real: dict[str, str] = {}  # a float name for a value, dequantized
        self.ints: dict[str, str] = {}  # the value's integers
        self.depth: dict[str, int] = {}
        self.exact = True
        for name in w.feeds:
            self.depth[name] = 0
            self.quantized(name)

    def const(self, array: Any, dtype: Any = None) -> str:
        name = f"q{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def emit(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attrs: Any) -> None:
        name = f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=name, domain=domain, **attrs))

    def parameters(self, name: str) -> tuple[str, str]:
        """Scale and zero point that hold the measured values of `name`; sometimes a power of two, for ties."""
        if name not in self.params:
            x = self.values[name]
            low, high = min(float(x.min(initial=0)), 0.0), max(float(x.max(initial=0)), 0.0)
            scale = np.float32(max(high - low, 1e-3) / 255)
            if self.w.chance(0.4):
                scale = np.float32(2.0 ** np.ceil(np.log2(scale)))
            info = np.iinfo(self.dtype)
            zero = int(np.clip(info.min - np.rint(low / scale), info.min, info.max))
            self.params[name] = (self.const(scale), self.const(zero, self.dtype))
        return self.params[name]

    def quantized(self, name: str) -> str:
        """The integers of a value, by QuantizeLinear where it is float."""
        if name not in self.ints:
            self.ints[name] = f"{name}_q"
            self.emit("QuantizeLinear", [self.real.get(name, name), *self.parameters(name)], [self.ints[name]])
            self.depth[name] = self.depth.get(name, 0) + 1
            self.real.pop(name, None)
        return self.ints[name]

    def dequantized(self, name: str) -> str:
        """A float that stands for the value: constants are themselves, others go through their integers."""
        if name == "" or name in self.w.constants:
            return name
        if name not in self.real:
            self.real[name] = f"{name}_dq"
            self.emit("DequantizeLinear", [self.quantized(name), *self.parameters(name)], [self.real[name]])
        return self.real[name]

    def deepest(self, node: NodeProto) -> int:
        return max((self.depth.get(name, 0) for name in node.input), default=0)

    def produced(self, node: NodeProto, quantized: bool) -> None:
        depth = self.deepest(node)
        for name in node.output:
            self.depth[name] = depth + int(quantized)

    def weights(self, name: str, axis: int) -> tuple[str, str, str, np.ndarray]:
        """Integers, scale and zero point of constant weights, and the scales: per channel or not, symmetric or not."""
        x = self.w.constants[name]
        per_channel = self.w.chance(0.6)
        others = tuple(a for a in range(x.ndim) if a != axis % x.ndim)
        most = np.abs(x).max(axis=others) if per_channel else np.abs(x).max()
        unsigned = self.dtype == np.uint8 and not per_channel and self.w.chance(0.4)
        scale = np.asarray(np.maximum(most, 1e-4) / 127, np.float32)
        spread = [1] * x.ndim
        if per_channel:
            spread[axis] = -1
        q = np.clip(np.rint(x / scale.reshape(spread if per_channel else ())), -127, 127)
        zero = 128 if unsigned else 0
        kind = np.uint8 if unsigned else np.int8
        zeros = np.full(scale.shape, zero, kind)
        return self.const((q + zero).astype(kind)), self.const(scale), self.const(zeros), scale

    def bias(self, name: str, x: str, scales: np.ndarray) -> tuple[str, str]:
        unit = np.asarray(self.constants[self.parameters(x)[0]] * scales, np.float32)
        q = np.clip(np.rint(self.w.constants[name] / unit), -(2**30), 2**30)
        return self.const(q.astype(np.int32)), self.const(unit)

    # -- Q/DQ --

    def qdq(self, node: NodeProto) -> None:
        inputs = [self.dequantized(name) for name in node.input]
        if self.has_weights(node):
            axis = self.channel_axis(node)
            w, scale, zero, scales = self.weights(node.input[1], axis)
            inputs[1] = f"{node.output[0]}_w"
            self.emit("DequantizeLinear", [w, scale, zero], [inputs[1]], **({"axis": axis} if scales.ndim else {}))
            if len(inputs) > 2:
                b, unit = self.bias(node.input[2], node.input[0], scales)
                inputs[2] = f"{node.output[0]}_b"
                self.emit("DequantizeLinear", [b, unit], [inputs[2]], **({"axis": 0} if scales.ndim else {}))
        self.copy(node, inputs, node.output)
        self.produced(node, False)
        for name in node.output:
            self.real[name] = name
            fused = node.op_type in ("Conv", "Gemm", "MatMul", "Add") and self.followed_by_activation(name)
            if fused and self.w.chance(0.7):
                continue
            if node.op_type in MOVES and node.input[0] in self.params:
                self.params[name] = self.params[node.input[0]]
            if self.w.chance(0.92):
                self.quantized(name)

    def copy(self, node: NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        new = NodeProto()
        new.CopyFrom(node)
        del new.input[:], new.output[:]
        new.input.extend(inputs)
        new.output.extend(outputs)
        self.nodes.append(new)

    def followed_by_activation(self, name: str) -> bool:
        readers = [node for node in self.w.nodes if name in node.input]
        return len(readers) == 1 and readers[0].op_type in ("Relu", "Clip", "Add")

    def has_weights(self, node: NodeProto) -> bool:
        return node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in self.w.constants

    def channel_axis(self, node: NodeProto) -> int:
        trans = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if node.op_type == "Conv" or trans else 1

    # -- quantized operators --

    def qoperator(self, node: NodeProto) -> None:
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kind, y = node.op_type, node.output[0]
        ints = f"{y}_q"
        if kind in MOVES:
            inputs = [self.quantized(node.input[0]), *node.input[1:]]
            for name in node.output:
                self.params[name] = self.parameters(node.input[0])
                self.ints[name] = f"{name}_q"
            self.copy(node, inputs, [self.ints[name] for name in node.output])
            return self.produced(node, False)
        tensors = [n for n in node.input if n and (n not in self.w.constants or kind in ("Add", "Mul"))]
        if self.has_weights(node):
            axis = self.channel_axis(node)
            *weights, scales = self.weights(node.input[1], axis)
            bias = [self.bias(node.input[2], node.input[0], scales)[0]] if len(node.input) > 2 else []
            x = [self.quantized(node.input[0]), *self.parameters(node.input[0])]
            to = [*self.parameters(y)]
            if kind == "Conv":
                self.emit("QLinearConv", [*x, *weights, *to, *bias], [ints], **attrs)
            elif kind == "Gemm":
                self.emit(
                    "QGemm", [*x, *weights, *(bias or [""]), *to], [ints], MICROSOFT, transB=attrs.get("transB", 0)
                )
            else:
                self.emit("QLinearMatMul", [*x, *weights, *to], [ints])
        elif kind in ("Add", "Mul", "MatMul"):
            domain = "" if kind == "MatMul" else MICROSOFT
            self.emit(f"QLinear{kind}", [*self.triples(tensors), *self.parameters(y)], [ints], domain)
        elif kind in ("AveragePool", "Sigmoid", "LeakyRelu") or (kind == "GlobalAveragePool" and self.in_range(node)):
            self.emit(f"QLinear{kind}", [*self.triples(tensors), *self.parameters(y)], [ints], MICROSOFT, **attrs)
        elif kind == "Concat":
            self.emit("QLinearConcat", [*self.parameters(y), *self.triples(tensors)], [ints], MICROSOFT, **attrs)
        elif kind == "Softmax":
            self.exact = False
            # onnxruntime takes floor(1 / scale) and wraps an int8 past 127: scales where neither is seen.
            x = [*self.triples(tensors), self.const(np.float32(1 / (256 if self.dtype == np.uint8 else 128)))]
            self.params[y] = (x[-1], self.const(np.iinfo(self.dtype).min, self.dtype))
            self.emit("QLinearSoftmax", [*x, self.params[y][1]], [ints], MICROSOFT, opset=13, **attrs)
        elif kind == "Where":
            values = self.triples(node.input[1:])
            self.emit("QLinearWhere", [node.input[0], *values, *self.parameters(y)], [ints], MICROSOFT)
        else:
            if kind not in ("Relu", "Clip", "Max", "Min", "Pad"):
                self.exact = False
            self.copy(node, [self.dequantized(name) for name in node.input], node.output)
            self.real[y] = y
            self.produced(node, False)
            self.quantized(y)
            return
        self.ints[y] = ints
        self.produced(node, True)

    def in_range(self, node: NodeProto) -> bool:
        """Whether onnxruntime takes the scales of a QLinearGlobalAveragePool."""
        x, y = (self.constants[self.parameters(name)[0]] for name in (node.input[0], node.output[0]))
        n = int(np.prod(self.w.shapes[node.input[0]][2:]))
        return bool(2.0**-31 < x / (y * n) < 255)

    def triples(self, names: Sequence[str]) -> list[str]:
        found = []
        for name in names:
            if name in self.w.constants:
                self.values.setdefault(name, self.w.constants[name])
                scale, zero = self.parameters(name)
                info = np.iinfo(self.dtype)
                q = np.rint(self.w.constants[name] / self.constants[scale]) + int(self.constants[zero])
                found += [self.const(np.clip(q, info.min, info.max).astype(self.dtype)), scale, zero]
            else:
                found += [self.quantized(name), *self.parameters(name)]
        return found


class Dynamic:
    """Products with constant weights on integers whose scale is found at run time: onnxruntime's spelling."""

    def __init__(self, w: Writer) -> None:
        self.w = w
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.depth = dict.fromkeys(w.feeds, 0)
        for node in w.nodes:
            dynamic = node.op_type in ("Conv", "MatMul") and node.input[1] in w.constants
            self.product(node) if dynamic else self.nodes.append(node)
            for name in node.output:
                self.depth[name] = max((self.depth.get(n, 0) for n in node.input), default=0) + int(dynamic)

    def const(self, array: Any) -> str:
        name = f"q{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def emit(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attrs: Any) -> str:
        name = f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=name, domain=domain, **attrs))
        return outputs[0]

    def product(self, node: NodeProto) -> None:
        real, y, pick = self.w.constants[node.input[1]], node.output[0], self.w.pick
        kind = pick(np.int8, np.uint8)
        scale = np.float32(max(float(np.abs(real).max()), 1e-4) / 127)
        zero = pick(0, 0, 5) if kind == np.int8 else pick(128, 131)
        info = np.iinfo(kind)
        q = self.const(np.clip(np.rint(real / scale) + zero, info.min, info.max).astype(kind))
        w_scale, w_zero = self.const(scale), self.const(np.asarray(zero, kind))
        if node.op_type == "MatMul" and self.w.chance(0.3):
            self.emit("DynamicQuantizeMatMul", [node.input[0], q, w_scale, w_zero], [y], MICROSOFT)
            return
        x = [f"{y}_{part}" for part in ("x", "scale", "zero")]
        self.emit("DynamicQuantizeLinear", [node.input[0]], x)
        if node.op_type == "MatMul" and self.w.chance(0.3):
            self.emit("MatMulIntegerToFloat", [x[0], q, x[1], w_scale, x[2], w_zero], [y], MICROSOFT)
            return
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        total = self.emit(f"{node.op_type}Integer", [x[0], q, x[2], w_zero], [f"{y}_int"], **attrs)
        total = self.emit("Cast", [total], [f"{y}_float"], to=TensorProto.FLOAT)
        factor = self.emit("Mul", [x[1], w_scale], [f"{y}_factor"])
        bias = len(node.input) > 2
        self.emit("Mul", [total, factor], [f"{y}_product" if bias else y])
        if bias:
            column = self.const(self.w.constants[node.input[2]].reshape(-1, *[1] * (real.ndim - 2)))
            self.emit("Add", [f"{y}_product", column], [y])
