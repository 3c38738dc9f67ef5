"""Other engines on the same file, ready to run: whom ``octavo bench --compare`` and bench/compare.py take turns with.

Each function loads a model, binds the inputs once and returns what runs it. They are imported only when asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from octavo.errors import InvalidArgument, IoError, Unsupported
from octavo.feeds import did_you_mean

Feeds = Mapping[str, np.ndarray]
Run = Callable[[], object]

PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}
MODULES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert.interpreter"}


def version_of(peer: str) -> str:
    return metadata.version(PACKAGES[peer])


def load(peer: str) -> ModuleType:
    """The peer's module. Raises InvalidArgument for a name that is none, Unsupported when it is not installed."""
    if peer not in MODULES:
        raise InvalidArgument(f"there is no peer '{peer}' to compare with{did_you_mean(peer, MODULES)}")
    try:
        return importlib.import_module(MODULES[peer])
    except ImportError as e:
        raise Unsupported(
            f"cannot compare with {peer}: {PACKAGES[peer]} is not installed ({e}); pip install 'octavo[bench]'"
        ) from e


def twin(model: str) -> str | None:
    """The TensorFlow Lite file that an ONNX file was made from: NAME.tflite beside it or in a folder `tflite` there."""
    path = Path(model)
    for folder in (path.parent, path.parent / "tflite"):
        found = folder / f"{path.stem}.tflite"
        if found.is_file():
            return str(found)
    return None


def prepare(peer: str, model: str, feeds: Feeds, threads: int, *, float32: bool = False) -> Run:
    """The peer on this model with these inputs bound; float32 keeps OpenVINO from computing in bfloat16.

    Raises Unsupported, with the peer's own words, when it is not installed or refuses the model.
    """
    module = load(peer)
    try:
        if peer == "onnxruntime":
            return on_onnxruntime(module, model, feeds, threads)
        if peer == "openvino":
            request = compiled_openvino(module, model, feeds, threads, float32).create_infer_request()
            for name, array in feeds.items():
                request.set_tensor(name, module.Tensor(array))
            run: Run = request.infer
            return run
        return on_litert(module, model, feeds, threads)
    except (InvalidArgument, Unsupported, IoError):
        raise
    except Exception as e:  # whatever a foreign engine throws
        name = Path(model).name  # results are kept: a reader has no use for this machine's folders
        words = " ".join(str(e).replace(str(model), name).split())[:200]
        raise Unsupported(f"{peer} refuses '{name}': {type(e).__name__}: {words}") from e


def on_onnxruntime(module: ModuleType, model: str, feeds: Feeds, threads: int) -> Run:
    options = module.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = module.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for out in session.get_outputs():
        binding.bind_output(out.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def compiled_openvino(module: ModuleType, model: str, feeds: Feeds, threads: int, float32: bool) -> Any:
    core = module.Core()
    network = core.read_model(model)
    network.reshape({name: array.shape for name, array in feeds.items()})
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if float32:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    return core.compile_model(network, "CPU", settings)


def openvino_primitives(model: str, feeds: Feeds, threads: int) -> list[str]:
    """What OpenVINO runs each layer with, such as "brgconv_avx512_I8": how far it obeys a limit on instructions."""
    compiled = compiled_openvino(load("openvino"), model, feeds, threads, False)
    found = []
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if "primitiveType" in info:
            found.append(str(info["primitiveType"].astype(str)))
    return found


def on_litert(module: ModuleType, model: str, feeds: Feeds, threads: int) -> Run:
    path = twin(model)
    if path is None:
        raise Unsupported(
            f"litert runs TensorFlow Lite files, and there is no {Path(model).stem}.tflite beside '{model}' or in a "
            "folder 'tflite' there"
        )
    interpreter = module.Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], as_litert(detail, feeds))
    run: Run = interpreter.invoke
    return run


def as_litert(detail: Mapping[str, Any], feeds: Feeds) -> np.ndarray:
    """The feed of the same shape and type, whatever its name; else random data, which times the same."""
    shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
    for array in feeds.values():
        if array.shape == shape and array.dtype == dtype:
            return array
    rng = np.random.default_rng(0)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
