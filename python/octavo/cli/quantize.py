"""``octavo quantize``: a float model and calibration data in, a quantized model out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from octavo.cli.arguments import (
    add_command,
    add_html,
    add_json,
    add_pictures,
    layer_bits,
    picture_options,
    positive,
)

CHECKED = 16  # calibration samples that the page compares the models on

if TYPE_CHECKING:
    from octavo.compress.record import BudgetReport, QuantizeReport, TuneReport

SHOWN = 10  # layers that a budget stopped


def add_quantize(commands: Any) -> None:
    command = add_command(
        commands,
        "quantize",
        "make a small model of a float one",
        quantize_command,
        "The result is standard ONNX, which other runtimes read too. Only --mode static needs --calibration.",
    )
    command.add_argument("model", metavar="MODEL")
    command.add_argument("--calibration", metavar="FOLDER|FILE.npz", help="pictures, or an array an input with samples")
    command.add_argument("-o", "--output", required=True, metavar="OUT.onnx")
    command.add_argument(
        "--mode",
        choices=("static", "dynamic", "weight_only"),
        default="static",
        help="dynamic: activations' ranges are found at run time, for transformers; weight_only: float arithmetic",
    )
    command.add_argument("--limit", type=positive, metavar="N", help="use at most N samples")
    command.add_argument("--activations", choices=("uint8", "int8", "uint16", "int16"), default="uint8")
    command.add_argument("--symmetric", action="store_true", help="activations' zero point in the middle")
    command.add_argument("--per-tensor", action="store_true", help="one weight scale a layer instead of one an output")
    command.add_argument("--block-size", type=positive, default=0, metavar="N", help="one weight scale N weights")
    command.add_argument(
        "--weight-bits", type=weight_bits, default=8, metavar="BITS", help="16, 8, 7, 4, 2, float16, ternary or binary"
    )
    command.add_argument("--asymmetric-weights", action="store_true", help="unsigned weights with a zero point")
    command.add_argument("--power-of-two", action="store_true", help="scales are powers of two")
    command.add_argument("--method", choices=("auto", "minmax", "percentile", "entropy", "mse"), default="auto")
    command.add_argument("--rounding", choices=("adaptive", "nearest"), default="adaptive")
    command.add_argument(
        "--smooth", type=float, metavar="ALPHA", help="SmoothQuant's alpha, 0 to 1 (0: not; default: what helps)"
    )
    command.add_argument("--no-bias-correction", action="store_true")
    command.add_argument(
        "--least-sqnr",
        type=float,
        default=20.0,
        metavar="DB",
        help="a layer whose operand's best range keeps less stays float (default 20)",
    )
    command.add_argument("--exclude", action="append", default=[], metavar="NODE", help="leave this node float")
    command.add_argument(
        "--layer",
        action="append",
        default=[],
        type=layer_bits,
        metavar="NODE=BITS",
        help="bits of this node's weights, 8, 7, 4, 2, ternary or binary, or float: leave it float",
    )
    command.add_argument("--format", choices=("qdq", "qoperator"), default="qdq", help="how the file spells integers")
    command.add_argument("--op-type", action="append", metavar="OP", help="quantize only these operators")
    add_budget(command)
    command.add_argument("--opset", type=positive, default=21, metavar="N")
    add_pictures(command)
    add_html(command)
    add_json(command)


def add_budget(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--tune", action="store_true", help="leave in float what is slower on integers on this machine"
    )
    group = command.add_argument_group("accuracy budget")
    group.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="the smallest mix of 4-bit, 8-bit and float layers that loses no more, by agreement with the float model",
    )
    group.add_argument(
        "--labels",
        nargs="?",
        const=True,
        metavar="FILE.csv|NAME",
        help="count %% right instead: columns file,label or label; an array in the .npz; alone: those beside the data",
    )
    group.add_argument("--label-offset", type=int, default=0, metavar="K", help="the output's element for label 0")
    group.add_argument("--tune-data", metavar="FOLDER|FILE.npz", help="keep the budget on this, not on --calibration")
    group.add_argument("--prefer", choices=("size", "speed"), default="size", help="the smallest mix, or the fastest")


def quantize_command(options: argparse.Namespace) -> int:
    from octavo.compress.calibrate import silent
    from octavo.compress.quantize import quantize
    from octavo.errors import InvalidArgument
    from octavo.paths import check_writable

    if options.html:
        check_writable(options.html)
        if os.path.exists(options.output) and os.path.samefile(options.model, options.output):
            raise InvalidArgument("--html compares with the float model, which -o would replace: write to another file")
    report = quantize(
        options.model,
        options.calibration,
        options.output,
        mode=options.mode,
        activations=options.activations,
        symmetric=options.symmetric,
        per_channel=not options.per_tensor,
        weight_bits=options.weight_bits,
        weight_symmetric=not options.asymmetric_weights,
        power_of_two=options.power_of_two,
        block_size=options.block_size,
        method=options.method,
        smooth=options.smooth,
        rounding=options.rounding,
        bias_correction=not options.no_bias_correction,
        least_sqnr=options.least_sqnr,
        exclude=options.exclude,
        layer_bits=dict(options.layer),
        format=options.format,
        op_types=options.op_type,
        opset=options.opset,
        max_drop=options.max_drop,
        labels=options.labels,
        label_offset=options.label_offset,
        tune_data=options.tune_data,
        prefer=options.prefer,
        tune=options.tune,
        limit=options.limit,
        images=picture_options(options),
        progress=show_progress if sys.stderr.isatty() else silent,
    )
    if options.html:
        write_account(report, options)
    print(json.dumps(report.as_dict()) if options.json else quantize_text(report))
    return 0


def write_account(report: QuantizeReport, options: argparse.Namespace) -> None:
    """The page, with a comparison layer by layer on some of the calibration data where there is any."""
    from octavo.compress.calibrate import silent
    from octavo.errors import Error
    from octavo.report.page import write_page
    from octavo.report.quantize_html import quantize_page
    from octavo.report.verify import VerifyReport, verify

    checked: VerifyReport | None = None
    why_not = "there is no calibration data"
    if options.calibration is not None:
        try:
            checked = verify(
                options.model,
                report.model,
                options.calibration,
                limit=min(options.limit or CHECKED, CHECKED),
                images=picture_options(options),
                histograms=True,
                progress=show_progress if sys.stderr.isatty() else silent,
            )
        except Error as e:  # of a model whose activations stay float, that no quantity is quantized
            why_not = str(e)
    write_page(options.html, quantize_page(report, options.model, checked, why_not))


def weight_bits(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def show_progress(what: str, done: int, total: int | None) -> None:
    end = "\n" if done == total else ""
    print(f"\r{what}: {done}{f' of {total}' if total else ''}\x1b[K", end=end, file=sys.stderr, flush=True)


def quantize_text(report: QuantizeReport) -> str:
    small = [layer for layer in report.layers if layer.kind == "weight_only"]
    integers = [layer for layer in report.layers if layer.kind not in ("weight_only", "float")]
    share = report.bytes_after / report.bytes_before if report.bytes_before else 1.0
    what = f"{len(small)} nodes keep small weights" if small else f"{len(integers)} nodes run on integers"
    if any(layer.kind == "int16" for layer in integers):
        what = f"{len(integers)} nodes read 16-bit integers (which octavo computes with in float)"
    kinds = Counter(layer.weights for layer in report.layers if layer.weights)
    lines = [
        f"{report.path}: {report.bytes_after:,} bytes, {share:.2f} of the float model; {report.samples} samples",
        f"{what}, {len(report.float_layers)} stay float",
        *(f"  weights of {count} nodes: {kind}" for kind, count in kinds.most_common()),
        *(f"  float: {layer.name} ({layer.op}): {layer.reason}" for layer in report.float_layers),
        *(f"  note: {name}: {note}" for name, note in report.notes),
        *([] if report.tune is None else tune_text(report.tune)),
        *([] if report.budget is None else budget_text(report.budget)),
    ]
    return "\n".join(lines)


def budget_text(budget: BudgetReport) -> list[str]:
    from octavo.report.table import table

    chosen = budget.points[budget.chosen]
    rows = [
        [
            ("* " if p is chosen else "") + p.name,
            f"{p.score:.2f}",
            f"{p.drop:.2f}",
            "" if p.expected is None else f"{p.expected:.2f} +- {p.error:.2f}",
            f"{p.bytes:,}",
            "yes" if p.met else "no",
        ]
        for p in budget.points
    ]
    lines = [
        "",
        f"Budget: {budget.max_drop:g} points of {budget.measure}; {budget.rows} rows",
        table(["mix tried", budget.measure, "drop", "expected", "bytes", "kept"], rows, left=("mix tried",)),
    ]
    if budget.stops:
        lines.append("Kept from fewer bits, the most sensitive first: " + ", ".join(budget.stops[:SHOWN]))
    return [*lines, *budget.notes]


def tune_text(tune: TuneReport) -> list[str]:
    from octavo.report.table import table

    left = [t for t in tune.layers if t.reason]
    rows = [[t.layer, t.op, f"{t.integer_ms:.4f}", f"{t.float_ms:.4f}"] for t in left]
    where = f"{tune.cpu}, {tune.isa}, {tune.threads} thread(s)"
    lines = ["", f"Tuned on {where}: {len(left)} of {len(tune.layers)} layers left float"]
    if rows:
        lines.append(table(["layer", "operator", "ms on integers", "ms in float"], rows, left=("layer", "operator")))
    whole = [f"{t.ms:.4f} ms with {len(t.left_float)} layers in float" for t in tune.trials]
    return [*lines, "The network: " + ", ".join(whole)]
