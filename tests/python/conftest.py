"""Fixtures of the Python tests, and the guard that a claimed ISA was really exercised."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from isa_guard import EXPECTED, unexercised
from octavo import _core


@pytest.fixture(scope="session")
def core() -> ModuleType:
    """The native module."""
    return _core


@pytest.fixture(params=[name for name, supported in _core.isas() if supported])
def isa(request: pytest.FixtureRequest) -> str:
    """Every ISA level this machine has, one after the other."""
    return str(request.param)


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of large models that is not part of the repository: $OCTAVO_SHARED/models, or ../shared/models beside
    the repository. Tests that need it are skipped where it is absent."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("OCTAVO_SHARED") or beside) / "models"
    if not folder.is_dir():
        pytest.skip("no shared models: set OCTAVO_SHARED to a folder that holds models/")
    return folder


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fails the run when a kernel of the level in OCTAVO_EXPECT_ISA never ran."""
    level = os.environ.get(EXPECTED)
    if level and not session.config.option.collectonly and unexercised(level):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which kernels were missed, or that the level was covered."""
    level = os.environ.get(EXPECTED)
    if level:
        complaint = unexercised(level)
        terminalreporter.write_line(complaint or f"{EXPECTED}={level}: every kernel was exercised", red=bool(complaint))
