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
    cumulative,
    depth_to_space,
    dequantize,
    dequantize_linear,
    dynamic_quantize_linear,
    expand,
    flatten,
    flip8,
    gather,
    gather_elements,
    gather_nd,
    grid_sample,
    identity,
    layer_normalization,
    lut,
    matmul,
    matmul_integer,
    max_pool,
    non_max_suppression,
    non_zero,
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
    recurrent,
    reduce,
    reshape,
    resize,
    scatter_elements,
    scatter_nd,
    shape,
    size,
    slice,
    softmax,
    space_to_depth,
    split,
    squeeze,
    tile,
    top_k,
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
    "Cumulative": cumulative,
    "TopK": top_k,
    "NonZero": non_zero,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "GatherND": gather_nd,
    "NonMaxSuppression": non_max_suppression,
    "GridSample": grid_sample,
    "Recurrent": recurrent,
}


def reference(op: str, inputs: Inputs, attrs: Attributes) -> list[Array]:
    """The outputs of one step of plan operator `op`; KeyError for a name that is not one."""
    return OPS[op].reference(inputs, attrs)
