"""The truth of every plan operator: `OPS[name].reference(inputs, attrs)`, plain numpy.

docs/plan.md lists the operators, docs/arithmetic.md their formulas. The list is explicit, and a test asserts that it
equals the core's. Only the host-function step `Python` is not here: its meaning is the caller's.
"""

from __future__ import annotations

from typing import Protocol

from . import (
    arg_max,
    arg_min,
    attention,
    average_pool,
    binary,
    cast,
    concat,
    constant_of_shape,
    conv,
    conv_transpose,
    depth_to_space,
    dequantize,
    dequantize_linear,
    dynamic_quantize_linear,
    expand,
    flatten,
    flip8,
    gather,
    gather_elements,
    identity,
    layer_normalization,
    lut,
    matmul,
    matmul_integer,
    max_pool,
    pad,
    qadd,
    qaverage_pool,
    qconv,
    qgemm,
    qgemm_dynamic,
    qmatmul,
    qmul,
    qreduce_mean,
    qsoftmax,
    quantize,
    quantize_linear,
    range,
    reduce,
    reshape,
    resize,
    shape,
    size,
    slice,
    softmax,
    space_to_depth,
    split,
    squeeze,
    tile,
    transpose,
    unary,
    unsqueeze,
    where,
)
from ._attributes import Array, Attributes, Inputs


class Operator(Protocol):
    """A module of this folder."""

    def reference(self, inputs: Inputs, attrs: Attributes) -> list[Array]:
        """The outputs of one step from its inputs (None: absent) and attributes."""
        ...


OPS: dict[str, Operator] = {
    "QConv": qconv,
    "QGemm": qgemm,
    "QMatMul": qmatmul,
    "MatMulInteger": matmul_integer,
    "QGemmDynamic": qgemm_dynamic,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "Quantize": quantize,
    "Dequantize": dequantize,
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QAdd": qadd,
    "QMul": qmul,
    "Lut": lut,
    "Flip8": flip8,
    "QAveragePool": qaverage_pool,
    "QReduceMean": qreduce_mean,
    "QSoftmax": qsoftmax,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MatMul": matmul,
    "Attention": attention,
    "Unary": unary,
    "Binary": binary,
    "Where": where,
    "Cast": cast,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Reduce": reduce,
    "Softmax": softmax,
    "LayerNormalization": layer_normalization,
    "Resize": resize,
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Identity": identity,
    "Expand": expand,
    "Concat": concat,
    "Split": split,
    "Slice": slice,
    "Pad": pad,
    "Gather": gather,
    "GatherElements": gather_elements,
    "Tile": tile,
    "Shape": shape,
    "Size": size,
    "ConstantOfShape": constant_of_shape,
    "Range": range,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "ArgMax": arg_max,
    "ArgMin": arg_min,
}


def reference(op: str, inputs: Inputs, attrs: Attributes) -> list[Array]:
    """The outputs of one step of plan operator `op`; KeyError for a name that is not one."""
    return OPS[op].reference(inputs, attrs)
