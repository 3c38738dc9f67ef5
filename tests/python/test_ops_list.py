"""The list of references, the core's list and the documentation name the same operators."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import isa_guard
from octavo import ops

ROOT = Path(__file__).resolve().parents[2]
HOST = {"Python"}  # a step that the caller's function runs: it has no reference


def test_references_cover_the_core(core: ModuleType) -> None:
    assert set(core.op_names()) - HOST == set(ops.OPS)


def test_the_core_list_is_ops_def(core: ModuleType) -> None:
    listed = re.findall(r"^OCTAVO_OP\((\w+)\)", (ROOT / "cpp/ops/ops.def").read_text(), re.M)
    assert len(listed) == len(set(listed))
    assert set(core.op_names()) - HOST == set(listed)


@pytest.mark.parametrize("page", ["docs/plan.md", "docs/arithmetic.md"])
def test_every_operator_is_documented(page: str) -> None:
    words = set(re.findall(r"\w+", (ROOT / page).read_text()))
    assert sorted(set(ops.OPS) - words) == []


def test_references_have_one_signature_and_a_docstring() -> None:
    for name, module in ops.OPS.items():
        assert list(inspect.signature(module.reference).parameters) == ["inputs", "attrs"], name
        assert inspect.getdoc(module.reference) and inspect.getdoc(module), name


def test_a_missing_operator_is_refused(core: ModuleType) -> None:
    builder = core.PlanBuilder()
    x, y = builder.add_input("x", 1, [None]), builder.add_value("y", 1, [None])
    builder.add_step("NoSuchOperator", "node 7", [x], [y], {})
    builder.add_output("y", y)
    with pytest.raises(Exception, match="NoSuchOperator"):
        core.Session(builder.build())


def test_the_guard_notices_what_was_not_exercised(core: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unknown level" in isa_guard.unexercised("mmx")
    level = core.best_isa()
    monkeypatch.setattr(isa_guard, "_core", FakeCore([("gemm", level, True), ("pool", level, False)], level))
    assert isa_guard.unexercised(level).endswith("not exercised: pool")
    monkeypatch.setattr(isa_guard, "_core", FakeCore([("gemm", level, True)], level))
    assert isa_guard.unexercised(level) == ""


class FakeCore:
    """A core with given kernels."""

    def __init__(self, kernels: list[tuple[str, str, bool]], level: str) -> None:
        self.kernels = lambda: kernels
        self.isas = lambda: [(level, True)]
