"""Damaged `.octavo` files with right checksums: a clear octavo.Error or a result; no crash, hang or huge allocation.

OCTAVO_FUZZ_ROUNDS=20000 pytest tests/fuzz       more rounds
"""

from __future__ import annotations

import os
import random
import resource
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo import _core

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))
from networks import NETWORKS

ROUNDS = int(os.environ.get("OCTAVO_FUZZ_ROUNDS", "1500"))
HEADER = ENTRY = 64
INTEGERS = [0, -1, 1, 2, 3, 7, 255, 256, -128, 10**6, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-300]


def sections(file: bytes) -> list[tuple[int, int, int]]:
    """(table entry, offset, size) of each section."""
    count = struct.unpack_from("<I", file, 12)[0]
    return [(at, *struct.unpack_from("<QQ", file, at + 8)) for at in range(HEADER, HEADER + count * ENTRY, ENTRY)]


def damage(file: bytearray, rng: random.Random) -> None:
    """One to four wrong bytes, integers or floats in the plan or the weights; checksums are made right again."""
    (_, plan, plan_size), (_, weights, weight_size) = parts = sections(file)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = plan + rng.randrange(plan_size - 8)
        kind = rng.random()
        if kind < 0.3:
            file[at] = rng.randrange(256)
        elif kind < 0.5:
            struct.pack_into("<q", file, at, rng.choice(INTEGERS))
        elif kind < 0.7:
            struct.pack_into("<i", file, at, max(-(2**31), min(2**31 - 1, rng.choice(INTEGERS))))
        elif kind < 0.8:
            struct.pack_into("<d", file, at, rng.choice(FLOATS))
        elif kind < 0.9:
            file[at] ^= 1 << rng.randrange(8)
        else:
            struct.pack_into("<q", file, weights + rng.randrange(max(1, weight_size - 300)), rng.choice(INTEGERS))
    for entry, offset, size in parts:
        struct.pack_into("<I", file, entry + 24, zlib.crc32(file[offset : offset + size]))
    struct.pack_into("<I", file, 24, zlib.crc32(file[HEADER : HEADER + len(parts) * ENTRY]))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, list[np.ndarray]]]:
    folder = tmp_path_factory.mktemp("packed")
    files = {}
    for name, make in NETWORKS.items():
        net = make()
        model, feeds = net.build()
        octavo.Session(model, threads=1, **net.options).save(folder / name)
        files[name] = ((folder / name).read_bytes(), list(feeds.values()))
    return files


def test_damaged_files(packed: dict[str, tuple[bytes, list[np.ndarray]]]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = 8 << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    refused = ran = 0
    try:
        for seed in range(ROUNDS):
            rng = random.Random(seed)
            file, feeds = packed[rng.choice(sorted(packed))]
            broken = bytearray(file)
            damage(broken, rng)
            start = time.monotonic()
            try:
                plan = _core.Plan.from_bytes(bytes(broken))
                _core.Session(plan, isa=rng.choice(["", "scalar"]), threads=rng.choice([1, 2])).run(feeds)
                ran += 1
            except octavo.Error:
                refused += 1
            except BaseException as e:
                raise AssertionError(f"seed {seed}: {type(e).__name__}: {e}") from e
            assert time.monotonic() - start < 20, f"seed {seed} took too long"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    # Most damage must be noticed, and some must pass (a changed weight is still a network): else this tests nothing.
    assert refused > ROUNDS // 3 and ran > 0
