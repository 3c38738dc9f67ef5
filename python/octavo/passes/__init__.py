"""The graph passes, in the order they run. A pass takes a Graph and changes it in place; one file each.

What a graph means is settled by the passes of MEANING; those of OPTIMIZE never change a byte of its results.
"""

from __future__ import annotations

from collections.abc import Callable

from octavo.ir import Graph
from octavo.passes import fixed
from octavo.passes.block_quantized import read_block_quantized
from octavo.passes.codebooks import read_codebooks
from octavo.passes.complete_shapes import complete_shapes
from octavo.passes.dynamic_quantization import fuse_dynamic_quantization
from octavo.passes.expand_functions import expand_functions
from octavo.passes.fold_batch_norm import fold_batch_norm
from octavo.passes.fold_constants import fold_constants
from octavo.passes.fold_dequantize import fold_dequantize, fold_restores
from octavo.passes.fuse_attention import fuse_attention
from octavo.passes.fuse_epilogue import fuse_activation, fuse_bias, fuse_residual
from octavo.passes.fuse_integers import fuse_lut, fuse_pad, fuse_qadd, fuse_transpose_into_quantize, mark_graph_inputs
from octavo.passes.layout import move_transposes
from octavo.passes.move_quantization import move_quantization
from octavo.passes.move_shapes import move_shapes
from octavo.passes.read_quantization import read_quantization
from octavo.passes.recognize import recognize
from octavo.passes.silu import fuse_silu
from octavo.passes.tables import build_tables
from octavo.passes.to_plan import to_plan
from octavo.passes.widen_floats import read_narrow_weights, widen_floats
from octavo.passes.written_out import recognize_written_out

Pass = Callable[[Graph], None]

# Constants, shapes, batch normalization: for every mode.
CANONICAL: list[Pass] = [
    expand_functions,
    read_block_quantized,
    read_codebooks,
    read_narrow_weights,
    fold_constants,
    widen_floats,
    fold_constants,
    fold_batch_norm,
    move_shapes,
]
# Quantization read as integer arithmetic; not with literal=True.
MEANING: list[Pass] = [read_quantization, move_quantization, recognize, build_tables, recognize_written_out]
# ONNX operators that merge before they become plan operators; only with optimize=True.
EARLY: list[Pass] = [fuse_silu, fuse_dynamic_quantization]
# ONNX vocabulary to plan vocabulary, for every mode.
CONVERT: list[Pass] = [fold_dequantize, fold_constants, complete_shapes, to_plan, fold_restores, mark_graph_inputs]
# Plan to plan; only with optimize=True.
OPTIMIZE: list[Pass] = [
    fuse_attention,
    move_transposes,
    fuse_pad,
    fuse_bias,
    fuse_residual,
    fuse_activation,
    fuse_lut,
    fuse_qadd,
    fuse_lut,
    fuse_transpose_into_quantize,
]


def run_passes(graph: Graph, optimize: bool = True, literal: bool = False) -> None:
    """Takes an imported graph to one of plan operators only."""
    stages = [CANONICAL]
    if literal:
        stages += [[mark_literal], CONVERT]
    else:
        stages += [MEANING, EARLY if optimize else [], CONVERT, OPTIMIZE if optimize else []]
        stages += [[fixed.check_integers]] if graph.requantize == "fixed" else []
    for stage in stages:
        for run in stage:
            run(graph)
            graph.sort()
            graph.drop_dead()
            graph.drop_constants()


def mark_literal(graph: Graph) -> None:
    """Products accumulate in float64 and round once."""
    for node in graph.nodes:
        if node.is_op("Conv", "ConvTranspose", "MatMul", "Gemm"):
            node.attrs["acc64"] = 1
