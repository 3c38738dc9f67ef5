"""The commands that report on a model or on this build."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from octavo import __version__
from octavo.cli.arguments import (
    add_command,
    add_dim,
    add_engine_options,
    add_html,
    add_json,
    add_requantize,
    names,
    positive,
)


def add_inspect(commands: Any) -> None:
    command = add_command(
        commands, "inspect", "show what a model takes, gives and costs, layer by layer", inspect_command
    )
    command.add_argument("model", metavar="MODEL")
    add_dim(command)
    command.add_argument("--isa", metavar="LEVEL", help="instruction-set level whose kernels to show")
    add_requantize(command)
    add_json(command)


def add_bench(commands: Any) -> None:
    command = add_command(commands, "bench", "time a model on random inputs", bench_command)
    command.add_argument("model", metavar="MODEL")
    command.add_argument("--rounds", type=positive, default=20, metavar="N", help="rounds of about 30 ms (default 20)")
    command.add_argument(
        "--compare",
        type=names,
        default=(),
        metavar="PEER[,PEER]",
        help="onnxruntime, openvino, litert: engines that take turns with it on the same file (extra: bench)",
    )
    command.add_argument("--batch", type=positive, metavar="B", help="size of the inputs' symbolic first dimension")
    command.add_argument("--compare-float", metavar="F.onnx", help="a float model that takes turns with it")
    command.add_argument("--steps", action="store_true", help="show the time of each step too")
    add_dim(command)
    add_engine_options(command)
    add_json(command)


def add_explain(commands: Any) -> None:
    command = add_command(
        commands,
        "explain",
        "show where a run's time goes and why: kernel, time and share of the machine's peak, layer by layer",
        explain_command,
        "Times are of random inputs. The peak is that of this process's own loops of multiply-add instructions.",
    )
    command.add_argument("model", metavar="MODEL")
    command.add_argument("--worst", action="store_true", help="the layers that lose most time against the peak first")
    add_html(command)
    command.add_argument("--rounds", type=positive, default=20, metavar="N", help="batches of runs (default 20)")
    add_dim(command)
    add_engine_options(command)
    add_json(command)


def add_pack(commands: Any) -> None:
    command = add_command(commands, "pack", "compile an ONNX model to a .octavo file", pack_command)
    command.add_argument("model", metavar="MODEL")
    command.add_argument("-o", "--output", required=True, metavar="OUT.octavo")
    add_requantize(command)
    add_json(command)


def add_version(commands: Any) -> None:
    add_json(add_command(commands, "version", "show this build and what it found", version_command))


def add_demo(commands: Any) -> None:
    command = add_command(commands, "demo", "classify 1,000 pictures with the packaged networks", demo_command)
    command.add_argument("--output", metavar="FILE.png", help="the picture to write (default octavo-demo.png)")
    command.add_argument("--threads", type=positive, metavar="N", help="threads of a run (default: the CPUs there are)")
    add_json(command)


def inspect_command(options: argparse.Namespace) -> int:
    from octavo.engine import Session
    from octavo.report.inspect import checked_dims, inspect, inspect_text

    session = Session(options.model, isa=options.isa, requantize=options.requantize)
    report = {"model": options.model, **inspect(session, checked_dims(session.get_inputs(), options.dim))}
    print(json.dumps(report) if options.json else inspect_text(report))
    return 0


def bench_command(options: argparse.Namespace) -> int:
    from octavo.report.bench import bench, bench_text

    report = bench(
        options.model,
        threads=options.threads,
        isa=options.isa,
        requantize=options.requantize,
        rounds=options.rounds,
        dims=options.dim,
        batch=options.batch,
        compare=options.compare,
        compare_float=options.compare_float,
        steps=options.steps,
        progress=show_progress if sys.stderr.isatty() else None,
    )
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    print(json.dumps(report) if options.json else bench_text(report))
    return 0


def show_progress(number: int, rounds: int) -> None:
    sys.stderr.write(f"\rround {number + 1} of {rounds}\033[K")
    sys.stderr.flush()


def explain_command(options: argparse.Namespace) -> int:
    from octavo.paths import check_writable
    from octavo.report.explain import explain, explain_text, worst_first
    from octavo.report.page import write_page

    if options.html:
        check_writable(options.html)
    report = explain(
        options.model,
        threads=options.threads,
        isa=options.isa,
        requantize=options.requantize,
        dims=options.dim,
        rounds=options.rounds,
    )
    if options.worst:
        report = worst_first(report)
    if options.html:
        from octavo.report.explain_html import html_page

        write_page(options.html, html_page(report))
    print(json.dumps(report) if options.json else explain_text(report))
    return 0


def pack_command(options: argparse.Namespace) -> int:
    from octavo.engine import Session

    session = Session(options.model, requantize=options.requantize)
    session.save(options.output)
    report = {
        "model": options.model,
        "output": options.output,
        "model_bytes": os.path.getsize(options.model),
        "output_bytes": os.path.getsize(options.output),
        "steps": len(session.plan.steps),
    }
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{options.output}: {report['output_bytes']:,} bytes, {report['steps']} steps")
    return 0


def version_command(options: argparse.Namespace) -> int:
    report = build_info()
    if options.json:
        print(json.dumps(report))
        return 0
    levels = ", ".join(f"{k}{'' if found else ' (not on this CPU)'}" for k, found in report["isa_levels"].items())
    rows = [
        ("octavo", report["octavo"]),
        ("compiler", report["compiler"]),
        ("ISA levels", levels),
        ("ISA in use", report["isa"]),
        ("threads", str(report["threads"])),
        ("python", report["python"]),
        ("numpy", report["numpy"]),
        ("onnx", report["onnx"] or "not installed"),
    ]
    print("\n".join(f"{name:<12}{value}" for name, value in rows))
    return 0


def build_info() -> dict[str, Any]:
    """What was built and what it finds here."""
    import platform
    from importlib import metadata

    import numpy as np

    from octavo import _core

    try:
        onnx_version: str | None = metadata.version("onnx")
    except metadata.PackageNotFoundError:
        onnx_version = None
    return {
        "octavo": __version__,
        "compiler": _core.compiler,
        "isa_levels": dict(_core.isas()),
        "isa": os.environ.get("OCTAVO_ISA") or _core.best_isa(),
        "threads": _core.default_threads(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "onnx": onnx_version,
    }


def demo_command(options: argparse.Namespace) -> int:
    from octavo.demo import run_demo

    return run_demo(options.output, options.threads, options.json)
