"""octavo.run and octavo.Session: what they take, give and promise."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import octavo
from octavo import engine, errors
from small_models import float_net, float_reference, model, one_of, quantized_net, tensor, two_inputs, with_python_step

X = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
IMAGE = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(float_net(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def check(results: list[np.ndarray]) -> None:
    for got, want in zip(results, float_reference(X), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


# ---- run -------------------------------------------------------------------------------------------------------------


def test_run_takes_every_kind_of_model(path: Path, tmp_path: Path) -> None:
    octavo.Session(path).save(tmp_path / "net.octavo")
    packed = tmp_path / "net.octavo"
    models = [path, str(path), path.read_bytes(), float_net(), octavo.Session(path), packed, packed.read_bytes()]
    for given in models:
        check(octavo.run(given, {"x": X}))


def test_run_takes_every_kind_of_inputs(path: Path) -> None:
    for given in ({"x": X}, [X], (X,), X, [X.tolist()]):
        check(octavo.run(path, given))


def test_run_returns_a_list_or_a_dict(path: Path) -> None:
    assert isinstance(octavo.run(path, X), list)
    named = octavo.run(path, X, as_dict=True)
    assert list(named) == ["hidden", "twice"]
    check(list(named.values()))


def test_engine_run_is_run() -> None:
    assert octavo.engine.run is octavo.run


def test_run_caches_sessions_by_path_time_and_size(path: Path) -> None:
    engine._cache.clear()
    first = engine._cached_session(str(path))
    assert engine._cached_session(str(path)) is first
    assert engine._cached_session(os.path.relpath(path)) is first
    os.utime(path, ns=(1, 1))
    second = engine._cached_session(str(path))
    assert second is not first
    onnx.save(two_inputs(), path)
    os.utime(path, ns=(1, 1))  # the same time, another size
    assert len(engine._cached_session(str(path)).get_inputs()) == 2


def test_the_cache_is_small_and_makes_each_session_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(engine.Session):
        def __init__(self, path: str) -> None:
            made.append(path)
            super().__init__(path)

    monkeypatch.setattr(engine, "Session", Counted)
    cache = engine._Cache(2)
    paths = []
    for name in "abc":
        onnx.save(float_net(), tmp_path / f"{name}.onnx")
        paths.append(str(tmp_path / f"{name}.onnx"))
    threads = [threading.Thread(target=cache.get, args=(paths[0],)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert made == [paths[0]]
    cache.get(paths[1])
    cache.get(paths[2])
    cache.get(paths[1])
    assert len(made) == 3
    cache.get(paths[0])  # went when the third came
    assert len(made) == 4


# ---- Session ---------------------------------------------------------------------------------------------------------


def test_inputs_and_outputs_are_spelled_as_in_onnxruntime() -> None:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime (test extra) is not installed")
    for net in (float_net(), quantized_net(), two_inputs(), one_of(onnx.TensorProto.UINT8, ["N", 2])):
        ours = octavo.Session(net)
        theirs = ort.InferenceSession(net.SerializeToString(), providers=["CPUExecutionProvider"])
        for mine, peer in ((ours.get_inputs(), theirs.get_inputs()), (ours.get_outputs(), theirs.get_outputs())):
            assert [(i.name, i.type, i.shape) for i in mine] == [(i.name, i.type, i.shape) for i in peer]


def test_run_picks_and_orders_outputs(path: Path) -> None:
    session = octavo.Session(path)
    hidden, twice = session.run(None, {"x": X})
    assert [a.tobytes() for a in session.run(["twice", "hidden"], {"x": X})] == [twice.tobytes(), hidden.tobytes()]
    (only,) = session.run(["twice"], {"x": X})
    assert only.tobytes() == twice.tobytes()


@pytest.mark.parametrize("kind", ["FLOAT", "UINT8", "INT8", "INT32", "INT64", "BOOL", "DOUBLE", "FLOAT16"])
def test_every_dtype_passes_through(kind: str) -> None:
    number = getattr(onnx.TensorProto, kind)
    x = np.array([[0, 1, 1], [1, 0, 1]]).astype(onnx.helper.tensor_dtype_to_np_dtype(number))
    (y,) = octavo.run(one_of(number, ["N", 3]), x)
    assert y.dtype == x.dtype and y.tobytes() == x.tobytes()


def test_options_never_change_a_byte() -> None:
    want = octavo.Session(quantized_net(), threads=1).run(None, IMAGE)[0].tobytes()
    for isa in [name for name, found in octavo.engine._core.isas() if found]:
        for threads in (1, 2, 5):
            for optimize in (True, False):
                session = octavo.Session(quantized_net(), threads=threads, isa=isa, optimize=optimize)
                assert session.isa == isa and session.threads == threads
                assert session.run(None, IMAGE)[0].tobytes() == want


def test_literal_is_within_one_step() -> None:
    got = octavo.Session(quantized_net()).run(None, IMAGE)[0]
    literal = octavo.Session(quantized_net(), literal=True).run(None, IMAGE)[0]
    assert np.abs(got - literal).max() <= 1 / 16


def test_batches_of_any_size_and_none() -> None:
    session = octavo.Session(quantized_net())
    whole = session.run(None, IMAGE)[0]
    for n in (1, 2):
        assert session.run(None, IMAGE[:n])[0].tobytes() == whole[:n].tobytes()
    assert session.run(None, IMAGE[:0])[0].shape == (0, 4, 8, 8)


def test_python_steps_run_and_are_named() -> None:
    session = octavo.Session(with_python_step())
    assert [name for name, _ in session.python_steps] == ["the_det"]
    x = np.array([[2, 0, 0], [0, 3, 0], [1, 1, 4]], np.float32)
    assert session.run(None, x)[0] == pytest.approx(24)


def test_feeds_of_other_layouts_and_byte_orders() -> None:
    session = octavo.Session(quantized_net())
    want = session.run(None, IMAGE)[0].tobytes()
    channels_last = np.ascontiguousarray(IMAGE.transpose(0, 2, 3, 1))
    reversed_twice = np.ascontiguousarray(IMAGE[:, :, ::-1])[:, :, ::-1]
    unaligned = np.frombuffer(b"x" + IMAGE.tobytes(), np.uint8)[1:].view(np.float32).reshape(IMAGE.shape)
    for x in (
        channels_last.transpose(0, 3, 1, 2),
        reversed_twice,
        IMAGE.astype(">f4"),
        np.asfortranarray(IMAGE),
        unaligned,
        np.ma.MaskedArray(IMAGE),
    ):
        assert session.run(None, {"image": x})[0].tobytes() == want


def test_scalars() -> None:
    session = octavo.Session(one_of(onnx.TensorProto.FLOAT, []))
    for x in (np.float32(0.5), np.array(0.5, np.float32), 0.5):
        (y,) = session.run(None, {"x": x})
        assert y.shape == () and y == np.float32(0.5)


# ---- buffers ---------------------------------------------------------------------------------------------------------


def test_out_receives_the_outputs(path: Path) -> None:
    session = octavo.Session(path)
    want = session.run(None, X)
    hidden, twice = np.full((2, 3), 9, np.float32), np.full((2, 3), 9, np.float32)
    got = session.run(None, X, out=[hidden, twice])
    assert got[0] is hidden and got[1] is twice
    assert [a.tobytes() for a in got] == [a.tobytes() for a in want]
    twice[:] = 9
    got = session.run(["twice"], X, out={"twice": twice})
    assert got[0] is twice and twice.tobytes() == want[1].tobytes()
    got = session.run(None, X, out=[None, twice])
    assert got[1] is twice and got[0].tobytes() == want[0].tobytes()


def test_out_may_overlap_an_input() -> None:
    session = octavo.Session(two_inputs())
    memory = np.arange(2002, dtype=np.float32).reshape(1001, 2)
    left, right, out = np.full((1000, 2), 5, np.float32), memory[:-1], memory[1:]
    want = left - right
    (got,) = session.run(None, [left, right], out=[out])
    assert got is out
    np.testing.assert_array_equal(out, want)


def test_bound_runs_reuse_their_outputs() -> None:
    session = octavo.Session(quantized_net())
    x = IMAGE.copy()
    bound = session.bind({"image": x})
    first = bound.run()[0]
    assert first.tobytes() == session.run(None, IMAGE)[0].tobytes()
    x[:] = -IMAGE  # new data in the same buffer
    assert bound.run()[0] is first
    assert first.tobytes() == session.run(None, -IMAGE)[0].tobytes()
    assert bound.inputs["image"] is x and bound.arena_bytes > 0


def test_bound_runs_take_out() -> None:
    session = octavo.Session(quantized_net())
    mine = np.empty((2, 4, 8, 8), np.float32)
    assert session.bind(IMAGE, out={"y": mine}).run()[0] is mine
    assert mine.tobytes() == session.run(None, IMAGE)[0].tobytes()


class Foreign:
    """An array of another library that speaks DLPack only."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: object) -> object:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


def test_dlpack_in_and_out() -> None:
    session = octavo.Session(quantized_net())
    (y,) = session.run(None, {"image": Foreign(IMAGE)})
    assert y.tobytes() == session.run(None, IMAGE)[0].tobytes()
    assert np.from_dlpack(y).ctypes.data == y.ctypes.data


def test_results_are_the_callers_own(path: Path) -> None:
    session = octavo.Session(path)
    first = session.run(None, X)
    kept = [a.copy() for a in first]
    session.run(None, X + 1)
    assert [a.tobytes() for a in first] == [a.tobytes() for a in kept]


# ---- looking inside --------------------------------------------------------------------------------------------------


def test_observe_streams_intermediates() -> None:
    session = octavo.Session(quantized_net(), optimize=False)
    seen: dict[str, np.ndarray] = {}
    results = session.observe(IMAGE, None, seen.__setitem__)
    assert list(seen) == [n for n in session.values if n in seen] and set(seen) == set(session.values)
    assert seen["y"].tobytes() == results[0].tobytes() == session.run(None, IMAGE)[0].tobytes()
    some: list[str] = []
    session.observe(IMAGE, ["y"], lambda name, _: some.append(name))
    assert some == ["y"]


def test_what_an_observer_raises_arrives_and_the_session_lives_on() -> None:
    session = octavo.Session(quantized_net())
    want = session.run(None, IMAGE)[0].tobytes()

    def stop(name: str, array: np.ndarray) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        session.observe(IMAGE, None, stop)
    assert session.run(None, IMAGE)[0].tobytes() == want


def test_profile_counts_calls_and_time() -> None:
    session = octavo.Session(quantized_net(), profile=True)
    for _ in range(3):
        session.run(None, IMAGE)
    steps = session.profile()
    assert {s.calls for s in steps} == {3} and sum(s.ns for s in steps) > 0
    assert [s.op for s in steps] == [s["op"] for s in session.plan.steps]


def test_steps_know_their_work_and_shapes() -> None:
    session = octavo.Session(quantized_net())
    conv = next(s for s in session.steps_for([IMAGE.shape]) if s.op == "QConv")
    assert conv.macs == 2 * 64 * 4 * 27 and conv.shapes == ((2, 8, 8, 4),)
    assert session.memory.weights > 0 and session.memory.peak >= session.memory.held > 0
    assert "image" in repr(session)


def test_sessions_of_one_model_share_their_weights() -> None:
    """The second session packs nothing and holds no second copy; another ISA level or option shares nothing."""
    gc.collect()
    model = quantized_net()
    first = octavo.Session(model, threads=1)
    held = first.memory.held
    again = octavo.Session(model, threads=1)
    assert again.memory.held - held < first.memory.weights / 10
    assert np.array_equal(first.run(None, [IMAGE])[0], again.run(None, [IMAGE])[0])
    other = octavo.Session(model, threads=1, isa="scalar")
    assert other.memory.held - held >= first.memory.weights / 2
    expected = first.run(None, [IMAGE])[0]
    del first
    gc.collect()
    assert np.array_equal(again.run(None, [IMAGE])[0], expected)


# ---- large batches -------------------------------------------------------------------------------------------------


def big_batch(tail: str = "") -> tuple[onnx.ModelProto, np.ndarray]:
    """A network whose activations for the whole batch would take some 40 MB, and such a batch."""
    rng = np.random.default_rng(3)
    body = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,48,48] x) => (float[N,M] y, float[N,K,H,W] z)
    {{ a = Conv <pads = [1,1,1,1]> (x, w) b = Relu (a) {tail or "c = Identity (b)"} z = MaxPool <kernel_shape = [3,3],
      strides = [2,2]> (c) p = GlobalAveragePool (z) y = Flatten (p) }}"""
    model = onnx.parser.parse_model(body)
    weights = rng.standard_normal((32, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return model, rng.standard_normal((68, 3, 48, 48)).astype(np.float32)


def test_a_large_batch_runs_in_parts_with_the_same_bytes() -> None:
    model, x = big_batch()
    session = octavo.Session(model, threads=1, profile=True)
    bound = session.bind({"x": x})
    whole = bound.run()
    assert bound.arena_bytes < 9 << 20  # all at once it takes 68 * 48 * 48 * 32 * 4 bytes
    assert max(step.calls for step in session.profile()) == 1
    for first in range(0, 68, 17):
        for got, want in zip(whole, session.run(None, {"x": x[first : first + 17]}), strict=True):
            assert np.array_equal(got[first : first + 17], want)
    seen: dict[str, np.ndarray] = {}
    observed = session.observe({"x": x}, None, lambda name, value: seen.update({name: value.copy()}))
    assert all(np.array_equal(a, b) for a, b in zip(observed, whole, strict=True))
    assert all(value.shape[0] == 68 for value in seen.values())


@pytest.mark.parametrize(
    "tail", ["m = ReduceMean <axes = [0]> (b) c = Sub (b, m)", "t = Transpose <perm = [1,0,2,3]> (b) c = Identity (t)"]
)
def test_a_batch_whose_images_meet_stays_whole(tail: str) -> None:
    model, x = big_batch(tail)
    session = octavo.Session(model, threads=1)
    bound = session.bind({"x": x})
    assert bound.arena_bytes > 16 << 20
    want = octavo.Session(model, threads=1, optimize=False).run(None, {"x": x})
    assert all(np.array_equal(a, b) for a, b in zip(bound.run(), want, strict=True))


def test_a_part_that_fails_leaves_the_batch_as_it_was() -> None:
    model = quantized_net("side")
    x = np.random.default_rng(0).standard_normal((96, 3, 128, 128)).astype(np.float32)
    session = octavo.Session(model, threads=1)
    bound = session.bind({"image": x})
    assert bound.arena_bytes < 9 << 20
    good = [y.copy() for y in bound.run()]
    x[95, 0, 0, 0] = np.nan
    with pytest.raises(errors.Error, match="NaN"):
        bound.run()
    x[95] = x[0]
    again = bound.run()
    assert np.array_equal(again[0][:95], good[0][:95]) and np.array_equal(again[0][95], good[0][0])


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_one_session_from_many_threads() -> None:
    session = octavo.Session(quantized_net(), threads=2)
    inputs = [IMAGE * k for k in range(1, 5)] + [IMAGE[:1]]
    want = [session.run(None, x)[0].tobytes() for x in inputs]
    wrong: list[int] = []

    def work(first: int) -> None:
        for k in range(100):
            at = (first + k) % len(inputs)
            if session.run(None, inputs[at])[0].tobytes() != want[at]:
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_gil_is_released_during_a_run() -> None:
    """A thread that waits for another one's tick between the steps of a run gets it."""
    session = octavo.Session(quantized_net("side"), threads=1)
    image = np.zeros((1, 3, 1024, 1024), np.float32)
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks[0] += 1
            stop.wait(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    bound = session.bind(image)
    bound.run()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)  # nothing but a released GIL lets the other thread go on
    try:
        before = ticks[0]
        for _ in range(20):
            bound._core.run()
        assert ticks[0] > before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        ticker.join()


# ---- files -----------------------------------------------------------------------------------------------------------


def test_packed_files_run_without_onnx(tmp_path: Path) -> None:
    octavo.Session(quantized_net()).save(tmp_path / "net.octavo")
    np.save(tmp_path / "x.npy", IMAGE)
    script = (
        "import sys, numpy, octavo\n"
        "s = octavo.Session('net.octavo')\n"
        "y, = s.run(None, [numpy.load('x.npy')])\n"
        "numpy.save('y.npy', y)\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('onnx', 'google')))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert np.load(tmp_path / "y.npy").tobytes() == octavo.run(quantized_net(), IMAGE)[0].tobytes()


def test_import_is_light() -> None:
    script = "import sys, octavo; print([m for m in ('numpy', 'onnx', 'PIL', 'octavo._core') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_packed_files_are_known_by_content(tmp_path: Path) -> None:
    octavo.Session(float_net()).save(tmp_path / "net.onnx")
    check(octavo.run(tmp_path / "net.onnx", X))


def test_save_replaces_whole_files(tmp_path: Path) -> None:
    target = tmp_path / "net.octavo"
    octavo.Session(float_net()).save(target)
    octavo.Session(quantized_net()).save(target)
    assert [i.name for i in octavo.Session(target).get_inputs()] == ["image"]
    assert os.listdir(tmp_path) == ["net.octavo"]


def test_python_steps_cannot_be_saved(tmp_path: Path) -> None:
    target = tmp_path / "net.octavo"
    target.write_bytes(b"old")
    with pytest.raises(octavo.Unsupported, match="the_det"):
        octavo.Session(with_python_step()).save(target)
    assert target.read_bytes() == b"old"


def test_version_is_the_projects() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{octavo.__version__}"' in project


def test_an_observed_value_is_seen_before_a_later_step_takes_its_place() -> None:
    """A Reshape does nothing by itself, and the step after it works in place."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "a"),
        helper.make_node("Reshape", ["a", "shape"], ["b"], "b"),
        helper.make_node("Neg", ["b"], ["c"], "c"),
        helper.make_node("Exp", ["c"], ["y"], "y"),
    ]
    net = model(nodes, [tensor("x", [2, 8])], [tensor("y", [4, 4])], {"shape": np.array([4, 4])})
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    seen: dict[str, np.ndarray] = {}
    octavo.Session(net, optimize=False).observe([x], None, lambda name, array: seen.update({name: np.array(array)}))
    a = np.maximum(x, 0)
    assert np.array_equal(seen["a"], a) and np.array_equal(seen["b"], a.reshape(4, 4))
    assert np.array_equal(seen["c"], -a.reshape(4, 4))
