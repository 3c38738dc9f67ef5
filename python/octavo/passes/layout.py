"""Moves Transpose steps forward through the graph until opposite ones meet and cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from octavo.ir import Graph, Node, Shape, plan_node
from octavo.passes.match import inverse, permuted

ELEMENTWISE = {  # operator: its data inputs (None: all)
    "Unary": [0], "Binary": None, "Where": None, "Lut": [0], "QAdd": [0, 1], "QMul": [0, 1], "Flip8": [0], "Cast": [0],
    "Quantize": [0], "Dequantize": [0], "Identity": [0],
}  # fmt: skip
ORDER_FREE = {"Max", "Min"}  # reductions whose result does not depend on the order of the elements


MOST_SWEEPS = 100


def move_transposes(graph: Graph) -> None:
    """op(Transpose(x))  =>  Transpose(op'(x)), op' being op with its axes, constants and lists permuted.

    1. Transpose(Transpose(x)) => one Transpose, or x.
    2. Through elementwise operators, Concat, Split, Softmax, Pad, Slice, reductions, Squeeze, Shape.
    3. Reshape, Flatten swallow a Transpose that moves no element in memory (all dimensions but those in order are 1).
    4. A Transpose left over that moves nothing becomes a Reshape, which is free.
    Kept: operands that are not transposed and not constant; a float sum over axes whose order would change.
    """
    for _ in range(MOST_SWEEPS):  # one walk takes a transpose all the way; the bound is a guard, not a schedule
        if not Sweep(graph).run():
            break
        graph.drop_dead()
    graph.drop_dead()
    free_transposes(graph)


class Sweep:
    """One walk over the nodes in order, writing them anew."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.transposes: dict[str, tuple[str, tuple[int, ...]]] = {}  # value -> what it is a transpose of
        self.known: dict[tuple[str, tuple[int, ...]], str] = {}
        self.alias: dict[str, str] = {}
        self.changed = False

    def run(self) -> bool:
        for node in self.graph.nodes:
            node.inputs = [self.alias.get(name, name) for name in node.inputs]
            if node.is_plan("Transpose"):
                self.transpose(node)
                continue
            rule = RULES.get(node.op)
            if rule is not None and any(name in self.transposes for name in node.inputs) and rule(self, node):
                self.changed = True
                continue
            self.nodes.append(node)
        self.graph.nodes = self.nodes
        self.graph.outputs = [(public, self.alias.get(v, v)) for public, v in self.graph.outputs]
        return self.changed

    def transpose(self, node: Node) -> None:
        x, perm = node.inputs[0], tuple(int(p) for p in node.attrs["perm"])
        if x in self.transposes:
            source, first = self.transposes[x]
            x, perm = source, tuple(first[p] for p in perm)
            self.changed = True
        self.put(x, perm, node.outputs[0], node.name)

    def put(self, x: str, perm: tuple[int, ...], out: str, name: str) -> str:
        """out = Transpose(x), reusing an equal one; returns the value that holds it."""
        same = x if perm == tuple(range(len(perm))) else self.known.get((x, perm))
        if same is not None:
            self.alias[out] = same
            return same
        self.nodes.append(plan_node("Transpose", [x], [out], name, {"perm": list(perm)}))
        self.transposes[out] = (x, perm)
        self.known[x, perm] = out
        return out

    def emit(
        self,
        node: Node,
        inputs: list[str],
        attrs: dict[str, Any],
        perm: Sequence[int],
        k: int = 0,
        shape: Shape | None = None,
    ) -> None:
        """node with new inputs and attributes, whose output k was Transpose(perm) of what the new one writes."""
        inner = []
        for out in node.outputs:
            value = self.graph.values[out]
            inner.append(
                self.graph.new_value(out, value.dtype, permuted(value.shape, inverse(perm)) if shape is None else shape)
            )
        self.nodes.append(plan_node(node.op, inputs, inner, node.name, attrs))
        for new, old in zip(inner, node.outputs):
            self.put(new, tuple(perm), old, node.name)

    def common(self, node: Node, data: Sequence[int]) -> tuple[list[str], tuple[int, ...]] | None:
        """The inputs before one permutation that all transposed data inputs share; constants are permuted to suit."""
        graph, inputs = self.graph, list(node.inputs)
        perms = {self.transposes[inputs[k]][1] for k in data if inputs[k] in self.transposes}
        rank = graph.rank(node.outputs[0])
        if len(perms) != 1:
            return None
        perm = perms.pop()
        if rank != len(perm):
            return None
        for k in data:
            name = inputs[k]
            shape, const = graph.shape(name), graph.const(name)
            if not name:
                continue
            if name in self.transposes:
                inputs[k] = self.transposes[name][0]
            elif shape is not None and all(d == 1 for d in shape) and len(shape) <= rank:
                continue
            elif (name, tuple(inverse(perm))) in self.known:
                inputs[k] = self.known[name, tuple(inverse(perm))]
            elif const is not None and const.ndim <= rank:
                whole = const.reshape((1,) * (rank - const.ndim) + const.shape)
                inputs[k] = graph.new_const(name, np.ascontiguousarray(whole.transpose(inverse(perm))))
            elif shape is not None and perm == (0, 3, 1, 2) and len(shape) == 4 and moves_nothing(shape, inverse(perm)):
                # Only towards channels-last: in both directions two sweeps would undo each other for ever.
                moved = graph.new_value(name, graph.dtype(name), permuted(shape, inverse(perm)))
                inputs[k] = self.put(name, tuple(inverse(perm)), moved, node.name)
            else:
                return None
        return inputs, perm


def moves_nothing(shape: Shape | None, perm: Sequence[int]) -> bool:
    """Whether transposing this shape leaves every element where it is in memory."""
    if shape is None:
        return False
    order = [p for p in perm if shape[p] != 1]
    return order == sorted(order)


def elementwise(s: Sweep, node: Node) -> bool:
    data = ELEMENTWISE[node.op]
    found = s.common(node, range(len(node.inputs)) if data is None else data)
    if found is None or (node.is_plan("Quantize") and "perm" in node.attrs):
        return False
    inputs, perm = found
    attrs = dict(node.attrs)
    if "axis" in attrs:
        attrs["axis"] = perm[int(attrs["axis"])]
    s.emit(node, inputs, attrs, perm)
    return True


def along_axis(s: Sweep, node: Node) -> bool:
    found = s.common(node, range(len(node.inputs)) if node.op == "Concat" else [0])
    if found is None:
        return False
    inputs, perm = found
    if node.op == "Concat" and any(a not in s.transposes and s.graph.const(a) is None for a in node.inputs):
        return False
    s.emit(node, inputs, {**node.attrs, "axis": perm[int(node.attrs["axis"])]}, perm)
    return True


def pad(s: Sweep, node: Node) -> bool:
    found = s.common(node, [0])
    pads = s.graph.const(node.inputs[1])
    if found is None or pads is None or (len(node.inputs) > 3 and node.inputs[3]):
        return False
    inputs, perm = found
    if pads.size != 2 * len(perm):
        return False
    back = inverse(perm)
    inputs[1] = s.graph.new_const(node.inputs[1], np.ascontiguousarray(pads.reshape(2, -1)[:, back].reshape(-1)))
    s.emit(node, inputs, node.attrs, perm)
    return True


def slice_(s: Sweep, node: Node) -> bool:
    found = s.common(node, [0])
    starts = s.graph.const(node.inputs[1])
    if found is None or starts is None:
        return False
    inputs, perm = found
    axes: Any = range(starts.size)
    if len(node.inputs) > 3 and node.inputs[3]:
        const = s.graph.const(node.inputs[3])
        if const is None:
            return False
        axes = [int(a) % len(perm) for a in const]
    inputs += [""] * (4 - len(inputs))
    inputs[3] = s.graph.new_const(f"{node.outputs[0]}/axes", np.array([perm[a] for a in axes], np.int64))
    s.emit(node, inputs, node.attrs, perm)
    return True


def reduce(s: Sweep, node: Node) -> bool:
    if node.inputs[0] not in s.transposes or "axes" not in node.attrs:
        return False
    x, perm = s.transposes[node.inputs[0]]
    axes = [perm[int(a)] for a in node.attrs["axes"]]
    if axes != sorted(axes) and node.op == "Reduce" and node.attrs["fn"] not in ORDER_FREE:
        return False
    attrs = {**node.attrs, "axes": sorted(axes)}
    inputs = [x, *node.inputs[1:]]
    if node.attrs.get("keepdims", 1):
        s.emit(node, inputs, attrs, perm)
    else:
        s.emit(node, inputs, attrs, removed(perm, node.attrs["axes"]))
    return True


def removed(perm: Sequence[int], axes: Sequence[int]) -> list[int]:
    """The permutation of the axes that stay when `axes` of the transposed tensor go."""
    stay = [p for k, p in enumerate(perm) if k not in axes]
    return [sorted(stay).index(p) for p in stay]


def squeeze(s: Sweep, node: Node) -> bool:
    if "axes" not in node.attrs:  # computed at run time
        return False
    x, perm = s.transposes[node.inputs[0]]
    axes = [int(a) for a in node.attrs["axes"]]
    s.emit(node, [x], {"axes": sorted(perm[a] for a in axes)}, removed(perm, axes))
    return True


def unsqueeze(s: Sweep, node: Node) -> bool:
    if "axes" not in node.attrs:  # computed at run time
        return False
    x, perm = s.transposes[node.inputs[0]]
    axes = sorted(int(a) for a in node.attrs["axes"])
    rank = len(perm) + len(axes)
    # New axes go last in memory order of x; their place is set by the permutation.
    old = iter(perm)
    after = [len(perm) + axes.index(k) if k in axes else next(old) for k in range(rank)]
    s.emit(node, [x], {"axes": list(range(len(perm), rank))}, after)
    return True


def shape(s: Sweep, node: Node) -> bool:
    if node.attrs.get("start", 0) or node.attrs.get("end") is not None:
        return False
    x, perm = s.transposes[node.inputs[0]]
    whole = s.graph.new_value(node.outputs[0], np.int64, (len(perm),))
    s.nodes.append(plan_node("Shape", [x], [whole], node.name))
    index = s.graph.new_const(f"{node.outputs[0]}/perm", np.array(perm, np.int64))
    s.nodes.append(plan_node("Gather", [whole, index], node.outputs, node.name, {"axis": 0}))
    return True


def flatten(s: Sweep, node: Node) -> bool:
    x, perm = s.transposes[node.inputs[0]]
    before, after = s.graph.shape(x), s.graph.shape(node.inputs[0])
    if before is None or after is None or not moves_nothing(before, perm):
        return False
    at = int(node.attrs.get("axis", 1))
    at += len(perm) if at < 0 else 0
    if [d for d in before[:at] if d != 1] != [d for d in after[:at] if d != 1]:
        return False
    s.nodes.append(plan_node("Flatten", [x], node.outputs, node.name, dict(node.attrs)))
    return True


def reshape(s: Sweep, node: Node) -> bool:
    if node.inputs[0] not in s.transposes:
        return False
    x, perm = s.transposes[node.inputs[0]]
    before, after, target = s.graph.shape(x), s.graph.shape(node.inputs[0]), s.graph.const(node.inputs[1])
    if before is None or after is None or target is None or node.attrs.get("allowzero", 0):
        return False
    dims = [int(d) for d in target]
    if moves_nothing(before, perm):
        for k, d in enumerate(dims):
            if d == 0 and not (k < len(after) and before[k] == after[k] and before[k] is not None and perm[k] == k):
                if k >= len(after) or not isinstance(after[k], int):
                    return False
                dims[k] = after[k]  # type: ignore[assignment]
        const = s.graph.new_const(node.inputs[1], np.array(dims, np.int64))
        s.nodes.append(plan_node("Reshape", [x, const], node.outputs, node.name, dict(node.attrs)))
        return True
    return merge_pixels(s, node, x, perm, dims, after)


def merge_pixels(s: Sweep, node: Node, x: str, perm: tuple[int, ...], dims: list[int], after: Shape) -> bool:
    """[N, C, H, W] -> [N, C, H*W]  =>  [N, H, W, C] -> [N, H*W, C] -> Transpose"""
    channels = after[1] if len(after) == 4 else None
    if perm != (0, 3, 1, 2) or len(dims) != 3 or not isinstance(channels, int) or dims[1] not in (0, channels):
        return False
    if (dims[0] != 0 and dims[0] != after[0]) or dims[2] == 0:
        return False
    const = s.graph.new_const(node.inputs[1], np.array([dims[0], dims[2], channels], np.int64))
    s.emit(node, [x, const], dict(node.attrs), [0, 2, 1])
    return True


RULES: dict[str, Callable[[Sweep, Node], bool]] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("Concat", "Split", "Softmax"), along_axis),
    "Pad": pad,
    "Slice": slice_,
    "Reduce": reduce,
    "QReduceMean": reduce,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Shape": shape,
    "Flatten": flatten,
    "Reshape": reshape,
}


def free_transposes(graph: Graph) -> None:
    """Transpose that moves nothing in memory  =>  Reshape; Reshape(Reshape(x)) => one Reshape."""
    for node in graph.nodes:
        if not node.is_plan("Transpose"):
            continue
        x, perm = graph.shape(node.inputs[0]), node.attrs["perm"]
        if x is None or 0 in x or not moves_nothing(x, perm):  # 0 in a Reshape means to keep
            continue
        dims = [x[p] if isinstance(x[p], int) else 0 if p == k else -1 for k, p in enumerate(perm)]
        if dims.count(-1) > 1 or (-1 in dims and 0 in dims and 0 in x):
            continue
        node.op, node.attrs = "Reshape", {}
        node.inputs.append(graph.new_const(f"{node.outputs[0]}/shape", np.array(dims, np.int64)))
    producer = graph.producers()
    for node in graph.nodes:
        before = producer.get(node.inputs[0]) if node.is_plan("Reshape") else None
        if before is None or not before.is_plan("Reshape"):
            continue
        target = graph.const(node.inputs[1])
        if target is None or node.attrs.get("allowzero", 0):
            continue
        x, y = graph.shape(before.inputs[0]), graph.shape(node.inputs[0])
        zeros = [k for k, d in enumerate(target) if d == 0]
        if x is not None and y is not None and all(k < len(x) and x[k] == y[k] and x[k] is not None for k in zeros):
            node.inputs[0] = before.inputs[0]
    graph.drop_dead()
    identity_reshapes(graph)


def identity_reshapes(graph: Graph) -> None:
    """Reshape to the shape the value has already  =>  nothing."""
    for node in list(graph.nodes):
        if node.is_plan("Reshape"):
            x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
            target = graph.const(node.inputs[1])
            if x is None or y is None or target is None or len(x) != len(y):
                continue
            if sum(a != b or not isinstance(a, int) for a, b in zip(x, y)) <= 1 and all(
                a == b for a, b in zip(x, y) if isinstance(a, int) and isinstance(b, int)
            ):
                if any(isinstance(a, int) != isinstance(b, int) for a, b in zip(x, y)) and not one_free(x, y):
                    continue
                graph.remove(node)
                graph.replace_uses(node.outputs[0], node.inputs[0])


def one_free(x: Shape, y: Shape) -> bool:
    """All dimensions but one are known and equal: so is the last."""
    return sum(1 for a, b in zip(x, y) if not (isinstance(a, int) and a == b)) == 1
