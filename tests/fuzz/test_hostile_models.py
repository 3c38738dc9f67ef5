"""Damaged ONNX files: only octavo.Error may come out of loading and running them.

OCTAVO_FUZZ_ROUNDS=20000 pytest tests/fuzz       more rounds
"""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import octavo

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))
from networks import NETWORKS

ROUNDS = int(os.environ.get("OCTAVO_FUZZ_ROUNDS", "1500")) // 5


def attempt(data: bytes, feeds: dict[str, np.ndarray], label: str) -> bool:
    """Whether the bytes compiled and ran; anything but octavo.Error is a failure of the test."""
    start = time.monotonic()
    try:
        session = octavo.Session(data, threads=1)
        if all(step["op"] != "Python" for step in session.plan.steps):
            session.run(None, feeds)
        return True
    except octavo.Error:
        return False
    except BaseException as e:
        raise AssertionError(f"{label}: {e!r}") from e
    finally:
        assert time.monotonic() - start < 20, f"{label} took too long"


@pytest.mark.parametrize("name", ["mobile", "movement"])
def test_truncated(name: str) -> None:
    model, feeds = NETWORKS[name]().build()
    data = model.SerializeToString()
    ran = sum(attempt(data[:n], feeds, f"{name} cut at {n}") for n in range(0, len(data) - 1, max(1, len(data) // 60)))
    assert ran <= 3  # a cut may fall where what is left is a smaller, valid model


@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes() -> None:
    files = {name: make().build() for name, make in NETWORKS.items()}
    ran = 0
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        name = rng.choice(sorted(files))
        model, feeds = files[name]
        data = bytearray(model.SerializeToString())
        for _ in range(rng.choice([1, 1, 2, 4])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ran += attempt(bytes(data), feeds, f"seed {seed} ({name})")
    assert 0 < ran < ROUNDS
