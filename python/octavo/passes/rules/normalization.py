"""Softmax and the normalizations."""

from __future__ import annotations

from octavo.passes.context import F32, S64, Context, Refuse, Rule
from octavo.passes.match import normal_axes


def softmax(c: Context) -> None:
    c.need_f32()
    rank = c.rank()
    axis = int(c.attr("axis", 1 if c.graph.opset < 13 else -1))
    axis += rank if axis < 0 else 0
    attrs = {"log": int(c.node.op == "LogSoftmax")}
    if c.graph.opset >= 13 or axis == rank - 1:
        return c.emit("Softmax", [c.x], {"axis": axis, **attrs})
    # Before operator set 13: over all axes from `axis` on, as one.
    shape = c.graph.shape(c.x)
    flat = c.patch.emit("Flatten", [c.x], F32, (None, None), {"axis": axis})
    soft = c.patch.emit("Softmax", [flat], F32, (None, None), {"axis": 1, **attrs})
    original = c.patch.emit("Shape", [c.x], S64, (rank,), {})
    c.patch.emit("Reshape", [soft, original], F32, shape, {}, c.y)


def layer_normalization(c: Context) -> None:
    c.need_f32(0, 1, 2)
    if any(c.node.outputs[1:]):
        raise Refuse("the core returns LayerNormalization's result only, not its mean and deviation")
    axis = normal_axes([int(c.attr("axis", -1))], c.rank())[0]
    whole = c.graph.shape(c.x) or ()
    for k in (1, 2):
        part = c.graph.shape(c.node.input(k)) if c.node.input(k) else None
        if part is None:
            continue
        aligned = (1,) * (len(whole) - len(part)) + part
        if len(part) > len(whole) or any(
            (d == 1) != (j < axis) and n != 1 for j, (d, n) in enumerate(zip(aligned, whole))
        ):
            raise Refuse("its scale or bias is not one number for each normalised element")
    c.emit("LayerNormalization", list(c.node.inputs), {"axis": axis, "epsilon": float(c.attr("epsilon", 1e-5))})


RULES: dict[str, Rule] = {
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "LayerNormalization": layer_normalization,
}  # fmt: skip
