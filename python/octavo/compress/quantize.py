"""Static quantization: a float ONNX model in, a QDQ model out that octavo, onnxruntime and OpenVINO run on integers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from octavo.compress.calibrate import Progress, collect, silent
from octavo.compress.choose import best_ranges
from octavo.compress.correct import correct_biases
from octavo.compress.data import Calibration
from octavo.compress.equalize import equalize as equalize_pairs
from octavo.compress.histogram import Histogram
from octavo.compress.place import Placement, is_weighted, place
from octavo.compress.ranges import METHODS
from octavo.compress.rounding import adaptive_weights
from octavo.compress.scheme import ActivationScheme, QParams, WeightScheme
from octavo.compress.write import Weights, Writer, quantized_weights
from octavo.engine import Session
from octavo.errors import InvalidArgument, Unsupported
from octavo.images import ImageOptions
from octavo.ir import Graph
from octavo.onnx_export import at_opset, export_model, save_model
from octavo.onnx_import import import_model
from octavo.passes import CANONICAL

OLDEST_OPSET = 13  # the first in which DequantizeLinear has an axis
SHARED_RANGE = 2.0  # a Concat's operand takes the result's parameters when that widens its range by less


@dataclass
class LayerReport:
    """One node: what became of it. method: how its first operand's range was chosen."""

    name: str
    op: str
    kind: str  # "int8", "float"
    reason: str = ""  # why it stays float
    lo: float | None = None
    hi: float | None = None
    method: str = ""


@dataclass
class QuantizeReport:
    """What quantize() did. model: the onnx.ModelProto; path: where it was written, if anywhere."""

    model: Any
    path: str | None
    layers: list[LayerReport]
    notes: list[tuple[str, str]]
    samples: int
    bytes_before: int
    bytes_after: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def float_layers(self) -> list[LayerReport]:
        return [layer for layer in self.layers if layer.kind == "float"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the model."""
        return {
            "path": self.path,
            "samples": self.samples,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "options": self.options,
            "layers": [vars(layer) for layer in self.layers],
            "notes": [list(note) for note in self.notes],
        }


def quantize(
    model: Any,
    calibration: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    activations: str = "uint8",
    symmetric: bool = False,
    per_channel: bool = True,
    weight_bits: int = 8,
    method: str = "auto",
    equalize: bool | None = None,
    rounding: str = "adaptive",
    bias_correction: bool = True,
    exclude: Collection[str] = (),
    op_types: Collection[str] | None = None,
    opset: int = 21,
    limit: int | None = None,
    images: ImageOptions | None = None,
    progress: Progress = silent,
) -> QuantizeReport:
    """Quantizes a float model: integer activations, integer weights, standard ONNX QuantizeLinear and DequantizeLinear.

    model: a path, bytes or onnx.ModelProto of float32 operators.
    calibration: representative inputs; see :class:`octavo.compress.data.Calibration`. A few dozen samples do.
    output: where to write the ONNX file; None: only return it.
    activations: "uint8" or "int8"; symmetric: with the zero point in the middle.
    per_channel: a scale an output channel of the weights, or one a tensor.
    weight_bits: 8, 7 (fast and exact on CPUs without VNNI), 4 or 2 (stored as int8).
    method: how ranges are calibrated: "minmax", "percentile", "entropy", "mse", or "auto", the best of them for each
        tensor by the error of the layers that read it.
    equalize: channels of consecutive convolutions trade scale first (None: where weights are per tensor).
    rounding: "adaptive" (the layer's results change least) or "nearest".
    bias_correction: what quantization shifts a layer's mean result by is taken out of its bias.
    exclude: names of nodes that stay float. op_types: the operators to quantize, None for all that can be.
    opset: the result's operator set at least; the model's own when onnx cannot convert it.
    limit: at most so many samples. images: preprocessing, when calibration is a folder of pictures.
    progress: called with (what, done, total or None) after each sample or layer.

    Returns a :class:`QuantizeReport`. Raises InvalidArgument, InvalidModel, Unsupported or IoError; nothing is written
    then, and an old output file stays as it was.
    """
    check(activations, method, rounding, opset)
    weight_scheme = WeightScheme(weight_bits, per_channel)
    graph, float_bytes = prepare(model, opset)
    check_excluded(graph, exclude)
    act = ActivationScheme(np.dtype(activations), symmetric)
    placement = place(graph, frozenset(exclude), op_types)
    if not any(is_weighted(graph, node) for node in placement.nodes):
        raise Unsupported("nothing to quantize: no Conv, Gemm or MatMul with constant float weights may be quantized")
    session = Session(export_model(graph), optimize=False)
    data = Calibration(calibration, session.get_inputs(), images=images, limit=limit)
    if equalize if equalize is not None else not per_channel:
        equalize_pairs(graph, session, data, progress)
        session = Session(export_model(graph), optimize=False)
    histograms = collect(graph, session, placement.tensors, data, progress)
    if method == "auto":
        chosen = best_ranges(graph, placement, session, data, histograms, act, progress)
    else:
        chosen = {n: (method, act.params(*METHODS[method](h, act))) for n, h in histograms.items()}
    params = share(graph, placement, {n: p for n, (_, p) in chosen.items()}, histograms, act)
    weights = {
        node.outputs[0]: quantized_weights(graph, node, weight_scheme, params[node.inputs[0]])
        for node in placement.nodes
        if is_weighted(graph, node)
    }
    if rounding == "adaptive":
        adaptive_weights(graph, placement, session, data, params, weights, weight_scheme, progress)
    if bias_correction:
        correct_biases(graph, placement, session, data, params, weights, progress)
    layers = report_layers(graph, placement, chosen, params)
    graph, notes = written(graph, placement, params, weights, act)
    metadata = {"octavo.quantize": f"activations {activations}, weights {weight_bits} bits, method {method}"}
    result = export_model(graph, metadata)
    if output is not None:
        save_model(result, output)
    options = {
        "activations": activations, "symmetric": symmetric, "per_channel": per_channel, "weight_bits": weight_bits,
        "method": method, "equalize": equalize, "rounding": rounding, "bias_correction": bias_correction,
    }  # fmt: skip
    path = None if output is None else os.fspath(output)
    return QuantizeReport(result, path, layers, notes, data.total or 0, float_bytes, result.ByteSize(), options)


def check(activations: str, method: str, rounding: str, opset: int) -> None:
    if activations not in ("uint8", "int8"):
        raise InvalidArgument(f"activations should be 'uint8' or 'int8', not {activations!r}")
    if method != "auto" and method not in METHODS:
        raise InvalidArgument(f"method should be 'auto' or one of {', '.join(METHODS)}, not {method!r}")
    if rounding not in ("adaptive", "nearest"):
        raise InvalidArgument(f"rounding should be 'adaptive' or 'nearest', not {rounding!r}")
    if opset < OLDEST_OPSET:
        raise InvalidArgument(f"opset should be {OLDEST_OPSET} or newer, not {opset}")


def prepare(model: Any, opset: int) -> tuple[Graph, int]:
    """The float graph with constants and batch norms folded and node names kept, and the model's size in bytes."""
    proto = at_opset(model, OLDEST_OPSET)
    size = proto.ByteSize()
    with contextlib.suppress(Unsupported):  # else the model's own operator set will do
        proto = at_opset(proto, opset)
    graph = import_model(proto)
    quantized = next((n for n in graph.nodes if n.op in ("QuantizeLinear", "DequantizeLinear")), None)
    if quantized is not None:
        raise InvalidArgument(f"the model is quantized already: node '{quantized.name}' is a {quantized.op}")
    small = next((n for n in graph.nodes if n.is_plan("Restore")), None)
    if small is not None:
        raise Unsupported(
            f"the weights '{small.outputs[0]}' are stored sparse or small; quantize the model with dense float weights"
        )
    names = {node.name for node in graph.nodes}
    for run in CANONICAL:
        run(graph)
        graph.sort()
        graph.drop_dead()
    for node in graph.nodes:  # folding joins names: the first one is the operator's own
        if node.name not in names:
            node.name = next((n for n in names if node.name.startswith(f"{n}+")), node.name)
    return graph, size


def check_excluded(graph: Graph, exclude: Collection[str]) -> None:
    names = {node.name for node in graph.nodes}
    unknown = [name for name in exclude if name not in names]
    if unknown:
        raise InvalidArgument(f"exclude names '{unknown[0]}', but the model has no such node")


def share(
    graph: Graph,
    placement: Placement,
    params: Mapping[str, QParams],
    histograms: Mapping[str, Histogram],
    scheme: ActivationScheme,
) -> dict[str, QParams]:
    """Moved tensors take their source's parameters; a Concat's operands the result's, where that costs little."""
    found = dict(params)
    for node in placement.nodes:
        if node.op != "Concat" or node.outputs[0] not in found:
            continue
        whole = histograms[node.outputs[0]]
        for name in node.inputs:
            h = histograms.get(name)
            wide = max(whole.hi, 0.0) - min(whole.lo, 0.0)
            if h is not None and wide <= SHARED_RANGE * (max(h.hi, 0.0) - min(h.lo, 0.0)):
                found[name] = found[node.outputs[0]]
    for source, moved in placement.same:
        if moved in found and source in found:
            found[moved] = found[source]
    return found


def written(
    graph: Graph,
    placement: Placement,
    params: dict[str, QParams],
    weights: dict[str, Weights],
    scheme: ActivationScheme,
) -> tuple[Graph, list[tuple[str, str]]]:
    """A quantized copy of the graph, and notes about it."""
    result, twins = graph.copied()
    writer = Writer(result, placement.moved(twins), params)
    for node in writer.placement.nodes:
        if node.outputs[0] in weights:
            writer.weights(node, weights[node.outputs[0]], params[node.inputs[0]])
        else:
            writer.operands(node, scheme)
    writer.activations()
    result.sort()
    result.drop_dead()
    return result, writer.notes


def report_layers(
    graph: Graph, placement: Placement, chosen: Mapping[str, tuple[str, QParams]], params: Mapping[str, QParams]
) -> list[LayerReport]:
    floats = {id(node): why for node, why in placement.float_nodes}
    integers = {id(node) for node in placement.nodes}
    inputs = {id(reader): name for name, readers in placement.readers.items() for reader in readers}
    layers = []
    for node in graph.nodes:
        if id(node) in integers:
            layer = LayerReport(node.name, node.op, "int8")
            name = inputs.get(id(node))
            if name is not None:
                p, limits = params[name], np.iinfo(params[name].dtype)
                layer.lo, layer.hi = (float((q - int(p.zero_point)) * float(p.scale)) for q in (limits.min, limits.max))
                layer.method = chosen[name][0]
            layers.append(layer)
        elif id(node) in floats:
            layers.append(LayerReport(node.name, node.op, "float", floats[id(node)]))
    return layers
