"""What is wrong, where, what was expected and how to mend it: each message is checked for the words that say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import octavo
from small_models import float_net, one_of, quantized_net, two_inputs

X = np.zeros((2, 4), np.float32)
IMAGE = np.zeros((1, 3, 8, 8), np.float32)


@pytest.fixture(scope="module")
def sessions() -> dict[str, octavo.Session]:
    kinds = {"int32": onnx.TensorProto.INT32, "uint8": onnx.TensorProto.UINT8, "bool": onnx.TensorProto.BOOL}
    scalars = {name: octavo.Session(one_of(kind, ["N"])) for name, kind in kinds.items()}
    return {
        "float": octavo.Session(float_net()),
        "image": octavo.Session(quantized_net()),
        "two": octavo.Session(two_inputs()),
        **scalars,
    }


class Elsewhere:
    """An array on another device."""

    def __dlpack__(self, **_: Any) -> Any:
        raise BufferError("the data is on a GPU")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


WRONG_FEEDS = {
    "missing": ("two", {"left": np.zeros((1, 2), np.float32)}, "lack input 'right'"),
    "all missing": ("two", {}, "lack inputs 'left', 'right'"),
    "misnamed": ("two", {"left": 0, "rihgt": 0}, "no input 'rihgt'; did you mean 'right'"),
    "other case": ("float", {"X": X}, "no input 'X'; did you mean 'x'"),
    "extra": ("float", {"x": X, "mask": X}, "no input 'mask'; there is 'x'"),
    "not a name": ("float", {3: X}, "no input 3"),
    "too few": ("two", [X], "2 inputs .* but 1 were given"),
    "too many": ("float", [X, X], "1 input .* but 2 were given"),
    "one array for two inputs": ("two", X, "2 inputs .* give a dict"),
    "nothing": ("float", None, "give a dict"),
    "float64": ("float", X.astype(np.float64), r"float32, but has float64; convert it: x.astype\(numpy.float32\)"),
    "integers": ("float", X.astype(np.int32), "float32, but has int32"),
    "uint8 for an image": ("image", IMAGE.astype(np.uint8), "float32, but has uint8"),
    "int64 for int32": ("int32", np.zeros(3, np.int64), "int32, but has int64"),
    "complex": ("float", X.astype(np.complex64), "float32, but has complex64"),
    "text": ("float", np.array([["a"]]), "should have dtype float32"),
    "objects": ("float", np.array([[1, 2], None], object), "object array"),
    "ragged lists": ("float", [[[1.0, 2.0], [3.0]]], "'x'.* do not form an array"),
    "None inside": ("float", {"x": None}, "'x' should be an array, not NoneType"),
    "a set": ("float", {"x": {1.0}}, "'x' should be an array, not set"),
    "masked": ("float", np.ma.masked_less(X, 1), "masked elements"),
    "on a device": ("float", {"x": Elsewhere()}, "on a GPU.*move it to the CPU"),
    "number too large": ("uint8", [[1, 256]], "does not fit uint8"),
    "negative for unsigned": ("uint8", [[-1]], "does not fit uint8"),
    "fraction for an integer": ("int32", [[1.5]], "int32, but has float64"),
    "float overflow": ("float", [[[1e39] * 4]], "does not fit float32"),
    "inexact integer": ("float", [[[16777217] * 4]], "does not fit float32"),
    "number for a truth value": ("bool", [[1]], "bool, but has int64"),
    "no batch axis": ("image", IMAGE[0], r"4 dimensions \[N, 3, 8, 8\].*shape \[3, 8, 8\].*x\[numpy.newaxis\]"),
    "rank": ("image", np.zeros((1, 2), np.float32), r"4 dimensions \[N, 3, 8, 8\], but has shape \[1, 2\]"),
    "rank 0": ("float", 1.0, r"2 dimensions \[N, 4\]"),
    "channels last": ("image", IMAGE.transpose(0, 2, 3, 1), r"'image'.*channels-last: x.transpose\(0, 3, 1, 2\)"),
    "fixed size": ("image", np.zeros((1, 3, 8, 9), np.float32), r"'image'.*\[N, 3, 8, 8\].*\[1, 3, 8, 9\]"),
    "symbol": (
        "two",
        [np.zeros((3, 2), np.float32), np.zeros((4, 2), np.float32)],
        "'rows' is 3 in input 'left' but 4 in input 'right'",
    ),
    "too many dimensions": ("float", np.zeros((1,) * 12, np.float32), "dimensions"),
    "NaN": ("image", np.full_like(IMAGE, np.nan), "'image'.*NaN"),
}


@pytest.mark.parametrize("case", WRONG_FEEDS)
def test_wrong_feeds(case: str, sessions: dict[str, octavo.Session]) -> None:
    name, feeds, message = WRONG_FEEDS[case]
    session = sessions[name]
    for call in (session.run, lambda _, f: session.bind(f).run(), lambda _, f: session.observe(f, None, print)):
        with pytest.raises(octavo.Error, match=f"(?s){message}"):
            call(None, feeds)


def test_a_failed_run_leaves_the_session_usable(sessions: dict[str, octavo.Session]) -> None:
    session = sessions["image"]
    good = np.linspace(-1, 1, IMAGE.size, dtype=np.float32).reshape(IMAGE.shape)
    want = session.run(None, good)[0].tobytes()
    for _ in range(3):
        with pytest.raises(octavo.InvalidArgument):
            session.run(None, np.full_like(IMAGE, np.nan))
        assert session.run(None, good)[0].tobytes() == want


@pytest.mark.parametrize(
    ("names", "message"),
    [(["hiden"], "no output 'hiden'; did you mean 'hidden'"), ("hidden", r"list of names.*\['hidden'\]")],
)
def test_wrong_output_names(names: Any, message: str, sessions: dict[str, octavo.Session]) -> None:
    with pytest.raises(octavo.InvalidArgument, match=message):
        sessions["float"].run(names, X)


def locked() -> np.ndarray:
    array = np.zeros((2, 3), np.float32)
    array.flags.writeable = False
    return array


SHARED = np.zeros((4, 3), np.float32)
WRONG_OUT = {
    "shape": ([np.zeros((2, 4), np.float32), None], r"'hidden'.*float32.*\(2, 3\)"),
    "dtype": ([np.zeros((2, 3)), None], "'hidden'.*float32"),
    "not contiguous": ([np.zeros((3, 2), np.float32).T, None], "C-contiguous"),
    "read-only": ([locked(), None], "writable"),
    "count": ([None], "1 entries.*2 outputs"),
    "unknown name": ({"hid": None}, "no output 'hid'; did you mean 'hidden'"),
    "one array": (np.zeros((2, 3), np.float32), "a dict from output names"),
    "not an array": ([3, None], "should be an array, not int"),
    "overlap": ([SHARED[:2], SHARED[1:3]], "overlapping"),
}


@pytest.mark.parametrize("case", WRONG_OUT)
def test_wrong_out(case: str, sessions: dict[str, octavo.Session]) -> None:
    out, message = WRONG_OUT[case]
    for call in (sessions["float"].run, lambda _, f, out: sessions["float"].bind(f, out=out)):
        with pytest.raises(octavo.InvalidArgument, match=message):
            call(None, X, out=out)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"threads": 0}, octavo.InvalidArgument, "threads.*0"),
        ({"threads": -1}, octavo.InvalidArgument, "threads.*-1"),
        ({"threads": True}, octavo.InvalidArgument, "threads"),
        ({"threads": 1.5}, octavo.InvalidArgument, "whole number"),
        ({"threads": 10**9}, octavo.InvalidArgument, "threads"),
        ({"isa": "sse9"}, octavo.InvalidArgument, "sse9.*scalar"),
        ({"isa": 2}, octavo.InvalidArgument, "isa"),
        ({"requantize": "fixed", "literal": True}, octavo.InvalidArgument, "literal"),
        ({"requantize": "both"}, octavo.InvalidArgument, "'both'"),
    ],
)
def test_wrong_options(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        octavo.Session(float_net(), **options)


def test_isa_from_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTAVO_ISA", "sse9")
    with pytest.raises(octavo.InvalidArgument, match="sse9"):
        octavo.Session(float_net())


def test_unobservable_values(sessions: dict[str, octavo.Session]) -> None:
    with pytest.raises(octavo.InvalidArgument, match=r"'twyce'; did you mean 'twice'.*optimize=False"):
        sessions["float"].observe(X, ["twyce"], print)


def test_profile_needs_profile(sessions: dict[str, octavo.Session]) -> None:
    with pytest.raises(octavo.InvalidArgument, match="profile=True"):
        sessions["float"].profile()


# ---- files -----------------------------------------------------------------------------------------------------------


def test_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path / "none.octavo", tmp_path):
        for call in (octavo.Session, lambda p: octavo.run(p, X)):
            with pytest.raises(octavo.IoError, match=path.name):
                call(path)


@pytest.mark.parametrize("content", [b"", b"hello, this is no model", b"\x00" * 64, b"PK\x03\x04 a zip"])
@pytest.mark.parametrize("suffix", [".onnx", ".octavo"])
def test_files_that_are_no_models(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(octavo.Error):
        octavo.Session(path)
    with pytest.raises(octavo.Error):
        octavo.Session(content)


def test_truncated_and_damaged_packed_files(tmp_path: Path) -> None:
    whole = tmp_path / "net.octavo"
    octavo.Session(quantized_net()).save(whole)
    data = whole.read_bytes()
    bad = tmp_path / "bad.octavo"
    for length in (*range(1, 128, 9), len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:length])
        with pytest.raises(octavo.InvalidModel):
            octavo.Session(bad)
    for at in range(8, len(data), max(1, len(data) // 200)):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        try:
            octavo.Session(bytes(changed))
        except octavo.Error:
            continue
        # Only padding between sections may change unnoticed.
        assert data[at] == 0, at


def test_truncated_onnx_files(tmp_path: Path) -> None:
    data = quantized_net().SerializeToString()
    for length in range(0, len(data), 37):
        try:
            octavo.Session(data[:length])
        except octavo.Error:
            continue


def test_what_is_no_model() -> None:
    for model in (3, None, [1], object()):
        with pytest.raises(octavo.InvalidArgument, match="a model is"):
            octavo.Session(model)
    with pytest.raises(octavo.InvalidModel):
        octavo.Session(onnx.ModelProto())


def test_packed_files_refuse_compile_options(tmp_path: Path) -> None:
    octavo.Session(float_net()).save(tmp_path / "net.octavo")
    for options in ({"optimize": False}, {"literal": True}):
        with pytest.raises(octavo.InvalidArgument, match="compiled"):
            octavo.Session(tmp_path / "net.octavo", **options)


def test_a_failed_save_leaves_no_trace(tmp_path: Path) -> None:
    session = octavo.Session(float_net())
    with pytest.raises(octavo.IoError):
        session.save(tmp_path / "no" / "such" / "folder.octavo")
    (tmp_path / "folder").mkdir()
    with pytest.raises(octavo.IoError):
        session.save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_errors_are_the_usual_kinds_too() -> None:
    assert issubclass(octavo.InvalidArgument, ValueError)
    assert issubclass(octavo.InvalidModel, ValueError)
    assert issubclass(octavo.IoError, OSError)
    assert issubclass(octavo.OutOfMemory, MemoryError)
    for kind in (octavo.InvalidArgument, octavo.InvalidModel, octavo.IoError, octavo.OutOfMemory, octavo.Unsupported):
        assert issubclass(kind, octavo.Error)
