"""Einsum => Transpose, Reduce, Mul and MatMul, operand after operand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octavo.passes.context import Context, Refuse, Rule
from octavo.passes.rules.composed import Writer


@dataclass
class Term:
    """A value and the letter of each of its axes."""

    value: str
    letters: str


def parse(c: Context) -> tuple[list[str], str]:
    """Letters of each operand and of the output; an ellipsis becomes capital letters that nobody else uses."""
    equation = str(c.attr("equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    operands = left.split(",")
    if len(operands) != len(c.node.inputs):
        raise Refuse("its equation has another number of operands")
    spare = [chr(k) for k in range(ord("A"), ord("Z") + 1) if chr(k) not in equation]
    hidden = ""  # the letters of the ellipsis, aligned at its end
    explicit = []
    for k, operand in enumerate(operands):
        count = c.rank(k) - len(operand.replace("...", "")) if "..." in operand else 0
        if count < 0 or len(operand.replace("...", "")) + count != c.rank(k):
            raise Refuse("its equation does not fit its operands' ranks")
        while len(hidden) < count:
            hidden = spare.pop() + hidden
        explicit.append(operand.replace("...", hidden[len(hidden) - count :]))
    if not arrow:
        once = sorted(x for x in set("".join(explicit)) if "".join(explicit).count(x) == 1 and x not in hidden)
        right = "..." + "".join(once)
    return explicit, right.replace("...", hidden)


def diagonal(w: Writer, term: Term) -> Term:
    """A letter twice: what lies off the diagonal becomes zero, and the second axis is summed away."""
    for at, letter in enumerate(term.letters):
        first = term.letters.index(letter)
        if first == at:
            continue
        on = w.binary("Equal", w.index(term.value, first), w.index(term.value, at))
        value = w.reduce("Sum", w.where(on, term.value, w.like(0, term.value)), [at], keep=False)
        return diagonal(w, Term(value, term.letters[:at] + term.letters[at + 1 :]))
    return term


def summed(w: Writer, term: Term, wanted: str) -> Term:
    """Axes that nobody wants are summed."""
    axes = [k for k, letter in enumerate(term.letters) if letter not in wanted]
    if not axes:
        return term
    kept = "".join(letter for letter in term.letters if letter in wanted)
    return Term(w.reduce("Sum", term.value, axes, keep=False), kept)


def arranged(w: Writer, term: Term, letters: str) -> str:
    """The value with its axes in this order; letters it lacks become axes of one."""
    own = [x for x in letters if x in term.letters]
    perm = [term.letters.index(x) for x in own]
    value = term.value if perm == list(range(len(perm))) else w.patch.transpose(term.value, perm)
    missing = [k for k, x in enumerate(letters) if x not in term.letters]
    return w.unsqueeze(value, missing) if missing else value


def product(w: Writer, a: Term, b: Term, wanted: str) -> Term:
    a, b = summed(w, a, wanted + b.letters), summed(w, b, wanted + a.letters)
    both = "".join(x for x in a.letters if x in b.letters)
    inner = "".join(x for x in both if x not in wanted)
    batch = "".join(x for x in both if x in wanted)
    mine, yours = ("".join(x for x in t.letters if x not in both) for t in (a, b))
    if not inner or w.graph.dtype(a.value) != np.float32:
        letters = batch + mine + yours + inner
        joined = w.binary("Mul", arranged(w, a, letters), arranged(w, b, letters))
        return summed(w, Term(joined, letters), wanted)
    if max(len(mine), len(yours), len(inner)) > 1:
        # The free axes of each side in one, and what is summed: [batch.., mine, inner] x [batch.., inner, yours].
        left = merged(w, arranged(w, a, batch + mine + inner), len(batch), len(mine), len(inner))
        right = merged(w, arranged(w, b, batch + inner + yours), len(batch), len(inner), len(yours))
    else:
        left = arranged(w, a, batch + (mine or "?") + inner)
        right = arranged(w, b, batch + inner + (yours or "?"))
    shape = (*w.shape(left)[:-1], w.shape(right)[-1])
    value = w.emit("MatMul", [left, right], np.dtype(np.float32), shape)
    if max(len(mine), len(yours), len(inner)) > 1:
        sizes = [(a, x) for x in mine] + [(b, x) for x in yours]
        dims = [w.shape(t.value)[t.letters.index(x)] for t, x in sizes]
        known = [d if isinstance(d, int) else -1 for d in dims]
        if known.count(-1) > 1:
            raise Refuse("several of its sizes are known only at run time")
        value = w.reshape(value, [0] * len(batch) + known)
    else:
        gone = [len(batch) + k for k, part in enumerate((mine, yours)) if not part]
        value = w.squeeze(value, gone) if gone else value
    return Term(value, batch + mine + yours)


def merged(w: Writer, value: str, batch: int, first: int, second: int) -> str:
    """[batch.., first axes.., second axes..] => [batch.., one, one]"""
    shape = w.shape(value)
    dims: list[int] = []
    for part in (shape[batch : batch + first], shape[batch + first :]):
        whole = all(isinstance(d, int) for d in part)
        dims.append(int(np.prod([d for d in part if isinstance(d, int)])) if whole else -1)
    if dims.count(-1) > 1:
        raise Refuse("several of its sizes are known only at run time")
    return w.reshape(value, [0] * batch + dims)


def einsum(c: Context) -> None:
    w = Writer(c)
    operands, result = parse(c)
    if c.dtype() not in {np.dtype(t) for t in ("f4", "f8", "i4", "i8")} or len(set(result)) != len(result):
        raise Refuse(f"the core does not compute it in {c.dtype()}")
    terms = [diagonal(w, Term(name, letters)) for name, letters in zip(c.node.inputs, operands)]
    total = terms[0]
    for k, term in enumerate(terms[1:], 2):
        later = "".join(t.letters for t in terms[k:])
        total = product(w, total, term, result + later)
    total = summed(w, total, result)
    if sorted(total.letters) != sorted(result):
        raise Refuse("its output has an axis that no operand has")
    perm = [total.letters.index(x) for x in result]
    c.patch.transpose(total.value, perm, c.y) if perm else c.emit("Identity", [total.value])


RULES: dict[str, Rule] = {"Einsum": einsum}
