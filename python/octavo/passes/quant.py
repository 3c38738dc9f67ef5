"""What quantized graphs are made of: activations behind DequantizeLinear, integer weights, the QuantizeLinear that ends a
pattern. Used by the passes that recognise patterns; nothing here changes a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octavo.ir import Graph, Node, Uses

U8 = np.dtype(np.uint8)


@dataclass(frozen=True)
class Scale:
    """Per-tensor quantization: real = (q - zp) * scale, q in uint8."""

    scale: np.float32
    zp: int

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """clamp(rne(x / scale) + zp, 0, 255) in float32; NaN gives zp."""
        with np.errstate(all="ignore"):
            r = np.rint(np.asarray(x, np.float32) / self.scale)
        r = np.where(np.isnan(r), np.float32(0), r)
        return (np.clip(r, -self.zp, 255 - self.zp) + self.zp).astype(np.uint8)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        return (q.astype(np.int32) - self.zp).astype(np.float32) * self.scale


@dataclass(frozen=True)
class Activation:
    """A run-time or constant u8 tensor with its scale."""

    value: str
    params: Scale


def scalar(graph: Graph, name: str) -> np.ndarray | None:
    """The single element of a constant, None when the value is not one."""
    c = graph.const(name)
    return None if c is None or c.size != 1 else c.reshape(())


def tensor_scale(graph: Graph, node: Node, dtype: np.dtype = U8) -> Scale | None:
    """Scale and zero point of a per-tensor Q or DQ node over `dtype` with constant, usable parameters."""
    s = scalar(graph, node.input(1))
    if s is None or s.dtype != np.float32 or not np.isfinite(s) or s <= 0 or node.attrs.get("block_size"):
        return None
    if not node.input(2):
        named = node.attrs.get("output_dtype", 0)
        default = U8 if node.op == "QuantizeLinear" else graph.dtype(node.inputs[0])
        return Scale(np.float32(s), 0) if default == dtype and named in (0, 2) else None
    zp = scalar(graph, node.inputs[2])
    return Scale(np.float32(s), int(zp)) if zp is not None and zp.dtype == dtype else None


def activation(uses: Uses, name: str) -> Activation | None:
    """The u8 tensor that a float value is dequantized from."""
    node = uses.producer.get(name)
    if node is None or not node.is_op("DequantizeLinear"):
        return None
    params = tensor_scale(uses.graph, node)
    if params is None or uses.graph.dtype(node.inputs[0]) != U8:
        return None
    return Activation(node.inputs[0], params)


@dataclass(frozen=True)
class Weights:
    """w - w_zp as exact integers, and scales that broadcast against them."""

    values: np.ndarray  # int64
    scale: np.ndarray  # float32, same rank

    def scale_along(self, axis: int) -> np.ndarray | None:
        """Scales as a vector along one axis, None when they vary along another."""
        others = tuple(k for k in range(self.scale.ndim) if k != axis)
        first = self.scale[tuple(slice(None) if k == axis else slice(0, 1) for k in range(self.scale.ndim))]
        if self.scale.size and not np.all(self.scale == first):
            return None
        vector = first.max(axis=others) if others and first.size else first.reshape(-1)
        return np.ascontiguousarray(np.broadcast_to(vector, (self.values.shape[axis],)), np.float32)


MOVES = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}


def integer_weights(uses: Uses, name: str) -> Weights | None:
    """Constant 8-bit weights behind DequantizeLinear, also through Transpose/Reshape/Squeeze/Unsqueeze."""
    moves: list[Node] = []
    node = uses.producer.get(name)
    while node is not None and node.domain == "" and node.op in MOVES:
        moves.append(node)
        node = uses.producer.get(node.inputs[0])
    if node is None or not node.is_op("DequantizeLinear") or node.attrs.get("block_size"):
        return None
    graph = uses.graph
    q, s = graph.const(node.inputs[0]), graph.const(node.input(1))
    zp = graph.const(node.input(2)) if node.input(2) else np.zeros(1, np.int64)
    if q is None or s is None or zp is None or q.dtype not in (np.uint8, np.int8) or s.dtype != np.float32:
        return None
    if not np.all(np.isfinite(s)) or not np.all(s > 0):
        return None
    axis = node.attrs.get("axis", 1)
    full_scale, full_zp = spread(s, q, axis), spread(zp.astype(np.int64), q, axis)
    if full_scale is None or full_zp is None:
        return None
    values = q.astype(np.int64) - full_zp
    for move in reversed(moves):
        from octavo.onnx_step import evaluate

        rest = [graph.const(n) if n else None for n in move.inputs[1:]]
        if any(n and a is None for n, a in zip(move.inputs[1:], rest)):
            return None
        values = evaluate(graph, move, [values, *rest])[0]
        full_scale = evaluate(graph, move, [np.ascontiguousarray(full_scale), *rest])[0]
    return Weights(values, full_scale)


def spread(p: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray | None:
    """Per-tensor or per-axis parameters broadcast to the tensor they belong to."""
    if p.size == 1:
        return np.broadcast_to(p.reshape(()), like.shape)
    if p.ndim != 1 or not -like.ndim <= axis < like.ndim or like.shape[axis] != p.size:
        return None
    shape = [1] * like.ndim
    shape[axis] = p.size
    return np.broadcast_to(p.reshape(shape), like.shape)


@dataclass(frozen=True)
class Sink:
    """The QuantizeLinear that ends a pattern, with the clamps (Relu, Clip) on the way as bounds on the integer."""

    out: str
    params: Scale
    lo: int
    hi: int
    nodes: tuple[Node, ...]


def clip_bounds(graph: Graph, node: Node) -> tuple[np.float32, np.float32] | None:
    """Constant float bounds of a Relu or Clip node."""
    low, high = np.float32(-np.inf), np.float32(np.inf)
    if node.is_op("Relu"):
        return np.float32(0), high
    if not node.is_op("Clip"):
        return None
    for k, key in ((1, "min"), (2, "max")):
        if key in node.attrs:
            bound = np.asarray(node.attrs[key], np.float32)
        elif node.input(k):
            found = scalar(graph, node.inputs[k])
            if found is None:
                return None
            bound = found
        else:
            continue
        if np.isnan(bound):
            return None
        low, high = (np.float32(bound), high) if k == 1 else (low, np.float32(bound))
    return low, high


def find_sink(uses: Uses, value: str) -> Sink | None:
    """value -> [Relu | Clip]* -> QuantizeLinear(u8), each read once."""
    nodes: list[Node] = []
    low, high = np.float32(-np.inf), np.float32(np.inf)
    while True:
        node = uses.single_reader(value)
        if node is None or node.inputs[0] != value:
            return None
        nodes.append(node)
        if node.is_op("QuantizeLinear"):
            params = tensor_scale(uses.graph, node)
            if params is None:
                return None
            lo, hi = (int(params.quantize(np.float32(b))) for b in (low, high))
            return Sink(node.outputs[0], params, lo, hi, tuple(nodes))
        bounds = clip_bounds(uses.graph, node)
        if bounds is None:
            return None
        # Clip(x, a, b) = min(max(x, a), b), also where a > b.
        low, high = (min(max(v, bounds[0]), bounds[1]) for v in (low, high))
        value = node.outputs[0]
