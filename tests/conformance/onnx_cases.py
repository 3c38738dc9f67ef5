"""The cases of the onnx package's backend tests, and what octavo makes of each."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests
from onnx.backend.test.runner import Runner

import octavo.backend

DATA = Path(DATA_DIR)
PINNED = "1.23.2"  # the version whose cases onnx_failures.txt is about
FAILURES = Path(__file__).parent / "onnx_failures.txt"
QUANTIZED = ("quantizelinear", "qlinear", "matmulinteger", "convinteger")


def expected_failures() -> dict[str, str]:
    """Case -> reason."""
    rows = [line.split(maxsplit=1) for line in FAILURES.read_text().splitlines() if line.strip() and line[0] != "#"]
    names = [row[0] for row in rows]
    assert len(set(names)) == len(names), "a case is listed twice"
    return {name: reason for name, reason in rows}


@functools.cache
def node_cases() -> dict[str, Any]:
    """Name -> case of every operator test."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind="node")}


def model_folders() -> dict[str, Path]:
    """Name -> folder of the simple and the PyTorch models."""
    return {
        f"{kind}/{folder.name}": folder
        for kind in ("simple", "pytorch-converted", "pytorch-operator")
        for folder in sorted((DATA / kind).iterdir())
        if folder.is_dir()
    }


@dataclass(frozen=True)
class Outcome:
    """error: None when every data set of the case came out right."""

    error: BaseException | None
    native: bool  # no Python step


@functools.cache
def outcome(name: str) -> Outcome:
    """Runs one operator test."""
    case, native = node_cases()[name], False
    try:
        ready = octavo.backend.prepare(case.model)
        native = not ready.session.python_steps
        for inputs, outputs in case.data_sets:
            check(ready.run([value(v) for v in inputs]), [value(v) for v in outputs], case.rtol, case.atol)
    except Exception as e:
        return Outcome(e, native)
    return Outcome(None, native)


def value(given: Any) -> Any:
    """A case's input or output, in numpy."""
    if isinstance(given, onnx.TensorProto):
        return numpy_helper.to_array(given)
    if isinstance(given, onnx.SequenceProto):
        return numpy_helper.to_list(given)
    if isinstance(given, onnx.OptionalProto):
        return numpy_helper.to_optional(given)
    return given


def data_sets(folder: Path, model: onnx.ModelProto) -> Iterator[tuple[list[Any], list[Any]]]:
    """Inputs and outputs of each data set of a model's folder."""
    load = Runner.__new__(Runner)._load_proto
    for data in sorted(folder.glob("test_data_set*")):
        inputs: list[Any] = []
        outputs: list[Any] = []
        for found, kind, infos in ((inputs, "input", model.graph.input), (outputs, "output", model.graph.output)):
            for k in range(len(list(data.glob(f"{kind}_*.pb")))):
                load(str(data / f"{kind}_{k}.pb"), found, infos[k].type)
        yield inputs, outputs


def check(got: Any, want: Any, rtol: float, atol: float) -> None:
    """Raises AssertionError where results differ: integers, booleans and strings must be equal."""
    if isinstance(want, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(want), f"{got!r} instead of {want!r}"
        for one, other in zip(got, want):
            check(one, other, rtol, atol)
        return
    if want is None:
        assert got is None
        return
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape} instead of {want.shape}"
    if want.dtype.kind in "OSU":
        assert [str(v) for v in got.ravel()] == [str(v) for v in want.ravel()]
        return
    assert got.dtype == want.dtype, f"dtype {got.dtype} instead of {want.dtype}"
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want)
        return
    if want.dtype.name == "bfloat16":  # its tests allow two units in the last place
        rtol = max(rtol, 2**-6)
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(got.astype(wide), want.astype(wide), rtol=rtol, atol=max(atol, 1e-6))
