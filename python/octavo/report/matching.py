"""Which tensors of a quantized model are which of its float model, and what computes each of them alone."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from octavo.engine import Session
from octavo.ir import Graph, Node
from octavo.onnx_export import export_model
from octavo.passes.elementwise import clip_bounds
from octavo.report.causes import integer_range

WEIGHTED = ("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul")


@dataclass
class Quantity:
    """A tensor of both models. raw: what the quantized model's QuantizeLinear reads, where there is one."""

    name: str  # in the float model
    restored: str  # in the quantized model
    raw: str
    node: Node  # the last node that computes it, before it is quantized
    quantize: Node | None
    maker: tuple[str, str] | None = None  # name and operator in the float model, where other nodes do its work


def match(exact: Graph, rough: Graph) -> list[Quantity]:
    """The quantities of both models, in order of computation in the quantized one; graph inputs among them."""
    known = {out for node in exact.nodes for out in node.outputs} | set(exact.inputs)
    producers, readers = rough.producers(), rough.readers()
    float_readers, known_here = exact.readers(), {out for node in rough.nodes for out in node.outputs}
    found: list[Quantity] = []
    taken: set[str] = set()
    for node in rough.nodes:
        if node.is_op("QuantizeLinear"):
            raw = node.inputs[0]
            ends = [r for r in readers.get(node.outputs[0], []) if r.is_op("DequantizeLinear")]
            candidates = (*(e.outputs[0] for e in ends), raw, base_name(node.outputs[0]))
            names = [n for n in candidates if n in known and n not in taken]
            if not ends or not names:
                continue
            maker = producers.get(raw, node)
            name = clamped(exact, float_readers, rough, names[0], node, known_here)
            found.append(Quantity(name, ends[0].outputs[0], raw, maker, node))
            taken.update((name, names[0], raw))
    quantized = {q.raw for q in found}
    for public, value in rough.outputs:
        last = producers.get(value)
        name = next((v for p, v in exact.outputs if p == public), "")
        if name and last is not None and not last.is_op("DequantizeLinear") and value not in quantized | taken:
            found.append(Quantity(name, value, value, last, None))
    return found


def base_name(integers: str) -> str:
    """The quantity that integers stand for where its own name is not in the file, as octavo and onnxruntime do."""
    return re.sub(r"(/quantized(\.\d+)?|_quantized)$", "", integers)


def clamped(
    exact: Graph, readers: dict[str, list[Node]], rough: Graph, name: str, quantize: Node, there: set[str]
) -> str:
    """The result of the Relu or Clip that follows a tensor of the float model, where the integers' range stands for it.

    Other quantizers leave the node out then.
    """
    following = readers.get(name, [])
    if len(following) != 1 or not following[0].is_op("Relu", "Clip") or following[0].outputs[0] in there:
        return name
    covered = integer_range(rough, quantize)
    bounds = (0.0, math.inf) if following[0].op == "Relu" else clip_bounds(exact, following[0])
    if covered is None or bounds is None:
        return name
    lo, hi, step = covered
    inside = lo >= bounds[0] - step / 2 and hi <= bounds[1] + step / 2
    return following[0].outputs[0] if inside else name


def match_products(exact: Graph, rough: Graph) -> list[Quantity]:
    """For models whose activations stay float or are quantized at run time: what is computed with other weights.

    The results of products and tables with constant operands, of the same name in both models, and the outputs.
    """
    producers = rough.producers()
    found: dict[str, Quantity] = {}
    for node in exact.nodes:
        maker = producers.get(node.outputs[0])
        place = 0 if node.op == "Gather" else 1
        weights = exact.const(node.input(place)) if node.is_op(*WEIGHTED) else None
        if weights is None or maker is None or weights.dtype.kind != "f":
            continue
        twin = rough.const(maker.input(place)) if maker.op == node.op else None
        if twin is None or not np.array_equal(twin, weights):
            name = node.outputs[0]
            found[name] = Quantity(name, name, name, maker, None, (node.name, node.op))
    for public, value in rough.outputs if found else []:
        name = next((v for p, v in exact.outputs if p == public), "")
        if name and value in producers and name not in found:
            found[name] = Quantity(name, value, value, producers[value], None)
    return list(found.values())


@dataclass
class Alone:
    """What computes one quantity. needs: input of the session -> quantity of the float model."""

    session: Session
    needs: dict[str, str]
    nodes: list[Node]


def isolated(exact: Graph, rough: Graph, quantities: list[Quantity]) -> dict[str, Alone]:
    """For each quantity the session that computes it alone.

    What computes it reaches back to the nearest quantities, whose own rounding is part of it, and to float inputs.
    """
    producers = rough.producers()
    by_raw = {name: name for name in rough.inputs if name in exact.inputs}
    by_raw |= {q.raw: q.name for q in quantities if q.quantize is not None or q.maker is not None}
    found = {}
    for q in quantities:
        if q.quantize is not None and q.node is q.quantize:
            continue  # a graph input: nothing computes it
        needs: dict[str, str] = {}
        nodes: list[Node] = []
        if collect(producers, by_raw, rough, q.restored, q.raw, needs, nodes) and needs:
            part, twins = rough.copied()
            part.nodes = [twins[id(n)] for n in rough.nodes if n in nodes]
            part.inputs = list(needs)
            part.outputs = [(q.restored, q.restored)]
            for raw in needs:
                rank = part.rank(raw)
                part.values[raw].shape = (None,) * (rank if rank is not None else 4)
            found[q.name] = Alone(Session(export_model(part)), needs, [n for n in rough.nodes if n in nodes])
    return found


def path(graph: Graph, producers: dict[str, Node], value: str, ends: set[str]) -> list[Node]:
    """The nodes that compute a value from some others, in order."""
    found, waiting = set[int](), [value]
    while waiting:
        name = waiting.pop()
        maker = producers.get(name)
        if maker is not None and id(maker) not in found and (name == value or name not in ends):
            found.add(id(maker))
            waiting += [n for n in maker.inputs if n]
    return [n for n in graph.nodes if id(n) in found]


def collect(
    producers: dict[str, Node],
    by_raw: dict[str, str],
    graph: Graph,
    value: str,
    own: str,
    needs: dict[str, str],
    nodes: list[Node],
) -> bool:
    """Gathers the nodes that compute `value`; False when one of them reads what the float model does not have."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if graph.const(value) is not None:
            continue
        if value != own and value in by_raw:
            needs[value] = by_raw[value]
            continue
        maker = producers.get(value)
        if maker is None:
            return False  # an input that is not quantized
        if maker not in nodes:
            nodes.append(maker)
            waiting += [name for name in maker.inputs if name]
    return True
