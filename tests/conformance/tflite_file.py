"""Writes TensorFlow Lite files of one operator, so that LiteRT's reference kernels can be asked about it.

The tables of the TFLite schema that are needed, by field number. Needs the `flatbuffers` package, as LiteRT does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
# operator: (number in BuiltinOperator, number of its options table in BuiltinOptions, version)
OPERATORS = {
    "ADD": (0, 11, 2), "AVERAGE_POOL_2D": (1, 5, 2), "CONCATENATION": (2, 10, 2), "CONV_2D": (3, 1, 3),
    "DEPTHWISE_CONV_2D": (4, 2, 3), "FULLY_CONNECTED": (9, 8, 4), "LOGISTIC": (14, 0, 2), "MAX_POOL_2D": (17, 5, 2),
    "MUL": (18, 21, 2), "RELU": (19, 0, 2), "SOFTMAX": (25, 9, 2), "TANH": (28, 0, 2), "MEAN": (40, 27, 2),
    "SUB": (41, 28, 2), "LEAKY_RELU": (98, 75, 2), "QUANTIZE": (114, 0, 2), "HARD_SWISH": (117, 0, 1),
}  # fmt: skip
Option = tuple[str, Any]  # kind ("int32", "int8", "float32", "bool") and value


@dataclass
class Tensor:
    shape: Sequence[int]
    dtype: str
    scale: Sequence[float] = ()
    zero_point: Sequence[int] = ()
    axis: int = 0
    data: np.ndarray | None = None


def table(b: Any, fields: Mapping[int, tuple[str, Any]]) -> int:
    b.StartObject(max(fields, default=-1) + 1)
    for slot, (kind, value) in fields.items():
        if kind == "offset":
            b.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            prepend = {
                "int32": b.PrependInt32Slot, "uint32": b.PrependUint32Slot, "int8": b.PrependInt8Slot,
                "uint8": b.PrependUint8Slot, "float32": b.PrependFloat32Slot, "bool": b.PrependBoolSlot,
            }[kind]  # fmt: skip
            prepend(slot, value, 0 if kind != "bool" else False)
    return int(b.EndObject())


def offsets(b: Any, items: Sequence[int]) -> int:
    b.StartVector(4, len(items), 4)
    for item in reversed(items):
        b.PrependUOffsetTRelative(item)
    return int(b.EndVector())


def vector(b: Any, values: Sequence[Any], dtype: str) -> int:
    return int(b.CreateNumpyVector(np.asarray(values, dtype)))


def one_operator(
    op: str, inputs: Sequence[Tensor], output: Tensor, options: Mapping[int, Option] | None = None
) -> bytes:
    """A model of one operator; inputs with data are constants, the others the model's inputs, in order."""
    import flatbuffers

    b = flatbuffers.Builder(1024)
    tensors = [*inputs, output]
    blobs = [np.zeros(0, np.uint8), *(t.data for t in tensors if t.data is not None)]
    buffers = [table(b, {0: ("offset", vector(b, np.ascontiguousarray(x).reshape(-1).view(np.uint8), "uint8"))}
                     if x.size else {}) for x in blobs]  # fmt: skip
    written, blob = [], 0
    for k, t in enumerate(tensors):
        blob += t.data is not None
        fields = {
            0: ("offset", vector(b, list(t.shape), "int32")), 1: ("int8", TYPES[t.dtype]),
            2: ("uint32", blob if t.data is not None else 0), 3: ("offset", b.CreateString(f"t{k}")),
        }  # fmt: skip
        if t.scale:
            quantization = {
                2: ("offset", vector(b, t.scale, "float32")),
                3: ("offset", vector(b, t.zero_point, "int64")),
            }
            fields[4] = ("offset", table(b, {**quantization, 6: ("int32", t.axis)}))
        written.append(table(b, fields))
    number, kind, version = OPERATORS[op]
    step = {1: ("offset", vector(b, range(len(inputs)), "int32")), 2: ("offset", vector(b, [len(inputs)], "int32"))}
    if kind:
        step |= {3: ("uint8", kind), 4: ("offset", table(b, options or {}))}
    operators = offsets(b, [table(b, step)])
    fed = [k for k, t in enumerate(inputs) if t.data is None]
    graph = {
        0: ("offset", offsets(b, written)), 1: ("offset", vector(b, fed, "int32")),
        2: ("offset", vector(b, [len(inputs)], "int32")), 3: ("offset", operators),
    }  # fmt: skip
    code = table(b, {0: ("int8", min(number, 127)), 2: ("int32", version), 3: ("int32", number)})
    model = {
        0: ("uint32", 3), 1: ("offset", offsets(b, [code])), 2: ("offset", offsets(b, [table(b, graph)])),
        4: ("offset", offsets(b, buffers)),
    }  # fmt: skip
    b.Finish(table(b, model), b"TFL3")
    return bytes(b.Output())


def run_reference(model: bytes, feeds: Sequence[np.ndarray]) -> np.ndarray:
    """What LiteRT's reference kernels give."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    session = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    session.allocate_tensors()
    for info, x in zip(session.get_input_details(), feeds, strict=True):
        session.set_tensor(info["index"], x)
    session.invoke()
    return np.array(session.get_tensor(session.get_output_details()[0]["index"]))
