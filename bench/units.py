"""What bench/compare.py measures, a function a unit: each takes the model's row and the settings, and returns a record.

Units are short, so that a long comparison can be made in pieces; each interleaves all engines that take part in it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import octavo
from octavo.errors import Error, Unsupported
from octavo.report import peers
from octavo.report.bench import latency, random_feeds, time_interleaved

LONGEST_S = 40.0  # what the rounds of a unit may take
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """A model of the table: its file, what the ratio to the best peer should reach, and the sizes of its inputs."""

    name: str
    reach: float | None = None
    beyond: float | None = None
    dims: tuple[tuple[str, int], ...] = ()
    real: bool = False  # a float model
    batches: bool = False  # a CNN that is timed with batches too
    float_twin: str = ""  # the float model of the same network


TOKENS = (("batch_size", 1), ("sequence_length", 128))
TABLE = [
    Row("mobilenet_v2_1.0_224_ort_qdq_u8s8", 0.62, 0.56, batches=True, float_twin="mobilenet_v2_1.0_224"),
    Row("mobilenet_v2_1.0_224_ort_qop_u8s8", 0.62, 0.56, float_twin="mobilenet_v2_1.0_224"),
    Row("efficientnet_lite0_ort_qdq_u8s8", 0.65, 0.58, batches=True, float_twin="efficientnet_lite0"),
    Row("squeezenet1.1_ort_qdq_u8s8", 0.95, 0.85, batches=True, float_twin="squeezenet1.1"),
    Row("squeezenet1.1_ort_qdq_s8s8", 0.95, 0.85, float_twin="squeezenet1.1"),
    Row("squeezenet1.1_ort_qop_u8s8", 0.95, 0.85, float_twin="squeezenet1.1"),
    Row("mobilenet_v2_1.0_224_tflite_quant", 0.33, 0.28, float_twin="mobilenet_v2_1.0_224"),
    Row("mlperf_tiny_resnet8_int8", 0.95, 0.80, float_twin="mlperf_tiny_resnet8_float"),
    Row("mlperf_tiny_vww_int8", 0.50, 0.42, float_twin="mlperf_tiny_vww_float"),
    Row("mlperf_tiny_kws_int8", 0.45, 0.38, float_twin="mlperf_tiny_kws_float"),
    Row("mlperf_tiny_ad_int8", 1.25, 0.9, float_twin="mlperf_tiny_ad_float"),
    Row("paraphrase_minilm_l3_ort_dynamic", 0.70, 0.60, TOKENS, float_twin="paraphrase_minilm_l3"),
    Row("mobilenet_v1_1.0_224_seeded", 0.80, 0.75, batches=True),
    Row("resnet50_seeded", 0.90, 0.84, batches=True),
    Row("mobilenet_v2_1.0_224", 1.0, real=True),
    Row("efficientnet_lite0", 1.0, real=True),
    Row("squeezenet1.1", 1.0, real=True),
]  # fmt: skip
ROWS = {row.name: row for row in TABLE}
SEEDED = {"mobilenet_v1_1.0_224_seeded": "mobilenet_v1", "resnet50_seeded": "resnet50"}


@dataclass(frozen=True)
class Settings:
    models: Path  # the folder of real models
    made: Path  # where seeded models are written
    rounds: int = 15
    round_s: float = 0.06
    bench_binary: Path | None = None


def path_of(name: str, settings: Settings) -> str:
    """A model's file; a seeded network is written on first use. Raises FileNotFoundError."""
    if name in SEEDED:
        path = settings.made / f"{name}.onnx"
        if not path.exists():
            import onnx

            import seeded

            settings.made.mkdir(parents=True, exist_ok=True)
            onnx.save(getattr(seeded, SEEDED[name])(), path)
        return str(path)
    path = settings.models / f"{name}.onnx"
    if not path.exists():
        raise FileNotFoundError(path)
    return str(path)


# ---- engines in turn -------------------------------------------------------------------------------------------------


def interleaved(runs: Mapping[str, Callable[[], object]], settings: Settings) -> dict[str, dict[str, Any]]:
    """Of each engine: `ms`, the median over rounds of a round's best call, and the latency of all calls.

    Slow models get fewer rounds, so that a unit stays a short piece of work.
    """
    turn = 0.0
    for run in runs.values():
        start = time.perf_counter()
        run()
        turn += max(2 * (time.perf_counter() - start), settings.round_s)
    rounds = max(min(settings.rounds, 3), min(settings.rounds, round(LONGEST_S / turn)))
    taken = time_interleaved(list(runs.values()), rounds, None, settings.round_s)
    found = {}
    for name, times in zip(runs, taken):
        each = max(1, len(times) // rounds)
        best = [min(times[k : k + each]) for k in range(0, len(times), each)]
        found[name] = {"ms": round(statistics.median(best) / 1e6, 6), **latency(times)}
    return found


def engines(
    row: Row, settings: Settings, threads: int, batch: int | None = None, isa: str | None = None
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """octavo and every peer that takes the file, ready to run, and why the others do not."""
    path = path_of(row.name, settings)
    session = octavo.Session(path, threads=threads, isa=isa)
    dims = dict(row.dims)
    if batch is not None:
        dims |= {i.shape[0]: batch for i in session.get_inputs() if i.shape and isinstance(i.shape[0], str)}
    feeds = random_feeds(session.get_inputs(), dims)
    runs: dict[str, Callable[[], object]] = {"octavo": session.bind(feeds).run}
    refusals = {}
    wanted: list[tuple[str, str, bool]] = [("onnxruntime", "onnxruntime", False), ("openvino", "openvino", row.real)]
    if row.real:
        wanted.append(("openvino_bf16", "openvino", False))  # its default, shown beside but not compared with
    if peers.twin(path) is not None and batch is None:
        wanted.append(("litert", "litert", False))
    for label, peer, float32 in wanted:
        try:
            runs[label] = peers.prepare(peer, path, feeds, threads, float32=float32)
        except Error as e:
            refusals[label] = str(e)
    return runs, refusals


def ratio(record: Mapping[str, Mapping[str, Any]], key: str = "ms") -> float | None:
    """octavo's time over the best peer's. OpenVINO in bfloat16 does another job and does not count."""
    others = [r[key] for name, r in record.items() if name not in ("octavo", "openvino_bf16")]
    return round(record["octavo"][key] / min(others), 4) if others else None


def compared(row: Row, settings: Settings, threads: int, batch: int | None = None) -> dict[str, Any]:
    runs, refusals = engines(row, settings, threads, batch)
    found = interleaved(runs, settings)
    return {"engines": found, "ratio": ratio(found), "refused": refusals}


def avx2(row: Row, settings: Settings) -> dict[str, Any]:
    """Both held to AVX2, and octavo's own float model. Runs in a process that the limit was set for from the start."""
    runs, refusals = engines(row, settings, 1, isa="avx2")
    if row.float_twin:
        twin = Row(row.float_twin, dims=row.dims)
        path = path_of(twin.name, settings)
        session = octavo.Session(path, threads=1, isa="avx2")
        runs["octavo_float"] = session.bind(random_feeds(session.get_inputs(), dict(row.dims))).run
    keep = {k: v for k, v in runs.items() if k in ("octavo", "octavo_float", "openvino")}
    found = interleaved(keep, settings)
    record: dict[str, Any] = {"engines": found, "refused": refusals}
    if "openvino" in found:
        record["ratio"] = round(found["octavo"]["ms"] / found["openvino"]["ms"], 4)
        path = path_of(row.name, settings)
        feeds = random_feeds(octavo.Session(path, threads=1).get_inputs(), dict(row.dims))
        kinds = peers.openvino_primitives(path, feeds, 1)
        record["openvino_primitives"] = {k: kinds.count(k) for k in sorted(set(kinds))}
    if "octavo_float" in found:
        record["int8_over_float"] = round(found["octavo"]["ms"] / found["octavo_float"]["ms"], 4)
    return record


# ---- other questions -------------------------------------------------------------------------------------------------


@contextmanager
def spinning(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A process that spins, for each core."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield spinners
    finally:
        for process in spinners:
            process.kill()
            process.wait()


def busy(row: Row, settings: Settings) -> dict[str, Any]:
    """Two threads while another process spins on each core; medians of all calls."""
    runs, refusals = engines(row, settings, 2)
    keep = {k: v for k, v in runs.items() if k in ("octavo", "onnxruntime")}
    with spinning(len(os.sched_getaffinity(0))):
        found = interleaved(keep, settings)
    record: dict[str, Any] = {"engines": found, "refused": refusals}
    if "onnxruntime" in found:
        record["ratio"] = round(found["octavo"]["median_ms"] / found["onnxruntime"]["median_ms"], 4)
    return record


def child(command: list[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object that a command prints. Raises Unsupported with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        words = done.stderr.strip().rsplit("\n", 1)[-1] or f"it ended with status {done.returncode}"
        raise Unsupported(f"{Path(command[0]).name}: {words}")
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


LOADING = """
import json, statistics, sys, time
import numpy as np
import octavo, octavo.lower
from octavo.report.bench import random_feeds
path, dims = sys.argv[1], dict(json.loads(sys.argv[2]))
octavo.Session(path, threads=1)  # imports and first touches
taken = []
for _ in range(int(sys.argv[3])):
    start = time.perf_counter(); session = octavo.Session(path, threads=1); taken.append(time.perf_counter() - start)
    held = session.memory.held
    del session
before = octavo._core.bytes_held()
session = octavo.Session(path, threads=1)
held = octavo._core.bytes_held() - before
inputs, shapes = session.get_inputs(), []
free = sorted({d for i in inputs for d in i.shape if isinstance(d, str)})
session.bind(random_feeds(inputs, dims)).run()
for size in range(2, 7) if free else ():
    name = free[-1]
    feeds = random_feeds(inputs, {**dims, name: dims.get(name, 1) + size})
    start = time.perf_counter(); session.bind(feeds); shapes.append(time.perf_counter() - start)
print(json.dumps({
    "create_ms": round(statistics.median(taken) * 1e3, 2), "held_bytes": held,
    "new_shape_ms": round(statistics.median(shapes) * 1e3, 3) if shapes else None,
}))
"""


def loading(row: Row, settings: Settings) -> dict[str, Any]:
    """In a process of its own: creating a session after imports, bytes the core holds then, planning a new shape."""
    path = path_of(row.name, settings)
    rounds = "5" if settings.rounds > 5 else "2"
    record = child([sys.executable, "-c", LOADING, path, json.dumps(row.dims), rounds])
    record["file_bytes"] = os.path.getsize(path)
    record["held_over_file"] = round(record["held_bytes"] / record["file_bytes"], 3)
    return record


def kernels(group: str, settings: Settings) -> dict[str, Any]:
    """One group of octavo-bench's table."""
    if settings.bench_binary is None:
        raise FileNotFoundError("octavo-bench is not built (make native)")
    milliseconds = "100" if settings.rounds > 5 else "20"
    return child([str(settings.bench_binary), "--threads", "1", "--json", "--ms", milliseconds, "--only", group])


KERNEL_GROUPS = ["conv 1x1", "conv 3x3", "stems", "depthwise", "matrix products", "attention products", "float"]


def held_to_avx2(name: str, settings: Settings) -> dict[str, Any]:
    """avx2() in a child whose environment holds OpenVINO and octavo to AVX2."""
    environment = os.environ | {"OCTAVO_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    options = {
        "models": str(settings.models), "made": str(settings.made), "rounds": settings.rounds,
        "round_s": settings.round_s,
    }  # fmt: skip
    return child([sys.executable, str(Path(__file__)), name, json.dumps(options)], environment)


def all_units() -> dict[str, Callable[[Settings], dict[str, Any]]]:
    """Every unit by name, "part/what", in the order they are measured."""
    found: dict[str, Callable[[Settings], dict[str, Any]]] = {}
    for row in TABLE:
        found[f"one/{row.name}"] = lambda s, row=row: compared(row, s, 1)
    for row in TABLE:
        found[f"two/{row.name}"] = lambda s, row=row: compared(row, s, 2)
    for row in TABLE:
        for batch in (8, 32) if row.batches else ():
            found[f"batch/{row.name}/{batch}"] = lambda s, row=row, b=batch: compared(row, s, 1, b)
    for row in TABLE:
        if not row.real:
            found[f"avx2/{row.name}"] = lambda s, row=row: held_to_avx2(row.name, s)
    for group in KERNEL_GROUPS:
        found[f"kernels/{group}"] = lambda s, group=group: kernels(group, s)
    for row in TABLE:
        found[f"loading/{row.name}"] = lambda s, row=row: loading(row, s)
    for name in ("mobilenet_v2_1.0_224_ort_qdq_u8s8", "squeezenet1.1_ort_qdq_u8s8"):
        found[f"busy/{name}"] = lambda s, row=ROWS[name]: busy(row, s)
    return found


def main() -> None:
    options = json.loads(sys.argv[2])
    options |= {"models": Path(options["models"]), "made": Path(options["made"])}
    print(json.dumps(avx2(ROWS[sys.argv[1]], Settings(**options))))


if __name__ == "__main__":
    main()
