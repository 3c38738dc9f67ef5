"""Dynamic quantization: weights are stored as integers, activations are quantized by their own range at run time.

    MatMul(x, W)  =>  q, s, z = DynamicQuantizeLinear(x);  Mul(Cast(MatMulInteger(q, W_q, z, 0)), Mul(s, s_W))

which is how onnxruntime's quantize_dynamic spells it. Products of q are exact; what is lost is lost in rounding x, one
scale a tensor, and W, one scale an output. Tables that Gather reads rows of are stored as integers too, and the rows
restored. Nothing needs calibrating; calibration data, where there is some, decides how weights are rounded.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from octavo.compress.calibrate import Progress, silent
from octavo.compress.data import Calibration
from octavo.compress.nearest import fitted, integers
from octavo.compress.options import Options
from octavo.compress.place import Placement, is_weighted
from octavo.compress.record import LayerReport, Result
from octavo.compress.rounding import adaptive_weights
from octavo.compress.scheme import QParams, WeightScheme
from octavo.compress.smooth import smooth
from octavo.compress.write import Weights, channel_axis, quantized_weights
from octavo.engine import Session
from octavo.errors import InvalidArgument, Unsupported
from octavo.images import ImageOptions
from octavo.ir import Graph, Node, Uses
from octavo.onnx_export import export_model

PRODUCTS = ("MatMul", "Gemm", "Conv")
SMALLEST_TABLE = 256  # elements: smaller tables are not worth restoring
LONGEST_SUM = (2**31 - 1) // (255 * 127)
CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def quantize_dynamic(
    graph: Graph,
    calibration: Any,
    options: Options,
    *,
    limit: int | None = None,
    images: ImageOptions | None = None,
    progress: Progress = silent,
) -> tuple[Result, int]:
    """A quantized copy of the graph, and how many samples were seen.

    calibration: for smoothing and adaptive rounding; None: neither. Raises Unsupported when the options
    leave nothing to quantize.
    """
    scheme = options.weight_scheme
    session = data = None
    if calibration is None and options.smooth:
        raise InvalidArgument(f"smooth={options.smooth:g} needs calibration data: it says how large the channels are")
    if calibration is not None:
        session = Session(export_model(graph), optimize=False)
        data = Calibration(calibration, session.get_inputs(), images=images, limit=limit)
        if smooth(graph, session, data, options, progress):
            session = Session(export_model(graph), optimize=False)
    placement, layers = place_products(graph, frozenset(options.exclude), options.op_types)
    if not any(layer.kind == "int8" for layer in layers):
        raise Unsupported("nothing to quantize: no MatMul, Gemm, Conv or Gather with constant float weights may be")
    weights = {
        node.outputs[0]: table_weights(graph, node, scheme)
        if node.op == "Gather"
        else quantized_weights(graph, node, scheme)
        for node in placement.nodes
    }
    if session is not None and data is not None and options.rounding == "adaptive":
        params = {name: AtRunTime() for name in placement.tensors}
        products = replace(placement, nodes=[n for n in placement.nodes if n.op != "Gather"])
        adaptive_weights(graph, products, session, data, params, weights, scheme, progress)
    result, twins = graph.copied()
    writer = DynamicWriter(result)
    for node in placement.moved(twins).nodes:
        writer.write(node, weights[node.outputs[0]])
    result.sort()
    result.drop_dead()
    return Result(result, layers, []), 0 if data is None else data.total or 0


class AtRunTime:
    """Stands for parameters that each tensor's own range gives: DynamicQuantizeLinear's."""

    def through(self, x: np.ndarray) -> np.ndarray:
        """x quantized and restored, float32."""
        if x.size == 0:
            return x
        lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        scale = np.float32((np.float32(hi) - np.float32(lo)) / np.float32(255)) or np.float32(1)
        zero = np.clip(np.rint(-lo / scale), 0, 255)
        return QParams(np.array(scale, np.float32), np.array(zero, np.uint8)).through(x)


def place_products(
    graph: Graph, exclude: Collection[str], op_types: Collection[str] | None
) -> tuple[Placement, list[LayerReport]]:
    """Which nodes run on integer weights, and what is said of every product and table."""
    placement, layers = Placement(), []
    tables = tables_only(graph)
    for node in graph.nodes:
        if not node.is_op(*PRODUCTS, "Gather") or graph.dtype(node.outputs[0]) != np.float32:
            continue
        if node.op == "Gather" and graph.const(node.inputs[0]) is None:
            continue  # it moves activations
        why = refusal(graph, node, exclude, op_types, tables)
        layers.append(LayerReport(node.name, node.op, "int8" if why is None else "float", why or ""))
        if why is not None:
            continue
        placement.nodes.append(node)
        if node.op != "Gather":
            x = node.inputs[0]
            if x not in placement.readers:
                placement.tensors.append(x)
            placement.readers.setdefault(x, []).append(node)
    return placement, layers


def refusal(
    graph: Graph, node: Node, exclude: Collection[str], op_types: Collection[str] | None, tables: Collection[str]
) -> str | None:
    """Why a node stays float; None when it does not."""
    if node.name in exclude:
        return "excluded"
    if op_types is not None and node.op not in op_types:
        return f"{node.op} is not among the operators to quantize"
    if node.op == "Gather":
        w = graph.const(node.inputs[0])
        assert w is not None
        if w.size < SMALLEST_TABLE:
            return "its table is small"
        if w.ndim != 2 or int(node.attrs.get("axis", 0)) not in (0, -2) or w.dtype != np.float32:
            return "it does not pick rows of a float matrix"
        if node.inputs[0] not in tables:
            return "its table is read by other nodes, too"
        return None if np.isfinite(w).all() else "its table is not finite"
    if node.op == "MatMul" and all(graph.const(name) is None for name in node.inputs):
        return "both its operands are computed"
    if not is_weighted(graph, node):
        return "its weights are not constant, or it has an unusual form"
    w = graph.const(node.inputs[1])
    assert w is not None
    if not np.isfinite(w).all():
        return "its weights are not finite"
    if w.size // max(w.shape[channel_axis(node, w)], 1) > LONGEST_SUM:
        return "its sums could exceed int32"
    return None


def tables_only(graph: Graph) -> set[str]:
    """Constants that nothing but Gather picks from: stored as integers, no float copy remains."""
    uses = Uses(graph)
    return {
        name
        for name, readers in uses.readers.items()
        if name not in uses.outputs and all(r.is_op("Gather") and r.inputs[0] == name for r in readers)
    }


def table_weights(graph: Graph, node: Node, scheme: WeightScheme) -> Weights:
    """A scale a column, or one for the table: what DequantizeLinear restores picked rows with."""
    w = graph.const(node.inputs[0])
    assert w is not None
    params = fitted(w, 1, scheme)
    return Weights(integers(w, params, scheme), params)


def store_tables(graph: Graph, options: Options) -> set[str]:
    """Stores the tables that Gather picks rows of as int8, in place; returns the names of those nodes."""
    scheme = options.weight_scheme
    if scheme.bits not in (8, 7) or not scheme.symmetric:
        scheme = WeightScheme(8, options.per_channel)
    only, exclude = tables_only(graph), options.float_layers.union(options.exclude)
    found = []
    for node in graph.nodes:
        table = graph.const(node.inputs[0]) if node.is_op("Gather") else None
        if table is None or table.dtype != np.float32:
            continue
        if refusal(graph, node, exclude, options.op_types, only) is None:
            found.append((node, table_weights(graph, node, scheme)))
    writer = DynamicWriter(graph)
    for node, w in found:
        writer.table(node, w)
    graph.sort()
    graph.drop_dead()
    return {node.name for node, _ in found}


@dataclass
class DynamicWriter:
    """Rewrites one graph in place; sort() comes last."""

    graph: Graph
    quantized: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # tensor -> its integers, scale, zero
    constants: dict[str, list[str]] = field(default_factory=dict)  # hint -> constants made of it

    def write(self, node: Node, w: Weights) -> None:
        if node.op == "Gather":
            self.table(node, w)
        else:
            self.product(node, w)

    def table(self, node: Node, w: Weights) -> None:
        """Gather(W, rows)  =>  DequantizeLinear(Gather(W_q, rows))"""
        graph, name, out = self.graph, node.inputs[0], node.outputs[0]
        picked = graph.new_value(f"{out}/quantized", np.int8, graph.shape(out))
        scale, zero = self.constant(f"{name}/scale", w.params.scale), self.constant(f"{name}/zero", w.params.zero_point)
        node.inputs = [self.constant(f"{name}/quantized", w.q), node.inputs[1]]
        node.outputs = [picked]
        attrs = {} if w.params.axis is None else {"axis": -1}
        graph.nodes.append(Node("DequantizeLinear", [picked, scale, zero], [out], attrs, f"{node.name}/restore"))

    def product(self, node: Node, w: Weights) -> None:
        graph, name, out = self.graph, node.inputs[1], node.outputs[0]
        q, scale, zero = self.operand(node.inputs[0])
        shape = graph.shape(out)
        values, m = w.q, w.params.scale
        if node.op == "Gemm" and node.attrs.get("transB", 0):
            values = values.T
        if node.op == "Conv":
            m = m.reshape(-1, *[1] * (values.ndim - 2)) if w.params.axis is not None else m
        bias = node.input(2)
        added = graph.const(bias) if bias else None
        integer = "ConvInteger" if node.op == "Conv" else "MatMulInteger"
        attrs = {k: node.attrs[k] for k in CONV_ATTRIBUTES if k in node.attrs} if node.op == "Conv" else {}
        # ConvInteger of onnxruntime takes one zero point for all outputs.
        none = np.zeros((), np.int8) if node.op == "Conv" else w.params.zero_point
        weights, w_zero = self.constant(f"{name}/quantized", values), self.constant(f"{name}/zero_point", none)

        def emit(op: str, inputs: list[str], hint: str, dtype: type, **attrs: object) -> str:
            to = graph.new_value(f"{out}/{hint}", dtype, shape)
            graph.nodes.append(Node(op, inputs, [to], attrs, f"{node.name}/{hint}"))
            return to

        scales = graph.new_value(f"{out}/scale", np.float32, m.shape)
        factors = [scale, self.constant(f"{name}/scale", m)]
        graph.nodes.append(Node("Mul", factors, [scales], {}, f"{node.name}/scale"))
        total = graph.new_value(f"{out}/integers", np.int32, shape)
        real = emit("Cast", [total], "cast", np.float32, to=1)
        end = out if added is None else graph.new_value(f"{out}/product", np.float32, shape)
        graph.nodes.append(Node("Mul", [real, scales], [end], {}, f"{node.name}/rescale"))
        if added is not None:
            spread = (-1, *[1] * (values.ndim - 2)) if node.op == "Conv" else (-1,)
            b = self.constant(bias, np.ascontiguousarray(added.reshape(spread)))
            graph.nodes.append(Node("Add", [end, b], [out], {}, f"{node.name}/bias"))
        node.op, node.origin, node.attrs = integer, None, attrs
        node.inputs, node.outputs = [q, weights, zero, w_zero], [total]

    def operand(self, name: str) -> tuple[str, str, str]:
        """The tensor's integers, scale and zero point: computed once for all that read them."""
        if name not in self.quantized:
            graph = self.graph
            found = (
                graph.new_value(f"{name}/quantized", np.uint8, graph.shape(name)),
                graph.new_value(f"{name}/scale", np.float32, ()),
                graph.new_value(f"{name}/zero_point", np.uint8, ()),
            )
            node = Node("DynamicQuantizeLinear", [name], list(found), {}, f"{name}/DynamicQuantizeLinear")
            graph.nodes.append(node)
            self.quantized[name] = found
        return self.quantized[name]

    def constant(self, hint: str, value: np.ndarray) -> str:
        """One for all nodes that share the same weights."""
        made = self.constants.setdefault(hint, [])
        for name in made:
            same = self.graph.const(name)
            if same is not None and np.array_equal(same, value):
                return name
        made.append(self.graph.new_const(hint, np.ascontiguousarray(value).reshape(value.shape)))
        return made[-1]
