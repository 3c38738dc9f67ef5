"""Elementwise functions, products, reductions, normalisation and what is left of quantization."""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node
from octavo.passes.convert_move import HELD, Converter, held, int_list
from octavo.passes.emit import Emit
from octavo.passes.functions import BINARY, COMPARISONS, UNARY, VARIADIC, binary_fn, unary_attrs
from octavo.passes.quant import scalar, tensor_scale
from octavo.passes.refusal import Refused, require

F32, U8, I32, BOOL = (np.dtype(t) for t in (np.float32, np.uint8, np.int32, np.bool_))


def need_f32(emit: Emit, *names: str) -> None:
    for name in names:
        if name:
            require(emit.graph.dtype(name) == F32, f"'{name}' is {emit.graph.dtype(name)}; the core computes it in float32 only")


def unary(emit: Emit, node: Node) -> None:
    attrs = unary_attrs(emit.graph, node)
    if attrs is None and node.op == "Clip":
        return clip_by_values(emit, node)
    require(attrs is not None, f"the core has no {node.op} for {emit.graph.dtype(node.inputs[0])} with these attributes")
    x, out = node.inputs[0], node.outputs[0]
    emit.op("Unary", [x], emit.graph.dtype(x), emit.graph.shape(out) or emit.graph.shape(x), attrs, out)


def clip_by_values(emit: Emit, node: Node) -> None:
    """Clip whose bounds are computed: max, then min."""
    x, out = node.inputs[0], node.outputs[0]
    bounds = [(fn, node.input(k)) for k, fn in ((1, "Max"), (2, "Min")) if node.input(k)]
    require(bounds and emit.graph.dtype(x) in (F32, I32, np.int64), "its bounds or element type are not held natively")
    for k, (fn, bound) in enumerate(bounds):
        last = out if k == len(bounds) - 1 else None
        x = emit.op("Binary", [x, bound], emit.graph.dtype(x), emit.graph.shape(out), {"fn": fn}, last)


def binary(emit: Emit, node: Node) -> None:
    fn = binary_fn(emit.graph, node)
    require(fn is not None, f"the core has no {node.op} for {[str(emit.graph.dtype(n)) for n in node.inputs]}")
    require(not node.attrs.get("broadcast") and "axis" not in node.attrs, "it uses the broadcasting of operator set 6")
    out = node.outputs[0]
    dtype = BOOL if fn in COMPARISONS else emit.graph.dtype(node.inputs[0])
    attrs = {"fn": fn, **({"fmod": int(node.attrs.get("fmod", 0))} if fn == "Mod" else {})}
    emit.op("Binary", node.inputs, dtype, emit.graph.shape(out), attrs, out)


def variadic(emit: Emit, node: Node) -> None:
    """Max, Min, Sum of any number of inputs: a chain of Binary steps."""
    dtype = emit.graph.dtype(node.inputs[0])
    require(dtype in (F32, I32, np.int64), f"the core has no {node.op} for {dtype}")
    x, out = node.inputs[0], node.outputs[0]
    if len(node.inputs) == 1:
        emit.op("Identity", [x], dtype, emit.graph.shape(out), {}, out)
    for k, other in enumerate(node.inputs[1:], 1):
        last = out if k == len(node.inputs) - 1 else None
        x = emit.op("Binary", [x, other], dtype, emit.graph.shape(out) if last else None, {"fn": VARIADIC[node.op]}, last)


def literal(graph: Graph) -> dict[str, object]:
    return {"acc64": 1} if graph.metadata.get("octavo.literal") else {}


def matmul(emit: Emit, node: Node) -> None:
    need_f32(emit, *node.inputs)
    a, b = node.inputs
    out, attrs = node.outputs[0], literal(emit.graph)
    const = emit.graph.const(b)
    if const is not None and const.ndim == 2:
        b, attrs = emit.const(np.ascontiguousarray(const.T)), {**attrs, "trans_b": 1}
    emit.op("MatMul", [a, b], F32, emit.graph.shape(out), attrs, out)


def gemm(emit: Emit, node: Node) -> None:
    """alpha * A' * B' + beta * C, as MatMul with a bias where C is a vector, else with Binary steps after it."""
    graph = emit.graph
    need_f32(emit, *node.inputs)
    a, b, c = node.inputs[0], node.inputs[1], node.input(2)
    alpha, beta = (np.float32(node.attrs.get(k, 1.0)) for k in ("alpha", "beta"))
    out, shape = node.outputs[0], graph.shape(node.outputs[0])
    if node.attrs.get("transA"):
        a = emit.transpose(a, (1, 0))
    attrs = literal(graph)
    weights = graph.const(b)
    if weights is not None and weights.ndim == 2:
        stored = weights if node.attrs.get("transB") else weights.T
        b, attrs, alpha_left = emit.const(np.ascontiguousarray(stored * alpha)), {**attrs, "trans_b": 1}, np.float32(1)
        width: int | None = stored.shape[0]
    else:
        b, alpha_left, width = emit.transpose(b, (1, 0)) if node.attrs.get("transB") else b, alpha, None
    bias = graph.const(c) if c else None
    folded = bias is not None and width is not None and bias.size in (1, width) and all(d == 1 for d in bias.shape[:-1])
    inputs = [a, b]
    if folded:
        inputs.append(emit.const(np.broadcast_to((bias * beta).reshape(-1), (width,)), F32))  # type: ignore[operator]
    rest = [("Mul", emit.const(alpha_left))] if alpha_left != 1 else []
    if c and not folded:
        rest.append(("Add", c if beta == 1 else emit.op("Binary", [c, emit.const(beta)], F32, graph.shape(c), {"fn": "Mul"})))
    y = emit.op("MatMul", inputs, F32, shape, attrs, None if rest else out)
    for k, (fn, other) in enumerate(rest):
        y = emit.op("Binary", [y, other], F32, shape, {"fn": fn}, out if k == len(rest) - 1 else None)


def batch_normalization(emit: Emit, node: Node) -> None:
    """(x - mean) / sqrt(var + eps) * scale + bias as x * a + b with constants computed in float32."""
    graph = emit.graph
    need_f32(emit, node.inputs[0])
    require(len([o for o in node.outputs if o]) == 1 and not node.attrs.get("training_mode"), "it is in training mode")
    folded = batch_norm_affine(graph, node)
    rank = graph.rank(node.inputs[0])
    require(folded is not None and rank is not None and rank >= 2, "its parameters are not constants")
    a, b = folded  # type: ignore[misc]
    shape = [-1, *[1] * (rank - 2)]  # type: ignore[operator]
    out = node.outputs[0]
    y = emit.op("Binary", [node.inputs[0], emit.const(a.reshape(shape))], F32, graph.shape(out), {"fn": "Mul"})
    emit.op("Binary", [y, emit.const(b.reshape(shape))], F32, graph.shape(out), {"fn": "Add"}, out)


def batch_norm_affine(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """The factor and the offset of a BatchNormalization with constant parameters (float32, one rounding an operation)."""
    parameters = [graph.const(n) for n in node.inputs[1:5]]
    if len(parameters) != 4 or any(p is None or p.dtype != np.float32 for p in parameters):
        return None
    scale, bias, mean, var = parameters
    with np.errstate(all="ignore"):
        a = scale / np.sqrt(var + np.float32(node.attrs.get("epsilon", 1e-5)))  # type: ignore[operator]
        return a, bias - mean * a


def reduce(fn: str) -> Converter:
    def converter(emit: Emit, node: Node) -> None:
        x, out = node.inputs[0], node.outputs[0]
        dtype = emit.graph.dtype(x)
        require(dtype in (F32, I32, np.int64), f"the core does not reduce {dtype}")
        require(dtype == F32 or fn not in ("L2", "Mean"), f"the core reduces {fn} in float32 only")
        axes = int_list(emit, node, "axes", 1)
        attrs: dict[str, object] = {"fn": fn, "keepdims": int(node.attrs.get("keepdims", 1))}
        attrs["noop_with_empty_axes"] = int(node.attrs.get("noop_with_empty_axes", 0))
        const = emit.graph.const(axes) if axes else None
        if const is not None and const.size:
            attrs["axes"], axes = [int(a) for a in const.reshape(-1)], ""
        elif const is not None:
            axes = ""
        emit.op("Reduce", [x, *([axes] if axes else [])], dtype, emit.graph.shape(out), attrs, out)

    return converter


def global_pool(fn: str) -> Converter:
    """GlobalAveragePool, GlobalMaxPool: a reduction over the spatial axes."""

    def converter(emit: Emit, node: Node) -> None:
        x, out = node.inputs[0], node.outputs[0]
        rank = emit.graph.rank(x)
        need_f32(emit, x)
        require(rank is not None and rank >= 3, "the rank of its input is not known")
        attrs = {"fn": fn, "axes": list(range(2, rank)), "keepdims": 1}  # type: ignore[arg-type]
        emit.op("Reduce", [x], F32, emit.graph.shape(out), attrs, out)

    return converter


def softmax(emit: Emit, node: Node) -> None:
    x, out = node.inputs[0], node.outputs[0]
    need_f32(emit, x)
    rank = emit.graph.rank(x)
    axis = int(node.attrs.get("axis", -1 if emit.graph.opset >= 13 else 1))
    if emit.graph.opset < 13:  # it flattened to 2-D first; the same thing when the axis is the last
        require(rank is not None and axis % rank == rank - 1, "operator sets before 13 flatten its input")
    emit.op("Softmax", [x], F32, emit.graph.shape(out), {"axis": axis, "log": int(node.op == "LogSoftmax")}, out)


def layer_normalization(emit: Emit, node: Node) -> None:
    need_f32(emit, *node.inputs)
    require(len([o for o in node.outputs if o]) == 1, "its mean or deviation is asked for")
    attrs = {"axis": int(node.attrs.get("axis", -1)), "epsilon": float(node.attrs.get("epsilon", 1e-5))}
    emit.op("LayerNormalization", node.inputs, F32, emit.graph.shape(node.outputs[0]), attrs, node.outputs[0])


# -- quantization that no pattern took ------------------------------------------------------------------------------------


def quantize(emit: Emit, node: Node) -> None:
    graph, out = emit.graph, node.outputs[0]
    x = node.inputs[0]
    require(graph.dtype(x) == F32 and graph.dtype(node.inputs[1]) == F32, "the core quantizes float32 only")
    params = tensor_scale(graph, node)
    shape = graph.shape(out) or graph.shape(x)
    if params is not None and not graph.metadata.get("octavo.literal"):
        attrs = {"y_scale": float(params.scale), "y_zp": params.zp, "lo": 0, "hi": 255, "source": x}
        attrs["graph_input"] = int(x in graph.inputs)
        emit.op("Quantize", [x], U8, shape, attrs, out)
        return
    zp = node.input(2)
    dtype = graph.dtype(zp) if zp else quantized_dtype(node)
    require(dtype in HELD and dtype.itemsize <= 2, f"the core does not quantize to {dtype}")  # type: ignore[union-attr]
    attrs = {"axis": int(node.attrs.get("axis", 1)), "block_size": int(node.attrs.get("block_size", 0))}
    emit.op("QuantizeLinear", [x, node.inputs[1], *([zp] if zp else [])], dtype, shape, attrs, out)


def quantized_dtype(node: Node) -> np.dtype:
    from octavo.onnx_import import numpy_dtype

    named = int(node.attrs.get("output_dtype", 0))
    return U8 if named == 0 else numpy_dtype(named, f"node '{node.name}'")  # type: ignore[return-value]


def dequantize(emit: Emit, node: Node) -> None:
    graph, out, x = emit.graph, node.outputs[0], node.inputs[0]
    require(graph.dtype(node.inputs[1]) == F32, "the core dequantizes to float32 only")
    dtype, shape = graph.dtype(x), graph.shape(out) or graph.shape(x)
    require(dtype in (U8, I32, np.int8, np.uint16, np.int16), f"the core does not dequantize {dtype}")
    constant = fold_dequantize(graph, node)
    if constant is not None:
        emit.op("Identity", [emit.const(constant)], F32, shape, {}, out)
        return
    scale = scalar(graph, node.inputs[1])
    zp = scalar(graph, node.input(2)) if node.input(2) else np.zeros((), np.int64)
    if scale is not None and zp is not None and not node.attrs.get("block_size"):
        emit.op("Dequantize", [x], F32, shape, {"x_scale": float(scale), "x_zp": int(zp)}, out)
        return
    attrs = {"axis": int(node.attrs.get("axis", 1)), "block_size": int(node.attrs.get("block_size", 0))}
    emit.op("DequantizeLinear", [n for n in node.inputs if n], F32, shape, attrs, out)


def fold_dequantize(graph: Graph, node: Node) -> np.ndarray | None:
    """(q - zp) * scale of constants, in float32, as the core's Dequantize computes it."""
    q, s = graph.const(node.inputs[0]), graph.const(node.inputs[1])
    zp = graph.const(node.input(2)) if node.input(2) else np.zeros((), np.int64)
    if q is None or s is None or zp is None:
        return None

    def like_q(p: np.ndarray) -> np.ndarray:
        if p.size == 1:
            return p.reshape(())
        axis = int(node.attrs.get("axis", 1)) % q.ndim
        if block := int(node.attrs.get("block_size", 0)):
            return np.repeat(p, block, axis=axis)[tuple(slice(0, d) for d in q.shape)]
        return p.reshape([-1 if k == axis else 1 for k in range(q.ndim)])

    with np.errstate(all="ignore"):
        steps = (q.astype(np.int64) - like_q(zp.astype(np.int64))).astype(np.float32)
        return np.ascontiguousarray(np.broadcast_to(steps * like_q(s), q.shape), np.float32)


def dynamic_quantize(emit: Emit, node: Node) -> None:
    need_f32(emit, node.inputs[0])
    outputs = [*node.outputs, "", "", ""][:3]
    for k, (dtype, shape) in enumerate(((U8, emit.graph.shape(node.inputs[0])), (F32, ()), (U8, ()))):
        outputs[k] = outputs[k] or emit.graph.new_value(f"{node.name}.unused", dtype, shape)
        emit.describe(outputs[k], dtype, shape)
    emit.nodes.append(Node("DynamicQuantizeLinear", [node.inputs[0]], outputs, {}, node.name, "plan"))


def matmul_integer(emit: Emit, node: Node) -> None:
    held(emit, *node.inputs)
    ranks = [emit.graph.rank(n) for n in node.inputs[:2]]
    require(None not in ranks and min(ranks) >= 2, "an operand is a vector")  # type: ignore[type-var]
    a_zp = emit.graph.shape(node.input(2)) if node.input(2) else ()
    require(a_zp is not None and all(d == 1 for d in a_zp), "its first zero point is a vector")
    out = node.outputs[0]
    emit.op("MatMulInteger", node.inputs, I32, emit.graph.shape(out), {}, out)


MATH: dict[str, Converter] = {
    **{name: unary for name in [*UNARY, "Clip", "Gelu"]},
    **{name: binary for name in BINARY},
    **{name: variadic for name in VARIADIC},
    "MatMul": matmul,
    "Gemm": gemm,
    "BatchNormalization": batch_normalization,
    **{f"Reduce{fn}": reduce(fn) for fn in ("Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2")},
    "GlobalAveragePool": global_pool("Mean"),
    "GlobalMaxPool": global_pool("Max"),
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "LayerNormalization": layer_normalization,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize,
    "MatMulInteger": matmul_integer,
}

__all__ = ["MATH", "Refused", "batch_norm_affine"]
