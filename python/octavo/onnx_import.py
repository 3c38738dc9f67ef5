"""ONNX files -> :class:`octavo.ir.Graph`. Only modules named onnx_* read ``onnx``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from octavo.errors import InvalidModel, IoError, Unsupported
from octavo.ir import Graph, Node, Shape, Value, plan_node
from octavo.onnx_control import outer_names
from octavo.onnx_gradient import expand_gradients
from octavo.onnx_parts import map_file, without_large
from octavo.onnx_qoperator import expand_qoperators
from octavo.onnx_upgrade import OLDEST_OPSET, inlined, upgraded, without_large_weights
from octavo.onnx_values import spelled
from octavo.ops._restore import bits_of, unpack

MAX_PROTO = 2**31 - 1
LARGEST_KNOWN = 1 << 12  # elements of a constant whose contents shape inference sees


def load_model(model: str | os.PathLike[str] | bytes | ModelProto) -> ModelProto:
    """A path, serialized bytes or a ModelProto -> ModelProto with external data loaded.

    Raises IoError when the file cannot be read and InvalidModel when it is not an ONNX model.
    """
    if isinstance(model, ModelProto):
        return model
    try:
        if isinstance(model, (bytes, bytearray, memoryview)):
            proto = onnx.load_model_from_string(bytes(model))
        else:
            proto = onnx.load_model(os.fspath(model))
    except OSError as e:
        raise IoError(f"cannot read '{os.fspath(model) if not isinstance(model, bytes) else 'model'}': {e}") from e
    except Exception as e:  # protobuf raises its own unrelated classes
        where = "the bytes given" if isinstance(model, (bytes, bytearray, memoryview)) else f"'{Path(model).name}'"
        raise InvalidModel(f"{where}: not an ONNX model, or truncated ({type(e).__name__}: {e})") from e
    return checked(proto)


def checked(proto: ModelProto) -> ModelProto:
    if not proto.HasField("graph") or not proto.opset_import:
        raise InvalidModel("not an ONNX model: it has no graph or names no operator set")
    check_names(proto)
    return proto


def load_parts(model: str | os.PathLike[str] | bytes | ModelProto) -> tuple[ModelProto, dict[str, memoryview]]:
    """load_model() without the raw data of large initializers, and that data by their names, not copied."""
    if isinstance(model, ModelProto):
        return load_model(model), {}
    try:
        if isinstance(model, (bytes, bytearray, memoryview)):
            data, folder = memoryview(model), ""
        else:
            data, folder = map_file(Path(model)), str(Path(model).parent)
        rest, weights = without_large(data)
        proto = onnx.load_model_from_string(rest)
        if folder:
            onnx.external_data_helper.load_external_data_for_model(proto, folder)
    except Exception:  # damaged, or another format than protobuf's: load_model() reads it or says why not
        return load_model(model), {}
    put_back(checked(proto), weights)
    return proto, weights


def put_back(proto: ModelProto, weights: dict[str, memoryview]) -> None:
    """Weights of operators outside ONNX's own domain return to the model: spelling those out may read them."""
    read = {name for node in proto.graph.node if node.domain not in ("", "ai.onnx") for name in node.input}
    for tensor in proto.graph.initializer:
        if tensor.name in read and tensor.name in weights and not tensor.HasField("raw_data"):
            tensor.raw_data = bytes(weights.pop(tensor.name))


def check_names(proto: ModelProto) -> None:
    """Refuses names that are not UTF-8 (protobuf hands those out as bytes)."""
    graph = proto.graph
    names = [graph.name, *(v.name for v in [*graph.input, *graph.output, *graph.value_info, *graph.initializer])]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    for value in [*graph.input, *graph.output, *graph.value_info]:
        names += [d.dim_param for d in value.type.tensor_type.shape.dim]
    for prop in proto.metadata_props:
        names += [prop.key, prop.value]
    for name in names:
        if not isinstance(name, str):
            raise InvalidModel(f"the model is damaged: the name {name!r} is not UTF-8")


def import_model(model: str | os.PathLike[str] | bytes | ModelProto) -> Graph:
    """Reads a model into the IR: functions inlined, shapes inferred, Constant and Identity nodes gone.

    Raises InvalidModel, Unsupported or IoError.
    """
    proto, weights = load_parts(model)
    proto, large = without_large_weights(proto)
    opsets = {o.domain: int(o.version) for o in proto.opset_import}
    if "ai.onnx" in opsets:
        opsets.setdefault("", opsets["ai.onnx"])
    opset = opsets.get("", onnx.defs.onnx_opset_version())
    if opset < OLDEST_OPSET:
        proto, weights, large = upgraded(load_model(model), opset), {}, []
        opset = next(int(o.version) for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    if opset > onnx.defs.onnx_opset_version():
        raise Unsupported(
            f"the model uses operator set {opset}, but the installed onnx package knows "
            f"{onnx.defs.onnx_opset_version()} at most: update onnx"
        )
    if len(proto.functions):
        proto = inlined(proto)
    proto = expand_qoperators(expand_gradients(proto))
    graph = Graph(proto.graph.name or "graph", opset)
    graph.opsets = {**opsets, "": opset}
    graph.metadata = {p.key: p.value for p in proto.metadata_props}
    graph.functions = list(proto.functions)
    read_values(graph, proto, large, weights)
    read_nodes(graph, proto)
    graph.outputs = [(o.name, o.name) for o in proto.graph.output]
    if not graph.outputs:
        raise InvalidModel("the model has no outputs")
    remove_identities(graph)
    graph.sort()
    check_outputs(graph)
    graph.drop_dead()
    return graph


def infer_shapes(proto: ModelProto) -> GraphProto:
    """The graph with onnx's shape inference, without large weights: models over 2 GB pass."""
    small = ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    known = {i.name for i in proto.graph.input}
    for field in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(small.graph, field).extend(getattr(proto.graph, field))
    for tensor in proto.graph.initializer:
        if np.prod(tensor.dims, dtype=np.float64) <= LARGEST_KNOWN:
            small.graph.initializer.append(tensor)
        elif tensor.name not in known:
            small.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        if small.ByteSize() < MAX_PROTO:
            return onnx.shape_inference.infer_shapes(small, data_prop=small_constants(proto)).graph
    except Exception:  # shape inference is best effort: a model it chokes on may still run
        pass
    return proto.graph


def small_constants(proto: ModelProto) -> bool:
    """Whether onnx may propagate data: it writes every ConstantOfShape out, however large."""
    known = {t.name: t for t in proto.graph.initializer}
    known |= {
        n.output[0]: a.t for n in proto.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    }
    for node in proto.graph.node:
        if node.op_type == "ConstantOfShape":
            tensor = known.get(node.input[0])
            if tensor is None or np.prod(read_tensor(tensor, tensor.name).astype(np.float64)) > 1 << 16:
                return False
    return True


def read_shape(tensor_type: Any) -> Shape | None:
    if not tensor_type.HasField("shape"):
        return None
    dims: list[int | str | None] = []
    for d in tensor_type.shape.dim:
        if d.HasField("dim_value"):
            dims.append(int(d.dim_value) if d.dim_value >= 0 else None)
        else:
            dims.append(d.dim_param or None)
    return tuple(dims)


def numpy_dtype(elem_type: int, what: str) -> np.dtype | None:
    if elem_type == TensorProto.UNDEFINED:
        return None
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, TypeError) as e:
        raise InvalidModel(f"{what} has unknown element type {elem_type}") from e


def read_values(graph: Graph, proto: ModelProto, large: Sequence[TensorProto], weights: dict[str, memoryview]) -> None:
    """Types, constants and inputs. `large`: initializers beside the model's own; `weights`: raw data kept elsewhere."""
    typed = infer_shapes(proto)
    for info in [*typed.value_info, *typed.output, *typed.input]:
        if not info.type.HasField("tensor_type"):
            graph.values[info.name] = Value(info.name, host=info.type if info.type.WhichOneof("value") else None)
            continue
        t = info.type.tensor_type
        graph.values[info.name] = Value(info.name, numpy_dtype(t.elem_type, f"value '{info.name}'"), read_shape(t))
    for tensor in [*proto.graph.initializer, *large]:
        raw = None if tensor.HasField("raw_data") else weights.get(tensor.name)
        set_const(graph, tensor.name, read_tensor(tensor, tensor.name, raw))
    for sparse in proto.graph.sparse_initializer:
        read_sparse_initializer(graph, sparse)
    sparse_names = {sparse.values.name for sparse in proto.graph.sparse_initializer}
    for info in proto.graph.input:
        if graph.values[info.name].const is not None or info.name in sparse_names:
            continue  # a default value that callers rarely override: the initializer is the constant
        value = graph.values[info.name]
        if value.host is not None:
            spelled(value.host, None)  # raises Unsupported for maps and sparse tensors
            graph.inputs.append(info.name)
            continue
        if value.dtype is None:
            raise InvalidModel(f"input '{info.name}' has no element type")
        if value.shape is None:
            raise Unsupported(f"input '{info.name}' has no declared rank; set its shape (symbols are fine)")
        graph.inputs.append(info.name)
    if len(set(graph.inputs)) != len(graph.inputs):
        raise InvalidModel("two inputs have the same name")


def read_tensor(tensor: TensorProto, name: str, raw: memoryview | None = None) -> np.ndarray:
    """The tensor's array; `raw` is its raw data where that is kept elsewhere, and the array is a view of it."""
    if tensor.data_location == TensorProto.EXTERNAL:
        where = next((e.value for e in tensor.external_data if e.key == "location"), "")
        raise InvalidModel(
            f"constant '{name}' is external data in the file '{where}': give octavo the model's path, or load it "
            "with onnx.load(), which reads such files"
        )
    try:
        if raw is None:
            return numpy_helper.to_array(tensor)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if bits_of(dtype) < 8:
            return unpack(np.frombuffer(raw, np.uint8), dtype, list(tensor.dims))
        return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))
    except Exception as e:
        raise InvalidModel(f"the data of constant '{name}' does not fit its shape and type ({e})") from e


def sparse_parts(sparse: Any) -> tuple[np.ndarray, np.ndarray]:
    """The values of a sparse tensor and their positions, counted row-major."""
    name = sparse.values.name
    values, indices = read_tensor(sparse.values, name), read_tensor(sparse.indices, name)
    try:
        if indices.ndim > 1:
            indices = np.asarray(np.ravel_multi_index(tuple(indices.T), tuple(sparse.dims)))
        if indices.size and not 0 <= indices.min() <= indices.max() < np.prod(sparse.dims, dtype=np.int64):
            raise ValueError
    except ValueError as e:
        raise InvalidModel(f"sparse constant '{name}' has an index outside its shape") from e
    if values.shape != indices.shape:
        raise InvalidModel(f"sparse constant '{name}' has {values.size} values, but {indices.size} indices")
    return values, indices


def read_sparse(sparse: Any) -> np.ndarray:
    values, indices = sparse_parts(sparse)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    dense.reshape(-1)[indices] = values
    return dense


def read_sparse_initializer(graph: Graph, sparse: Any) -> None:
    """A sparse float32 weight stays sparse, as a Restore node (passes/small_weights.py); others become dense."""
    name, shape = sparse.values.name, [int(d) for d in sparse.dims]
    values, indices = sparse_parts(sparse)
    # Six bytes an element that is not zero, and four a row, against four an element.
    small = 6 * values.size + 4 * shape[0] < 4 * np.prod(shape, dtype=np.int64) if len(shape) > 1 else False
    if values.dtype != np.float32 or not small or np.unique(indices).size != indices.size:
        set_const(graph, name, read_sparse(sparse))
        return
    inputs = [graph.new_const(f"{name}/values", values), graph.new_const(f"{name}/positions", indices)]
    graph.values[name] = Value(name, values.dtype, tuple(shape))
    graph.nodes.append(plan_node("Restore", [*inputs, "", ""], [name], name, {"sparse_shape": shape}))


def set_const(graph: Graph, name: str, array: np.ndarray) -> None:
    graph.values[name] = Value(name, array.dtype, tuple(int(d) for d in array.shape), array)


def read_attr(attr: AttributeProto) -> Any:
    value = helper.get_attribute_value(attr)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if attr.type == AttributeProto.STRINGS:
        return [v.decode("utf-8", "replace") for v in value]
    if attr.type == AttributeProto.TENSOR:
        return read_tensor(value, attr.name)
    if attr.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return list(value)
    return value


def constant_value(node: Any) -> np.ndarray | None:
    """The array of a Constant node, None for forms that are not dense numbers (strings)."""
    for attr in node.attribute:
        if attr.name == "value":
            return read_tensor(attr.t, node.output[0])
        if attr.name == "sparse_value":
            return read_sparse(attr.sparse_tensor)
        if attr.name == "value_float":
            return np.array(attr.f, np.float32)
        if attr.name == "value_floats":
            return np.array(attr.floats, np.float32)
        if attr.name == "value_int":
            return np.array(attr.i, np.int64)
        if attr.name == "value_ints":
            return np.array(attr.ints, np.int64)
    return None


def read_nodes(graph: Graph, proto: ModelProto) -> None:
    written = set(graph.inputs) | {out for node in graph.nodes for out in node.outputs}
    for k, node in enumerate(proto.graph.node):
        name = node.name or f"{node.op_type}_{k}"
        domain = "" if node.domain == "ai.onnx" else node.domain
        for out in node.output:
            if out and (out in written or (graph.values.get(out) and graph.values[out].const is not None)):
                raise InvalidModel(f"node '{name}' ({node.op_type}) writes '{out}', which is written already")
            written.add(out)
            if out:
                graph.values.setdefault(out, Value(out))
        if node.op_type == "Constant" and domain == "":
            array = constant_value(node)
            if array is not None and node.output:
                set_const(graph, node.output[0], array)
                continue
        # What the node's subgraphs take from outside are inputs like any other.
        inputs = [*node.input, *(n for n in outer_names(node) if n not in node.input)]
        for used in inputs:
            if used:
                graph.values.setdefault(used, Value(used))
        attrs = {a.name: read_attr(a) for a in node.attribute}
        graph.nodes.append(Node(node.op_type, inputs, list(node.output), attrs, name, domain, node))


def remove_identities(graph: Graph) -> None:
    """Identity and inference-time Dropout vanish; a constant behind Identity becomes a constant."""
    wanted = set(graph.readers()) | graph.output_values()
    for node in list(graph.nodes):
        alone = node.is_op("Identity") or (node.is_op("Sum", "Mean", "Max", "Min") and len(node.inputs) == 1)
        if not (alone or inference_dropout(graph, node, wanted)) or not node.input(0):
            continue
        graph.remove(node)
        source, out = graph.values[node.inputs[0]], graph.values[node.outputs[0]]
        if source.shape is None:
            source.shape = out.shape
        if source.dtype is None:
            source.dtype = out.dtype
        if source.host is None:
            source.host = out.host
        graph.replace_uses(node.outputs[0], node.inputs[0])


def inference_dropout(graph: Graph, node: Node, wanted: set[str]) -> bool:
    """Whether it hands its input on: not in training mode, and nobody reads its mask."""
    if not node.is_op("Dropout") or any(mask in wanted for mask in node.outputs[1:] if mask):
        return False
    training = graph.const(node.input(2)) if node.input(2) else np.array(False)
    return training is not None and not training.any()


def check_outputs(graph: Graph) -> None:
    written = {out for node in graph.nodes for out in node.outputs} | set(graph.inputs)
    for public, name in graph.outputs:
        if name not in written and (name not in graph.values or graph.values[name].const is None):
            raise InvalidModel(f"output '{public}' is written by no node")


def element_type(dtype: np.dtype | type) -> int:
    """ONNX's element type number of a numpy dtype."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def names_of(dims: Sequence[Any]) -> list[Any]:
    """Dimensions as plan builders take them: int, symbol or None."""
    return [d if isinstance(d, (int, str)) else None for d in dims]
