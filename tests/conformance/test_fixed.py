"""requantize="fixed" on real networks against LiteRT's reference kernels: every integer of every layer.

Skips without the folder `shared` (see models.py) or without LiteRT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import octavo
from models import SHARED, Listed, listed_models
from test_golden import LEVELS, digest

if SHARED is None:
    pytest.skip("no folder ../shared with models: nothing to check here", allow_module_level=True)
litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT (ai-edge-litert) is not installed")

TWINS = {
    m.name: m for m in listed_models() if (SHARED / "models" / "tflite" / f"{m.path.stem}.tflite").is_file()
}  # models that are there in both formats
INPUTS = 40


class Twin:
    """The TFLite file of a model, run by the reference kernels."""

    def __init__(self, listed: Listed) -> None:
        assert SHARED is not None
        self.session = litert.Interpreter(
            str(SHARED / "models" / "tflite" / f"{listed.path.stem}.tflite"),
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        self.session.allocate_tensors()
        self.names = {t["index"]: t["name"] for t in self.session.get_tensor_details()}
        self.steps = [(op["op_name"], int(op["outputs"][0])) for op in self.session._get_ops_details()]

    def run(self, x: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
        """(operator, tensor, value) of each step."""
        self.session.set_tensor(self.session.get_input_details()[0]["index"], x)
        self.session.invoke()
        for op, index in self.steps:
            yield op, self.names[index], self.session.get_tensor(index)


def value_of(names: list[str], tensor: str) -> str | None:
    """Our value of a TFLite tensor: its name, or where the file has int8, the name of its Quantize."""
    pattern = re.compile(re.escape(tensor) + r"(/Quantize\.\d+)?")
    return next((name for name in names if pattern.fullmatch(name)), None)


def same_layout(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Our bytes in TFLite's dtype and order: images are channels-first in the ONNX twin."""
    if theirs.dtype == np.int8 and ours.dtype == np.uint8:
        ours = (ours ^ 0x80).view(np.int8)
    if ours.ndim == 4 and ours.shape == (theirs.shape[0], theirs.shape[3], *theirs.shape[1:3]):
        ours = ours.transpose(0, 2, 3, 1)
    return ours


def real_inputs(listed: Listed, count: int) -> list[dict[str, np.ndarray]]:
    """As many as there are; pictures too few (21 of vww) also in the mirror."""
    feeds = listed.real_inputs(count)
    mirrored = [{k: np.ascontiguousarray(x[:, :, ::-1]) for k, x in f.items()} for f in feeds if len(feeds) < count]
    return (feeds + mirrored)[:count]


@pytest.mark.parametrize("name", sorted(TWINS))
def test_every_layer_equals_the_reference_kernels(name: str) -> None:
    """100 % equal integers up to the final softmax, at most one step after it."""
    twin, session = Twin(TWINS[name]), octavo.Session(TWINS[name].path, requantize="fixed", optimize=False)
    known = {tensor: value_of(session.values, tensor) for tensor in twin.names.values()}
    layers = 0
    for feeds in real_inputs(TWINS[name], INPUTS):
        (x,) = feeds.values()
        seen: dict[str, np.ndarray] = {}
        wanted = [v for v in known.values() if v is not None]
        outputs = session.observe(feeds, wanted, lambda k, a, seen=seen: seen.__setitem__(k, np.array(a)))
        for op, tensor, theirs in twin.run(x):
            ours = outputs[0] if tensor == twin.names[twin.steps[-1][1]] else seen.get(known[tensor] or "")
            if ours is None:
                assert op == "RESHAPE", f"{op} {tensor} has no counterpart"
                continue
            ours = same_layout(ours, theirs)
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, tensor
            distance = np.abs(ours.astype(int) - theirs).max()
            assert distance <= (1 if op == "SOFTMAX" else 0), f"{op} {tensor}: {distance} steps"
            layers += 1
    assert layers >= INPUTS * (len(twin.steps) - 1)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_same_bytes_everywhere(name: str) -> None:
    """Optimised as well as not, every level, one thread and two."""
    inputs = TWINS[name].real_inputs(1 if TWINS[name].path.stat().st_size > 3_000_000 else 3)
    plain = octavo.Session(TWINS[name].path, requantize="fixed", optimize=False, threads=1)
    want = [digest(plain.run(None, f)) for f in inputs]
    for isa in LEVELS:
        for threads in (1, 2):
            session = octavo.Session(TWINS[name].path, requantize="fixed", isa=isa, threads=threads)
            assert [digest(session.run(None, f)) for f in inputs] == want, (isa, threads)
