"""Where quantization goes: which nodes run on integers, and which tensors between them become 8-bit ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from octavo.ir import Graph, Node, Uses

# Input 0 is an activation and input 1 constant weights.
WEIGHTED = {"Conv", "Gemm", "MatMul"}
# Both operands are activations (or one a constant tensor).
BINARY = {"Add", "Sub", "Mul", "MatMul"}
POOLS = {"AveragePool", "GlobalAveragePool", "ReduceMean"}
# Move elements about or pick some: the result has its operand's scale.
MOVEMENT = {
    "MaxPool", "GlobalMaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather",
    "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Identity", "Dropout", "Concat",
}  # fmt: skip
# Functions of one element: 256-entry tables between 8-bit tensors.
FUNCTIONS = {
    "Relu", "Clip", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Exp", "Log",
    "Sqrt", "Softplus", "Softsign", "Selu", "Celu", "Mish", "Swish", "Reciprocal", "Neg", "Abs",
}  # fmt: skip
# Fused into the operator before them by every runtime, so that nothing is quantized in between.
CLAMPS = {"Relu", "Clip"}
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"}


@dataclass
class Placement:
    """What quantize() decided about a graph's structure, before any range is known.

    nodes: those that run on integers. tensors: activations that become integers, in order of computation; inner: for
    each tensor, the nodes that read the integers. same: tensors that must share their parameters, as (a, b) pairs.
    """

    nodes: list[Node] = field(default_factory=list)
    tensors: list[str] = field(default_factory=list)
    readers: dict[str, list[Node]] = field(default_factory=dict)
    same: list[tuple[str, str]] = field(default_factory=list)
    float_nodes: list[tuple[Node, str]] = field(default_factory=list)  # (node, why it stays float)

    def moved(self, twins: Mapping[int, Node]) -> Placement:
        """The same decisions about a copy of the graph. twins: id of a node -> its copy."""
        return Placement(
            [twins[id(n)] for n in self.nodes],
            list(self.tensors),
            {name: [twins[id(n)] for n in nodes] for name, nodes in self.readers.items()},
            list(self.same),
            [(twins[id(n)], why) for n, why in self.float_nodes],
        )


def is_float(graph: Graph, name: str) -> bool:
    return graph.dtype(name) == np.float32


def activations(graph: Graph, node: Node) -> list[str]:
    """The node's float operands that are computed, not constant; without those that say how (Resize's scales)."""
    operands = node.inputs if node.op == "Concat" or not is_movement(graph, node) else node.inputs[:1]
    return [n for n in dict.fromkeys(operands) if n and graph.const(n) is None and is_float(graph, n)]


def is_weighted(graph: Graph, node: Node) -> bool:
    """Whether octavo and others run the node as an integer product with constant weights."""
    if not node.is_op(*WEIGHTED) or len(node.inputs) < 2:
        return False
    w = graph.const(node.inputs[1])
    if w is None or w.dtype != np.float32 or graph.const(node.inputs[0]) is not None or not w.size:
        return False
    bias = graph.const(node.input(2))
    if node.op != "MatMul" and node.input(2) and bias is None:
        return False
    if node.op == "Conv":
        return w.ndim in (3, 4)
    if node.op == "Gemm":
        plain = all(float(node.attrs.get(k, 1.0)) == 1.0 for k in ("alpha", "beta")) and not node.attrs.get("transA", 0)
        outputs = w.shape[0 if node.attrs.get("transB", 0) else -1]
        # One number, or one an output; a bias for each row, or each element, is none that integers add.
        return w.ndim == 2 and plain and (bias is None or bias.size == 1 or bias.size == bias.shape[-1] == outputs)
    return w.ndim == 2


def is_movement(graph: Graph, node: Node) -> bool:
    if node.op == "Resize":
        return node.attrs.get("mode", "nearest") == "nearest"
    if node.op == "Pad":
        value = graph.const(node.input(2)) if node.input(2) else np.zeros(1)
        constant = node.attrs.get("mode", "constant") == "constant"
        return not constant or (value is not None and not value.any() and not node.attrs.get("value", 0.0))
    return node.op in MOVEMENT


class Sources:
    """The tensor each value is a function of, element by element; itself where it is not."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.of: dict[str, str] = {}
        for node in graph.nodes:
            for out in node.outputs:
                self.of[out] = self.find(node, out)

    def find(self, node: Node, out: str) -> str:
        if node.domain != "" or not is_float(self.graph, out):
            return out
        if node.op in FUNCTIONS and all(self.graph.const(n) is not None for n in node.inputs[1:] if n):
            return self.of.get(node.inputs[0], node.inputs[0])
        if node.op in ARITHMETIC and len(node.inputs) == 2:
            scalars = [self.graph.const(n) is not None and self.graph.const(n).size == 1 for n in node.inputs]  # type: ignore[union-attr]
            found = {self.of.get(n, n) for n, s in zip(node.inputs, scalars) if not s}
            if len(found) == 1 and (any(scalars) or node.inputs[0] != node.inputs[1] or node.op == "Mul"):
                source = found.pop()
                if self.graph.const(source) is None and self.graph.shape(source) == self.graph.shape(out):
                    return source
        return out


def shape_nodes(graph: Graph) -> set[int]:
    """ids of nodes that compute with nothing but the sizes of tensors: eight bits would change shapes."""
    found, sizes = set[int](), set[str]()
    for node in graph.nodes:
        computed = [name for name in node.inputs if name and graph.const(name) is None]
        if node.is_op("Shape", "Size") or (computed and all(name in sizes for name in computed)):
            found.add(id(node))
            sizes.update(node.outputs)
    return found


def place(graph: Graph, exclude: Collection[str] = (), op_types: Collection[str] | None = None) -> Placement:
    """Decides for every node of a graph of ONNX operators with folded constants.

    exclude: names of nodes that stay float. op_types: operators that may be quantized, None for all that can be.
    """
    uses, sources = Uses(graph), Sources(graph)
    shapes = shape_nodes(graph)
    useful = read_as_integers(graph, exclude, op_types, shapes)
    done = Placement()
    quantized: set[str] = set()  # tensors that an integer node writes
    inner: set[str] = set()  # results inside a fused chain: never quantized themselves

    def want(name: str, node: Node) -> None:
        if name not in done.readers:
            done.tensors.append(name)
            done.readers[name] = []
        if node not in done.readers[name]:
            done.readers[name].append(node)

    def write(node: Node, name: str) -> None:
        """The node's result is 8-bit, unless what follows is fused with it or nothing but float follows."""
        if follows_inside(graph, uses, sources, node, name, exclude):
            inner.add(name)
        elif name in useful:
            quantized.add(name)
            if name not in done.readers:
                done.tensors.append(name)
                done.readers[name] = []

    for node in graph.nodes:
        out = node.outputs[0] if node.outputs else ""
        if node.domain != "" or not out or not is_float(graph, out):
            continue
        why = "it computes with sizes" if id(node) in shapes else refusal(graph, node, exclude, op_types)
        operands = activations(graph, node)
        if any(name in inner for name in operands):  # the rest of a chain
            if why is None or node.name not in exclude:
                done.nodes.append(node)
                write(node, out)
            continue
        if why is None and is_elementwise(graph, node) and not is_movement(graph, node) and out not in useful:
            why = "its result is read in float"
        if why is not None:
            done.float_nodes.append((node, why))
            continue
        source = sources.of.get(out, out)
        if is_weighted(graph, node):
            for name in operands:
                want(name, node)
        elif source != out:  # a function of one tensor, as a table: worth it where that tensor is 8-bit already
            if source not in quantized:
                done.float_nodes.append((node, "its operand is not quantized"))
                continue
            want(source, node)
        elif is_movement(graph, node):
            if not any(name in quantized for name in operands):
                done.float_nodes.append((node, "it only moves float values"))
                continue
            for name in operands:
                want(name, node)
            for name in node.outputs:
                write(node, name)
                if node.op != "Concat":
                    done.same.append((operands[0], name))
            done.nodes.append(node)
            continue
        else:
            for name in operands:
                want(name, node)
        done.nodes.append(node)
        write(node, out)
    return done


def read_as_integers(
    graph: Graph, exclude: Collection[str], op_types: Collection[str] | None, shapes: Collection[int]
) -> set[str]:
    """Tensors that some integer node computes with, perhaps after they were moved about. Others may stay float."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if node.domain != "" or id(node) in shapes or refusal(graph, node, exclude, op_types) is not None:
            continue
        if not is_elementwise(graph, node) or any(out in found for out in node.outputs):
            found.update(activations(graph, node))
    return found


def is_elementwise(graph: Graph, node: Node) -> bool:
    """Whether eight bits gain nothing by the node itself, only by what reads its result in eight bits.

    An addition before a normalization, a mask before a softmax, a function before the output are better float.
    """
    return node.op not in WEIGHTED and node.op not in POOLS


def refusal(graph: Graph, node: Node, exclude: Collection[str], op_types: Collection[str] | None) -> str | None:
    """Why a node cannot or shall not run on integers; None when it does."""
    if node.name in exclude:
        return "excluded"
    if op_types is not None and node.op not in op_types:
        return f"{node.op} is not among the operators to quantize"
    if is_weighted(graph, node):
        constants = [c for c in map(graph.const, node.inputs[1:]) if c is not None]
        return None if all(np.isfinite(c).all() for c in constants) else "its weights are not finite"
    if node.op in WEIGHTED and node.op != "MatMul":
        return "its weights are not constant, or it has an unusual form"
    if node.op in BINARY and len(activations(graph, node)) >= 1 and len(node.inputs) == 2:
        constants = [c for c in map(graph.const, node.inputs) if c is not None]
        return None if all(np.isfinite(c).all() for c in constants) else "its constant operand is not finite"
    if node.op == "AveragePool" and any(d != 1 for d in node.attrs.get("dilations", [])):
        return "it has dilations, which integer pools lack"
    if node.op in POOLS or is_movement(graph, node) or node.op in FUNCTIONS:
        return None
    if node.op in ARITHMETIC:
        return None if Sources(graph).of.get(node.outputs[0]) != node.outputs[0] else f"{node.op} has no integer form"
    return f"{node.op} has no integer form"


def follows_inside(graph: Graph, uses: Uses, sources: Sources, node: Node, name: str, exclude: Collection[str]) -> bool:
    """Whether a result goes, unquantized, straight into the node after it: a clamp, a bias, the rest of a function."""
    readers = uses.readers.get(name, [])
    if not readers or name in uses.outputs or any(r.name in exclude for r in readers):
        return False
    source = sources.of.get(name, name)
    if source != name:  # inside a chain of functions of one tensor: quantized where it ends
        return all(sources.of.get(r.outputs[0]) == source for r in readers)
    if len(readers) != 1:
        return False
    reader = readers[0]
    if reader.op in CLAMPS and reader.input(0) == name and sources.of.get(reader.outputs[0]) == name:
        return True
    if node.op in ("MatMul", "Conv", "Gemm") and reader.op == "Add" and is_weighted(graph, node) and not node.input(2):
        return is_bias(graph, node, reader, name)
    return False


def is_bias(graph: Graph, node: Node, addition: Node, name: str) -> bool:
    other = addition.inputs[1] if addition.inputs[0] == name else addition.inputs[0]
    const, weights = graph.const(other), graph.const(node.inputs[1])
    if const is None or weights is None or len(addition.inputs) != 2:
        return False
    channels = weights.shape[0] if node.op == "Conv" or node.attrs.get("transB", 0) else weights.shape[-1]
    axis = 1 - weights.ndim if node.op == "Conv" else -1
    shape = [1] * max(const.ndim, 1)
    if const.ndim < -axis:
        return False
    shape[axis] = channels
    return const.shape == tuple(shape)
