"""Values that the core does not hold: strings, complex and other element types, sequences, optionals, ranks above 8.

Only Python steps read and write them. Between those steps a plan carries such a value as bytes: a u8 vector that holds
its ONNX protobuf. So it lives, and is freed, like any other value of the plan, and is named in its steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import OptionalProto, SequenceProto, TensorProto, TypeProto, helper, numpy_helper

from octavo.errors import InvalidArgument, Unsupported

ELEMENTS: dict[int, str] = {
    TensorProto.FLOAT: "float", TensorProto.DOUBLE: "double", TensorProto.STRING: "string", TensorProto.BOOL: "bool",
}  # fmt: skip


def spelled(kind: TypeProto | None, dtype: np.dtype | None) -> str:
    """A type as onnxruntime spells it: "tensor(float)", "seq(tensor(string))", "optional(seq(tensor(int64)))"."""
    if kind is None:
        return f"tensor({element(int(helper.np_dtype_to_tensor_dtype(dtype)))})" if dtype is not None else "tensor()"
    form = kind.WhichOneof("value")
    if form == "sequence_type":
        return f"seq({spelled(kind.sequence_type.elem_type, None)})"
    if form == "optional_type":
        return f"optional({spelled(kind.optional_type.elem_type, None)})"
    if form == "tensor_type":
        return f"tensor({element(kind.tensor_type.elem_type)})"
    raise Unsupported(f"values of {str(form).replace('_', ' ')} are not supported")


def element(number: int) -> str:
    return ELEMENTS.get(number) or str(TensorProto.DataType.Name(number)).lower()


def pack(value: Any) -> np.ndarray:
    """An array, None, or a list of them (nested) -> a u8 vector."""
    if value is None:
        data = b"N"
    elif isinstance(value, (list, tuple)):
        data = b"S" + sequence(list(value)).SerializeToString()
    else:
        data = b"T" + tensor(np.asarray(value)).SerializeToString()
    return np.frombuffer(data, np.uint8)


def unpack(data: np.ndarray) -> Any:
    """What pack() was given; arrays come with their own dtype, strings as arrays of str objects."""
    raw = data.tobytes()
    if raw[:1] == b"N":
        return None
    if raw[:1] == b"T":
        return numpy_helper.to_array(TensorProto.FromString(raw[1:]))
    return items(SequenceProto.FromString(raw[1:]))


def tensor(array: np.ndarray) -> TensorProto:
    try:
        return numpy_helper.from_array(objects(array))
    except (TypeError, ValueError, KeyError) as e:
        raise Unsupported(f"a value of dtype {array.dtype} has no ONNX element type ({e})") from e


def objects(array: np.ndarray) -> np.ndarray:
    """Strings as arrays of objects, which is how the onnx package has them."""
    return array.astype(object) if array.dtype.kind in "SUT" else array


def sequence(values: list[Any]) -> SequenceProto:
    """Elements are kept as optionals: an ONNX sequence may hold those, and an empty one needs no element type."""
    proto = SequenceProto(elem_type=SequenceProto.OPTIONAL)
    for value in values:
        one = proto.optional_values.add(elem_type=OptionalProto.UNDEFINED)
        if isinstance(value, (list, tuple)):
            one.elem_type = OptionalProto.SEQUENCE
            one.sequence_value.CopyFrom(sequence(list(value)))
        elif value is not None:
            one.elem_type = OptionalProto.TENSOR
            one.tensor_value.CopyFrom(tensor(np.asarray(value)))
    return proto


def items(proto: SequenceProto) -> list[Any]:
    found: list[Any] = []
    for one in proto.optional_values:
        if one.elem_type == OptionalProto.SEQUENCE:
            found.append(items(one.sequence_value))
        else:
            found.append(numpy_helper.to_array(one.tensor_value) if one.elem_type == OptionalProto.TENSOR else None)
    return found


def checked(value: Any, name: str, kind: str, dtype: np.dtype) -> Any:
    """A feed for an input of type `kind` that the core does not hold; raises InvalidArgument naming it."""
    if kind.startswith("optional("):
        return None if value is None else checked(value, name, kind[len("optional(") : -1], dtype)
    if kind.startswith("seq("):
        if not isinstance(value, (list, tuple)):
            raise InvalidArgument(f"input '{name}' should be a list, as {kind}, not {type(value).__name__}")
        return [checked(v, name, kind[len("seq(") : -1], dtype) for v in value]
    array = objects(np.asarray(value))
    text = kind == "tensor(string)"
    if text != (array.dtype == object) or (dtype.kind != "O" and array.dtype != dtype):
        raise InvalidArgument(f"input '{name}' should be {kind}, but has dtype {array.dtype}")
    return array
