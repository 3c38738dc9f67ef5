"""One quantizer in a process of its own: what bench/quantizers.py starts, under the interpreter that has the tool.

    python quantizer_tools.py TOOL FLOAT.onnx CALIBRATION OUT.onnx '{"option": ...}'

TOOL: a name of TOOLS. CALIBRATION: a folder of .npz files, a sample each (an array an input), read one at a time.
The last line printed is JSON: {"seconds", "cpu_seconds", "start_mb", "peak_mb"} of the tool's work (its imports come
before), or {"missing": package} where it is not installed. Imports nothing of octavo but for its own tool.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, np.ndarray]
Work = Callable[[str, "Samples", str, dict[str, Any]], None]


class Samples:
    """The calibration samples, again and again; onnxruntime's ``get_next`` too."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.npz"))
        self.left = iter(self)

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Feeds]:
        for file in self.files:
            with np.load(file) as arrays:
                yield {name: arrays[name] for name in arrays.files}

    def get_next(self) -> Feeds | None:
        return next(self.left, None)


def octavo(model: str, samples: Samples, out: str, options: dict[str, Any]) -> None:
    import octavo as package

    package.quantize(model, iter(samples), out, **options)


def ort_static(model: str, samples: Samples, out: str, options: dict[str, Any]) -> None:
    """options: method (MinMax, Percentile, Entropy), per_channel. Unsigned activations, signed weights, QDQ."""
    from onnxruntime import quantization as q

    q.quantize_static(
        preprocessed(model, out),
        out,
        samples,
        quant_format=q.QuantFormat.QDQ,
        per_channel=options.get("per_channel", True),
        activation_type=q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
        calibrate_method=getattr(q.CalibrationMethod, options["method"]),
    )


def ort_dynamic(model: str, samples: Samples, out: str, options: dict[str, Any]) -> None:
    from onnxruntime import quantization as q

    q.quantize_dynamic(preprocessed(model, out), out, per_channel=True, weight_type=q.QuantType.QInt8)


def preprocessed(model: str, out: str) -> str:
    """quant_pre_process, without symbolic shapes where those fail (as its documentation advises)."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = f"{out}.ready.onnx"
    try:
        quant_pre_process(model, ready)
    except Exception:  # it raises plain Exception
        quant_pre_process(model, ready, skip_symbolic_shape=True)
    return ready


def nncf(model: str, samples: Samples, out: str, options: dict[str, Any]) -> None:
    """options: transformer. The default preset, all samples."""
    import nncf as package
    import onnx

    kind = {"model_type": package.ModelType.TRANSFORMER} if options.get("transformer") else {}
    data = package.Dataset(list(range(len(samples))), lambda k: load(samples.files[k]))
    onnx.save(package.quantize(onnx.load(model), data, subset_size=len(samples), **kind), out)


def load(file: Path) -> Feeds:
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


# Tool -> (what it does, the package it needs, the modules that are imported before the clock starts)
TOOLS: dict[str, tuple[Work, str, tuple[str, ...]]] = {
    "octavo": (octavo, "octavo", ("octavo", "octavo.compress.quantize", "onnx")),
    "onnxruntime": (ort_static, "onnxruntime", ("onnxruntime.quantization", "onnx")),
    "onnxruntime dynamic": (ort_dynamic, "onnxruntime", ("onnxruntime.quantization", "onnx")),
    "nncf": (nncf, "nncf", ("nncf", "onnx", "onnxruntime")),
}


def memory_mb(field: str) -> float:
    """VmRSS (now) or VmHWM (the most so far) of this process, in 10^6 bytes; of its own memory, not its parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {field}")


def main() -> int:
    tool, model, calibration, out, options = sys.argv[1:]
    work, package, modules = TOOLS[tool]
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as e:
        print(json.dumps({"missing": package, "why": str(e)}))
        return 0
    samples, start_mb = Samples(Path(calibration)), memory_mb("VmRSS")
    begun, begun_cpu = time.perf_counter(), time.process_time()
    work(model, samples, out, json.loads(options))
    found = {
        "seconds": round(time.perf_counter() - begun, 2),
        "cpu_seconds": round(time.process_time() - begun_cpu, 2),
        "start_mb": round(start_mb, 1),
        "peak_mb": round(memory_mb("VmHWM"), 1),
        "version": getattr(sys.modules[package], "__version__", ""),
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
