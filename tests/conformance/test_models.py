"""Real networks beside the repository (folder `shared`, absent in most checkouts): accuracy, agreement, same bytes.

The folder is looked for at ../shared and in $OCTAVO_SHARED; without it these tests skip.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import octavo
from models import SHARED, Listed, listed_models
from test_golden import LEVELS, digest

if SHARED is None:
    pytest.skip("no folder ../shared with models: nothing to check here", allow_module_level=True)

MODELS = {m.name: m for m in listed_models()}
QUANTIZED = [n for n, m in MODELS.items() if m.quantized]
# Slow under the scalar kernels: the scalar level is checked on these with one input instead of many.
HEAVY = {n for n, m in MODELS.items() if m.path.stat().st_size > 3_000_000 or "squeezenet" in n or "yolox" in n}


@pytest.fixture(params=MODELS, scope="module")
def listed(request: pytest.FixtureRequest) -> Listed:
    return MODELS[request.param]


def test_runs_without_a_python_step(listed: Listed) -> None:
    session = octavo.Session(listed.path)
    assert not session.python_steps, session.python_steps


def test_same_bytes_everywhere(listed: Listed, tmp_path: Path) -> None:
    """Scalar, AVX2, AVX-512 VNNI, 1 and 2 threads, optimised or not, Python and C++: one hash."""
    inputs = listed.real_inputs(1 if listed.name in HEAVY else 4)
    want = [digest(octavo.Session(listed.path, threads=1).run(None, f)) for f in inputs]
    for isa in LEVELS:
        for threads, optimize in ((1, True), (2, True), (2, False)):
            if isa == "scalar" and listed.name in HEAVY and (threads, optimize) != (2, True):
                continue
            session = octavo.Session(listed.path, isa=isa, threads=threads, optimize=optimize)
            assert [digest(session.run(None, f)) for f in inputs] == want, (isa, threads, optimize)
    path = tmp_path / "model.octavo"
    octavo.Session(listed.path).save(path)
    assert [digest(octavo.Session(path).run(None, f)) for f in inputs] == want, "the packed file"


@pytest.mark.parametrize("name", sorted(n for n, m in MODELS.items() if m.has_accuracy))
def test_accuracy(name: str) -> None:
    """Within 0.4 points of the recorded figure (0.2 for float), over a fixed part of the data."""
    script = SHARED / "tools" / "eval_models.py"
    slack = "0.4" if MODELS[name].quantized else "0.2"
    run = subprocess.run(
        [sys.executable, str(script), name, "--engine", "octavo", "--slack", slack],
        capture_output=True, text=True, env={**os.environ, "OCTAVO_ISA": ""}, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_onnxruntime(name: str) -> None:
    """Float within 1e-4 relative; quantized: the same top-1 on 98 % and no farther than onnxruntime is from itself."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    listed = MODELS[name]
    inputs = listed.real_inputs(50 if listed.quantized and listed.name not in HEAVY else 12)
    session = octavo.Session(listed.path)
    levels = [ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL]
    peers = []
    for level in levels:
        options = ort.SessionOptions()
        options.log_severity_level, options.graph_optimization_level = 4, level
        peers.append(ort.InferenceSession(str(listed.path), options, providers=["CPUExecutionProvider"]))
    same = total = 0
    ours_worst = theirs_worst = 0.0
    for feeds in inputs:
        got = session.run(None, feeds)[0].astype(np.float64)
        fast, plain = (p.run(None, feeds)[0].astype(np.float64) for p in peers)
        if not listed.quantized:
            scale = np.abs(plain).max()
            assert np.abs(got - plain).max() <= 1e-4 * scale
            continue
        if "minilm" in name:
            cosine = (got * fast).sum() / np.sqrt((got**2).sum() * (fast**2).sum())
            assert cosine >= 0.9999
            continue
        ours_worst = max(ours_worst, min(np.abs(got - fast).max(), np.abs(got - plain).max()))
        theirs_worst = max(theirs_worst, np.abs(fast - plain).max())
        rows = [a.reshape(a.shape[0], -1).argmax(1) for a in (got, plain, fast)]
        same += int(((rows[0] == rows[1]) | (rows[0] == rows[2])).sum())
        total += len(rows[0])
    if total and listed.task != "ad":
        assert same >= 0.98 * total, f"top-1 agrees on {same} of {total}"
    if total:
        one_step = listed.output_step
        assert ours_worst <= max(1.5 * theirs_worst, one_step), (ours_worst, theirs_worst)


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if "QOperator" in m.entry["precision"]])
def test_every_integer_equals_onnxruntime(name: str) -> None:
    """Every quantized tensor inside, on 20 inputs, with onnxruntime's optimizations and without."""
    import onnx

    ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    listed = MODELS[name]
    model = onnx.load(listed.path)
    inner = [n.output[0] for n in model.graph.node if n.op_type.startswith(("QLinear", "QuantizeLinear", "MaxPool"))]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, None) for n in inner)
    peers = []
    for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
        options = ort.SessionOptions()
        options.log_severity_level, options.graph_optimization_level = 4, level
        peers.append(ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]))
    ours = octavo.Session(model)
    for feeds in listed.real_inputs(20):
        got = ours.run(None, feeds)
        for peer in peers:
            wrong = [n for n, a, b in zip(inner, got, peer.run(None, feeds)) if not np.array_equal(a, b)]
            assert not wrong, wrong


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if "QOperator" in m.entry["precision"]])
def test_fuses_like_its_twin(name: str) -> None:
    """The same network with quantized operators and with Q/DQ pairs becomes the same steps."""
    twin = name.replace("_qop_", "_qdq_")
    if twin not in MODELS:
        pytest.skip("no such file with Q/DQ pairs")
    steps = [sorted(s["op"] for s in octavo.Session(MODELS[n].path).plan.steps) for n in (name, twin)]
    assert steps[0] == steps[1]


# onnxruntime leaves most convolutions of s8s8 in float.
@pytest.mark.parametrize("name", [n for n in QUANTIZED if "minilm" not in n and "s8s8" not in n.replace("u8s8", "")])
def test_what_onnxruntime_fused_and_saved(name: str, tmp_path: Path) -> None:
    """A file that onnxruntime optimised and wrote, full of its own operators: its integers to the last."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    listed = MODELS[name]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    peer = ort.InferenceSession(str(listed.path), options, providers=["CPUExecutionProvider"])
    ours = octavo.Session(tmp_path / "optimised.onnx")
    assert not ours.python_steps, ours.python_steps
    for feeds in listed.real_inputs(6):
        assert np.array_equal(ours.run(None, feeds)[0], peer.run(None, feeds)[0])


@pytest.mark.parametrize("name", QUANTIZED)
def test_any_batch_or_length(name: str) -> None:
    """Symbolic dimensions change from call to call and each row stays what it was."""
    listed = MODELS[name]
    feeds = listed.real_inputs(3)
    session = octavo.Session(listed.path, threads=1)
    if not isinstance(session.get_inputs()[0].shape[0], str) or listed.task == "sts":
        pytest.skip("fixed batch, or dynamic quantization whose range spans the batch")
    single = [session.run(None, f)[0] for f in feeds]
    joined = {k: np.concatenate([f[k] for f in feeds]) for k in feeds[0]}
    assert session.run(None, joined)[0].tobytes() == np.concatenate(single).tobytes()
