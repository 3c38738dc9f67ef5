#!/usr/bin/env python3
"""The whole comparison with onnxruntime, OpenVINO and LiteRT: tables, JSON, a plot and RESULTS.md.

    python bench/compare.py [MODELS] [--out PREFIX] [--part one,two,batch,avx2,kernels,loading,busy] [--only TEXT]
                            [--quick] [--budget SECONDS] [--again]

MODELS is the folder of ONNX files (default: $OCTAVO_SHARED/models, else ../shared/models beside the repository);
MobileNetV1 and ResNet-50 with seeded weights are made on the fly. Files that are not there are left out, aloud.

In every unit of the comparison all engines run in one process on the same file and threads, inputs bound, in turn,
round by round, so that drift of the machine hits all alike. A unit that PREFIX.json holds is not measured again, so the
work can be done in pieces: `--budget 80` stops before a unit that would start after 80 seconds; run it again to go on.
PREFIX.txt, PREFIX.png and PREFIX.md are written anew from PREFIX.json each time. `--out bench/RESULTS` is how the
repository's own results are made.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tables
from octavo.errors import Error
from units import ROOT, Settings, all_units

PARTS = ("one", "two", "batch", "avx2", "kernels", "loading", "busy")


def model_folder(given: str | None) -> Path:
    if given:
        return Path(given)
    shared = os.environ.get("OCTAVO_SHARED")
    return Path(shared) / "models" if shared else ROOT.parent / "shared" / "models"


def bench_binary() -> Path | None:
    found = [ROOT / "build" / kind / "octavo-bench" for kind in ("native", "dev")]
    return next((path for path in found if path.exists()), None)


def machine() -> dict[str, Any]:
    """The CPU, its cores, and the versions of what took part."""
    from octavo import _core

    names = [line.split(":", 1)[1].strip() for line in cpuinfo() if line.startswith("model name")]
    packages = ("octavo", "onnxruntime", "openvino", "ai-edge-litert", "numpy", "onnx")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "isa": _core.best_isa(),
        "compiler": _core.compiler,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version for name in packages if (version := installed(name))},
    }


def cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def commit() -> str:
    """The commit of the repository, with a "+" where files were changed since; "unknown" outside a checkout."""
    try:
        git = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=7", "--dirty=+", "--exclude=*"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def installed(package: str) -> str | None:
    if package == "octavo":
        import octavo

        return octavo.__version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"units": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text)
    beside.replace(path)


def measure(args: argparse.Namespace, settings: Settings, record: dict[str, Any], out: Path) -> int:
    """Runs the units that are wanted and not there yet; returns how many are left."""
    wanted = [
        (name, unit)
        for name, unit in all_units().items()
        if name.partition("/")[0] in args.part and args.only in name and (args.again or name not in record["units"])
    ]
    start = time.monotonic()
    for number, (name, unit) in enumerate(wanted):
        if args.budget and time.monotonic() - start > args.budget:
            return len(wanted) - number
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {len(wanted)}: {name}\033[K", end="", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            found = unit(settings)
        except (FileNotFoundError, Error) as e:
            print(f"# {name} is left out: {e}", file=sys.stderr)
            continue
        found["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        found["seconds"] = round(time.monotonic() - began, 1)
        found["rounds"], found["commit"] = settings.rounds, commit()
        record["units"][name] = found
        record["machine"] = machine()
        write(out.with_name(out.name + ".json"), json.dumps(record, indent=1, sort_keys=True) + "\n")
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", metavar="MODELS")
    parser.add_argument("--out", default=str(ROOT / "bench/results/compare"), metavar="PREFIX")
    parser.add_argument(
        "--part", default=",".join(PARTS), type=several(PARTS), metavar="PART[,PART]", help=", ".join(PARTS)
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="units whose name holds TEXT")
    parser.add_argument("--quick", action="store_true", help="3 short rounds: figures to look at, not to quote")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="start no unit after that; run again to go on")
    parser.add_argument("--again", action="store_true", help="measure units that are there already, too")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the reports anew")
    args = parser.parse_args()
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    effort = {"rounds": 3, "round_s": 0.02} if args.quick else {}
    settings = Settings(model_folder(args.models), ROOT / "build/bench-models", bench_binary=bench_binary(), **effort)
    record = read(out.with_name(out.name + ".json"))
    left = 0 if args.report else measure(args, settings, record, out)
    if not record["units"]:
        print("compare.py: nothing was measured", file=sys.stderr)
        return 1
    text = tables.text(record)
    write(out.with_name(out.name + ".txt"), text)
    plotted = tables.plot(record, out.with_name(out.name + ".png"))
    tables.write_markdown(record, out.with_name(out.name + ".md"), out.name + ".png" if plotted else None)
    print(text, end="")
    if left:
        print(f"{left} units are left; run the same command again to go on.", file=sys.stderr)
    return 0


def several(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """An argparse type: names of `allowed` with commas between them."""

    def parsed(text: str) -> list[str]:
        found = text.split(",")
        for part in found:
            if part not in allowed:
                raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(allowed)}")
        return found

    return parsed


if __name__ == "__main__":
    sys.exit(main())
