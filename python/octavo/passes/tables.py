"""Functions of one quantized tensor become tables of 256 entries."""

from __future__ import annotations

import math

import numpy as np

from octavo.ir import Graph, Uses
from octavo.passes import fixed
from octavo.passes.elementwise import unary
from octavo.passes.match import Patch, join, scalar
from octavo.passes.quantized import NoMatch, Operand

DEEPEST = 16
ARITHMETIC = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}


def unary_f32(fn: str, x: np.ndarray, attrs: dict[str, float]) -> np.ndarray:
    """The core's own scalar function, so that a table holds what a float step would compute, on every machine."""
    from octavo import _core

    return np.asarray(_core.unary(fn, np.ascontiguousarray(x, np.float32), attrs), np.float32)


def build_tables(graph: Graph) -> None:
    """Dequantize(q) -> elementwise functions and constants of one element -> Quantize  =>  Lut(q).

    The table runs the very float32 steps it replaces over all 256 values of q. Quantize(Dequantize(q)) with other
    parameters is a table too; with the same ones, q itself.
    """
    for node in list(graph.nodes):
        if not node.is_plan("Quantize") or len(node.inputs) > 1:
            continue
        uses = Uses(graph)
        walk = Walk(graph, uses)
        real = walk.table(node.inputs[0], 0)
        if real is None or walk.leaf is None:
            continue
        scale, zp = np.float32(node.attrs["y_scale"]), int(node.attrs["y_zp"])
        bounds = int(node.attrs["lo"]), int(node.attrs["hi"])
        if graph.requantize != "fixed":
            table = quantize(real, scale, zp, *bounds)
        else:
            leaf = Operand("", walk.scale, walk.zp)
            try:
                table = fixed.function_table(walk.functions, leaf, real, scale, zp, *bounds)
            except NoMatch as e:
                graph.notes.append((node.name, str(e)))
                continue
        if (table == np.arange(256)).all():
            graph.replace_uses(node.outputs[0], walk.leaf)
            graph.remove(node)
            continue
        patch = Patch(graph, node)
        node.name = join(*walk.names) or node.name
        const = graph.new_const(f"{node.outputs[0]}/table", table)
        patch.emit("Lut", [walk.leaf, const], np.uint8, graph.shape(node.outputs[0]), out=node.outputs[0])
        patch.apply()
    graph.drop_dead()


def quantize(x: np.ndarray, scale: np.float32, zp: int, lo: int, hi: int) -> np.ndarray:
    """uint8: clamp(rne(x / scale) + zp, lo, hi); NaN gives zp. The clamp comes first, as in the core."""
    with np.errstate(all="ignore"):
        r = np.rint((x / scale).astype(np.float32))
    r = np.where(np.isnan(r), np.float32(0), r)
    return (np.clip(r, np.float32(lo - zp), np.float32(hi - zp)).astype(np.int64) + zp).astype(np.uint8)


class Walk:
    """Follows a float value back to the one dequantized tensor it is a function of."""

    def __init__(self, graph: Graph, uses: Uses) -> None:
        self.graph, self.uses = graph, uses
        self.leaf: str | None = None
        self.scale, self.zp = np.float32(1), 0  # of the leaf
        self.functions: list[tuple[str, dict[str, float]]] = []  # as they are applied
        self.names: list[str] = []
        self.known: dict[str, np.ndarray | None] = {}

    def table(self, value: str, depth: int) -> np.ndarray | None:
        """The value for each q in 0..255 (or, for a constant of one element, that element); None if it is no such."""
        if value not in self.known:
            self.known[value] = self.find(value, depth)
        return self.known[value]

    def find(self, value: str, depth: int) -> np.ndarray | None:
        graph = self.graph
        if depth > DEEPEST:
            return None
        const = scalar(graph, value)
        if const is not None:
            return np.full(1, const, np.float32) if graph.dtype(value) == np.float32 else None
        node = self.uses.producer.get(value)
        if node is None or graph.dtype(value) != np.float32:
            return None
        if node.is_plan("Dequantize"):
            return self.dequantized(node.inputs[0], node.attrs) if len(node.inputs) == 1 else None
        function = unary(graph, node)
        if function is not None:
            x = self.table(node.inputs[0], depth + 1)
            if x is None:
                return None
            self.names.append(node.name)
            self.functions.append(function)
            return unary_f32(function[0], x, {k: v for k, v in function[1].items() if not math.isinf(v)})
        if node.domain == "" and node.op in ARITHMETIC and len(node.inputs) == 2:
            a, b = (self.table(name, depth + 1) for name in node.inputs)
            ranks = [graph.rank(name) for name in (*node.inputs, value)]
            if a is None or b is None or ranks[2] is None or any(r is None or r > ranks[2] for r in ranks[:2]):
                return None
            if self.leaf is not None and graph.rank(self.leaf) != ranks[2]:
                return None
            self.names.append(node.name)
            self.functions.append((node.op, {}))
            with np.errstate(all="ignore"):
                return np.asarray(ARITHMETIC[node.op](a, b), np.float32)
        return None

    def dequantized(self, q: str, attrs: dict[str, float]) -> np.ndarray | None:
        if self.graph.dtype(q) != np.uint8 or self.graph.const(q) is not None or self.leaf not in (None, q):
            return None
        self.leaf, self.scale, self.zp = q, np.float32(attrs["x_scale"]), int(attrs["x_zp"])
        return ((np.arange(256) - int(attrs["x_zp"])).astype(np.float32) * np.float32(attrs["x_scale"])).astype(
            np.float32
        )
