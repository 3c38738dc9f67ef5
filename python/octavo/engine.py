"""The public face of the engine: :func:`run` and :class:`Session`."""

from __future__ import annotations

import json
import operator
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from octavo.errors import Error, InvalidArgument, InvalidModel, IoError, Unsupported
from octavo.feeds import TensorInfo, arrange, arrange_out, did_you_mean, shape_mend

try:
    from octavo import _core
except ImportError as e:  # pragma: no cover - a broken installation
    raise ImportError(f"octavo's native module cannot be loaded ({e}); reinstall octavo with: pip install .") from e

MAGIC = b"\x89OCTAVO\n"
CACHED_SESSIONS = 8

Observer = Callable[[str, np.ndarray], object]


@dataclass(frozen=True)
class Step:
    """One step of a session's plan."""

    name: str  # the ONNX node(s) it came from
    op: str  # plan operator
    kernel: str  # what serves it on this CPU; "python" for a step in Python
    macs: int = 0  # multiply-accumulates of one run, where the shapes are known
    calls: int = 0  # runs that were profiled
    ns: int = 0  # nanoseconds they took altogether
    shapes: tuple[tuple[int, ...], ...] = ()  # of its outputs, where the input shapes tell
    threads: int = 0  # the most that a profiled run could share it among

    @property
    def ms(self) -> float:
        """Mean milliseconds of one run; 0 where nothing was profiled."""
        return self.ns / self.calls / 1e6 if self.calls else 0.0


@dataclass(frozen=True)
class Memory:
    """Bytes the native core holds. Activations and plans of all sessions of the process count in `held` and `peak`."""

    weights: int  # packed weights of this session
    held: int  # all the core holds now
    peak: int  # the most it has held in this process


def run(model: Any, inputs: Any, *, as_dict: bool = False) -> Any:
    """Runs a model once.

    model: a path (ONNX or ``.octavo``), serialized bytes, an ``onnx.ModelProto`` or a :class:`Session`. Sessions made
    from paths are cached on path, modification time and size; bytes and protos are compiled on each call, so keep a
    Session for those.
    inputs: a dict from input names to arrays, a list with one array an input, or the array of a model with one input.

    Returns a list of arrays in the model's output order, or with ``as_dict=True`` a dict from output names.

    Raises a subclass of :class:`octavo.Error` that names the node or tensor and says what was expected.
    """
    if isinstance(model, Session):
        session = model
    elif isinstance(model, (str, os.PathLike)):
        session = _cached_session(os.fspath(model))
    else:
        session = Session(model)
    results = session.run(None, inputs)
    return dict(zip([o.name for o in session.get_outputs()], results)) if as_dict else results


class Session:
    """A model made ready to run. Any number of threads may call one session at once; the GIL is released meanwhile.

    model: a path to an ONNX or ``.octavo`` file, the bytes of either, or an ``onnx.ModelProto``.
    threads: how many threads a run may use, 256 at most (None: one a CPU this process may use). Never changes a result.
    isa: instruction-set level, e.g. "scalar", "avx2", "avx512vnni" (None: ``OCTAVO_ISA`` or the best). Never changes a
        result; one this CPU lacks is an error.
    optimize: False keeps every operator a step of its own. Never changes a result.
    literal: True runs the file as ONNX spells it: dequantize, operator in floating point, quantize. Slow; a yardstick.
    requantize: how integer operators round (docs/arithmetic.md). "float" (also None): as the ONNX file spells it.
        "fixed": with integers only, as TensorFlow Lite's reference kernels do; a model with floating-point operators
        between a DequantizeLinear and a QuantizeLinear is refused. The two differ by a step here and there. A
        ``.octavo`` file keeps the scheme it was packed with.
    profile: True measures each step; read it with :meth:`profile`.

    Raises InvalidModel, Unsupported, InvalidArgument or IoError.
    """

    def __init__(
        self,
        model: Any,
        *,
        threads: int | None = None,
        isa: str | None = None,
        optimize: bool = True,
        literal: bool = False,
        requantize: str | None = None,
        profile: bool = False,
    ) -> None:
        count = _thread_count(threads)
        if isa is not None and not isinstance(isa, str):
            raise InvalidArgument(f"isa should be a name such as 'avx2', or None for the best, not {isa!r}")
        if requantize not in (None, "float", "fixed"):
            raise InvalidArgument(f"requantize should be 'float' or 'fixed', not {requantize!r}")
        self._profile = bool(profile)
        self._python_steps: list[tuple[str, str]] = []
        self._notes: list[tuple[str, str]] = []
        callbacks: list[Any] = []
        hosted: dict[str, Any] = {}
        plan = _load_packed(model)
        if plan is not None:
            if literal or not optimize:
                raise InvalidArgument("optimize=False and literal=True are for ONNX models; a .octavo file is compiled")
            packed = plan.metadata.get("requantize", "float")
            if requantize not in (None, packed):
                raise InvalidArgument(
                    f"this file was packed with requantize={packed!r}; make the session from the ONNX model to have "
                    f"requantize={requantize!r}"
                )
            self._notes = _packed_notes(plan)
        else:
            compiled = _compile(model, optimize=optimize, literal=literal, requantize=requantize or "float")
            plan, callbacks = compiled.plan, compiled.callbacks
            hosted = compiled.hosted
            self._python_steps, self._notes = list(compiled.python_steps), list(compiled.notes)
        self._inputs = [_info(hosted, *i) for i in plan.inputs]
        self._outputs = [_info(hosted, *o) for o in plan.outputs]
        self._hosted = bool(hosted)
        self._numbers = {o.name: k for k, o in enumerate(self._outputs)}
        self._core = _core.Session(plan, isa=isa or "", threads=count, profile=self._profile, callbacks=callbacks)
        self._plan = self._core.plan  # where an equal plan is in use already, that one

    # ---- running -----------------------------------------------------------------------------------------------------

    def run(self, output_names: Sequence[str] | None, feeds: Any, *, out: Any = None) -> list[np.ndarray]:
        """Runs the model.

        output_names: the outputs wanted, in that order; None for all.
        feeds: as in :func:`run`. Arrays that are not C-contiguous are copied; no dtype is cast.
        out: arrays that receive the outputs: a dict from output names, or a list with an entry (or None) an output
            wanted. Each must be writable, C-contiguous and of the output's dtype and shape; it is returned instead.

        Returns the outputs as numpy arrays (which export DLPack). After an error the session is as good as before.
        """
        arrays = arrange(feeds, self._inputs)
        wanted = None if output_names is None else self._wanted(output_names)
        buffers = None
        if out is not None:
            if self._hosted:
                raise Unsupported("out= is not for models whose inputs or outputs the core does not hold")
            infos = self._outputs if wanted is None else [self._outputs[k] for k in wanted]
            buffers, arrays = arrange_out(out, infos, arrays)
        try:
            results = self._core.run(arrays, wanted, buffers)
        except InvalidArgument as e:
            raise self._mended(e, arrays) from None
        return self._unpacked(results, wanted) if self._hosted else results

    def bind(self, feeds: Any, *, out: Any = None) -> BoundRun:
        """Checks the feeds once, for many runs over the same buffers; arguments as in :meth:`run`."""
        if self._hosted:
            raise Unsupported("models whose inputs or outputs the core does not hold cannot be bound; use run()")
        arrays = arrange(feeds, self._inputs)
        buffers = None
        if out is not None:
            buffers, arrays = arrange_out(out, self._outputs, arrays)
        try:
            return BoundRun(self._core.bind(arrays, buffers), self)
        except InvalidArgument as e:
            raise self._mended(e, arrays) from None

    def observe(self, feeds: Any, names: Sequence[str] | None, callback: Observer) -> list[np.ndarray]:
        """Runs the model and hands intermediate values to ``callback(name, array)`` as soon as each is computed.

        Values are streamed step by step, so memory stays that of a plain run. names: plan values as :attr:`values`
        lists them; None for all. Quantized activations are uint8 and images channels-last there, as the plan holds
        them. What the callback raises ends the run and is raised here. Returns the outputs.
        """
        known = self._value_numbers()
        if isinstance(names, str):
            names = [names]
        chosen = list(known) if names is None else list(names)
        for name in chosen:
            if name not in known:
                raise InvalidArgument(
                    f"the plan has no value {name!r}{did_you_mean(str(name), known)} (Session.values lists what there "
                    "is; values that were fused away are there with optimize=False)"
                )
        names_of = {known[name]: name for name in chosen}
        arrays = arrange(feeds, self._inputs)
        try:
            results = self._core.observe(arrays, list(names_of), lambda k, a: callback(names_of[k], a))
        except InvalidArgument as e:
            raise self._mended(e, arrays) from None
        return self._unpacked(results, None) if self._hosted else results

    # ---- asking ------------------------------------------------------------------------------------------------------

    def get_inputs(self) -> list[TensorInfo]:
        """The model's inputs, each with .name, .type ("tensor(float)") and .shape (sizes and symbol names)."""
        return list(self._inputs)

    def get_outputs(self) -> list[TensorInfo]:
        """The model's outputs, as :meth:`get_inputs`."""
        return list(self._outputs)

    @property
    def plan(self) -> _core.Plan:
        """The compiled plan (``octavo._core.Plan``): inputs, outputs, steps, values, metadata."""
        return self._plan

    @property
    def isa(self) -> str:
        """The instruction-set level in use."""
        return self._core.isa

    @property
    def requantize(self) -> str:
        """How integer operators round: "float" or "fixed"."""
        return self._plan.metadata.get("requantize", "float")

    @property
    def threads(self) -> int:
        """How many threads a run may use."""
        return self._core.threads

    @property
    def values(self) -> list[str]:
        """Names of the values that steps of the plan compute."""
        return list(self._value_numbers())

    @property
    def steps(self) -> list[Step]:
        """The plan's steps in order."""
        return self.steps_for(None)

    @property
    def python_steps(self) -> list[tuple[str, str]]:
        """(node, reason) of each step that runs in Python because the core has no such operator."""
        return list(self._python_steps)

    @property
    def notes(self) -> list[tuple[str, str]]:
        """(node, why it is not executed in the fastest way there is)."""
        return list(self._notes)

    @property
    def memory(self) -> Memory:
        """Bytes of packed weights, and what the core holds and has held at most."""
        return Memory(self._core.packed_bytes, _core.bytes_held(), _core.bytes_peak())

    def steps_for(self, shapes: Sequence[Sequence[int]] | None) -> list[Step]:
        """The plan's steps with their multiply-accumulates and output shapes for these input shapes."""
        infos = self._core.steps_info(None if shapes is None else [list(s) for s in shapes])
        return [
            Step(
                i["name"],
                i["op"],
                i["kernel"],
                i["macs"],
                i["calls"],
                i["ns"],
                tuple(map(tuple, i["shapes"])),
                i["threads"],
            )
            for i in infos
        ]

    def profile(self) -> list[Step]:
        """Each step with the calls and nanoseconds measured since the session was made with ``profile=True``."""
        if not self._profile:
            raise InvalidArgument("this session does not measure its steps; make it with profile=True")
        return self.steps_for(None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the compiled model to a ``.octavo`` file, which loads without onnx and runs without Python.

        The file is written beside the target and renamed, so that a failure leaves an old file as it was. Raises
        Unsupported, naming the first, when steps run in Python, and IoError.
        """
        if self._python_steps:
            name, reason = self._python_steps[0]
            more = f" (and {len(self._python_steps) - 1} more)" if len(self._python_steps) > 1 else ""
            raise Unsupported(f"node '{name}'{more} runs in Python, so this model cannot be packed: {reason}")
        if self._hosted:
            raise Unsupported("this model cannot be packed: the core does not hold its inputs or outputs")
        self._plan.save(os.fsdecode(path))

    def __repr__(self) -> str:
        inputs = ", ".join(f"{i.name}: {i.type}{i.shape}" for i in self._inputs)
        return f"<octavo.Session ({inputs}) {len(self._plan.steps)} steps, {self.isa}, {self.threads} threads>"

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _wanted(self, names: Sequence[str]) -> list[int]:
        if isinstance(names, str):
            raise InvalidArgument(f"output_names should be a list of names or None; write [{names!r}]")
        for name in names:
            if name not in self._numbers:
                raise InvalidArgument(f"the model has no output {name!r}{did_you_mean(str(name), self._numbers)}")
        return [self._numbers[name] for name in names]

    def _value_numbers(self) -> dict[str, int]:
        values = self._plan.values
        return {values[k]["name"]: k for step in self._plan.steps for k in step["outputs"] if k >= 0}

    def _unpacked(self, results: list[np.ndarray], wanted: list[int] | None) -> list[Any]:
        from octavo.onnx_values import unpack  # needs onnx, which a plan of held types does without

        infos = self._outputs if wanted is None else [self._outputs[k] for k in wanted]
        return [unpack(a) if info.packed else a for a, info in zip(results, infos)]

    def _mended(self, error: InvalidArgument, arrays: list[np.ndarray]) -> InvalidArgument:
        return InvalidArgument(f"{error}{shape_mend(arrays, self._inputs)}")


class BoundRun:
    """A run whose buffers were checked once: what :meth:`Session.bind` returns. Runs of one BoundRun take turns."""

    def __init__(self, core: _core.BoundRun, session: Session) -> None:
        self._core = core
        self._session = session
        self._lock = threading.Lock()

    def run(self) -> list[np.ndarray]:
        """Computes from what the input arrays hold now. Returns the output arrays, which the next call overwrites."""
        with self._lock:
            return self._core.run()

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """The arrays that each run reads (copies, where the feeds were not C-contiguous): write new data into these."""
        return dict(zip([i.name for i in self._session.get_inputs()], self._core.inputs))

    @property
    def arena_bytes(self) -> int:
        """Bytes of activations for these shapes."""
        return self._core.arena_bytes


# ---- loading -------------------------------------------------------------------------------------------------------


def _thread_count(threads: int | None) -> int:
    if threads is None:
        return 0
    try:
        count = operator.index(threads)
    except TypeError:
        raise InvalidArgument(f"threads should be a whole number or None, not {threads!r}") from None
    if isinstance(threads, bool) or not 1 <= count <= 4096:
        raise InvalidArgument(f"threads should be between 1 and 4096, or None for automatic, not {threads!r}")
    return count


def _load_packed(model: Any) -> _core.Plan | None:
    """The plan of a ``.octavo`` file (recognised by its first bytes, or failing those its name) or bytes; else None."""
    if isinstance(model, (bytes, bytearray, memoryview)):
        data = bytes(model[: len(MAGIC)])
        return _core.Plan.from_bytes(bytes(model)) if data == MAGIC else None
    if not isinstance(model, (str, os.PathLike)):
        return None
    path = os.fsdecode(model)
    try:
        with open(path, "rb") as file:
            start = file.read(len(MAGIC))
    except OSError as e:
        raise IoError(f"cannot read '{path}': {e.strerror or e}") from e
    if not start:
        raise InvalidModel(f"'{path}' is empty")
    if start == MAGIC or path.lower().endswith(".octavo"):
        try:
            return _core.Plan.load(path)
        except Error as e:
            raise type(e)(f"'{path}': {e}") from None
    return None


def _info(
    hosted: dict[str, tuple[str, np.dtype[Any] | None, list[int | str | None]]],
    name: str,
    element: int,
    dims: Sequence[int | str | None] | None,
) -> TensorInfo:
    if name not in hosted:
        return TensorInfo.of(name, element, dims)
    spelling, dtype, shape = hosted[name]
    return TensorInfo(name, spelling, shape, np.dtype(object) if dtype is None else dtype, packed=True)


def _packed_notes(plan: _core.Plan) -> list[tuple[str, str]]:
    """The compiler's notes that a .octavo file keeps; none where the text is not of its making."""
    try:
        return [(str(node), str(why)) for node, why in json.loads(plan.metadata.get("notes", "[]"))]
    except (ValueError, TypeError, RecursionError):
        return []


def _compile(model: Any, **options: Any) -> Any:
    from octavo.lower import compile_model  # needs onnx, which a .octavo file does without

    if isinstance(model, (bytearray, memoryview)):
        model = bytes(model)
    try:
        compiled = compile_model(model, **options)
        _core.release_memory()  # what compiling took beyond the plan
        return compiled
    except (Error, MemoryError):
        raise
    except Exception as e:
        raise InvalidModel(
            f"the compiler failed on this model ({type(e).__name__}: {e}): the file is damaged (try onnx.checker), or "
            "this is a bug of octavo worth reporting"
        ) from e


class _Cache:
    """The sessions that run() keeps: least recently used out first; safe to use from many threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, int, int], _Entry] = OrderedDict()

    def get(self, path: str) -> Session:
        try:
            status = os.stat(path)
        except OSError as e:
            raise IoError(f"cannot read '{path}': {e.strerror or e}") from e
        key = (os.path.abspath(path), status.st_mtime_ns, status.st_size)
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            for stale in [k for k in self._entries if k[0] == key[0] and k != key]:
                del self._entries[stale]
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return entry.get(path)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


class _Entry:
    """One file's session, made by the first thread that asks while the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None

    def get(self, path: str) -> Session:
        with self._lock:
            if self._session is None:
                self._session = Session(path)
            return self._session


_cache = _Cache(CACHED_SESSIONS)


def _cached_session(path: str) -> Session:
    return _cache.get(path)
