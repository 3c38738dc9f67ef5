"""Weight-only quantization: weights are stored small and restored to float where the model runs.

Standard ONNX restores them: DequantizeLinear (blocked ones from operator set 21), Cast for float16. Runtimes that know
how (octavo, for one) keep them small in memory and restore a few at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from octavo.compress.calibrate import Progress
from octavo.compress.data import Calibration
from octavo.compress.nearest import fitted, integers
from octavo.compress.options import BLOCKS_OPSET, Options
from octavo.compress.place import Placement
from octavo.compress.record import LayerReport, Result
from octavo.compress.rounding import adaptive_weights
from octavo.compress.write import Weights, Writer, channel_axis
from octavo.engine import Session
from octavo.errors import Unsupported
from octavo.images import ImageOptions
from octavo.ir import Graph, Node
from octavo.onnx_export import export_model

SMALLEST = 256  # elements of a tensor: below, floats are as good
# Sizes of blocks that OpenVINO restores correctly in products; it reads some others wrongly.
PORTABLE = (1024, 512, 256, 128, 64, *range(32, 0, -4))
READERS = {"Conv": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}  # operator -> the number of the input that holds weights


@dataclass
class Tensor:
    """One constant that becomes small. axis counts outputs (rows of a Gather); along is the axis that is summed."""

    name: str
    array: np.ndarray
    axis: int
    along: int
    readers: list[Node] = field(default_factory=list)
    why: str = ""  # it stays float
    weights: Weights | None = None

    def block(self, size: int) -> int:
        """`size` where it divides the summed axis; else the largest of PORTABLE below it, no less than half; else 0."""
        length = self.array.shape[self.along]
        if not size or length <= size:  # one block is a whole channel, or (of larger kernels) less than one
            return 0
        allowed = [size, *(b for b in PORTABLE if size / 2 <= b < size)]
        return next((b for b in allowed if length % b == 0), 0)


def weight_only(
    graph: Graph,
    calibration: Any,
    options: Options,
    *,
    limit: int | None = None,
    images: ImageOptions | None = None,
    progress: Progress,
) -> tuple[Result, int]:
    """A copy of the graph with small weights, and how many samples of calibration data were seen (None: no data).

    Raises Unsupported when there is nothing to make small, or the graph's operator set lacks what the options need.
    """
    tensors = [*find(graph, options).values()]
    chosen = [t for t in tensors if not t.why]
    if not chosen:
        raise Unsupported(
            "nothing to quantize: no Conv, Gemm, MatMul or Gather with constant float weights may be quantized"
        )
    samples = 0
    if options.weight_bits != "float16":
        check_opset(graph, options)
        for t in chosen:
            t.weights = nearest(t, options, clip=calibration is None or options.rounding == "nearest")
        if calibration is not None:
            session = Session(export_model(graph), optimize=False)
            data = Calibration(calibration, session.get_inputs(), images=images, limit=limit)
            if options.rounding == "adaptive" and options.weight_scheme.levels != "binary":
                adapt(graph, session, data, chosen, options, progress)
            samples = data.total or 0
    result, _ = graph.copied()
    notes = write(result, tensors, options)
    return Result(result, report(graph, tensors, options), notes), samples


def check_opset(graph: Graph, options: Options) -> None:
    """The graph may have an older operator set than was asked for, where onnx could not convert the model."""
    scheme = options.weight_scheme
    asked, got = scheme.stored(options.opset), scheme.stored(graph.opset)
    if graph.opset < options.opset and (asked != got or (options.block_size and graph.opset < BLOCKS_OPSET)):
        raise Unsupported(
            f"onnx cannot convert the model from operator set {graph.opset} to {options.opset}, which these weights "
            f"need: export it anew with opset_version={options.opset}"
        )


def find(graph: Graph, options: Options) -> dict[str, Tensor]:
    """Every constant float tensor that a node of READERS reads as its weights, with why it stays float, if it does."""
    found: dict[str, Tensor] = {}
    at: dict[int, str] = {}
    for node in graph.nodes:
        k = READERS.get(node.op) if node.domain == "" else None
        w = graph.const(node.input(k)) if k is not None else None
        if k is None or w is None or w.dtype != np.float32 or w.ndim < 2 or graph.const(node.input(1 - k)) is not None:
            continue
        axis, along, why = axes(node, w)
        t = found.setdefault(node.inputs[k], Tensor(node.inputs[k], w, axis, along))
        t.readers.append(node)
        at[id(node)] = node.inputs[k]
        if why or (axis, along) != (t.axis, t.along):
            t.why = why or "nodes read its weights along different axes"
        elif node.name in options.exclude:
            t.why = "excluded"
        elif options.op_types is not None and node.op not in options.op_types:
            t.why = f"{node.op} is not among the operators to quantize"
    readers, outputs = graph.readers(), graph.output_values()
    for t in found.values():
        others = [n for n in readers[t.name] if at.get(id(n)) != t.name]
        if others or t.name in outputs or len(readers[t.name]) != len(t.readers):
            t.why = t.why or f"{others[0].op if others else 'an output'} reads its weights too"
        elif t.array.size < SMALLEST:
            t.why = t.why or f"its weights are fewer than {SMALLEST}"
        elif not np.isfinite(t.array).all():
            t.why = t.why or "its weights are not finite"
        elif options.weight_bits == "float16" and np.abs(t.array).max() > np.finfo(np.float16).max:
            t.why = t.why or "its weights exceed float16"
    return found


def axes(node: Node, w: np.ndarray) -> tuple[int, int, str]:
    """(axis of the outputs, axis that is summed, why these weights must stay float)."""
    if node.op == "Gather":
        plain = int(node.attrs.get("axis", 0)) % w.ndim == 0
        return 0, w.ndim - 1, "" if plain else "it does not gather along the first axis"
    axis = channel_axis(node, w)
    if node.op == "Conv":
        return axis, 1, ""
    return axis, 1 - axis, "" if w.ndim == 2 else "its weights are no matrix"


def nearest(t: Tensor, options: Options, clip: bool) -> Weights:
    scheme, block = options.weight_scheme, t.block(options.block_size)
    params = fitted(t.array, t.along if block else t.axis, scheme, block, clip)
    return Weights(integers(t.array, params, scheme), params)


def adapt(
    graph: Graph, session: Session, data: Calibration, tensors: list[Tensor], options: Options, progress: Progress
) -> None:
    """Rounds so that layers change least on the calibration data: tensors of one layer each."""
    mine = {
        t.readers[0].outputs[0]: t
        for t in tensors
        if len(t.readers) == 1 and t.readers[0].op != "Gather" and t.weights is not None
    }
    placement = Placement([t.readers[0] for t in mine.values()])
    weights = {out: t.weights for out, t in mine.items() if t.weights is not None}
    unchanged = {t.readers[0].inputs[0]: Unchanged() for t in mine.values()}
    adaptive_weights(graph, placement, session, data, unchanged, weights, options.weight_scheme, progress)
    for out, t in mine.items():
        t.weights = weights[out]


class Unchanged:
    """Of operands that stay float."""

    def through(self, x: np.ndarray) -> np.ndarray:
        return x


def write(graph: Graph, tensors: list[Tensor], options: Options) -> list[tuple[str, str]]:
    """Rewrites the graph in place; returns notes."""
    writer = Writer(graph, Placement(), {})
    small: dict[str, str] = {}
    for t in tensors:
        if t.why:
            continue
        if t.weights is None:
            half = graph.new_const(f"{t.name}/float16", t.array.astype(np.float16))
            small[t.name] = graph.new_value(f"{t.name}/restored", np.float32, t.array.shape)
            graph.nodes.append(Node("Cast", [half], [small[t.name]], {"to": 1}, f"{t.name}/Cast"))
        else:
            w = t.weights.stored(options.weight_scheme.stored(graph.opset))
            small[t.name] = writer.constant(t.name, w.q, w.params)
    for node in graph.nodes:
        k = READERS.get(node.op) if node.domain == "" else None
        if k is not None and node.input(k) in small:
            node.inputs[k] = small[node.inputs[k]]
    graph.sort()
    graph.drop_dead()
    return writer.notes


def report(graph: Graph, tensors: list[Tensor], options: Options) -> list[LayerReport]:
    of = {id(node): t for t in tensors for node in t.readers}
    layers = []
    for node in graph.nodes:
        t = of.get(id(node))
        if t is not None and t.why:
            layers.append(LayerReport(node.name, node.op, "float", t.why))
        elif t is not None:
            layers.append(LayerReport(node.name, node.op, "weight_only", weights=described(t, graph, options)))
    return layers


def described(t: Tensor, graph: Graph, options: Options) -> str:
    if t.weights is None:
        return "float16"
    return options.weight_scheme.described(graph.opset, t.weights.params)
