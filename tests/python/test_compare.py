"""bench/: the comparison with peers, its reports, and the networks with seeded weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import octavo

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import compare  # noqa: E402
import seeded  # noqa: E402
import tables  # noqa: E402
import units  # noqa: E402
from small_models import quantized_net  # noqa: E402

SMALL = {
    "mobilenet_v1": lambda: seeded.mobilenet_v1(width=0.125, size=32, classes=10),
    "resnet50": lambda: seeded.resnet50(width=0.125, size=32, classes=10, blocks=(2, 2)),
}


# ---- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_seeded_networks(name: str) -> None:
    """They are sound ONNX, run on integers from end to end, and their numbers neither die nor saturate."""
    model = SMALL[name]()
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString() == SMALL[name]().SerializeToString()
    session = octavo.Session(model)
    ops = [s.op for s in session.steps]
    assert "Conv" not in ops and "MatMul" not in ops and ops.count("Quantize") == 1 and not session.notes
    assert ops.count("QConv") == sum(n.op_type == "Conv" for n in model.graph.node)
    x = np.random.default_rng(5).standard_normal((2, 3, 32, 32)).astype(np.float32)
    (got,) = session.run(None, [x])
    assert got.shape == (2, 10) and len(np.unique(got)) > 8 and not np.array_equal(got[0], got[1])
    (plain,) = octavo.Session(model, optimize=False, threads=1).run(None, [x])
    assert got.tobytes() == plain.tobytes()
    seen: dict[str, float] = {}
    session.observe([x], None, lambda n, a: seen.__setitem__(n, float(np.ptp(a.astype(np.float64)))))
    assert min(seen.values()) > 0


@pytest.mark.parametrize("name", SMALL)
def test_seeded_networks_agree_with_a_peer(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = SMALL[name]()
    x = np.random.default_rng(6).standard_normal((1, 3, 32, 32)).astype(np.float32)
    peer = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    want = peer.run(None, {"image": x})[0]
    got = octavo.run(model, {"image": x})[0]
    step = float(np.ptp(want)) / 255 + 1e-6
    assert np.abs(got - want).max() <= 4 * step and np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.98


def test_another_seed_is_another_network() -> None:
    a, b = (seeded.mobilenet_v1(width=0.125, size=32, classes=10, seed=s) for s in (0, 1))
    assert a.SerializeToString() != b.SerializeToString()


# ---- measuring -------------------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one model under a name of the table."""
    folder = tmp_path / "models"
    folder.mkdir()
    onnx.save(quantized_net(16), folder / "mlperf_tiny_vww_int8.onnx")
    monkeypatch.chdir(tmp_path)
    return folder


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["compare.py", *arguments])
    return compare.main()


def test_pieces_merge_into_one_record(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (bench extra) is not installed")
    arguments = [str(models), "--out", "r/all", "--quick", "--only", "vww"]
    assert command(monkeypatch, *arguments, "--part", "one") == 0
    assert command(monkeypatch, *arguments, "--part", "loading,two,one") == 0
    record = json.loads(Path("r/all.json").read_text())
    assert sorted(record["units"]) == [f"{p}/mlperf_tiny_vww_int8" for p in ("loading", "one", "two")]
    one = record["units"]["one/mlperf_tiny_vww_int8"]
    times = {name: e["ms"] for name, e in one["engines"].items()}
    ours = times.pop("octavo")
    assert ours > 0 and one["commit"] and one["date"] and one["rounds"] == 3
    assert one["ratio"] == (pytest.approx(ours / min(times.values()), abs=1e-3) if times else None)
    loading = record["units"]["loading/mlperf_tiny_vww_int8"]
    assert loading["create_ms"] > 0 and loading["held_bytes"] > 0 and loading["new_shape_ms"] > 0
    assert record["machine"]["cores"] >= 1 and record["machine"]["versions"]["octavo"] == octavo.__version__
    out = capsys.readouterr().out
    assert "One thread" in out and "2 threads" in out and "Loading" in out and "mlperf_tiny_vww_int8" in out
    assert Path("r/all.txt").read_text() in out
    assert "| mlperf_tiny_vww_int8 |" in Path("r/all.md").read_text()
    if one["ratio"] is not None:
        assert Path("r/all.png").read_bytes().startswith(b"\x89PNG")


def test_a_budget_stops_and_a_second_run_goes_on(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    arguments = [str(models), "--out", "r/all", "--quick", "--only", "vww", "--part", "one,two"]
    monkeypatch.setattr(compare.time, "monotonic", iter(range(0, 10_000, 50)).__next__)
    assert command(monkeypatch, *arguments, "--budget", "80") == 0
    assert "1 units are left" in capsys.readouterr().err
    assert command(monkeypatch, *arguments, "--budget", "80") == 0
    assert len(json.loads(Path("r/all.json").read_text())["units"]) == 2


def test_what_is_missing_is_left_out_aloud(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, str(models), "--out", "r/all", "--quick", "--part", "one", "--only", "kws") == 1
    err = capsys.readouterr().err
    assert "one/mlperf_tiny_kws_int8 is left out" in err and "nothing was measured" in err
    with pytest.raises(SystemExit):
        command(monkeypatch, "--part", "three")


def test_every_row_of_the_table_has_its_units() -> None:
    names = list(units.all_units())
    for row in units.TABLE:
        assert f"one/{row.name}" in names and f"two/{row.name}" in names and f"loading/{row.name}" in names
        assert (f"batch/{row.name}/32" in names) == row.batches
    assert all(name.partition("/")[0] in compare.PARTS for name in names)
    assert {name.partition("/")[0] for name in names} == set(compare.PARTS)


def test_children() -> None:
    assert units.child([sys.executable, "-c", "print('talk'); print({}); print()"]) == {}
    assert units.child([sys.executable, "-c", "import os; print(os.environ['A'])"], {"A": '{"b": 1}'}) == {"b": 1}
    with pytest.raises(octavo.Unsupported, match="ValueError: why"):
        units.child([sys.executable, "-c", "raise ValueError('why')"])
    with pytest.raises(octavo.Unsupported, match="status 3"):
        units.child([sys.executable, "-c", "raise SystemExit(3)"])


def test_spinning_processes_end() -> None:
    with units.spinning(2) as processes:
        assert all(p.poll() is None for p in processes)
    assert all(p.poll() is not None for p in processes)


# ---- reports ---------------------------------------------------------------------------------------------------------


def engine(ms: float) -> dict[str, Any]:
    return {"ms": ms, "median_ms": ms, "min_ms": ms * 0.9, "p99_ms": ms * 1.5, "runs": 9}


def sample() -> dict[str, Any]:
    both = {"octavo": engine(2.0), "onnxruntime": engine(5.0), "openvino": engine(4.0)}
    real = both | {"openvino_bf16": engine(1.0)}
    fast = {k: engine(v["ms"] / 1.9) for k, v in both.items()}
    name = "mobilenet_v2_1.0_224_ort_qdq_u8s8"
    found: dict[str, Any] = {
        f"one/{name}": {"engines": both, "ratio": units.ratio(both)},
        "one/squeezenet1.1": {"engines": real, "ratio": units.ratio(real), "refused": {"litert": "why"}},
        f"two/{name}": {"engines": fast, "ratio": 0.7},
        f"batch/{name}/8": {"engines": both, "ratio": 0.5},
        f"avx2/{name}": {"engines": {**both, "octavo_float": engine(8)}, "ratio": 0.5, "int8_over_float": 0.25,
                         "openvino_primitives": {"brgconv_avx512_I8": 1, "jit_avx2_I8": 9}},
        "kernels/conv 1x1": {"int8_peak_gmacs": 200.0, "float_peak_gmacs": 50.0, "cases": [
            {"name": "1x1", "op": "QConv", "min_us": 5.0, "gmacs": 150.0, "macs": 9, "kernel": "gemm_s8"},
            {"name": "f", "op": "Conv", "min_us": 5.0, "gmacs": 25.0, "macs": 9, "kernel": "gemm_f32"}]},
        f"loading/{name}": {"create_ms": 80.0, "file_bytes": 4_000_000, "held_bytes": 8_000_000,
                            "held_over_file": 2.0, "new_shape_ms": 0.5},
        f"busy/{name}": {"engines": both, "ratio": 0.4},
    }  # fmt: skip
    for unit in found.values():
        unit |= {"date": "2026-01-02 03:04 UTC", "rounds": 15, "seconds": 1.0, "commit": "abc1234"}
    machine = {"cpu": "A CPU", "cores": 2, "isa": "avx2", "compiler": "gcc", "system": "Linux", "versions": {"x": "1"}}
    return {"units": found, "machine": machine}


def rows_of(title: str) -> list[list[str]]:
    return next(rows for name, _, _, rows in tables.tables(sample()) if name == title)


def test_the_ratio_is_to_the_best_peer_that_does_the_same_job() -> None:
    assert units.ratio({"octavo": engine(2), "onnxruntime": engine(5), "openvino": engine(4)}) == 0.5
    assert units.ratio({"octavo": engine(2), "openvino": engine(4), "openvino_bf16": engine(1)}) == 0.5
    assert units.ratio({"octavo": engine(2)}) is None


def test_tables() -> None:
    first, second = rows_of("One thread")
    assert first == ["mobilenet_v2_1.0_224_ort_qdq_u8s8", "2.000", "5.000", "4.000", "-", "-", "0.500", "0.62", "yes"]
    assert second[5] == "1.000" and second[6:] == ["0.500", "1.00", "yes"]
    assert rows_of("2 threads")[0][6:] == ["0.700", "0.67", "no"]
    assert rows_of("From one thread to two")[0][1:] == ["1.90", "1.90", "1.90", "-"]
    assert rows_of("Tail")[0][1] == "1.50"
    assert rows_of("Held to AVX2")[0][1:] == ["2.000", "4.000", "8.000", "0.50", "0.25", "1 of 10"]
    assert rows_of("Held to AVX2")[1][4] == "0.50"
    assert [row[3] for row in rows_of("Kernels")] == ["75.0 %", "50.0 %"]
    assert rows_of("Loading")[0][1:] == ["80.0", "4.00", "8.00", "2.00", "0.50"]
    assert rows_of("Busy machine")[0][1:] == ["2.000", "5.000", "0.40"]
    text = tables.text(sample())
    assert "A CPU, 2 cores" in text and "at commit abc1234." in text and "(litert refuses squeezenet1.1.)" in text


def test_the_page_keeps_what_people_wrote(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    tables.write_markdown(sample(), page, "r.png")
    first = page.read_text()
    assert first.startswith("# Results") and "![" in first and "(r.png)" in first
    page.write_text(first.replace("# Results", "# Results\n\nOurs.") + "\n## Misses\n\nWhy.\n")
    changed = sample()
    changed["machine"]["cpu"] = r"Another \1 CPU"
    tables.write_markdown(changed, page, None)
    text = page.read_text()
    assert "Ours." in text and "## Misses\n\nWhy." in text and r"Another \1 CPU" in text and "A CPU" not in text
    assert text.count(tables.BEGIN) == text.count(tables.END) == 1


def test_the_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (bench extra) is not installed")
    assert tables.plot(sample(), tmp_path / "r.png")
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert not tables.plot({"units": {}, "machine": {}}, tmp_path / "none.png")


def test_the_plot_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="octavo\\[bench\\]"):
        tables.plot(sample(), tmp_path / "r.png")
