"""How an ONNX operator becomes plan operators: one rule each, by the operator's name.

A rule emits plan nodes through its Context, or raises Refuse with the reason why the core cannot run the node.
"""

from octavo.passes.context import Rule
from octavo.passes.rules import (
    composed,
    einsum,
    functions,
    movement,
    normalization,
    products,
    quantization,
    selection,
    unfold,
    windows,
)

RULES: dict[str, Rule] = {
    **composed.RULES,
    **einsum.RULES,
    **selection.RULES,
    **functions.RULES,
    **products.RULES,
    **windows.RULES,
    **normalization.RULES,
    **movement.RULES,
    **quantization.RULES,
}
for _name, _rule in unfold.RULES.items():
    RULES[_name] = unfold.first_of(RULES[_name], _rule) if _name in RULES else _rule
