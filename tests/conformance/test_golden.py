"""Same bytes: SHA-256 of seeded networks over every ISA level, thread count and optimisation, against recorded hashes.

python tests/conformance/test_golden.py --record     writes golden.json anew (only when the arithmetic contract changes)
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import octavo
from networks import NETWORKS, Feeds, Net
from octavo import _core

GOLDEN = Path(__file__).with_name("golden.json")
LEVELS = [name for name, supported in _core.isas() if supported]
# Never part of a golden network: it is the host's code.
EXEMPT = {"Python"}


def digest(arrays: list[np.ndarray]) -> str:
    """SHA-256 over dtype, shape and bytes of each array, in order."""
    h = hashlib.sha256()
    for a in arrays:
        h.update(f"{a.dtype.str} {a.shape};".encode())
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


def run(name: str, **options: object) -> tuple[str, octavo.Session]:
    net = NETWORKS[name]()
    model, feeds = net.build()
    session = octavo.Session(model, **net.options, **options)
    return digest(session.run(None, feeds)), session


def demo_network() -> tuple[bytes, Feeds]:
    data = Path(octavo.__file__).parent / "_data"
    images = np.load(data / "fashion_test.npz")["images"][:8].astype(np.float32) / np.float32(255)
    return (data / "fashion_int8.onnx").read_bytes(), {"image": images.reshape(8, 1, 28, 28)}


def demo_digest(**options: object) -> str:
    model, feeds = demo_network()
    session = octavo.Session(model, **options)
    (name,) = [i.name for i in session.get_inputs()]
    return digest(session.run(None, {name: feeds["image"]}))


@pytest.fixture(scope="module")
def golden() -> dict[str, str]:
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("name", NETWORKS)
def test_same_bytes(name: str, isa: str, threads: int, optimize: bool, golden: dict[str, str]) -> None:
    got, session = run(name, isa=isa, threads=threads, optimize=optimize)
    assert not session.python_steps, session.python_steps
    assert got == golden[name]


@pytest.mark.parametrize("isa", LEVELS)
def test_demo_network(isa: str, golden: dict[str, str]) -> None:
    for threads, optimize in ((1, True), (2, True), (1, False)):
        assert demo_digest(isa=isa, threads=threads, optimize=optimize) == golden["demo"]


def test_networks_cover_every_plan_operator() -> None:
    used = set()
    for name in NETWORKS:
        net = NETWORKS[name]()
        model, _ = net.build()
        for optimize in (True, False):
            session = octavo.Session(model, threads=1, optimize=optimize, **net.options)
            used |= {step["op"] for step in session.plan.steps}
    assert set(_core.op_names()) - used - EXEMPT == set()


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_plan_gives_the_same_bytes(name: str, tmp_path: Path, golden: dict[str, str]) -> None:
    _, session = run(name, threads=1)
    path = tmp_path / "net.octavo"
    session.save(path)
    _, feeds = NETWORKS[name]().build()
    assert digest(octavo.Session(path, threads=1).run(None, feeds)) == golden[name]


def test_a_changed_weight_changes_the_hash() -> None:
    """The hash would notice: one weight differs by one."""

    class Nudged(Net):
        pass

    model, feeds = NETWORKS["mobile"]().build()
    for tensor in model.graph.initializer:
        if tensor.data_type == 3 and len(tensor.dims) == 4:
            raw = bytearray(tensor.raw_data)
            raw[5] = (raw[5] + 1) % 256
            tensor.raw_data = bytes(raw)
            break
    assert digest(octavo.Session(model, threads=1).run(None, feeds)) != run("mobile", threads=1)[0]


@pytest.mark.parametrize("shape", [[1, 1, 16, 16], [2, 1, 1, 1], [1, 1, 16]])
@pytest.mark.parametrize("swapped", [False, True])
def test_single_channel_beside_a_convolution(shape: list[int], swapped: bool) -> None:
    """Transposes that move nothing could be pushed to and fro for ever; compiling ends and keeps the bytes."""
    net = Net("single_channel", 1)
    a, b = (net.dq(net.input(n, net.stream.ints(0, 255, shape, "uint8")), 1 / 32, 3) for n in "ab")
    y = net.qdq(net.qconv(a, 1 / 32, [1] * len(shape)), 1 / 8, 100)
    net.output(net.q(net.op("Add", *((b, y) if swapped else (y, b))), 1 / 4, 50), 2)
    model, feeds = net.build()
    results = [octavo.Session(model, optimize=o).run(None, feeds) for o in (True, False)]
    assert digest(results[0]) == digest(results[1])


if __name__ == "__main__":
    if sys.argv[1:] != ["--record"]:
        sys.exit(__doc__)
    hashes = {name: run(name, isa="scalar", threads=1, optimize=False)[0] for name in NETWORKS}
    hashes["demo"] = demo_digest(isa="scalar", threads=1, optimize=False)
    GOLDEN.write_text(json.dumps(hashes, indent=2) + "\n")
    print(f"recorded {len(hashes)} hashes in {GOLDEN.name}")
