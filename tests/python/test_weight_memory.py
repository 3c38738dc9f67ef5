"""Weight-only models take little more memory than their compressed weights and activations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import octavo
from one_step import Array, same
from small_models import model, tensor
from test_small_weights import SCHEMES
from weight_only import restored_first, weight_only

MOST = 1.3  # of the compressed weights and the arena
KINDS = ["int8", "int4 blocks", "int2", "codebook", "int8 codebook"]

# Runs in a process of its own. What a first model costs the process once (modules that onnx loads late, caches of
# types) is paid before: the model is loaded, run and dropped, and freed memory given back.
MEASURE = """
import gc, json, sys
import numpy as np
import octavo
from octavo import _core

def status():
    with open("/proc/self/status") as f:
        rows = dict(line.split(":", 1) for line in f)
    return {k: int(rows[k].split()[0]) * 1024 for k in ("VmRSS", "VmHWM")}

def load(path, given):
    session = octavo.Session(path, threads=1)
    bound = session.bind(given)
    bound.run()
    return session, bound

path, feeds = sys.argv[1:]
given = dict(np.load(feeds))
load(path, given)
gc.collect()
_core.release_memory()
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")  # the high-water mark starts anew
before = status()
session, bound = load(path, given)
after = status()
print(json.dumps({
    "arena": bound.arena_bytes, "held": _core.bytes_peak(),
    "rss": after["VmRSS"] - before["VmRSS"], "peak": after["VmHWM"] - before["VmRSS"],
}))
"""


def measure(folder: Path, path: Path, feeds: dict[str, Array]) -> dict[str, Any]:
    """Bytes: `arena`, `held` (by the core, at its peak), `rss` (growth), `peak` (growth of the high-water mark)."""
    np.savez(folder / "feeds.npz", **feeds)
    command = [sys.executable, "-c", MEASURE, str(path), str(folder / "feeds.npz")]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compressed(net: ModelProto) -> int:
    return sum(len(t.raw_data) for t in net.graph.initializer)


def check(net: ModelProto, feeds: dict[str, Array], folder: Path, what: str) -> None:
    """Core-counted bytes and resident memory stay within MOST; the bytes are those of restoring first."""
    path, packed = folder / "net.onnx", folder / "net.octavo"
    onnx.save(net, path)
    session = octavo.Session(path, threads=1)
    session.save(packed)
    expected = octavo.Session(restored_first(net), threads=1).run(None, feeds)
    for got, want in zip(session.run(None, feeds), expected, strict=True):
        same(got, want, what)
    weights = compressed(net)
    for file in (path, packed):
        used = measure(folder, file, feeds)
        bound = MOST * (weights + used["arena"])
        mapped = packed.stat().st_size if file == packed else 0  # a packed plan is read where it is mapped
        figures = {k: round(v / 1e6, 2) for k, v in {**used, "weights": weights, "bound": bound}.items()}
        print(what, file.suffix, figures)
        assert used["held"] + mapped <= bound, figures
        assert used["rss"] <= bound, figures
        if mapped:
            assert used["peak"] <= bound, figures


def twin() -> tuple[ModelProto, dict[str, Array]]:
    """A seeded network with the weights of a small language model: 6.3 million of them."""
    rng = np.random.default_rng(9)

    def w(*shape: int) -> Array:
        return rng.normal(0, 0.05, shape).astype(np.float32)

    constants = {"table": w(4000, 512), "up": w(512, 2048), "down": w(2048, 512), "out": w(4200, 512)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], "embed"),
        helper.make_node("MatMul", ["e", "up"], ["u"], "up"),
        helper.make_node("Tanh", ["u"], ["t"], "tanh"),
        helper.make_node("MatMul", ["t", "down"], ["d"], "down"),
        helper.make_node("ReduceMean", ["d", "axes"], ["m"], "mean", keepdims=0),
        helper.make_node("Gemm", ["m", "out"], ["y"], "out", transB=1),
    ]
    ids = tensor("ids", ["N", "T"], TensorProto.INT64)
    net = model(nodes, [ids], [tensor("y", ["N", 4200])], {**constants, "axes": np.array([1], np.int64)})
    return net, {"ids": rng.integers(0, 4000, (1, 64))}


@pytest.mark.parametrize("kind", ["int8", "int4 blocks", "codebook"])
def test_seeded_twin(kind: str, tmp_path: Path) -> None:
    net, feeds = twin()
    check(weight_only(net, SCHEMES[kind]), feeds, tmp_path, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["paraphrase_minilm_l3", "squeezenet1.1"])
def test_real_models(name: str, kind: str, tmp_path: Path, shared_models: Path) -> None:
    rng = np.random.default_rng(10)
    ids = rng.integers(1, 4900, (1, 128))
    feeds: dict[str, Array] = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if name == "squeezenet1.1":
        feeds = {"data": rng.normal(0, 1, (1, 3, 224, 224)).astype(np.float32)}
    net = weight_only(onnx.load(shared_models / f"{name}.onnx"), SCHEMES[kind])
    check(net, feeds, tmp_path, f"{name} {kind}")
