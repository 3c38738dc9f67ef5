#!/usr/bin/env python3
"""Latency of the same ONNX files on octavo and its peers, interleaved in one run.

    python bench/compare.py MODEL.onnx [MODEL2.onnx ...] [--threads 1] [--rounds 15] [--json OUT] [--markdown]

Every engine that is installed takes part (onnxruntime, OpenVINO: `pip install octavo[bench]`), inputs bound once.
The engines run in turn, round by round, in this process, so drift of the machine hits all alike; a round keeps its best
time and the median over the rounds is printed. `--pair FLOAT=INT8` adds a comparison of two files on octavo itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[], object]


def random_feeds(path: str, dims: dict[str, int]) -> dict[str, np.ndarray]:
    """Random inputs of the model's own types: token ids and masks for integers, a normal distribution for floats."""
    import octavo

    rng = np.random.default_rng(0)
    feeds = {}
    for info in octavo.Session(path, threads=1).get_inputs():
        shape = [d if isinstance(d, int) else dims.get(d or "", 1) for d in info.shape]
        kind = info.type.removeprefix("tensor(").removesuffix(")")
        dtype = np.dtype({"float": "float32", "double": "float64"}.get(kind, kind))
        if dtype.kind == "f":
            feeds[info.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.itemsize == 1:
            limits = np.iinfo(dtype)
            feeds[info.name] = rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
        else:
            feeds[info.name] = (np.ones(shape) if "mask" in info.name else rng.integers(0, 1000, shape)).astype(dtype)
    return feeds


def on_octavo(path: str, feeds: dict[str, np.ndarray], threads: int) -> Run:
    import octavo

    return octavo.Session(path, threads=threads).bind(feeds).run


def on_onnxruntime(path: str, feeds: dict[str, np.ndarray], threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for out in session.get_outputs():
        binding.bind_output(out.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def on_openvino(path: str, feeds: dict[str, np.ndarray], threads: int) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({name: array.shape for name, array in feeds.items()})
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if not any("Quantize" in op.get_type_name() for op in model.get_ops()):
        settings["INFERENCE_PRECISION_HINT"] = "f32"  # its default for float models is bfloat16
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    for name, array in feeds.items():
        request.set_tensor(name, openvino.Tensor(array))
    return request.infer


ENGINES: dict[str, Callable[[str, dict[str, np.ndarray], int], Run]] = {
    "octavo": on_octavo,
    "onnxruntime": on_onnxruntime,
    "openvino": on_openvino,
}


def interleave(runs: dict[str, Run], rounds: int, seconds: float = 0.06) -> dict[str, float]:
    """Median over the rounds of the best milliseconds of each round."""
    repeat = {}
    for name, run in runs.items():
        for _ in range(3):
            run()
        start = time.perf_counter()
        run()
        repeat[name] = max(1, int(seconds / max(time.perf_counter() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            best = float("inf")
            for _ in range(repeat[name]):
                start = time.perf_counter()
                run()
                best = min(best, time.perf_counter() - start)
            times[name].append(best * 1e3)
    return {name: statistics.median(t) for name, t in times.items()}


def compare(path: str, engines: list[str], threads: int, rounds: int, dims: dict[str, int]) -> dict[str, float]:
    feeds = random_feeds(path, dims)
    runs = {}
    for name in engines:
        try:
            runs[name] = ENGINES[name](path, feeds, threads)
        except Exception as e:  # a peer that is missing or refuses the file is left out, aloud
            print(f"# {name} leaves out {Path(path).name}: {type(e).__name__}: {str(e)[:120]}", file=sys.stderr)
    return interleave(runs, rounds)


def compare_pair(pair: str, threads: int, rounds: int, dims: dict[str, int]) -> dict[str, float]:
    slow, fast = pair.split("=")
    runs = {n: on_octavo(p, random_feeds(p, dims), threads) for n, p in (("float", slow), ("int8", fast))}
    return interleave(runs, rounds)


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def show(results: dict[str, dict[str, float]], columns: list[str], reference: str, markdown: bool) -> None:
    """One row a model: milliseconds of each engine, and octavo's time over the best peer's."""
    width = max(len(Path(name).stem) for name in results) + 2
    heads = [*columns, "ratio"]
    if markdown:
        print("| model | " + " | ".join(heads) + " |\n|---|" + "---:|" * len(heads))
    else:
        print("model".ljust(width) + "".join(h.rjust(14) for h in heads))
    for name, times in results.items():
        cells = [f"{times[c]:.3f}" if c in times else "-" for c in columns]
        others = [t for c, t in times.items() if c != reference]
        cells.append(f"{times[reference] / min(others):.2f}" if others and reference in times else "-")
        if markdown:
            print(f"| {Path(name).stem} | " + " | ".join(cells) + " |")
        else:
            print(Path(name).stem.ljust(width) + "".join(c.rjust(14) for c in cells))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--pair", action="append", default=[], metavar="FLOAT=INT8")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE", help="size of a symbolic dimension")
    parser.add_argument("--json", metavar="OUT")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    dims = {name: int(size) for name, size in (d.split("=") for d in args.dim)}
    print(f"{cpu_name()}, {args.threads} thread(s); median ms of {args.rounds} interleaved rounds\n")
    results: dict[str, dict[str, float]] = {}
    for path in args.models:
        results[path] = compare(path, args.engines.split(","), args.threads, args.rounds, dims)
    if results:
        show(results, args.engines.split(","), "octavo", args.markdown)
    pairs = {pair.split("=")[1]: compare_pair(pair, args.threads, args.rounds, dims) for pair in args.pair}
    if pairs:
        print()
        show(pairs, ["float", "int8"], "int8", args.markdown)
    if args.json:
        record: dict[str, Any] = {"cpu": cpu_name(), "threads": args.threads, "models": results, "pairs": pairs}
        Path(args.json).write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
