"""What bench/quantizers.py writes from its record: the tables, as text and as QUANTIZERS.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from judge import bootstrap, read_numbers, unpacked
from octavo.report.paired import paired_interval
from octavo.report.table import table

Record = Mapping[str, Any]
Table = tuple[str, str, list[str], list[list[str]]]  # title, explanation, heads, rows
BEGIN, END = "<!-- measured: written by bench/quantizers.py -->", "<!-- end of what was measured -->"
COMMAND = "python bench/quantizers.py ../shared/models --out bench/QUANTIZERS"

# What octavo's accuracy may lose against the float model, in points.
GOALS = {
    "mobilenet_v2_1.0_224": 0.7, "efficientnet_lite0": 0.7, "squeezenet1.1": 0.5, "mobilenet_v1_0.25_224": 1.0,
    "cifar10_resnet20": 0.3, "mlperf_tiny_kws_float": 0.7, "paraphrase_minilm_l3": 0.5, "yolox_nano": 1.0,
    "ppocr_cls": 1.0,
}  # fmt: skip
PER_TENSOR_GOAL = 85.5  # per cent right of mobilenet_v2
FEW_BITS_GOALS = {"mobilenet_v2_1.0_224": 3, "efficientnet_lite0": 3, "squeezenet1.1": 2}
RUNTIME_GOAL = 0.4  # points between the runtimes
MEMORY_GOAL = 1.2  # the peak with many samples over the one with few


def units(record: Record, part: str) -> Iterator[tuple[str, str, Record]]:
    """(model, tool, what was measured), in the record's order of models."""
    from quantizers import all_units

    for name in all_units():
        if name.startswith(f"{part}/") and name in record["units"]:
            _, model, tool = name.split("/")
            yield model, tool, record["units"][name]


def models(record: Record, part: str) -> dict[str, dict[str, Record]]:
    found: dict[str, dict[str, Record]] = {}
    for model, tool, unit in units(record, part):
        found.setdefault(model, {})[tool] = unit
    return found


def best_peer(tools: Mapping[str, Record], ours: str) -> tuple[str, Record] | None:
    """The most accurate of the others in the same mode; of equals the one whose answers are closest to the float's."""
    dynamic = ours.endswith("dynamic")
    others = [n for n in tools if not n.startswith("octavo") and n.endswith("dynamic") == dynamic]
    peers = [(name, tools[name]) for name in others if "failed" not in tools[name]]
    return max(peers, key=lambda p: (p[1]["accuracy"], p[1]["sqnr"]), default=None)


def versus(ours: Record, peer: Record, count: int) -> tuple[float, tuple[float, float] | None]:
    """What one loses against the other on the same samples, in points, and its 95 % interval."""
    gap = peer["accuracy"] - ours["accuracy"]
    if ours.get("cosines") and peer.get("cosines"):
        return gap, bootstrap(*(read_numbers(text) for text in (peer["cosines"], ours["cosines"], ours["scores"])))
    if not ours.get("right") or not peer.get("right"):
        return gap, None
    a, b = unpacked(peer["right"], count), unpacked(ours["right"], count)
    low, high = paired_interval(int((a & ~b).sum()), int((b & ~a).sum()), count)
    return gap, (100 * low, 100 * high)


def summary(record: Record) -> Table:
    rows = []
    for model, tools in models(record, "accuracy").items():
        for name in ("octavo", "octavo dynamic"):
            ours = tools.get(name)
            if ours is None or "failed" in ours:
                continue
            goal = GOALS.get(model)
            least = ours["interval"][0]
            met = "-" if goal is None else "yes" if ours["drop"] <= goal else "by the interval" if least <= goal else "no"  # fmt: skip  # noqa: E501
            peer = best_peer(tools, name)
            row = [model + name.removeprefix("octavo"), points(ours["float_accuracy"]), points(ours["accuracy"]),
                   points(ours["drop"], "+"), span(ours["interval"]), points(goal), met]  # fmt: skip
            if peer is not None:
                gap, interval = versus(ours, peer[1], ours["labelled"])
                verdict = "yes" if gap <= 0 else "by the interval" if interval and interval[0] <= 0 else "no"
                row += [peer[0], points(peer[1]["accuracy"]), span(interval), verdict]
            else:
                row += ["-"] * 4
            rows.append(row)
    text = (
        "Per cent right on the samples that did not calibrate (text: Spearman's correlation times 100), of the float "
        "model and of octavo.quantize with its default options, in onnxruntime; drop in points and its paired 95 % "
        "interval; the most accurate of the others (dynamic beside dynamic), and the interval of what octavo loses "
        "against it."
    )
    heads = ["model", "float", "octavo", "drop", "95 %", "allowed", "met", "best other", "its", "behind it, 95 %", "at least as good"]  # fmt: skip  # noqa: E501
    return "Accuracy", text, heads, rows


def every_tool(record: Record, part: str) -> Table:
    rows, failures = [], []
    for model, tools in models(record, part).items():
        for name, unit in tools.items():
            if "failed" in unit:
                rows.append([model, name, "fails", *["-"] * 10])
                failures.append(f"{name} fails on {model}: {unit['failed'].rstrip('.')}")
                continue
            flips = "-" if unit["lost"] is None else f"-{unit['lost']} +{unit['won']}"
            rows.append([
                model, name, points(unit["accuracy"]), points(unit["drop"], "+"), flips, span(unit["interval"]),
                points(unit["agreement"]), f"{unit['sqnr']:.1f}", f"{unit['bytes'] / unit['float_bytes']:.2f}",
                f"{unit['seconds']:.1f}", f"{unit['cpu_seconds']:.1f}", f"{unit['peak_mb']:.0f}",
                "yes" if not unit["checker"] else "no",
            ])  # fmt: skip
    title = {"accuracy": "Every tool", "tensor": "Per-tensor weights", "bits": "Weights of 4 bits"}[part]
    text = (
        "flips: labelled samples that only the float model, only the quantized one answers rightly; agreement: per "
        "cent of all samples with the float model's answer; SQNR of the answers in decibels; size as a share of the "
        "float file; seconds on one core, by the clock and of the CPU (the machine is shared); peak of the whole "
        "process in MB; onnx.checker."
    )
    if part == "tensor":
        text = f"One scale for all weights of a layer; octavo should keep mobilenet_v2 at {PER_TENSOR_GOAL} or more."
    if part == "bits":
        text = "Weights of 4 bits, activations of 8: learned roundings (the default), and each weight to its nearest."
        text += f" {', '.join(f'{m} may lose {g:g}' for m, g in FEW_BITS_GOALS.items())} points."
    text += f" ({'; '.join(failures)}.)" if failures else ""
    heads = ["model", "tool", "accuracy", "drop", "flips", "95 %", "agreement", "SQNR", "size", "seconds", "CPU", "MB", "checker"]  # fmt: skip  # noqa: E501
    return title, text, heads, rows


def runtimes(record: Record) -> Table:
    rows = []
    for model, tool, unit in units(record, "accuracy"):
        if not tool.startswith("octavo") or "failed" in unit:
            continue
        found = [unit.get(f"on {r}", {}) for r in ("onnxruntime", "openvino", "octavo")]
        cells = [points(f["accuracy"]) if "accuracy" in f else "refused" if f else "-" for f in found]
        ran = sorted((f for f in found if "accuracy" in f), key=lambda f: f["accuracy"])
        apart, interval = versus(ran[0], ran[-1], unit["labelled"])
        met = (
            "yes" if apart <= RUNTIME_GOAL else "by the interval" if interval and interval[0] <= RUNTIME_GOAL else "no"
        )
        met = met if len(ran) == len(found) else "no"
        rows.append([model + tool.removeprefix("octavo"), *cells, points(apart), span(interval), met])
    text = (
        f"Accuracy of octavo's file in each runtime; at most {RUNTIME_GOAL} points should lie between the best and the "
        "worst."
    )
    heads = ["model", "onnxruntime", "OpenVINO", "octavo", "apart", "95 %", "met"]
    return "One file, three runtimes", text, heads, rows


def memory(record: Record) -> Table:
    rows = []
    for tool, counts in models(record, "memory").items():
        if any("failed" in unit for unit in counts.values()) or len(counts) < 2:
            continue
        few, many = (counts[n] for n in sorted(counts, key=int))
        ratio = many["peak_mb"] / few["peak_mb"]
        met = "-" if tool != "octavo" else "yes" if ratio <= MEMORY_GOAL else "no"
        rows.append([tool, f"{few['start_mb']:.0f}", f"{few['peak_mb']:.0f}", f"{many['peak_mb']:.0f}", f"{ratio:.2f}", met])  # fmt: skip  # noqa: E501
    text = (
        "mobilenet_v2_1.0_224: the process's memory in MB before the work, and its peak with 64 and with 512 "
        f"calibration images; octavo's should grow by at most a factor of {MEMORY_GOAL}."
    )
    return "Memory of calibration", text, ["tool", "before", "64 images", "512 images", "ratio", "met"], rows


def points(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"


def span(interval: Any) -> str:
    return "-" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def tables(record: Record) -> list[Table]:
    """Every table that the record can fill."""
    found = [summary(record), every_tool(record, "accuracy"), runtimes(record), every_tool(record, "tensor"), every_tool(record, "bits"), memory(record)]  # fmt: skip  # noqa: E501
    return [t for t in found if t[3]]


def conditions(record: Record) -> str:
    m, all_ = record["machine"], record["units"].values()
    versions = dict(m["versions"])
    for name, unit in record["units"].items():
        if "/nncf" in name and "version" in unit:
            versions["nncf"] = unit["version"]
    dates, commits = sorted({u["date"] for u in all_}), sorted({u["commit"] for u in all_})
    return (
        f"{m['cpu']}; {m['system']}; " + ", ".join(f"{k} {v}" for k, v in versions.items())
        + f"; measured {dates[0]} to {dates[-1]} at commit {', '.join(commits)}."
    )  # fmt: skip


def text(record: Record) -> str:
    lines = [conditions(record), ""]
    for title, _, heads, rows in tables(record):
        lines += [title, table(heads, rows, left=(heads[0], "tool", "best other")), ""]
    return "\n".join(lines)


def write_markdown(record: Record, path: Path) -> None:
    """Replaces what is between the marks; the rest of the page stays."""
    parts = [f"    {COMMAND}", conditions(record)]
    for title, words, heads, rows in tables(record):
        align = ["---" if h in (heads[0], "tool", "best other") else "---:" for h in heads]
        parts.append(f"## {title}\n\n{words}")
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in [heads, align, *rows]))
    block = f"{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}"
    page = path.read_text() if path.exists() else "# Quantizers compared\n"
    marked = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    page = marked.sub(lambda _: block, page, count=1) if marked.search(page) else f"{page.rstrip()}\n\n{block}\n"
    path.write_text(page)
