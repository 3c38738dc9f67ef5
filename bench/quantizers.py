#!/usr/bin/env python3
"""octavo.quantize beside onnxruntime's quantize_static and NNCF: accuracy, time and memory, a table and QUANTIZERS.md.

    python bench/quantizers.py [MODELS] [--out PREFIX] [--part accuracy,tensor,bits,memory] [--only TEXT]
                               [--nncf-python PYTHON] [--budget SECONDS] [--longest SECONDS] [--again]
                               [--report]

MODELS: a folder with models.toml, the labelled data in ../data (default: $OCTAVO_SHARED/models, else ../shared/models
beside the repository). Every tool gets the same 64 calibration samples and one core, in a process of its own; what it
writes is judged by one runtime, onnxruntime, on the other samples. OpenVINO and octavo judge octavo's files too.

--nncf-python: the interpreter of an environment with nncf, onnx and onnxruntime, where the running one has none.

A unit that PREFIX.json holds is not measured again, so the work can be done in pieces. PREFIX.md is written anew from
PREFIX.json each time. `--out bench/QUANTIZERS` is how the repository's own results are made.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import quantizer_tables
from compare import commit, machine, model_folder, read, several, write
from judge import Judgement, accuracy, answers, packed, right
from listed import CALIBRATE, Listed, listed_models
from octavo.errors import Error, Unsupported

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).resolve().parent / "quantizer_tools.py"
PARTS = ("accuracy", "tensor", "bits", "memory")
RUNTIMES = ("onnxruntime", "openvino", "octavo")

Record = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """A way to quantize. worker: its name in quantizer_tools.TOOLS."""

    name: str
    worker: str
    options: tuple[tuple[str, Any], ...] = ()


OCTAVO, NNCF = Tool("octavo", "octavo"), Tool("nncf", "nncf")
ONNXRUNTIME = [Tool(f"onnxruntime {m}", "onnxruntime", (("method", m),)) for m in ("MinMax", "Percentile", "Entropy")]
STATIC = [OCTAVO, *ONNXRUNTIME, NNCF]
TEXT = [
    OCTAVO, Tool("octavo dynamic", "octavo", (("mode", "dynamic"),)), *ONNXRUNTIME,
    Tool("onnxruntime dynamic", "onnxruntime dynamic"), Tool("nncf", "nncf", (("transformer", True),)),
]  # fmt: skip
PER_TENSOR = [Tool(t.name, t.worker, (*t.options, ("per_channel", False))) for t in (OCTAVO, ONNXRUNTIME[0])]
FOUR_BITS = [
    Tool("octavo", "octavo", (("weight_bits", 4),)),
    Tool("octavo nearest", "octavo", (("weight_bits", 4), ("rounding", "nearest"))),
]
MODELS = {
    "mobilenet_v2_1.0_224": STATIC, "efficientnet_lite0": STATIC, "squeezenet1.1": STATIC,
    "mobilenet_v1_0.25_224": STATIC, "cifar10_resnet20": STATIC, "mlperf_tiny_kws_float": STATIC,
    "mlperf_tiny_resnet8_float": STATIC, "mlperf_tiny_vww_float": STATIC, "yolox_nano": STATIC, "ppocr_cls": STATIC,
    "paraphrase_minilm_l3": TEXT,
}  # fmt: skip
TENSOR_MODELS = ("mobilenet_v2_1.0_224", "efficientnet_lite0", "squeezenet1.1")
MEMORY_MODEL = "mobilenet_v2_1.0_224"
MANY = 512


@dataclass(frozen=True)
class Settings:
    models: Path
    work: Path
    pythons: dict[str, str]  # worker -> its interpreter, where that is not the running one
    longest: float = 1500.0


def all_units() -> dict[str, Callable[[Settings], Record]]:
    """Name -> what measures it."""
    found: dict[str, Callable[[Settings], Record]] = {}
    for model, tools in MODELS.items():
        for tool in tools:
            found[f"accuracy/{model}/{tool.name}"] = lambda s, m=model, t=tool: judged(s, m, t)  # type: ignore[misc]
    for model in TENSOR_MODELS:
        for tool in PER_TENSOR:
            found[f"tensor/{model}/{tool.name}"] = lambda s, m=model, t=tool: judged(s, m, t, "tensor-")  # type: ignore[misc]
        for tool in FOUR_BITS:
            found[f"bits/{model}/{tool.name}"] = lambda s, m=model, t=tool: judged(s, m, t, "bits-")  # type: ignore[misc]
    for tool in (OCTAVO, ONNXRUNTIME[0], NNCF):
        for count in (CALIBRATE, MANY):
            found[f"memory/{tool.name}/{count}"] = lambda s, t=tool, n=count: memory(s, t, n)  # type: ignore[misc]
    return found


def judged(settings: Settings, name: str, tool: Tool, prefix: str = "") -> Record:
    """Quantizes a model and judges the result; {"failed": words} where the tool fails."""
    model = find(settings, name)
    out = settings.work / name / f"{prefix}{tool.name}.onnx".replace(" ", "-")
    found = quantized(settings, model, tool, calibration(model, CALIBRATE), out)
    if "failed" in found:
        return found
    exact = float_answers(model)
    runtimes = RUNTIMES if tool.worker == "octavo" else RUNTIMES[:1]
    result: Record = {**found, "bytes": out.stat().st_size, "float_bytes": model.path.stat().st_size}
    result["checker"] = checked(out)
    for runtime in runtimes:
        try:
            rough = answers(model, runtime, out)
        except Error as e:
            result[f"on {runtime}"] = {"failed": str(e)}
            continue
        if runtime == RUNTIMES[0]:
            result.update(Judgement.of(model, exact, rough).as_dict())
        bits = "" if model.task == "sts" else packed(right(model, rough))
        result[f"on {runtime}"] = {"accuracy": round(accuracy(model, rough), 3), "right": bits}
    return result


def memory(settings: Settings, tool: Tool, count: int) -> Record:
    model = find(settings, MEMORY_MODEL)
    out = settings.work / "memory" / f"{tool.name}-{count}.onnx".replace(" ", "-")
    return {"samples": count, **quantized(settings, model, tool, calibration(model, count), out)}


def quantized(settings: Settings, model: Listed, tool: Tool, samples: Path, out: Path) -> Record:
    """What the worker tells. Raises Unsupported where the tool is not installed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    python = settings.pythons.get(tool.worker, sys.executable)
    command = [
        python,
        str(WORKER),
        tool.worker,
        str(model.path),
        str(samples),
        str(out),
        json.dumps(dict(tool.options)),
    ]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=settings.longest, preexec_fn=one_core)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {settings.longest:.0f} s"}
    except OSError as e:
        raise Unsupported(f"cannot start {python}: {e}") from e
    last = (run.stdout.strip().splitlines() or [""])[-1]
    if run.returncode or not last.startswith("{"):
        why = (run.stderr.strip().splitlines() or [f"status {run.returncode}"])[-1]
        return {"failed": why.replace(str(ROOT), ".")[:300]}
    found: Record = json.loads(last)
    if "missing" in found:
        hint = "; name the interpreter that has it with --nncf-python" if tool.worker == "nncf" else ""
        raise Unsupported(f"{found['missing']} is not installed ({found['why']}){hint}")
    return found


def one_core() -> None:
    """Every tool works on one thread, whatever it would start by itself."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def find(settings: Settings, name: str) -> Listed:
    model = listed_models(settings.models, settings.work).get(name)
    if model is None or not model.path.exists():
        raise FileNotFoundError(f"there is no model {name} in '{settings.models}'")
    return model


def calibration(model: Listed, count: int) -> Path:
    """A folder of `count` samples. Where the set is too small, mirrored images follow."""
    folder = model.work / "prepared" / f"{model.name}-{count}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for k, feeds in enumerate(samples(model, count)):
            np.savez(folder / f"{k:05}.npz", **feeds)  # type: ignore[arg-type]
        (folder / "done").touch()
    return folder


def samples(model: Listed, count: int) -> Iterator[dict[str, np.ndarray]]:
    for k in range(count):
        feeds = model.feeds(k % model.count)
        if k >= model.count:
            axis = -1 if model.entry["input"]["layout"] == "NCHW" else -2
            feeds = {name: np.ascontiguousarray(np.flip(x, axis)) for name, x in feeds.items()}
        yield feeds


def float_answers(model: Listed) -> np.ndarray:
    file = model.work / "answers" / f"{model.name}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, answers(model, RUNTIMES[0], model.path))
    return np.asarray(np.load(file))


def checked(path: Path) -> str:
    """ "" or what onnx.checker has against the file."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as e:  # its own, or onnx.shape_inference's
        return f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"
    return ""


def measure(args: argparse.Namespace, settings: Settings, record: Record, out: Path) -> int:
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
        print(f"# {number + 1} of {len(wanted)}: {name}", file=sys.stderr, flush=True)
        try:
            found = unit(settings)
        except (FileNotFoundError, Error) as e:
            print(f"# {name} is left out: {e}", file=sys.stderr)
            continue
        found["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        found["commit"] = commit()
        record["units"][name] = found
        record["machine"] = machine()
        write(out.with_name(out.name + ".json"), json.dumps(record, indent=1, sort_keys=True) + "\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", metavar="MODELS")
    parser.add_argument("--out", default=str(ROOT / "bench/results/quantizers"), metavar="PREFIX")
    parser.add_argument("--work", default=str(ROOT / "build/bench-quantizers"), metavar="FOLDER", help="what is made on the way")  # fmt: skip  # noqa: E501
    parser.add_argument(
        "--part", default=",".join(PARTS), type=several(PARTS), metavar="PART[,PART]", help=", ".join(PARTS)
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="units whose name holds TEXT")
    parser.add_argument("--nncf-python", metavar="PYTHON", help="the interpreter that has nncf")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="start no unit after that; run again to go on")
    parser.add_argument("--longest", type=float, default=1500.0, metavar="SECONDS", help="what one tool may take")
    parser.add_argument("--again", action="store_true", help="measure units that are there already, too")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report anew")
    args = parser.parse_args()
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    pythons = {"nncf": args.nncf_python} if args.nncf_python else {}
    settings = Settings(model_folder(args.models), Path(args.work), pythons, args.longest)
    record = read(out.with_name(out.name + ".json"))
    left = 0 if args.report else measure(args, settings, record, out)
    if not record["units"]:
        print("quantizers.py: nothing was measured", file=sys.stderr)
        return 1
    print(quantizer_tables.text(record), end="")
    quantizer_tables.write_markdown(record, out.with_name(out.name + ".md"))
    if left:
        print(f"{left} units are left; run the same command again to go on.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
