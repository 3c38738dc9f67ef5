"""The guard that a run which claims an ISA level exercised every kernel of that level."""

from __future__ import annotations

from octavo import _core

EXPECTED = "OCTAVO_EXPECT_ISA"


def unexercised(level: str) -> str:
    """What is wrong with the claim that this run tested `level`; empty when it did."""
    supported = dict(_core.isas())
    if level not in supported:
        return f"{EXPECTED}={level}: unknown level; this build has {', '.join(supported)}"
    if not supported[level]:
        return f"{EXPECTED}={level}: this CPU lacks it"
    missing = [family for family, isa, exercised in _core.kernels() if isa == level and not exercised]
    if missing:
        return f"{EXPECTED}={level}: these kernels were not exercised: {', '.join(missing)}"
    return ""
