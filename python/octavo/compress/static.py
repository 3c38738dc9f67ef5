"""Static quantization: activations' ranges are found on calibration data, and everything runs on integers.

The order of work: place, equalize, calibrate, choose ranges, round weights, correct biases, write.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from octavo.compress.calibrate import Progress, collect, silent
from octavo.compress.choose import best_ranges
from octavo.compress.correct import correct_biases
from octavo.compress.data import Calibration
from octavo.compress.dynamic import store_tables
from octavo.compress.equalize import equalize
from octavo.compress.histogram import Histogram
from octavo.compress.options import FLOAT, WIDE_OPSET, Options
from octavo.compress.place import Placement, is_weighted, place
from octavo.compress.prepare import OLDEST_OPSET
from octavo.compress.qoperator import to_qoperator
from octavo.compress.ranges import METHODS
from octavo.compress.reconstruct import reconstruct
from octavo.compress.record import LayerReport, Result
from octavo.compress.rounding import adaptive_weights
from octavo.compress.scheme import ActivationScheme, QParams, WeightScheme
from octavo.compress.smooth import smooth
from octavo.compress.units import units_of, with_chains
from octavo.compress.write import Weights, Writer, quantized_weights
from octavo.engine import Session
from octavo.errors import InvalidArgument, Unsupported
from octavo.images import ImageOptions
from octavo.ir import Graph
from octavo.onnx_export import export_model

SHARED_RANGE = 2.0  # a Concat's operand takes the result's parameters when that widens its range by less
FEW = 4  # bits, from which on rounding each layer by itself is not enough
STORAGE_OPSET = 24  # whose types weights take: onnxruntime fuses no product with the int2 that the next one brings


@dataclass
class Calibrated:
    """A float graph and the data that goes through it; it may be quantized any number of times, in different ways.

    histograms: of every tensor some way wanted to quantize. ranges: the parameters chosen for it, and by what method.
    ranges_of: the method and the scheme that the ranges are for.
    kept: what a layer keeps of its results, in decibels, with the range chosen for its operand.
    rounded: integer weights and corrected biases, by layer and everything that decides about them.
    learning: whether weights of few bits are learned (minutes), not only rounded layer by layer.
    """

    graph: Graph
    session: Session
    data: Calibration
    progress: Progress
    histograms: dict[str, Histogram] = field(default_factory=dict)
    ranges: dict[str, tuple[str, QParams]] = field(default_factory=dict)
    ranges_of: tuple[str, ActivationScheme] | None = None
    kept: dict[str, float] = field(default_factory=dict)
    rounded: dict[Hashable, Weights] = field(default_factory=dict)
    learning: bool = True

    @contextmanager
    def unlearned(self) -> Iterator[None]:
        """Where many ways are tried, learning waits for the one that is chosen."""
        before, self.learning = self.learning, False
        try:
            yield
        finally:
            self.learning = before

    def learns(self, options: Options) -> bool:
        scheme = options.weight_scheme
        return self.learning and options.rounding == "adaptive" and scheme.bits <= FEW and scheme.levels != "binary"

    def quantize(self, options: Options, reasons: Mapping[str, str] | None = None) -> Result:
        """Raises Unsupported when the options leave nothing to quantize.

        reasons: why a node of options.layer_bits stays float, for the report. Ranges are those of the network without
        layer_bits, so that they, and the weights rounded for them, are the same whatever layers are left float.
        """
        graph, scheme = self.graph, options.activation_scheme
        if scheme.dtype.itemsize > 1 and graph.opset < WIDE_OPSET:
            raise Unsupported(
                f"onnx cannot convert the model from operator set {graph.opset} to {WIDE_OPSET}, which 16-bit "
                f"activations need: export it anew with opset_version={WIDE_OPSET}"
            )
        whole = self.place(options)
        params = self.parameters(whole, options)
        lost = self.lost_layers(options)
        options, reasons_of = options.with_layers(dict.fromkeys(lost, FLOAT)), {**lost, **(reasons or {})}
        placement = whole
        if options.float_layers:
            units = units_of(graph, whole)
            excluded = with_chains(units, options.float_layers)
            chained = {
                node.name: unit.name for unit in units if unit.name in options.float_layers for node in unit.nodes
            }
            reasons_of = {n: f"it follows '{head}', which stays float" for n, head in chained.items()} | reasons_of
            placement = place(graph, excluded.union(options.exclude), options.op_types)
            params = {**self.parameters(placement, options), **params}
        weights = self.weights(placement, params, options)
        if not weights and reasons is None:
            raise Unsupported("nothing to quantize: every layer with weights is left float")
        opset = min(graph.opset, STORAGE_OPSET) if options.format == "qdq" else OLDEST_OPSET  # operators take 8 bits
        schemes = {n.outputs[0]: options.weights_of(n.name) for n in placement.nodes}
        kinds = {out: schemes[out].described(opset, w.params) for out, w in weights.items()}
        layers = report_layers(graph, placement, self.ranges, params, kinds, scheme)
        for layer in layers:
            if layer.name in options.float_layers and layer.name not in lost and layer.name not in (reasons or {}):
                layer.reason = "layer_bits says so"
            elif layer.kind == "float" and layer.name in reasons_of and layer.name not in options.exclude:
                layer.reason = reasons_of[layer.name]
        weights = {out: w.stored(schemes[out].stored(opset)) for out, w in weights.items()}
        quantized, notes = written(graph, placement, params, weights, scheme)
        tables = store_tables(quantized, options)
        for layer in layers:
            if layer.name in tables:
                layer.kind, layer.reason = "int8", ""
        if options.format == "qoperator":
            notes += to_qoperator(quantized, {node.name for node in placement.nodes})
        return Result(quantized, layers, notes + self.silent_tensors(placement))

    def silent_tensors(self, placement: Placement) -> list[tuple[str, str]]:
        """Notes about tensors whose range says nothing."""
        makers = self.graph.producers()
        return [
            (makers[name].name, f"its result '{name}' is 0 in every calibration sample: its scale is a guess")
            for name in placement.tensors
            if name in makers and name in self.histograms and self.histograms[name].lo == self.histograms[name].hi == 0
        ]

    def place(self, options: Options) -> Placement:
        """Where quantization goes when no layer is left float. Raises Unsupported when there is nowhere."""
        graph = self.graph
        placement = place(graph, frozenset(options.exclude), options.op_types)
        weighted = {node.name for node in placement.nodes if is_weighted(graph, node)}
        if not weighted:
            raise Unsupported(
                "nothing to quantize: no Conv, Gemm or MatMul with constant float weights may be quantized"
            )
        for name, bits in options.layer_bits.items():
            if bits != FLOAT and name not in weighted:
                raise InvalidArgument(
                    f"layer_bits gives '{name}' {bits} bits, but it is no layer with weights to quantize"
                )
        return placement

    def lost_layers(self, options: Options) -> dict[str, str]:
        """Layers that no range serves, such as a depthwise one whose channels differ a hundredfold, and why."""
        if options.least_sqnr is None:
            return {}
        least = f"less than least_sqnr={options.least_sqnr:g}"
        return {
            name: f"with the best range of its operand it keeps {kept:.1f} dB, {least}"
            for name, kept in self.kept.items()
            if kept < options.least_sqnr and name not in options.layer_bits
        }

    def parameters(self, placement: Placement, options: Options) -> dict[str, QParams]:
        """Of each tensor of the placement."""
        self.calibrate(placement, options)
        own = {n: self.ranges[n][1] for n in placement.tensors}
        return share(self.graph, placement, own, self.histograms, options.activation_scheme)

    def weights(self, placement: Placement, params: dict[str, QParams], options: Options) -> dict[str, Weights]:
        """By the layer's result. Those that were rounded before, for the same parameters, are looked up."""
        nodes = [node for node in placement.nodes if is_weighted(self.graph, node)]
        schemes = {node.outputs[0]: options.weights_of(node.name) for node in nodes}
        keys: dict[str, Hashable] = {}
        for node in nodes:
            x, out = params[node.inputs[0]], node.outputs[0]
            keys[out] = (
                out,
                schemes[out],
                options.rounding,
                options.bias_correction,
                x.dtype,
                float(x.scale),
                int(x.zero_point),
            )
        for scheme in dict.fromkeys(schemes.values()):
            new = [n for n in nodes if schemes[n.outputs[0]] == scheme and keys[n.outputs[0]] not in self.rounded]
            part = {n.outputs[0]: quantized_weights(self.graph, n, scheme, params[n.inputs[0]]) for n in new}
            work = (self.graph, placement, self.session, self.data, params, part)
            if part and options.rounding == "adaptive" and scheme.levels != "binary":  # which have no other choice
                adaptive_weights(*work, scheme, self.progress)
            if part and options.bias_correction:
                correct_biases(*work, self.progress)
            self.rounded |= {keys[out]: w for out, w in part.items()}
        weights = {out: self.rounded[key] for out, key in keys.items()}
        if self.learns(options):
            self.reconstruct(placement, params, weights, schemes, options)
        return weights

    def reconstruct(
        self,
        placement: Placement,
        params: dict[str, QParams],
        weights: dict[str, Weights],
        schemes: Mapping[str, WeightScheme],
        options: Options,
    ) -> None:
        def now() -> Graph:
            return written(self.graph, placement, params, weights, options.activation_scheme)[0]

        work = (self.graph, placement, self.data, params, weights, schemes, now)
        reconstruct(*work, options.bias_correction, self.progress)

    def calibrate(self, placement: Placement, options: Options) -> None:
        """Histograms and ranges of those tensors of the placement that have none yet."""
        scheme = options.activation_scheme
        if self.ranges_of != (options.method, scheme):
            self.ranges_of, self.ranges, self.kept = (options.method, scheme), {}, {}
        new = [name for name in placement.tensors if name not in self.histograms]
        if new:
            self.histograms |= collect(self.graph, self.session, new, self.data, self.progress)
        if all(name in self.ranges for name in placement.tensors):
            return
        if options.method == "auto":
            work = (self.graph, placement, self.session, self.data, self.histograms)
            best = best_ranges(*work, scheme, self.progress)
            self.ranges, self.kept = {**best.ranges, **self.ranges}, {**best.kept, **self.kept}
        else:
            method = METHODS[options.method]
            for name in [n for n in placement.tensors if n not in self.ranges]:
                self.ranges[name] = (options.method, scheme.params(*method(self.histograms[name], scheme)))
        shares = {out for node in self.graph.nodes if node.is_op("Softmax") for out in node.outputs}
        self.ranges |= {name: ("softmax", scheme.params(0.0, 1.0)) for name in placement.tensors if name in shares}


def start(
    graph: Graph,
    calibration: Any,
    options: Options,
    *,
    limit: int | None = None,
    images: ImageOptions | None = None,
    progress: Progress = silent,
) -> Calibrated:
    """Equalizes and smooths the graph where the options say so; nothing is calibrated yet. The rest: quantize()."""
    session = Session(export_model(graph), optimize=False)
    data = Calibration(calibration, session.get_inputs(), images=images, limit=limit)
    if options.equalize if options.equalize is not None else not options.per_channel:
        equalize(graph, session, data, progress)
        session = Session(export_model(graph), optimize=False)
    if smooth(graph, session, data, options, progress):
        session = Session(export_model(graph), optimize=False)
    return Calibrated(graph, session, data, progress)


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
    graph: Graph,
    placement: Placement,
    chosen: Mapping[str, tuple[str, QParams]],
    params: Mapping[str, QParams],
    weights: Mapping[str, str],
    scheme: ActivationScheme,
) -> list[LayerReport]:
    floats = {id(node): why for node, why in placement.float_nodes}
    integers = {id(node) for node in placement.nodes}
    inputs = {id(reader): name for name, readers in placement.readers.items() for reader in readers}
    wide = scheme.dtype.itemsize > 1
    kind = f"int{8 * scheme.dtype.itemsize}"
    why = "octavo computes with 16-bit operands in float" if wide else ""
    layers = []
    for node in graph.nodes:
        if id(node) in integers:
            layer = LayerReport(node.name, node.op, kind, why, weights=weights.get(node.outputs[0], ""))
            name = inputs.get(id(node))
            if name is not None:
                p, limits = params[name], np.iinfo(params[name].dtype)
                layer.lo, layer.hi = (float((q - int(p.zero_point)) * float(p.scale)) for q in (limits.min, limits.max))
                layer.method = chosen[name][0]
            layers.append(layer)
        elif id(node) in floats:
            layers.append(LayerReport(node.name, node.op, "float", floats[id(node)]))
    return layers
