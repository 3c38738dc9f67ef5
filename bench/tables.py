"""What bench/compare.py writes from its record: text, a plot, RESULTS.md."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from units import ROWS, TABLE

Record = Mapping[str, Any]
PEERS = ("onnxruntime", "openvino", "litert", "openvino_bf16")
BEGIN, END = "<!-- measured: written by bench/compare.py -->", "<!-- end of what was measured -->"
COMMAND = "python bench/compare.py ../shared/models --out bench/RESULTS"


def units(record: Record, part: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(what, record) of a part, in the order of the table."""
    names = [n for n in record["units"] if n.startswith(part + "/")]
    order = list(ROWS)
    names.sort(key=lambda n: order.index(n.split("/")[1]) if n.split("/")[1] in ROWS else 0)
    for name in names:
        yield name.split("/", 1)[1], record["units"][name]


def ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 100 else f"{value:.1f}"


def figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def tail_of(engine: Mapping[str, Any]) -> float:
    return float(engine["p99_ms"] / engine["median_ms"])


Table = tuple[str, str, list[str], list[list[str]]]  # title, explanation, heads, rows


def tables(record: Record) -> list[Table]:
    """Every table that the record can fill."""
    found = [
        peer_table(record, "one", 1),
        peer_table(record, "two", 2),
        scaling(record),
        batches(record),
        tails(record),
    ]
    found += [avx2(record), kernels(record), loading(record), busy(record)]
    return [t for t in found if t[3]]


def peer_table(record: Record, part: str, threads: int) -> Table:
    rows = []
    slack = 0.0 if threads == 1 else 0.05
    for name, unit in units(record, part):
        engines, row = unit["engines"], ROWS[name]
        goal = None if row.reach is None else row.reach + slack
        reached = "-" if goal is None or unit["ratio"] is None else "yes" if unit["ratio"] <= goal else "no"
        rows.append(
            [
                name,
                ms(engines["octavo"]["ms"]),
                *(ms(engines[p]["ms"]) if p in engines else "-" for p in PEERS),
                figure(unit["ratio"], 3),
                figure(goal),
                reached,
            ]
        )
    title = "One thread" if threads == 1 else f"{threads} threads"
    text = (
        "Milliseconds at batch 1: the median over the rounds of each round's best call; ratio: octavo's time over the "
        "best peer's. OpenVINO computes float models in float32; its default, bfloat16, is shown but does not count."
    )
    refused = [f"{peer} refuses {name}" for name, unit in units(record, part) for peer in unit.get("refused", {})]
    text += f" ({'; '.join(refused)}.)" if refused else ""
    heads = ["model", "octavo", "onnxruntime", "OpenVINO", "LiteRT", "OpenVINO bf16", "ratio", "to reach", "reached"]
    return title, text, heads, rows


def scaling(record: Record) -> Table:
    rows = []
    one = dict(units(record, "one"))
    for name, unit in units(record, "two"):
        if name not in one:
            continue
        cells = [name]
        for engine in ("octavo", *PEERS[:3]):
            both = [u["engines"].get(engine) for u in (one[name], unit)]
            cells.append(figure(both[0]["ms"] / both[1]["ms"]) if all(both) else "-")
        rows.append(cells)
    return "From one thread to two", "How many times faster.", ["model", "octavo", *PEERS[:3]], rows


def batches(record: Record) -> Table:
    rows = []
    for name, unit in units(record, "batch"):
        engines, (model, size) = unit["engines"], name.rsplit("/", 1)
        times = [ms(engines[p]["ms"]) if p in engines else "-" for p in ("octavo", "onnxruntime", "openvino")]
        rows.append([model, size, *times, figure(unit["ratio"])])
    text = "One thread; milliseconds of a whole batch."
    return "Batches", text, ["model", "batch", "octavo", "onnxruntime", "OpenVINO", "ratio"], rows


def tails(record: Record) -> Table:
    rows = []
    for name, unit in units(record, "one"):
        engines = unit["engines"]
        rows.append([name, *(figure(tail_of(engines[p])) if p in engines else "-" for p in ("octavo", *PEERS[:3]))])
    text = "99th percentile over median of all calls, one thread, batch 1."
    return "Tail", text, ["model", "octavo", *PEERS[:3]], rows


def avx2(record: Record) -> Table:
    rows, ratios = [], []
    for name, unit in units(record, "avx2"):
        engines, kinds = unit["engines"], unit.get("openvino_primitives", {})
        if "ratio" in unit:
            ratios.append(unit["ratio"])
        above = sum(n for kind, n in kinds.items() if "avx512" in kind)
        rows.append(
            [
                name,
                *(ms(engines[e]["ms"]) if e in engines else "-" for e in ("octavo", "openvino", "octavo_float")),
                figure(unit.get("ratio")),
                figure(unit.get("int8_over_float")),
                f"{above} of {sum(kinds.values())}" if kinds else "-",
            ]
        )
    if ratios:
        rows.append(["geometric mean", "", "", "", figure(math.exp(sum(map(math.log, ratios)) / len(ratios))), "", ""])
    text = (
        "`OCTAVO_ISA=avx2` against OpenVINO with `ONEDNN_MAX_CPU_ISA=AVX2`, one thread; the last column counts the "
        "layers that OpenVINO says it runs with AVX-512 all the same. Int8 / float: octavo's int8 over its float model."
    )
    heads = ["model", "octavo", "OpenVINO", "octavo float", "ratio", "int8 / float", "AVX-512 in OpenVINO"]
    return "Held to AVX2", text, heads, rows


def kernels(record: Record) -> Table:
    rows = []
    found = [unit for _, unit in units(record, "kernels")]
    # The best measurement of all: another process makes a peak look low, nothing makes it look high.
    int8, real = (max((u[k] for u in found), default=0.0) for k in ("int8_peak_gmacs", "float_peak_gmacs"))
    for unit in found:
        for case in unit["cases"]:
            peak = real if case["op"] in ("Conv", "MatMul", "ConvTranspose") else int8
            share = f"{100 * case['gmacs'] / peak:.1f} %" if peak and case["macs"] else "-"
            rate = figure(case["gmacs"], 1) if case["macs"] else "-"
            rows.append([case["name"], f"{case['min_us']:.2f}", rate, share, case["kernel"]])
    text = (
        "`octavo-bench --threads 1`: the best of the rounds, and the share of the peak that it measured with a loop of "
        f"multiply-adds on the same machine: int8 {int8:.1f} GMAC/s, float {real:.1f} GMAC/s."
    )
    return "Kernels", text, ["layer", "min us", "GMAC/s", "of the peak", "kernel"], rows


def loading(record: Record) -> Table:
    rows = [
        [
            name,
            f"{u['create_ms']:.1f}",
            f"{u['file_bytes'] / 1e6:.2f}",
            f"{u['held_bytes'] / 1e6:.2f}",
            figure(u["held_over_file"]),
            figure(u["new_shape_ms"]),
        ]
        for name, u in units(record, "loading")
    ]
    text = "A session made after imports, what the core holds then, and `bind()` for an input shape it has not seen."
    heads = ["model", "create, ms", "file, MB", "held, MB", "held / file", "new shape, ms"]
    return "Loading", text, heads, rows


def busy(record: Record) -> Table:
    rows = []
    for name, unit in units(record, "busy"):
        engines = unit["engines"]
        times = [ms(engines[e]["median_ms"]) if e in engines else "-" for e in ("octavo", "onnxruntime")]
        rows.append([name, *times, figure(unit.get("ratio"))])
    text = "Two threads while another process spins on each core; medians of all calls, milliseconds."
    return "Busy machine", text, ["model", "octavo", "onnxruntime", "ratio"], rows


# ---- writing ---------------------------------------------------------------------------------------------------------


def machine_text(record: Record) -> str:
    m = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    dates = sorted(u["date"] for u in record["units"].values())
    spans = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    rounds = sorted({u["rounds"] for u in record["units"].values()})
    commits = ", ".join(dict.fromkeys(u.get("commit", "unknown") for u in record["units"].values()))
    return (
        f"{m['cpu']}, {m['cores']} cores, {m['isa']}; {m['system']}; {m['compiler']}; {versions}; "
        f"{' or '.join(map(str, rounds))} rounds; measured {spans} at commit {commits}."
    )


def text(record: Record) -> str:
    """All tables in columns."""
    lines = [machine_text(record)]
    for title, explanation, heads, rows in tables(record):
        widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]
        lines += ["", title, explanation.replace("`", ""), ""]
        for row in [heads, *rows]:
            lines.append("  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths))))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown(record: Record, picture: str | None) -> str:
    """What stands between the two marks in RESULTS.md."""
    lines = [BEGIN, "", f"    {COMMAND}", "", machine_text(record), ""]
    if picture is not None:
        lines += [f"![Time of octavo over the best peer's]({picture})", ""]
    for title, explanation, heads, rows in tables(record):
        lines += [f"## {title}", "", explanation, "", "| " + " | ".join(heads) + " |"]
        lines.append("|---|" + "---:|" * (len(heads) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    return "\n".join([*lines, END])


INTRODUCTION = """# Results

Every engine runs the same file in one process, in turn, round by round, with its inputs bound. The part between the
marks is written by `bench/compare.py` ([docs/speed.md](../docs/speed.md)); what stands outside them is kept.

"""


def write_markdown(record: Record, path: Path, picture: str | None) -> None:
    """Puts the measured part in place of the former one, or begins a page with it."""
    block = markdown(record, picture)
    page = path.read_text() if path.exists() else INTRODUCTION
    marked = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    page = marked.sub(lambda _: block, page, count=1) if marked.search(page) else f"{page.rstrip()}\n\n{block}\n"
    path.write_text(page)


LABEL = {"pad": 0.6, "facecolor": "white", "edgecolor": "none"}


def plot(record: Record, path: Path) -> bool:
    """Bars of the ratio for one and two threads, and each engine's time as a multiple of octavo's. False without data.

    Raises ImportError, naming the extra, where matplotlib is not installed.
    """
    one, two = dict(units(record, "one")), dict(units(record, "two"))
    names = [row.name for row in TABLE if one.get(row.name, {}).get("ratio") is not None]
    if not names:
        return False
    try:
        import matplotlib
    except ImportError as e:
        raise ImportError("the plot needs matplotlib: pip install 'octavo[bench]'") from e
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure_, (left, right) = pyplot.subplots(
        1, 2, figsize=(13, 0.44 * len(names) + 1.9), sharey=True, width_ratios=[3, 2]
    )
    at = list(range(len(names)))[::-1]
    draw_ratios(left, at, names, one, two)
    draw_multiples(right, at, names, one)
    left.set_yticks(at, names)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e3e8ec", zorder=0)
        axes.tick_params(length=0, labelsize=9)
    figure_.suptitle(f"octavo and its peers on {record['machine']['cpu']}, batch 1", fontsize=12, x=0.02, ha="left")
    figure_.tight_layout(rect=(0, 0, 1, 0.98))
    figure_.savefig(path, dpi=110)
    pyplot.close(figure_)
    return True


def draw_ratios(axes: Any, at: Sequence[int], names: Sequence[str], one: Record, two: Record) -> None:
    both = [n in two and two[n]["ratio"] is not None for n in names]
    height = 0.36 if any(both) else 0.6
    shift = height / 2 if any(both) else 0.0
    ratios = [one[n]["ratio"] for n in names]
    axes.barh([y + shift for y in at], ratios, height, color="#1f77b4", label="one thread", zorder=2)
    if any(both):
        pairs = [(y - shift, two[n]["ratio"]) for y, n, there in zip(at, names, both) if there]
        axes.barh([y for y, _ in pairs], [r for _, r in pairs], height, color="#9cc5e3", label="two threads", zorder=2)
    goals = [(y, ROWS[n].reach) for y, n in zip(at, names) if ROWS[n].reach is not None]
    axes.vlines([g for _, g in goals], [y - 0.42 for y, _ in goals], [y + 0.42 for y, _ in goals], color="#c0392b",
                linewidth=2, label="to reach, one thread", zorder=3)  # fmt: skip
    for y, r in zip(at, ratios):
        axes.text(r + 0.01, y + shift, f"{r:.2f}", va="center", fontsize=8, color="#1b2530", zorder=4, bbox=LABEL)
    axes.axvline(1, color="#45525f", linewidth=1, zorder=1)
    axes.set_xlabel("time of octavo / time of the best peer (shorter is better)", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.07), ncols=3)


def draw_multiples(axes: Any, at: Sequence[int], names: Sequence[str], one: Record) -> None:
    styles = {"onnxruntime": ("#d9772b", "o"), "openvino": ("#7a5ab5", "s"), "litert": ("#2f9e6e", "D")}
    for peer, (colour, marker) in styles.items():
        points = [
            (one[n]["engines"][peer]["ms"] / one[n]["engines"]["octavo"]["ms"], y)
            for y, n in zip(at, names)
            if peer in one[n]["engines"]
        ]
        if points:
            axes.scatter(*zip(*points), s=34, color=colour, marker=marker, label=peer, zorder=3)
    axes.axvline(1, color="#1f77b4", linewidth=2, label="octavo", zorder=2)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 4, 8, 16]
    low, high = axes.get_xlim()
    shown = [t for t in ticks if low <= t <= high] or [1]
    axes.set_xticks(shown, [f"{t:g}x" for t in shown])
    axes.minorticks_off()
    axes.set_xlabel("time as a multiple of octavo's, one thread", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.07), ncols=4)
