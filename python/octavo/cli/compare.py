"""``octavo compare``: models beside each other on the same data."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from octavo.cli.arguments import add_command, add_html, add_json, add_pictures, natural, picture_options, positive


def add_compare(commands: Any) -> None:
    command = add_command(
        commands,
        "compare",
        "judge models beside each other: accuracy or agreement, size, latency, memory",
        compare_command,
        "Each model is judged against the first. The interval is Tango's for paired proportions (1998).",
    )
    command.add_argument("models", nargs="+", metavar="MODEL", help="two or more (ONNX, .octavo) with the same inputs")
    command.add_argument(
        "--data", required=True, metavar="FOLDER|FILE.npz", help="pictures, or an array an input with samples"
    )
    command.add_argument(
        "--labels",
        metavar="FILE.csv|NAME",
        help="columns file,label (of pictures) or label; or an array in the .npz (default: labels.csv in the folder, "
        "the array 'labels')",
    )
    command.add_argument(
        "--label-offset", type=natural, default=0, metavar="K", help="the output's element that is label 0 (default 0)"
    )
    command.add_argument("--no-classes", action="store_true", help="output 1 is no row of classes: do not ask which")
    command.add_argument("--skip", type=natural, default=0, metavar="N", help="leave out the first N samples")
    command.add_argument("--limit", type=positive, metavar="N", help="use at most N samples")
    command.add_argument("--threads", type=positive, metavar="N", help="threads of a run (default: the CPUs there are)")
    command.add_argument("--rounds", type=positive, default=10, metavar="N", help="rounds of about 30 ms (default 10)")
    add_pictures(command)
    add_html(command)
    add_json(command)


def compare_command(options: argparse.Namespace) -> int:
    from octavo.cli.quantize import show_progress
    from octavo.compress.calibrate import silent
    from octavo.errors import InvalidArgument
    from octavo.paths import check_writable
    from octavo.report.compare import compare, compare_text
    from octavo.report.page import write_page

    if len(options.models) < 2:
        raise InvalidArgument("give two models or more to compare")
    if options.html:
        check_writable(options.html)
    report = compare(
        options.models[0],
        options.models[1],
        options.data,
        others=options.models[2:],
        labels=options.labels,
        label_offset=options.label_offset,
        classes=not options.no_classes,
        skip=options.skip,
        limit=options.limit,
        images=picture_options(options),
        threads=options.threads,
        rounds=options.rounds,
        progress=show_progress if sys.stderr.isatty() else silent,
    )
    if options.html:
        from octavo.report.compare_html import compare_page

        write_page(options.html, compare_page(report))
    print(json.dumps(report.as_dict()) if options.json else compare_text(report))
    return 0
