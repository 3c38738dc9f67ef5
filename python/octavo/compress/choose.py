"""The default calibration method: of all methods' ranges, for each tensor the one that its layers suffer from least."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octavo.compress.calibrate import Progress, silent, watch
from octavo.compress.data import Calibration
from octavo.compress.functions import best_range, functions
from octavo.compress.histogram import Histogram
from octavo.compress.layers import Layer
from octavo.compress.place import Placement, is_weighted
from octavo.compress.ranges import candidates
from octavo.compress.scheme import ActivationScheme, QParams
from octavo.engine import Session
from octavo.ir import Graph

SAMPLES = 8


@dataclass
class Chosen:
    """ranges: tensor -> (method, parameters). kept: layer -> SQNR in decibels of its results with its operand so."""

    ranges: dict[str, tuple[str, QParams]]
    kept: dict[str, float]


def best_ranges(
    graph: Graph,
    placement: Placement,
    session: Session,
    data: Calibration,
    histograms: Mapping[str, Histogram],
    scheme: ActivationScheme,
    progress: Progress = silent,
) -> Chosen:
    """The error of a layer is the squared distance between its results on the tensor and on its quantized form, summed
    over the first samples. A tensor that only functions read is judged behind them, any other one by itself.
    """
    options = {name: candidates(histograms[name], scheme) for name in placement.tensors}
    layers = {
        name: {n.name: Layer(graph, n, bias=False) for n in placement.readers[name] if is_weighted(graph, n)}
        for name, found in options.items()
        if len(found) > 1
    }
    errors = {name: {method: {"": 0.0} for method in options[name]} for name in layers}
    power: dict[str, float] = {}

    def see(name: str, x: np.ndarray) -> None:
        exact = {key: layer(x) for key, layer in layers[name].items()}
        for key, y in exact.items():
            power[key] = power.get(key, 0.0) + squares(y)
        for method, params in options[name].items():
            rough, found = params.through(x), errors[name][method]
            for key, y in exact.items():
                found[key] = found.get(key, 0.0) + squares(layers[name][key](rough) - y)
            if not exact:
                found[""] += squares(rough - x)

    watch(session, list(layers), data, see, progress, "choosing ranges", SAMPLES)
    chosen, kept = {}, {}
    behind = functions(graph, placement)
    for name, found in options.items():
        if name in behind:
            chosen[name] = ("function", scheme.params(*best_range(histograms[name], scheme, behind[name])))
            continue
        method = next(iter(found))
        if name in errors:
            method = min(found, key=lambda m: sum(errors[name][m].values()))
            for key, noise in errors[name][method].items():
                if power.get(key, 0.0) > 0 and noise > 0:
                    kept[key] = 10 * math.log10(power[key] / noise)
        chosen[name] = (method, found[method])
    return Chosen(chosen, kept)


def squares(x: np.ndarray) -> float:
    flat = x.reshape(-1)
    return float(np.dot(flat, flat))
