"""The default calibration method: of all methods' ranges, for each tensor the one that its layers suffer from least."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from octavo.compress.calibrate import Progress, silent, watch
from octavo.compress.data import Calibration
from octavo.compress.histogram import Histogram
from octavo.compress.layers import Layer
from octavo.compress.place import Placement, is_weighted
from octavo.compress.ranges import candidates
from octavo.compress.scheme import ActivationScheme, QParams
from octavo.engine import Session
from octavo.ir import Graph

SAMPLES = 8


def best_ranges(
    graph: Graph,
    placement: Placement,
    session: Session,
    data: Calibration,
    histograms: Mapping[str, Histogram],
    scheme: ActivationScheme,
    progress: Progress = silent,
) -> dict[str, tuple[str, QParams]]:
    """Tensor -> (method, parameters).

    The error of a layer is the squared distance between its results on the tensor and on its quantized form, summed
    over the first samples. A tensor no layer with weights reads is judged by itself.
    """
    options = {name: candidates(histograms[name], scheme) for name in placement.tensors}
    layers = {
        name: [Layer(graph, n, bias=False) for n in placement.readers[name] if is_weighted(graph, n)]
        for name, found in options.items()
        if len(found) > 1
    }
    errors = {name: dict.fromkeys(options[name], 0.0) for name in layers}

    def see(name: str, x: np.ndarray) -> None:
        exact = [layer(x) for layer in layers[name]]
        for method, params in options[name].items():
            rough = params.through(x)
            pairs = [(layer(rough), y) for layer, y in zip(layers[name], exact)] or [(rough, x)]
            for got, want in pairs:
                off = (got - want).reshape(-1)
                errors[name][method] += float(np.dot(off, off))

    watch(session, list(layers), data, see, progress, "choosing ranges", SAMPLES)
    chosen = {}
    for name, found in options.items():
        method = min(errors[name], key=lambda m: errors[name][m]) if name in errors else next(iter(found))
        chosen[name] = (method, found[method])
    return chosen
