"""float16 and bfloat16 models compute in float32; their large weights stay 16-bit in memory."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from octavo.ir import Graph, Node, plan_node
from octavo.passes.small_weights import SMALLEST, restorable

NARROW = {np.dtype(np.float16): 10, np.dtype(ml_dtypes.bfloat16): 16}
F32 = np.dtype(np.float32)
# Operators whose floats are all of one type and mean the same in a wider one.
ANY_FLOAT = {
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Attention",
    "AveragePool", "BatchNormalization", "Ceil", "Celu", "Clip", "Compress", "Concat", "Conv", "ConvTranspose", "Cos",
    "Cosh", "CumSum", "DepthToSpace", "DequantizeLinear", "Det", "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf",
    "Exp", "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
    "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample",
    "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf", "IsNaN",
    "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization",
    "LpPool", "MatMul", "Max", "MaxPool", "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mod", "Mul", "Neg",
    "NonZero", "PRelu", "Pad", "Pow", "QuantizeLinear", "RMSNormalization", "RNN", "Reciprocal", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Relu", "Reshape", "Resize", "RotaryEmbedding", "Round", "ScatterElements", "ScatterND", "Selu",
    "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Shape", "Slice", "Softmax", "Softplus", "Softsign",
    "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK",
    "Transpose", "Trilu", "Unsqueeze", "Upsample", "Where",
}  # fmt: skip


def widen_floats(graph: Graph) -> None:
    """op(x float16, ..) -> y float16  =>  Cast(op(Cast(x), ..)), and no Casts between two such operators.

    Inputs and outputs of the graph keep their types, and so do Cast itself (its rounding stays) and operators outside
    ANY_FLOAT. Constants become float32, or Restore nodes over the 16-bit weight where everything that reads it can
    restore it itself.
    """
    wide: dict[str, str] = {}
    nodes: list[Node] = []
    consts: dict[str, str] = {}
    for node in graph.nodes:
        touches = any(graph.dtype(name) in NARROW for name in [*node.inputs, *node.outputs] if name)
        if node.domain != "" or node.op not in ANY_FLOAT or not touches:
            nodes.append(node)
            continue
        for k, name in enumerate(node.inputs):
            if name and graph.dtype(name) in NARROW:
                if name not in wide:
                    wide[name] = graph.new_value(f"{name}/wide", F32, graph.shape(name))
                    if graph.const(name) is not None:
                        consts[name] = wide[name]
                    else:
                        nodes.append(cast(name, wide[name], 1, f"widen {name}"))
                node.inputs[k] = wide[name]
        set_types(node)
        nodes.append(node)
        for k, name in enumerate(node.outputs):
            number = NARROW.get(graph.dtype(name)) if name else None
            if number is not None:
                wide[name] = node.outputs[k] = graph.new_value(f"{name}/wide", F32, graph.shape(name))
                nodes.append(cast(wide[name], name, number, node.name))
    if not wide:
        return
    graph.nodes = nodes
    graph.drop_dead()
    keep_small(graph, consts)


def read_narrow_weights(graph: Graph) -> None:
    """Cast(16-bit constant) -> float32  =>  Restore, where everything that reads the weight can restore it itself."""
    readers = graph.readers()
    for k, node in enumerate(graph.nodes):
        if not node.is_op("Cast") or int(node.attrs.get("to", 0)) != 1:
            continue
        array, out = graph.const(node.inputs[0]), node.outputs[0]
        if array is None or array.dtype not in NARROW or not restorable(graph, readers, out, array.shape):
            continue
        if not normalized(readers, out):
            graph.values[out].dtype, graph.values[out].shape = F32, array.shape
            graph.nodes[k] = plan_node("Restore", [node.inputs[0], "", "", ""], [out], node.name, {})


def cast(source: str, target: str, number: int, name: str) -> Node:
    return Node("Cast", [source], [target], {"to": number}, name)


def set_types(node: Node) -> None:
    """Attributes that name a float type."""
    for attr in ("output_dtype", "precision"):
        if node.attrs.get(attr) in NARROW.values() and node.op in ("QuantizeLinear", "DequantizeLinear"):
            node.attrs[attr] = 1


def keep_small(graph: Graph, consts: dict[str, str]) -> None:
    readers = graph.readers()
    for name, wide in consts.items():
        array = graph.const(name)
        assert array is not None
        if array.size >= SMALLEST and restorable(graph, readers, wide, array.shape) and not normalized(readers, wide):
            graph.nodes.insert(0, plan_node("Restore", [name, "", "", ""], [wide], f"restore {name}", {}))
        else:
            graph.values[wide].const = array.astype(np.float32)


def normalized(readers: dict[str, list[Node]], weight: str) -> bool:
    """A convolution before a BatchNormalization, which folds into its weights."""
    outs = [out for node in readers[weight] if node.op == "Conv" for out in node.outputs]
    return any(after.op == "BatchNormalization" for out in outs for after in readers.get(out, []))
