"""``octavo verify``: which layers of a quantized model lose what, and why."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from octavo.cli.arguments import add_command, add_html, add_json, add_pictures, picture_options, positive


def add_verify(commands: Any) -> None:
    command = add_command(
        commands,
        "verify",
        "compare a quantized model with its float one, layer by layer",
        verify_command,
        "The layers that lose most by themselves come first; causes and mends follow the table.",
    )
    command.add_argument("float_model", metavar="FLOAT")
    command.add_argument("quantized_model", metavar="QUANTIZED")
    command.add_argument(
        "--data", required=True, metavar="FOLDER|FILE.npz", help="pictures, or an array an input with samples"
    )
    command.add_argument("--limit", type=positive, default=32, metavar="N", help="use at most N samples (default 32)")
    command.add_argument("--top", type=positive, metavar="K", help="show the K worst layers only")
    add_pictures(command)
    add_html(command)
    add_json(command)


def verify_command(options: argparse.Namespace) -> int:
    from octavo.cli.quantize import show_progress
    from octavo.compress.calibrate import silent
    from octavo.paths import check_writable
    from octavo.report.page import write_page
    from octavo.report.verify import verify, verify_text

    if options.html:
        check_writable(options.html)
    report = verify(
        options.float_model,
        options.quantized_model,
        options.data,
        limit=options.limit,
        images=picture_options(options),
        histograms=bool(options.html),
        progress=show_progress if sys.stderr.isatty() else silent,
    )
    if options.html:
        from octavo.report.verify_html import verify_page

        write_page(options.html, verify_page(report, options.float_model, options.quantized_model))
    print(json.dumps(report.as_dict()) if options.json else verify_text(report, options.top))
    return 0
