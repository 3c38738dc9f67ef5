"""ai.onnx.preview.training Gradient spelled out: the nodes between xs and y again, then their derivatives backwards.

Reverse-mode differentiation (Griewank & Walther, Evaluating Derivatives, chapter 3) over a small set of operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference

from octavo.errors import Unsupported

DOMAIN = "ai.onnx.preview.training"
Shape = list[int]


def expand_gradients(proto: ModelProto) -> ModelProto:
    """A model without Gradient nodes; the model itself when it has none. Raises Unsupported, naming the node."""
    if not any(n.op_type == "Gradient" and n.domain == DOMAIN for n in proto.graph.node):
        return proto
    result = ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    for node in proto.graph.node:
        if node.op_type == "Gradient" and node.domain == DOMAIN:
            result.graph.node.extend(Differentiation(proto, node).nodes)
        else:
            result.graph.node.append(node)
    return result


class Differentiation:
    """What one Gradient node becomes."""

    def __init__(self, proto: ModelProto, node: NodeProto) -> None:
        self.prefix, self.opset = f"{node.name or node.output[0]}/", opset_of(proto)
        self.nodes: list[NodeProto] = []
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        xs = [x.decode() for x in attrs["xs"]]
        known = [*xs, *(z.decode() for z in attrs.get("zs", []))]
        self.names = dict(zip(known, node.input))
        path = path_to(proto.graph, attrs["y"].decode(), set(known))
        for one in path:
            self.copy(one)
        y = self.names[attrs["y"].decode()]
        self.shapes = self.infer(proto, y)
        self.grads: dict[str, str] = {y: self.filled(y, 1.0)}
        for one in reversed([self.nodes[k] for k in range(len(path))]):
            self.backwards(one)
        for x, out in zip(xs, node.output):
            if out:
                value = self.names[x]
                self.nodes.append(
                    helper.make_node("Identity", [self.grads.get(value) or self.filled(value, 0.0)], [out])
                )

    def copy(self, node: NodeProto) -> None:
        again = NodeProto()
        again.CopyFrom(node)
        del again.input[:], again.output[:]
        again.name = self.prefix + node.name
        again.input.extend(self.names.get(name, name) for name in node.input)
        for name in node.output:
            self.names[name] = self.prefix + name if name else ""
            again.output.append(self.names[name])
        self.nodes.append(again)

    def infer(self, proto: ModelProto, y: str) -> dict[str, Shape]:
        """Shapes of all values whose every dimension is known."""
        whole = ModelProto()
        whole.CopyFrom(proto)
        del whole.graph.node[:], whole.graph.output[:]
        whole.graph.node.extend([n for n in proto.graph.node if n.op_type != "Gradient"] + self.nodes)
        whole.graph.output.append(helper.make_empty_tensor_value_info(y))
        graph = shape_inference.infer_shapes(whole).graph
        found = {t.name: list(t.dims) for t in graph.initializer}
        for info in [*graph.value_info, *graph.input, *graph.output]:
            dims = info.type.tensor_type.shape.dim
            if info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
                found[info.name] = [d.dim_value for d in dims]
        return found

    def emit(self, op: str, *inputs: str, **attrs: Any) -> str:
        out = f"{self.prefix}d{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attrs))
        return out

    def filled(self, like: str, value: float) -> str:
        tensor = numpy_helper.from_array(np.array([value], np.float32))
        return self.emit("ConstantOfShape", self.emit("Shape", like), value=tensor)

    def ints(self, values: list[int]) -> str:
        return self.emit("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    def number(self, value: float) -> str:
        return self.emit("Constant", value=numpy_helper.from_array(np.array(value, np.float32)))

    def backwards(self, node: NodeProto) -> None:
        grad = self.grads.get(node.output[0])
        if grad is None:
            return
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            raise Unsupported(f"node '{node.name}' ({node.op_type}): octavo has no derivative of it for Gradient")
        for name, part in zip(node.input, rule(self, node, grad)):
            part = self.sum_to(part, node, name)
            self.grads[name] = self.emit("Add", self.grads[name], part) if name in self.grads else part

    def sum_to(self, grad: str, node: NodeProto, name: str) -> str:
        """A gradient of the output's shape summed over the axes that input `name` was broadcast along."""
        if node.op_type not in BROADCASTING:
            return grad
        try:
            small, large = self.shapes[name], self.shapes[node.output[0]]
        except KeyError as e:
            raise Unsupported(f"node '{node.name}' ({node.op_type}): Gradient needs the shape of {e}") from None
        lead = len(large) - len(small)
        axes = [k for k, size in enumerate(large) if k < lead or (small[k - lead] == 1 and size != 1)]
        if not axes:
            return grad
        if self.opset < 13:
            total = self.emit("ReduceSum", grad, axes=axes, keepdims=1)
        else:
            total = self.emit("ReduceSum", grad, self.ints(axes), keepdims=1)
        return self.emit("Reshape", total, self.ints(small))


def opset_of(proto: ModelProto) -> int:
    return max([int(o.version) for o in proto.opset_import if o.domain in ("", "ai.onnx")], default=1)


def path_to(graph: GraphProto, y: str, known: set[str]) -> list[NodeProto]:
    """The nodes that lead from the known values to y, in order."""
    wanted, path = {y} - known, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            path.append(node)
            wanted |= set(node.input) - known
    return path[::-1]


Rule = Callable[[Differentiation, NodeProto, str], list[str]]


def matmul(d: Differentiation, n: NodeProto, g: str) -> list[str]:
    a, b = n.input
    if len(d.shapes.get(a, [])) != 2 or len(d.shapes.get(b, [])) != 2:
        raise Unsupported(f"node '{n.name}' (MatMul): Gradient takes products of two matrices of known shape only")
    left, right = d.emit("Transpose", a, perm=[1, 0]), d.emit("Transpose", b, perm=[1, 0])
    return [d.emit("MatMul", g, right), d.emit("MatMul", left, g)]


def transpose(d: Differentiation, n: NodeProto, g: str) -> list[str]:
    perm = next((list(a.ints) for a in n.attribute if a.name == "perm"), None)
    return [d.emit("Transpose", g) if perm is None else d.emit("Transpose", g, perm=[int(p) for p in np.argsort(perm)])]


def quotient(d: Differentiation, n: NodeProto, g: str) -> list[str]:
    a = d.emit("Div", g, n.input[1])
    return [a, d.emit("Neg", d.emit("Mul", a, n.output[0]))]


def sigmoid(d: Differentiation, n: NodeProto, g: str) -> list[str]:
    y = n.output[0]
    return [d.emit("Mul", g, d.emit("Mul", y, d.emit("Sub", d.number(1.0), y)))]


def tanh(d: Differentiation, n: NodeProto, g: str) -> list[str]:
    y = n.output[0]
    return [d.emit("Mul", g, d.emit("Sub", d.number(1.0), d.emit("Mul", y, y)))]


BROADCASTING = ("Add", "Sub", "Mul", "Div", "Sum")
RULES: dict[str, Rule] = {
    "Identity": lambda d, n, g: [g],
    "Add": lambda d, n, g: [g, g],
    "Sum": lambda d, n, g: [g] * len(n.input),
    "Sub": lambda d, n, g: [g, d.emit("Neg", g)],
    "Mul": lambda d, n, g: [d.emit("Mul", g, n.input[1]), d.emit("Mul", g, n.input[0])],
    "Div": quotient,
    "Neg": lambda d, n, g: [d.emit("Neg", g)],
    "Exp": lambda d, n, g: [d.emit("Mul", g, n.output[0])],
    "Log": lambda d, n, g: [d.emit("Div", g, n.input[0])],
    "Sqrt": lambda d, n, g: [d.emit("Div", g, d.emit("Add", n.output[0], n.output[0]))],
    "Relu": lambda d, n, g: [d.emit("Mul", g, d.emit("Sign", n.output[0]))],
    "Sigmoid": sigmoid,
    "Tanh": tanh,
    "MatMul": matmul,
    "Transpose": transpose,
    "Reshape": lambda d, n, g: [d.emit("Reshape", g, d.emit("Shape", n.input[0]))],
}
