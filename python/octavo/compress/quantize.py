"""octavo.quantize: a float ONNX model in, a quantized one out that octavo, onnxruntime and OpenVINO run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from octavo.compress.calibrate import Progress, silent
from octavo.compress.dynamic import quantize_dynamic
from octavo.compress.goal import Goal, mix_of, reach
from octavo.compress.judge import Metric
from octavo.compress.options import Options
from octavo.compress.prepare import check_names, name_apart, prepare
from octavo.compress.record import QUANTIZE, TUNE, QuantizeReport, quantize_record, tune_record
from octavo.compress.static import start
from octavo.compress.weight_only import weight_only
from octavo.errors import InvalidArgument
from octavo.images import ImageOptions
from octavo.onnx_export import export_model, save_model
from octavo.paths import check_writable


def quantize(
    model: Any,
    calibration: Any = None,
    output: str | os.PathLike[str] | None = None,
    *,
    limit: int | None = None,
    images: ImageOptions | None = None,
    progress: Progress = silent,
    max_drop: float | None = None,
    metric: Metric | None = None,
    labels: Any = None,
    label_offset: int = 0,
    tune_data: Any = None,
    prefer: str = "size",
    mix: Sequence[int | str] | None = None,
    tune: bool = False,
    **options: Any,
) -> QuantizeReport:
    """Quantizes a float model to standard ONNX.

    model: a path, bytes or onnx.ModelProto of float32 operators.
    calibration: representative inputs; see :class:`octavo.compress.data.Calibration`. A few dozen samples do.
        mode="dynamic" and mode="weight_only" may go without (None).
    output: where to write the ONNX file; None: only return it.
    limit: at most so many samples. images: preprocessing, when calibration is a folder of pictures.
    progress: called with (what, done, total or None) after each sample or layer.
    max_drop: an accuracy budget in points below the float model. The result is the smallest (prefer="size") or fastest
        ("speed", by times measured here) mix of layers with few-bit weights, with 8-bit weights and in float that was
        found to keep it (octavo.compress.budget says how); report.budget tells what was tried. mode="static" only.
    metric: called with a Session, returns a number, larger the better, whose units max_drop is in; or labels: true
        classes of the tuning data (octavo.compress.labels.read_labels; True: those beside it), label_offset the element
        of output 1 that stands for label 0: points are then % right. Neither: % of rows of output 1 whose largest
        element is the float model's.
    tune_data: samples to keep the budget on, as calibration takes them; None: the calibration data.
    mix: what layers may be, bits of weights and "float"; None: (weight_bits, 4, "float").
    tune: times each layer on integers and in float on this machine and leaves in float what loses
        (octavo.compress.tune); report.tune tells, and the file's metadata. mode="static" only.
    options: the fields of :class:`octavo.compress.options.Options`, by name.

    Returns a :class:`QuantizeReport`. Raises InvalidArgument, InvalidModel, Unsupported (where no mix keeps the budget,
    it names the layers that stop it) or IoError; nothing is written then, and an old output file stays as it was.
    """
    if output is not None:
        check_writable(output)
    chosen = Options.of(options)
    goal = Goal(max_drop, metric, labels, label_offset, tune_data, prefer, mix_of(mix), bool(tune))
    goal.check(chosen.mode)
    graph, float_bytes = prepare(model, chosen.opset)
    check_names(graph, "exclude", chosen.exclude)
    check_names(graph, "layer_bits", chosen.layer_bits)
    tuned, budget = None, None
    how: Any = {"limit": limit, "images": images, "progress": progress}
    if chosen.mode == "weight_only":
        result, samples = weight_only(graph, calibration, chosen, **how)
    elif chosen.mode == "dynamic":
        result, samples = quantize_dynamic(graph, calibration, chosen, **how)
    else:
        if calibration is None:
            raise InvalidArgument(
                f"mode='{chosen.mode}' needs calibration data; mode='dynamic' and mode='weight_only' do without"
            )
        work = start(graph, calibration, chosen, **how)
        result, chosen, tuned, budget = reach(work, chosen, goal, calibration, **how)
        samples = work.data.total or 0
    name_apart(result.graph)  # a node that was written out as several gave them its name
    metadata = {QUANTIZE: quantize_record(chosen.as_dict(), result.layers)}
    if tuned is not None:
        metadata[TUNE] = tune_record(tuned)
    proto = export_model(result.graph, metadata)
    if output is not None:
        save_model(proto, output)
    path = None if output is None else os.fspath(output)
    return QuantizeReport(
        proto,
        path,
        result.layers,
        result.notes,
        samples,
        float_bytes,
        proto.ByteSize(),
        chosen.as_dict(),
        budget,
        tuned,
    )
