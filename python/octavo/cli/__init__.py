"""The ``octavo`` command. Exit status: 0, 1 when the job failed (one line on stderr), 2 for wrong usage."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from octavo import __version__
from octavo.cli.commands import add_bench, add_demo, add_explain, add_inspect, add_pack, add_version
from octavo.cli.compare import add_compare
from octavo.cli.quantize import add_quantize
from octavo.cli.run import add_run
from octavo.cli.verify import add_verify
from octavo.errors import Error


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (default: this process's) and returns the exit status; wrong usage raises SystemExit(2)."""
    options = make_parser().parse_args(argv)
    try:
        status: int = options.command(options)
        sys.stdout.flush()
        return status
    except Error as e:
        message = str(e)
    except MemoryError:
        message = "out of memory"
    except BrokenPipeError:  # the reader, e.g. `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    print("octavo: error: " + " ".join(message.split()), file=sys.stderr)
    return 1


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="octavo", description="Runs quantized neural networks: ONNX and .octavo files."
    )
    parser.add_argument("--version", action="version", version=f"octavo {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_run(commands)
    add_inspect(commands)
    add_bench(commands)
    add_explain(commands)
    add_quantize(commands)
    add_verify(commands)
    add_compare(commands)
    add_pack(commands)
    add_version(commands)
    add_demo(commands)
    return parser
