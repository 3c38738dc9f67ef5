"""octavo.quantize: a float ONNX model in, a quantized one out that octavo, onnxruntime and OpenVINO run."""

from __future__ import annotations

import os
from typing import Any

from octavo.compress.calibrate import Progress, silent
from octavo.compress.options import Options
from octavo.compress.prepare import check_excluded, prepare
from octavo.compress.record import QuantizeReport
from octavo.compress.static import start
from octavo.images import ImageOptions
from octavo.onnx_export import export_model, save_model


def quantize(
    model: Any,
    calibration: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    limit: int | None = None,
    images: ImageOptions | None = None,
    progress: Progress = silent,
    **options: Any,
) -> QuantizeReport:
    """Quantizes a float model: integer activations, integer weights, standard ONNX QuantizeLinear and DequantizeLinear.

    model: a path, bytes or onnx.ModelProto of float32 operators.
    calibration: representative inputs; see :class:`octavo.compress.data.Calibration`. A few dozen samples do.
    output: where to write the ONNX file; None: only return it.
    limit: at most so many samples. images: preprocessing, when calibration is a folder of pictures.
    progress: called with (what, done, total or None) after each sample or layer.
    options: the fields of :class:`octavo.compress.options.Options`, by name.

    Returns a :class:`QuantizeReport`. Raises InvalidArgument, InvalidModel, Unsupported or IoError; nothing is written
    then, and an old output file stays as it was.
    """
    chosen = Options.of(options)
    graph, float_bytes = prepare(model, chosen.opset)
    check_excluded(graph, chosen.exclude)
    work = start(graph, calibration, chosen, limit=limit, images=images, progress=progress)
    result = work.quantize(chosen)
    metadata = {"octavo.quantize": described(chosen)}
    proto = export_model(result.graph, metadata)
    if output is not None:
        save_model(proto, output)
    path = None if output is None else os.fspath(output)
    return QuantizeReport(
        proto, path, result.layers, result.notes, work.data.total or 0, float_bytes, proto.ByteSize(), chosen.as_dict()
    )


def described(options: Options) -> str:
    """For the model's metadata."""
    return f"activations {options.activations}, weights {options.weight_bits} bits, method {options.method}"
