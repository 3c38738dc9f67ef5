"""The aarch64 build under emulation, where the cross compiler and the emulator are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64-static") and shutil.which("cmake")),
    reason="needs g++-aarch64-linux-gnu, qemu-user-static and cmake",
)
def test_arm_kernels_equal_scalar() -> None:
    """NEON and dot-product kernels against the scalar ones, bit for bit, at the level each emulated CPU has."""
    run = subprocess.run(["bash", "tests/arm/run.sh"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
