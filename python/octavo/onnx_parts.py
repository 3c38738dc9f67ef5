"""An ONNX file without its large weights, and where in the file those are.

Parsing a model with protobuf and reading its tensors copies every weight several times. So large ones are left where
they are: the file is mapped into memory, what protobuf parses holds everything else, and each weight becomes an array
over the mapping. The wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

LARGE = 16 << 10  # bytes; what shape inference might want to read is smaller
# Field numbers of ModelProto, GraphProto and TensorProto (onnx.proto).
GRAPH, INITIALIZER, DIMS, NAME, RAW_DATA = 7, 5, 1, 8, 9
Span = tuple[int, int]


class Damaged(ValueError):
    """Not the wire format: the caller lets protobuf say so."""


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, position after it)"""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise Damaged


def fields(data: memoryview, span: Span) -> Iterator[tuple[int, Span, Span]]:
    """(field number, the whole field, its contents) of one message; contents only of length-delimited fields."""
    at, end = span
    while at < end:
        start = at
        key, at = varint(data, at)
        kind, inside = key & 7, (0, 0)
        if kind == 0:
            _, at = varint(data, at)
        elif kind == 1:
            at += 8
        elif kind == 2:
            size, at = varint(data, at)
            inside = (at, at + size)
            at += size
        elif kind == 5:
            at += 4
        else:
            raise Damaged
        if at > end:
            raise Damaged
        yield key >> 3, (start, at), inside


def length(value: int) -> bytes:
    """A varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(number: int, body: bytes) -> bytes:
    """A length-delimited field."""
    return length(number << 3 | 2) + length(len(body)) + body


def without_large(data: memoryview) -> tuple[bytes, dict[str, memoryview]]:
    """The model without the raw_data of its large initializers, and that raw_data by the initializers' names.

    Raises Damaged where the bytes are not a protobuf message.
    """
    model: list[bytes] = []
    weights: dict[str, memoryview] = {}
    for number, whole, inside in fields(data, (0, len(data))):
        if number == GRAPH and inside[1]:
            model.append(message(GRAPH, graph_without_large(data, inside, weights)))
        else:
            model.append(bytes(data[whole[0] : whole[1]]))
    return b"".join(model), weights


def graph_without_large(data: memoryview, span: Span, weights: dict[str, memoryview]) -> bytes:
    parts: list[bytes] = []
    for number, whole, inside in fields(data, span):
        if number == INITIALIZER and inside[1] - inside[0] > LARGE:
            tensor = list(fields(data, inside))
            raw = [i for n, _, i in tensor if n == RAW_DATA]
            names = [i for n, _, i in tensor if n == NAME]
            if len(raw) == len(names) == 1 and raw[0][1] - raw[0][0] > LARGE and is_matrix(data, tensor):
                name = bytes(data[names[0][0] : names[0][1]]).decode("utf-8", "replace")
                if name not in weights:
                    weights[name] = data[raw[0][0] : raw[0][1]]
                    rest = b"".join(bytes(data[w[0] : w[1]]) for n, w, _ in tensor if n != RAW_DATA)
                    parts.append(message(INITIALIZER, rest))
                    continue
        parts.append(bytes(data[whole[0] : whole[1]]))
    return b"".join(parts)


def is_matrix(data: memoryview, tensor: list[tuple[int, Span, Span]]) -> bool:
    """Whether a tensor has two axes or more: vectors (scales, shapes) may be read before they become constants."""
    axes = 0
    for number, _, inside in tensor:
        if number == DIMS:
            at = inside[0]
            axes += 1 if inside == (0, 0) else 0
            while at < inside[1]:
                _, at = varint(data, at)
                axes += 1
    return axes > 1


def map_file(path: Path) -> memoryview:
    """The file's bytes, read from it as they are looked at. Raises OSError."""
    with open(path, "rb") as file:
        if path.stat().st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
