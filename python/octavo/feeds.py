"""What a caller hands in -> arrays the core can read; what is wrong with it -> an error that says how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from octavo.errors import InvalidArgument

# ONNX's element type -> (onnxruntime's spelling, numpy dtype)
TYPES: dict[int, tuple[str, np.dtype[Any]]] = {
    1: ("float", np.dtype(np.float32)),
    2: ("uint8", np.dtype(np.uint8)),
    3: ("int8", np.dtype(np.int8)),
    4: ("uint16", np.dtype(np.uint16)),
    5: ("int16", np.dtype(np.int16)),
    6: ("int32", np.dtype(np.int32)),
    7: ("int64", np.dtype(np.int64)),
    9: ("bool", np.dtype(np.bool_)),
    10: ("float16", np.dtype(np.float16)),
    11: ("double", np.dtype(np.float64)),
    12: ("uint32", np.dtype(np.uint32)),
    13: ("uint64", np.dtype(np.uint64)),
    16: ("bfloat16", np.dtype(ml_dtypes.bfloat16)),
    17: ("float8e4m3fn", np.dtype(ml_dtypes.float8_e4m3fn)),
    18: ("float8e4m3fnuz", np.dtype(ml_dtypes.float8_e4m3fnuz)),
    19: ("float8e5m2", np.dtype(ml_dtypes.float8_e5m2)),
    20: ("float8e5m2fnuz", np.dtype(ml_dtypes.float8_e5m2fnuz)),
    21: ("uint4", np.dtype(ml_dtypes.uint4)),
    22: ("int4", np.dtype(ml_dtypes.int4)),
    23: ("float4e2m1", np.dtype(ml_dtypes.float4_e2m1fn)),
    24: ("float8e8m0", np.dtype(ml_dtypes.float8_e8m0fnu)),
    25: ("uint2", np.dtype(ml_dtypes.uint2)),
    26: ("int2", np.dtype(ml_dtypes.int2)),
    27: ("float6e2m3", np.dtype(ml_dtypes.float6_e2m3fn)),
    28: ("float6e3m2", np.dtype(ml_dtypes.float6_e3m2fn)),
}


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a model, with onnxruntime's attribute names.

    shape: a size, the name of a symbolic dimension, or None (not known before the run) for each axis.
    """

    name: str
    type: str  # "tensor(float)", "tensor(uint8)", ...
    shape: list[int | str | None]
    dtype: np.dtype[Any]
    packed: bool = field(default=False, repr=False)  # the plan carries it as bytes (onnx_values.py)

    @classmethod
    def of(cls, name: str, element: int, dims: Sequence[int | str | None] | None) -> TensorInfo:
        spelling, dtype = TYPES[element]
        return cls(name, f"tensor({spelling})", list(dims or []), dtype)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What ends a message about an unknown name: "; did you mean 'x'?", or the names there are, or nothing."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1, 0.6)
    if not close:
        close = [n for n in names if n.lower() == name.lower()][:1]
    if close:
        return f"; did you mean '{close[0]}'?"
    if 0 < len(names) <= 12:
        return "; there is " + quoted(names)
    return ""


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{n}'" for n in names)


def arrange(feeds: Any, inputs: Sequence[TensorInfo]) -> list[np.ndarray]:
    """The arrays of a run in the model's input order.

    feeds: a mapping from input names, a list or tuple with one entry an input, or, for a model with one input, that
    input itself. Each entry is an array of exactly the input's dtype (numpy, anything with ``__dlpack__`` or
    ``__array__``), or Python numbers and nested lists of them, which take the input's dtype as in numpy arithmetic.

    Shapes are left to the core. Raises InvalidArgument naming the input and the mend.
    """
    if isinstance(feeds, Mapping):
        try:
            given = [feeds[i.name] for i in inputs]
        except KeyError:
            given = without_optionals(feeds, inputs)
        else:
            if len(feeds) != len(inputs):
                raise misnamed(feeds, inputs)
    elif isinstance(feeds, (list, tuple)):
        given = list(feeds)
        if len(given) != len(inputs):
            mend = "; to feed one input from a list of numbers, wrap it: [numbers]" if len(inputs) == 1 else ""
            raise InvalidArgument(f"the model has {count_of(inputs)}, but {len(given)} were given{mend}")
    else:
        if feeds is None or len(inputs) != 1:
            raise InvalidArgument(
                f"the model has {count_of(inputs)}: give a dict from their names to arrays, or a list in that order; "
                f"got {type(feeds).__name__}"
            )
        given = [feeds]
    return [
        value if type(value) is np.ndarray and value.dtype is info.dtype and not info.packed else to_array(value, info)
        for value, info in zip(given, inputs)
    ]


def without_optionals(feeds: Mapping[Any, Any], inputs: Sequence[TensorInfo]) -> list[Any]:
    """Feeds that lack an input: None for an optional one."""
    absent = {i.name for i in inputs if i.name not in feeds}
    if len(feeds) + len(absent) != len(inputs) or not all(
        i.type.startswith("optional(") for i in inputs if i.name in absent
    ):
        raise misnamed({**feeds, **{i.name: None for i in inputs if i.type.startswith("optional(")}}, inputs)
    return [feeds.get(i.name) for i in inputs]


def count_of(inputs: Sequence[TensorInfo]) -> str:
    names = quoted(i.name for i in inputs)
    return f"{len(inputs)} input{'' if len(inputs) == 1 else 's'}" + (f" ({names})" if inputs else "")


def misnamed(feeds: Mapping[Any, Any], inputs: Sequence[TensorInfo]) -> InvalidArgument:
    names = [i.name for i in inputs]
    missing = [n for n in names if n not in feeds]
    extra = [n for n in feeds if n not in names]
    for name in extra:
        return InvalidArgument(f"the model has no input {name!r}{did_you_mean(str(name), missing or names)}")
    return InvalidArgument(f"the feeds lack input{'' if len(missing) == 1 else 's'} {quoted(missing)}")


def to_array(value: Any, info: TensorInfo) -> np.ndarray:
    """One feed as a native-endian array of info.dtype, or packed; raises InvalidArgument."""
    if info.packed:
        from octavo.onnx_values import checked, pack  # needs onnx, which a plan of held types does without

        return pack(checked(value, info.name, info.type, info.dtype))
    if not isinstance(value, (np.ndarray, np.generic)):
        if isinstance(value, (bool, int, float, list, tuple)):
            return from_numbers(value, info)
        value = foreign_array(value, f"input '{info.name}'")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InvalidArgument(f"input '{info.name}' has masked elements; fill them first: x.filled(...)")
    array = np.asarray(value)
    if array.dtype == info.dtype:
        return array
    if array.dtype.newbyteorder("=") == info.dtype:
        return array.astype(info.dtype)
    raise wrong_dtype(array.dtype, info)


def wrong_dtype(got: np.dtype[Any], info: TensorInfo) -> InvalidArgument:
    if got.kind == "O":
        return InvalidArgument(
            f"input '{info.name}' should be {info.dtype}, but is an object array: are its rows of different lengths?"
        )
    return InvalidArgument(
        f"input '{info.name}' should have dtype {info.dtype}, but has {got}; "
        f"convert it: x.astype(numpy.{'bool_' if info.dtype.kind == 'b' else info.dtype.name})"
    )


def foreign_array(value: Any, what: str) -> np.ndarray:
    """An array of another library, without a copy where that can be (DLPack), else through ``__array__``."""
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except Exception as e:  # every library has its own classes for "on another device", "needs gradients", ...
            raise InvalidArgument(
                f"{what}: numpy cannot read this {type(value).__name__} through DLPack ({e}); "
                "detach it and move it to the CPU first"
            ) from e
    if hasattr(value, "__array__"):
        return np.asarray(value)
    raise InvalidArgument(f"{what} should be an array, not {type(value).__name__}")


def from_numbers(value: Any, info: TensorInfo) -> np.ndarray:
    """Python numbers take the input's dtype, if they fit: integers exactly, floats rounded and finite as before."""
    what = f"input '{info.name}'"
    try:
        array = np.asarray(value)
    except ValueError as e:
        raise InvalidArgument(f"{what}: its lists do not form an array ({e})") from None
    if array.size == 0 and array.dtype.kind == "f":
        return array.astype(info.dtype)
    kinds = {"b": "b", "i": "biu", "u": "biu", "f": "biuf"}.get(info.dtype.kind, "")
    if array.dtype == info.dtype:
        return array
    if array.dtype.kind not in kinds:
        raise wrong_dtype(array.dtype, info)
    with np.errstate(all="ignore"):
        cast = array.astype(info.dtype)
    if array.dtype.kind == "f":
        fits = bool((np.isfinite(cast) == np.isfinite(array)).all())
    else:
        fits = bool((cast.astype(object) == array.astype(object)).all())
    if not fits:
        raise InvalidArgument(f"{what}: a number does not fit {info.dtype}")
    return cast


def shape_mend(arrays: Sequence[np.ndarray], inputs: Sequence[TensorInfo]) -> str:
    """What would make the first ill-shaped input fit, as the end of a message, or nothing."""
    for array, info in zip(arrays, inputs):
        want, got = info.shape, array.shape
        if fits(got, want):
            continue
        if fits((1, *got), want):
            return f"; give '{info.name}' its batch axis: x[numpy.newaxis]"
        if len(got) == 4 and fits((got[0], got[3], got[1], got[2]), want):
            return f"; '{info.name}' seems to be channels-last: x.transpose(0, 3, 1, 2)"
        if len(got) == 4 and fits((got[0], got[2], got[3], got[1]), want):
            return f"; '{info.name}' seems to be channels-first: x.transpose(0, 2, 3, 1)"
    return ""


def fits(got: Sequence[int], want: Sequence[int | str | None]) -> bool:
    """Whether a shape has the rank and the fixed sizes that are wanted."""
    return len(got) == len(want) and all(not isinstance(w, int) or w == g for g, w in zip(got, want))


def arrange_out(
    out: Any, wanted: Sequence[TensorInfo], arrays: list[np.ndarray]
) -> tuple[list[np.ndarray | None] | None, list[np.ndarray]]:
    """The caller's buffers, one entry (or None) a wanted output, and the inputs, copied where a buffer overlaps."""
    if out is None:
        return None, arrays
    names = [o.name for o in wanted]
    if isinstance(out, Mapping):
        for name in out:
            if name not in names:
                raise InvalidArgument(f"out=: this run has no output {name!r}{did_you_mean(str(name), names)}")
        given = [out.get(n) for n in names]
    elif isinstance(out, (list, tuple)):
        given = list(out)
        if len(given) != len(names):
            raise InvalidArgument(f"out= has {len(given)} entries, but this run has {len(names)} outputs")
    elif len(names) == 1:
        given = [out]
    else:
        raise InvalidArgument("out= should be a dict from output names to arrays, or a list with one entry an output")
    buffers: list[np.ndarray | None] = [
        b if b is None or isinstance(b, np.ndarray) else foreign_array(b, f"out= for '{n}'")
        for b, n in zip(given, names)
    ]
    kept = [(n, b) for n, b in zip(names, buffers) if b is not None]
    for k, (name, buffer) in enumerate(kept):
        for other, another in kept[:k]:
            if np.may_share_memory(buffer, another):
                raise InvalidArgument(f"out= gives '{other}' and '{name}' overlapping memory; each needs its own")
    copied = [a.copy() if any(np.may_share_memory(a, b) for _, b in kept) else a for a in arrays]
    return buffers, copied
