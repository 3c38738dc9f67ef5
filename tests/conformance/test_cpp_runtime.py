"""The same `.octavo` file in the C++ runtime, without Python: the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import octavo
from models import SHARED, Listed, listed_models
from networks import NETWORKS, Feeds
from test_golden import LEVELS, demo_network

ROOT = Path(__file__).resolve().parents[2]


def runner() -> str:
    """octavo-run as `make native` builds it, or the one on the path."""
    built = ROOT / "build" / "native" / "octavo-run"
    found = os.environ.get("OCTAVO_RUN") or (str(built) if built.exists() else shutil.which("octavo-run"))
    if not found:
        pytest.skip("octavo-run is not built: run `make native`")
    return found


def run_in_cpp(packed: Path, feeds: Feeds, isa: str, threads: int) -> dict[str, np.ndarray]:
    """Outputs by file name, as octavo-run writes them."""
    command = [
        runner(),
        str(packed),
        "--isa",
        isa,
        "--threads",
        str(threads),
        "--output-dir",
        str(packed.parent / "out"),
    ]
    for k, (name, array) in enumerate(feeds.items()):
        file = packed.parent / f"input{k}.npy"
        np.save(file, array)
        command += ["--input", f"{name}={file}"]
    out = packed.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {f.stem: np.load(f) for f in out.glob("*.npy")}


def check(model: object, feeds: Feeds, folder: Path, settings: list[tuple[str, int]], **options: str) -> None:
    session = octavo.Session(model, threads=1, **options)
    want = session.run(None, feeds)
    packed = folder / "model.octavo"
    session.save(packed)
    for isa, threads in settings:
        got = run_in_cpp(packed, feeds, isa, threads)
        assert len(got) == len(want)
        assert sorted(a.tobytes() for a in got.values()) == sorted(a.tobytes() for a in want), (isa, threads)


@pytest.mark.parametrize("name", NETWORKS)
def test_seeded_networks(name: str, tmp_path: Path) -> None:
    net = NETWORKS[name]()
    model, feeds = net.build()
    check(model, feeds, tmp_path, [(isa, threads) for isa in LEVELS for threads in (1, 2)], **net.options)


def test_demo_network_in_cpp(tmp_path: Path) -> None:
    model, feeds = demo_network()
    check(model, feeds, tmp_path, [(isa, 2) for isa in LEVELS])


@pytest.mark.skipif(SHARED is None, reason="no folder ../shared with models: nothing to check here")
@pytest.mark.parametrize("listed", listed_models() if SHARED else [], ids=lambda m: m.name)
def test_real_networks(listed: Listed, tmp_path: Path) -> None:
    """Real networks and inputs, at the best level and one below it."""
    check(listed.path, listed.real_inputs(1)[0], tmp_path, [(isa, 2) for isa in LEVELS[-2:]])
