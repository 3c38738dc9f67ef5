"""octavo as an ONNX backend (``onnx.backend.base``): what ``onnx.backend.test`` and other tools of that interface run.

    import octavo.backend as backend
    outputs = backend.prepare(model, "CPU").run([x])

Keyword arguments go to :class:`octavo.Session` (threads, isa, optimize, literal, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from octavo.engine import Session
from octavo.errors import InvalidArgument, Unsupported

# What run_node() passes on to the model it builds; the rest are options of a Session.
NODE_OPTIONS = ("opset_version",)


class OctavoRep(BackendRep):
    """A model ready to run."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._outputs = namedtupledict("Outputs", [o.name for o in session.get_outputs()])

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """The outputs, a tuple that also takes their names as keys.

        inputs: as for :meth:`octavo.Session.run`: a dict, a list in the model's input order, or one array.
        """
        return tuple.__new__(self._outputs, self.session.run(None, inputs))


class OctavoBackend(Backend):
    """The interface; every function is also one of this module."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether octavo has all the model needs."""
        try:
            cls.prepare(model, device, **kwargs)
        except Unsupported:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> OctavoRep:
        """Compiles a model (an onnx.ModelProto, a path or bytes).

        Raises Unsupported for a device that is not the CPU, and what :class:`octavo.Session` raises.
        """
        if not cls.supports_device(device):
            raise Unsupported(f"device '{device}': octavo runs on the CPU")
        return OctavoRep(Session(model, **kwargs))

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """prepare() and run() in one."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, Sequence[int]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Runs one operator.

        inputs: a list with a value for each input that is not "", or a dict from input names. outputs_info: (dtype,
        shape) of each output, where the caller knows; opset_version: the operator set (the newest when absent).
        """
        options = {k: v for k, v in kwargs.items() if k not in NODE_OPTIONS}
        model = model_of(node, inputs, outputs_info, kwargs.get("opset_version"))
        return cls.run_model(model, inputs if not isinstance(inputs, np.ndarray) else [inputs], device, **options)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True for "CPU" and "CPU:0"."""
        return device in ("CPU", "CPU:0")


def model_of(
    node: NodeProto, inputs: Any, outputs_info: Sequence[tuple[Any, Sequence[int]]] | None, opset: int | None
) -> ModelProto:
    """A model of one node, its inputs typed as the values given."""
    names = list(dict.fromkeys(n for n in node.input if n))
    given = [inputs] if isinstance(inputs, np.ndarray) else inputs
    values = [given[n] for n in names] if isinstance(given, dict) else list(given)
    if len(values) != len(names):
        raise InvalidArgument(f"the node has {len(names)} inputs, but {len(values)} values were given")
    outputs = [n for n in node.output if n]
    if outputs_info is None:
        results = [helper.make_value_info(n, TypeProto()) for n in outputs]
    else:
        results = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for n, (dtype, shape) in zip(outputs, outputs_info)
        ]
    graph = helper.make_graph(
        [node], "node", [helper.make_value_info(n, type_of(v)) for n, v in zip(names, values)], results
    )
    opsets = [helper.make_opsetid("", opset or onnx.defs.onnx_opset_version())]
    if node.domain not in ("", "ai.onnx"):
        opsets.append(helper.make_opsetid(node.domain, 1 if opset is None else opset))
    return helper.make_model(graph, opset_imports=opsets)


def type_of(value: Any) -> TypeProto:
    """The ONNX type of a feed; a list is a sequence, None an optional."""
    if value is None:
        return helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    if isinstance(value, (list, tuple)):
        inner = type_of(value[0]) if value else helper.make_tensor_type_proto(TensorProto.FLOAT, None)
        if inner.HasField("tensor_type"):
            inner.tensor_type.ClearField("shape")  # elements may differ in theirs
        return helper.make_sequence_type_proto(inner)
    array = np.asarray(value)
    element = TensorProto.STRING if array.dtype.kind in "OSU" else helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_type_proto(element, array.shape)


is_compatible = OctavoBackend.is_compatible
prepare = OctavoBackend.prepare
run_model = OctavoBackend.run_model
run_node = OctavoBackend.run_node
supports_device = OctavoBackend.supports_device
