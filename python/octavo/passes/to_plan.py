"""Every remaining ONNX node becomes plan operators, or a Python step with the reason why."""

from __future__ import annotations

from octavo.ir import Graph, Node
from octavo.passes.context import CORE_DTYPES, MAX_RANK, Context, Refuse
from octavo.passes.match import Patch
from octavo.passes.rules import RULES


def to_plan(graph: Graph) -> None:
    """ONNX nodes => plan nodes. A node without a rule, or one whose rule refuses, becomes a `Python` step."""
    producers = graph.producers()
    for node in list(graph.nodes):
        if node.domain == "plan":
            continue
        patch = Patch(graph, node)
        try:
            rule = RULES.get(node.op) if node.domain == "" else None
            if rule is None:
                raise Refuse("the core has no such operator")
            check_types(graph, node)
            rule(Context(graph, node, patch, producers))
            check_known(graph, patch)
        except (Refuse, LookupError) as e:
            python_step(graph, node, str(e))
            continue
        patch.apply()


def check_types(graph: Graph, node: Node) -> None:
    for name in [*node.inputs, *node.outputs]:
        if not name:
            continue
        value = graph.values[name]
        if value.host is not None:
            raise Refuse("the core holds neither sequences nor optionals")
        if value.dtype is None and name in node.inputs:
            raise Refuse(f"the type of '{name}' is not known")
        if value.dtype is not None and value.dtype not in CORE_DTYPES:
            raise Refuse(f"the core does not hold {'strings' if value.dtype == object else value.dtype}")
        if value.rank is not None and value.rank > MAX_RANK:
            raise Refuse(f"the core holds at most {MAX_RANK} dimensions")


def check_known(graph: Graph, patch: Patch) -> None:
    for node in patch.nodes:
        for name in node.outputs:
            if name and (graph.rank(name) is None or graph.dtype(name) is None):
                raise Refuse(f"the rank or type of '{name}' is not known")


def python_step(graph: Graph, node: Node, reason: str) -> None:
    node.domain, node.attrs = "plan", {**node.attrs, "reason": reason, "onnx_op": node.op, "onnx_domain": node.domain}
    node.op = "Python"
