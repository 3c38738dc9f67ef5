"""Random small graphs against onnxruntime, and against themselves on every ISA level, optimised or not.

OCTAVO_RANDOM_GRAPHS=first:last runs other seeds than the hundred of every day, such as 0:5000.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import octavo
from test_golden import LEVELS

ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")

from random_forms import Case, generate, session  # noqa: E402

FIRST, LAST = (int(n) for n in os.environ.get("OCTAVO_RANDOM_GRAPHS", "0:100").split(":"))


def outputs(model: Any, feeds: dict[str, np.ndarray], **options: Any) -> list[np.ndarray]:
    return octavo.Session(model, **options).run(None, feeds)


def far(case: Case, got: list[np.ndarray], want: list[np.ndarray]) -> str:
    """What is wrong between octavo's outputs and onnxruntime's, "" when nothing is.

    Float: 1e-4 of the largest value. Quantized: every quantization may move a result that sits next to a tie by one
    step, and what follows carries that step on, so an output is at most as many steps off as quantizations lie before
    it, and each moves at most one result in twenty. Graphs of operators with onnxruntime's own rounding are equal.
    Quantized dynamically: likewise, a step being 1/127 of the largest value.
    """
    for k, (a, b) in enumerate(zip(got, want)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {k}: {a.dtype} {a.shape}, not {b.dtype} {b.shape}"
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            return f"output {k}: NaN in other places"
        if case.form == "float":
            most = 1e-4 * max(1.0, float(np.abs(b).max(initial=0)))
        elif case.form == "dynamic":
            most = (1e-4 + case.depth[k] / 127) * max(1.0, float(np.abs(b).max(initial=0)))
        else:
            most = 0.0 if case.exact else float(case.depth[k])
        if apart.max(initial=0) > most:
            return f"output {k}: {apart.max()} apart, {most} allowed"
        if case.form in ("qdq", "qoperator") and apart.size >= 50 and apart.mean() > 0.05 * max(case.depth[k], 1):
            return f"output {k}: {apart.mean()} steps apart in the mean"
    return ""


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_random_graph(seed: int) -> None:
    case = generate(seed)
    # onnxruntime as written, and as it optimises; being near either is right where its two differ.
    faults = []
    got = outputs(case.model, case.feeds, threads=1)
    for optimize in (False, True):
        faults.append(far(case, got, session(case.model, optimize).run(None, case.feeds)))
        if not faults[-1]:
            break
    assert "" in faults, (case.form, faults)
    want = [a.tobytes() for a in got]
    for isa in LEVELS:
        for optimize, threads in ((True, 2), (False, 1)):
            other = outputs(case.model, case.feeds, isa=isa, threads=threads, optimize=optimize)
            assert [a.tobytes() for a in other] == want, (isa, optimize, threads)
    if case.symbolic:
        session_ = octavo.Session(case.model, threads=2)
        twice = {name: np.concatenate([x, x]) for name, x in case.feeds.items()}
        for a, b in zip(session_.run(None, twice), session_.run(None, case.feeds)):
            assert a.tobytes() == np.concatenate([b, b]).tobytes(), "another batch"
