"""pytest-benchmark suite over whole models. `make bench` runs it; plain `pytest` collects it with benchmarks disabled.

pytest bench --benchmark-enable --benchmark-save=NAME       keep a baseline
pytest bench --benchmark-enable --benchmark-compare --benchmark-compare-fail=median:5%
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import octavo

DATA = Path(octavo.__file__).parent / "_data"


def image(batch: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(0).random((batch, 1, 28, 28), dtype=np.float32)}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["fashion_float", "fashion_int8"])
def test_demo_network(benchmark, name: str, threads: int) -> None:
    """One image through the packaged network, buffers bound."""
    bound = octavo.Session(DATA / f"{name}.onnx", threads=threads).bind(image(1))
    benchmark(bound.run)


def test_unbound_call(benchmark) -> None:
    """What the checks of an ordinary run() cost on a tiny network."""
    session = octavo.Session(DATA / "fashion_int8.onnx", threads=1)
    feeds = image(1)
    benchmark(lambda: session.run(None, feeds))


def test_load(benchmark) -> None:
    """Compiling and binding the packaged network."""
    benchmark(lambda: octavo.Session(DATA / "fashion_int8.onnx", threads=1))
