"""pytest-benchmark suite over whole models. `make bench` runs it; plain `pytest` collects it with benchmarks disabled.

make bench-save NAME=before         keep a baseline
make bench-compare FAIL=median:5%   run again beside the newest baseline; fail where a median grew by more

The real models of bench/compare.py take part where their folder is there; MobileNetV1 with seeded weights always does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import octavo
from compare import model_folder
from octavo.report.bench import random_feeds
from units import SEEDED, TABLE, Row, Settings, path_of

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


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_model(benchmark, row: Row, threads: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One inference of a model of the comparison's table, buffers bound."""
    settings = Settings(model_folder(None), tmp_path_factory.getbasetemp() / "made")
    if row.name in SEEDED and not benchmark.enabled:
        pytest.skip("making a seeded network takes seconds; tests/python/test_compare.py makes small ones")
    try:
        path = path_of(row.name, settings)
    except FileNotFoundError as e:
        pytest.skip(f"not there: {e}")
    session = octavo.Session(path, threads=threads)
    feeds = random_feeds(session.get_inputs(), dict(row.dims))
    benchmark(session.bind(feeds).run)
