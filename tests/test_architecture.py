"""The rules of the house: import directions, ISA objects without weak symbols or spills, file sizes, honest lists."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CPP = ROOT / "cpp"
PYTHON = ROOT / "python" / "octavo"
ISA_LEVELS = {"scalar", "avx2", "avxvnni", "avx512vnni", "neon", "neon_dot", "neon_i8mm"}
MAX_LINES = 620

# Each room may include from itself and from these.
CPP_ROOMS = {
    "core": set(),
    "kernels": {"core"},
    "ops": {"core", "kernels"},
    "plan": {"core", "kernels", "ops"},
    "python": {"core", "kernels", "ops", "plan"},
    "tools": {"core", "kernels", "ops", "plan"},
}

# Python floors, lowest first: a module imports from its own floor and those below.
PYTHON_FLOORS = [
    {"errors", "_core"},
    {"ir"},
    {
        "ops",
        "onnx_expansion",
        "onnx_contrib",
        "passes",
        "onnx_import",
        "onnx_export",
        "onnx_step",
        "onnx_values",
        "onnx_gradient",
        "onnx_upgrade",
        "onnx_control",
        "onnx_functions",
        "onnx_qoperator",
        "onnx_parts",
    },
    {"plan", "lower"},
    {"feeds", "engine", "images", "paths", "timing"},
    {"compress"},
    {"report", "demo", "backend"},
    {"cli", "__main__"},
]
ONNX_IMPORTERS = {
    "onnx_import.py",
    "onnx_export.py",
    "onnx_functions.py",
    "onnx_qoperator.py",
    "onnx_step.py",
    "onnx_expansion.py",
    "onnx_contrib.py",
    "onnx_values.py",
    "onnx_control.py",
    "onnx_gradient.py",
    "onnx_upgrade.py",
    "backend.py",
}


def tracked(*patterns: str) -> list[Path]:
    found = [p for pattern in patterns for p in ROOT.glob(pattern)]
    return [p for p in found if "build" not in p.relative_to(ROOT).parts and ".venv" not in p.parts]


def cpp_files() -> list[Path]:
    return tracked("cpp/**/*.cpp", "cpp/**/*.h", "cpp/**/*.inl")


def test_cpp_includes_point_down() -> None:
    wrong = []
    for path in cpp_files():
        room = path.relative_to(CPP).parts[0]
        if room == "include":
            continue
        allowed = CPP_ROOMS[room] | {room}
        for target in re.findall(r'#include "([a-z0-9_]+)/', path.read_text()):
            if target in CPP_ROOMS and target not in allowed:
                wrong.append(f"{path.relative_to(ROOT)} includes {target}/")
    assert not wrong, wrong


def test_only_the_binding_sees_pybind11() -> None:
    offenders = [p for p in cpp_files() if "pybind11" in p.read_text() and p.relative_to(CPP).parts[0] != "python"]
    assert not offenders, offenders


def floor_of(module: str) -> int | None:
    for number, names in enumerate(PYTHON_FLOORS):
        if module in names:
            return number
    return None


def imported_modules(source: str) -> Iterator[str]:
    yield from re.findall(r"^\s*from octavo\.([a-z_]+)", source, re.M)
    yield from re.findall(r"^\s*import octavo\.([a-z_]+)", source, re.M)
    for group in re.findall(r"^\s*from octavo import \(?([^)\n]+)", source, re.M):
        yield from (name.split(" as ")[0].strip() for name in group.split(","))
    for dots, module in re.findall(r"^\s*from (\.+)([a-z_]+)", source, re.M):
        if len(dots) == 2:
            yield module


def test_python_imports_point_down() -> None:
    wrong, homeless = [], []
    for path in PYTHON.rglob("*.py"):
        parts = path.relative_to(PYTHON).parts
        room = parts[0].removesuffix(".py")
        if room in {"__init__", "_data"}:
            continue
        floor = floor_of(room)
        if floor is None:
            homeless.append(str(path.relative_to(ROOT)))
            continue
        for module in imported_modules(path.read_text()):
            target = floor_of(module)
            if target is not None and target > floor:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not homeless, f"give these a floor in PYTHON_FLOORS: {homeless}"
    assert not wrong, wrong


def test_only_the_importers_import_onnx() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in PYTHON.rglob("*.py")
        if re.search(r"^\s*(import onnx\b|from onnx\b)", path.read_text(), re.M) and path.name not in ONNX_IMPORTERS
    ]
    assert not wrong, wrong


def test_no_file_is_too_long() -> None:
    files = [
        *cpp_files(),
        *tracked("python/**/*.py", "tests/**/*.py", "tests/**/*.cpp", "bench/**/*.py", "bench/**/*.cpp"),
    ]
    long = {str(p.relative_to(ROOT)): n for p in files if (n := len(p.read_text().splitlines())) > MAX_LINES}
    assert not long, long


def test_kernel_files_are_all_enrolled() -> None:
    enrolled = set(re.findall(r"^OCTAVO_KERNEL\((\w+), \w+, (\w+)\)", (CPP / "kernels/kernels.def").read_text(), re.M))
    present = {(p.parent.name, p.stem) for p in CPP.glob("kernels/*/*.cpp") if p.stem in ISA_LEVELS}
    assert {family for family, _ in enrolled} and present
    # One file may define several tables (families that share a folder), so compare folders by prefix of the family.
    folders = {folder for folder, _ in present}
    for family, isa in enrolled:
        assert (CPP / "kernels").exists() and any((f, isa) in present for f in folders), (family, isa)
    for family in {f for f, _ in enrolled}:
        assert (family, "scalar") in enrolled, f"{family} has no scalar kernel"


def test_isa_files_include_no_library_headers() -> None:
    allowed = re.compile(r"<(immintrin\.h|arm_neon\.h|cstdint|cstddef)>")
    wrong = []
    for path in CPP.glob("kernels/*/*.cpp"):
        if path.stem in ISA_LEVELS - {"scalar"}:
            wrong += [
                f"{path}: {h}" for h in re.findall(r"#include (<[^>]+>)", path.read_text()) if not allowed.match(h)
            ]
    assert not wrong, wrong


def builds() -> list[Path]:
    """Build folders of the code as it is shipped: sanitizers bring symbols and spills of their own."""
    found = [p.parent for p in (ROOT / "build").glob("*/CMakeCache.txt")]
    return [p for p in found if "-fsanitize" not in (p / "CMakeCache.txt").read_text()]


def isa_objects() -> list[Path]:
    found = [
        p
        for build in builds()
        for p in build.rglob("*.cpp.o")
        if p.name.removesuffix(".cpp.o") in ISA_LEVELS - {"scalar"} and "kernels" in p.parts
    ]
    if not found:
        pytest.skip("no object files under build/: run `make native` first")
    return found


def test_isa_objects_hold_no_weak_symbols() -> None:
    """A weak symbol compiled for AVX-512 may be picked by the linker and crash an older CPU."""
    weak = []
    for obj in isa_objects():
        for line in subprocess.run(["nm", str(obj)], capture_output=True, text=True, check=True).stdout.splitlines():
            kind, name = line.split()[-2:]
            if kind in {"W", "w", "V", "v", "u"}:
                weak.append(f"{obj.parent.name}/{obj.name}: {name}")
    assert not weak, weak


Line = tuple[int, str, str]


def functions_of(obj: Path, demangle: bool = False) -> Iterator[tuple[str, list[Line]]]:
    dump = subprocess.run(
        ["objdump", "-dC" if demangle else "-d", "--no-show-raw-insn", str(obj)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    name, lines = "", []
    for row in dump.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:$", row):
            if lines:
                yield name, lines
            name, lines = head[1], []
        elif code := re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)$", row):
            lines.append((int(code[1], 16), code[2], code[3]))
    if lines:
        yield name, lines


def innermost_loops(lines: list[Line]) -> Iterator[list[Line]]:
    """Bodies of backward jumps that hold no other backward jump."""
    back = []
    for address, op, args in lines:
        if op.startswith("j") and (target := re.match(r"([0-9a-f]+)", args)) and int(target[1], 16) <= address:
            back.append((int(target[1], 16), address))
    for start, end in back:
        if not any((s, e) != (start, end) and start <= s and e <= end for s, e in back):
            yield [line for line in lines if start <= line[0] <= end]


DOT = re.compile(r"vpdpbusd|vpmaddwd|vfmadd")
SPILL = re.compile(r"%[xyz]mm\d+.*\(%r[sb]p|\(%r[sb]p.*%[xyz]mm\d+")


def test_inner_loops_do_not_touch_the_stack() -> None:
    """GCC spills accumulators around dot products when a tile is written carelessly: 209 -> 95 GMAC/s."""
    if not shutil.which("objdump"):
        pytest.skip("objdump is not installed")
    loops, spills = 0, []
    # Depthwise loops end in their epilogue, and the fixed one wants more registers than are left: a few may go to the
    # stack there, one instruction in twenty.
    allowed = {"dwconv_s8_fixed": 20}
    for obj in isa_objects():
        if not obj.parent.name.startswith(("gemm_", "dwconv_")) or "avx512vnni" not in obj.name:
            continue
        for name, lines in functions_of(obj):
            for body in innermost_loops(lines):
                if sum(bool(DOT.match(op)) for _, op, _ in body) < 8:
                    continue
                loops += 1
                found = [f"{obj.parent.name}: {name}: {op} {args}" for _, op, args in body if SPILL.search(args)]
                if len(found) * allowed.get(obj.parent.name, len(body) + 1) > len(body):
                    spills += found
    if not loops:
        pytest.skip("this architecture has no AVX-512 kernels")
    assert not spills, spills[:10]


# Arithmetic, comparison, rounding and conversion on floats, x86 and aarch64. Moves and shuffles that x86 names after
# floats (movaps, shufps) carry none.
FLOAT = re.compile(
    r"v?(add|sub|mul|div|sqrt|max|min|hadd|hsub|addsub|dp|round|rcp|rsqrt|rcp14|rsqrt14|rndscale|reduce|range|scalef|"
    r"getexp|getmant|fixupimm|cmp\w*)[ps][sdh]$|v?u?comis[sdh]$|v?cvt\w+$|vfn?m(add|sub|addsub|subadd)\w+$|"
    r"f(?!ence)[a-z]\w*$|[su]cvtf$"
)
# Object files and the functions in them that run steps of the fixed scheme.
FIXED = {
    "core/fixed.cpp.o": r".*",
    "kernels/gemm_s8_fixed/*.o": r".*",
    "kernels/dwconv_s8_fixed/*.o": r".*",
    "kernels/eltwise_fixed/*.o": r".*",
    "kernels/pool_fixed/*.o": r".*",
    "kernels/lut_s8/*.o": r".*",
    "kernels/gemm_s8/driver.cpp.o": r".*",
    "kernels/dwconv_s8/driver.cpp.o": r"octavo::dwconv_s8\(|.*run_piece",
    "ops/qsoftmax.cpp.o": r".*QSoftmax::(run|row)",
    "ops/qadd.cpp.o": r".*EltwiseFixed.*::run",
    "ops/qmul.cpp.o": r".*EltwiseFixed.*::run",
    "ops/qpool.cpp.o": r".*(QAveragePool::(run|line|fixed_average)|FixedMean(>::(run|reduce)|::(of|value)))",
    "ops/qconv.cpp.o": r".*QConv::(run|convolve)",
    "ops/qgemm.cpp.o": r".*QGemm::run",
    "ops/qconv_depthwise.cpp.o": r".*QConvDepthwise::(run|convolve)",
    "ops/concat.cpp.o": r".*Concat.*::run",
}


def test_steps_of_the_fixed_scheme_compute_no_floats() -> None:
    """Kernels, their drivers and the operators' run(): nothing from the first QuantizeLinear to the last Dequantize."""
    if not shutil.which("objdump"):
        pytest.skip("objdump is not installed")
    roots = [p for b in builds() if ((p := b / "CMakeFiles/octavo.dir/cpp") / "core/fixed.cpp.o").exists()]
    if not roots:
        pytest.skip("no object files under build/: run `make native` first")
    found = []
    for root in roots:
        for pattern, names in FIXED.items():
            seen = 0
            for obj in root.glob(pattern):
                for name, lines in functions_of(obj, demangle=True):
                    if not re.match(names, name):
                        continue
                    seen += 1
                    found += [f"{pattern}: {name}: {op} {args}" for _, op, args in lines if FLOAT.match(op)]
            assert seen, f"{pattern}: no function is called {names}"
        # The pattern does find floats where there are some.
        for family in ("gemm_s8", "dwconv_s8", "eltwise_s8", "pool_s8"):
            code = [op for _, lines in functions_of(root / f"kernels/{family}/scalar.cpp.o") for _, op, _ in lines]
            assert any(FLOAT.match(op) for op in code), family
    assert not found, found[:10]
