"""Weight-only models for tests: a float model's weights stored as integers or codebooks, in standard ONNX."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

# What a scheme does to one weight: the nodes that restore it (to the name given last), and their constants.
Restored = tuple[list[NodeProto], dict[str, np.ndarray]]
RANGES = {"int8": 127, "int4": 7, "int2": 1, "uint4": 15}
TYPES = {
    "int8": np.dtype(np.int8),
    "int4": np.dtype(ml_dtypes.int4),
    "int2": np.dtype(ml_dtypes.int2),
    "uint4": np.dtype(ml_dtypes.uint4),
}


def linear(kind: str, axis: int, block: int = 0) -> Callable[[str, np.ndarray, str], Restored]:
    """DequantizeLinear of signed integers, one scale an index of `axis`, or one a block along it."""

    def make(name: str, w: np.ndarray, out: str) -> Restored:
        most = RANGES[kind]
        if block:
            pad = [(0, -w.shape[k] % block if k == axis else 0) for k in range(w.ndim)]
            parts = np.pad(np.abs(w), pad)
            shape = list(parts.shape)
            shape[axis : axis + 1] = [shape[axis] // block, block]
            scale = parts.reshape(shape).max(axis=axis + 1) / most
        else:
            scale = np.abs(w).max(axis=tuple(k for k in range(w.ndim) if k != axis)) / most
        scale = np.maximum(scale, 1e-6).astype(np.float32)
        if block:
            full = np.take(np.repeat(scale, block, axis), range(w.shape[axis]), axis)
        else:
            full = scale.reshape([-1 if k == axis else 1 for k in range(w.ndim)])
        q = np.clip(np.rint(w / full), -most, most).astype(np.int8).astype(TYPES[kind])
        node = helper.make_node("DequantizeLinear", [f"{name}/q", f"{name}/s"], [out], name=f"{name}/dq", axis=axis)
        if block:
            node.attribute.append(helper.make_attribute("block_size", block))
        return [node], {f"{name}/q": q, f"{name}/s": scale}

    return make


def codebook(name: str, w: np.ndarray, out: str) -> Restored:
    """Sixteen float centres, evenly spaced quantiles: Cast -> Gather."""
    centres = np.quantile(w, (np.arange(16) + 0.5) / 16).astype(np.float32)
    codes = (
        np.abs(w.reshape(-1)[:, np.newaxis] - centres).argmin(1).astype(np.uint8)
        if w.size < 1 << 16
        else nearest(w, centres)
    )
    nodes = [
        helper.make_node("Cast", [f"{name}/c"], [f"{name}/i"], name=f"{name}/cast", to=TensorProto.INT32),
        helper.make_node("Gather", [f"{name}/t", f"{name}/i"], [out], name=f"{name}/gather"),
    ]
    return nodes, {f"{name}/c": codes.reshape(w.shape).astype(ml_dtypes.uint4), f"{name}/t": centres}


def integer_codebook(name: str, w: np.ndarray, out: str) -> Restored:
    """Sixteen int8 centres: Cast -> Gather -> DequantizeLinear."""
    scale = np.float32(np.abs(w).max() / 127)
    centres = np.unique(np.rint(np.quantile(w, (np.arange(16) + 0.5) / 16) / scale)).astype(np.int8)
    codes = nearest(w, centres * scale)
    nodes = [
        helper.make_node("Cast", [f"{name}/c"], [f"{name}/i"], name=f"{name}/cast", to=TensorProto.INT64),
        helper.make_node("Gather", [f"{name}/t", f"{name}/i"], [f"{name}/g"], name=f"{name}/gather"),
        helper.make_node("DequantizeLinear", [f"{name}/g", f"{name}/s", f"{name}/z"], [out], name=f"{name}/dq"),
    ]
    constants = {f"{name}/c": codes.astype(ml_dtypes.uint4), f"{name}/t": centres, f"{name}/s": scale}
    return nodes, {**constants, f"{name}/z": np.int8(3)}


def nearest(w: np.ndarray, centres: np.ndarray) -> np.ndarray:
    order = np.sort(centres)
    return np.searchsorted((order[1:] + order[:-1]) / 2, w).astype(np.uint8)


def weight_only(
    model: ModelProto, scheme: Callable[[str, np.ndarray, str], Restored], smallest: int = 1024
) -> ModelProto:
    """The model with every float initializer of at least two axes and `smallest` elements stored by `scheme`."""
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    keep, nodes = [], []
    for tensor in graph.initializer:
        w = numpy_helper.to_array(tensor)
        if w.dtype != np.float32 or w.ndim < 2 or w.size < smallest:
            keep.append(tensor)
            continue
        first, constants = scheme(tensor.name, w, tensor.name)
        nodes += first
        keep += [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    rest = list(graph.node)
    inputs = [i for i in graph.input if i.name not in {t.name for t in graph.initializer}]
    value_info = list(graph.value_info)
    made.graph.CopyFrom(
        helper.make_graph([*nodes, *rest], graph.name, inputs, list(graph.output), keep, value_info=value_info)
    )
    del made.opset_import[:]
    made.opset_import.append(helper.make_opsetid("", 25))
    made.ir_version = 13
    return made


def restored_first(model: ModelProto) -> ModelProto:
    """The same model with every node over constants computed into a float initializer beforehand, by numpy."""
    made = ModelProto()
    made.CopyFrom(model)
    arrays = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    rest = []
    for node in made.graph.node:
        if not (node.op_type in ("DequantizeLinear", "Cast", "Gather") and all(i in arrays for i in node.input)):
            rest.append(node)
            continue
        given = [arrays[i] for i in node.input]
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Cast":
            result = given[0].astype(np.int64)
        elif node.op_type == "Gather":
            result = given[0][given[1]]
        else:
            result = dequantized(given, attrs)
        arrays[node.output[0]] = result
    used = {i for node in rest for i in node.input}
    del made.graph.node[:]
    made.graph.node.extend(rest)
    del made.graph.initializer[:]
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items() if n in used)
    return made


def dequantized(given: list[np.ndarray], attrs: dict[str, int]) -> np.ndarray:
    q, scale = given[0].astype(np.float32), given[1].astype(np.float32)
    zp = given[2].astype(np.float32) if len(given) > 2 else np.zeros_like(scale)
    axis, block = attrs.get("axis", 1), attrs.get("block_size", 0)
    if block:
        scale, zp = (np.take(np.repeat(p, block, axis), range(q.shape[axis]), axis) for p in (scale, zp))
    elif scale.size > 1:
        scale, zp = (p.reshape([-1 if k == axis else 1 for k in range(q.ndim)]) for p in (scale, zp))
    return ((q - zp) * scale).astype(np.float32)
