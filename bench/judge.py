"""How good a quantized model is: its answers in a runtime, beside the float model's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from listed import Feeds, Listed
from octavo.errors import Error, Unsupported
from octavo.report import peers
from octavo.report.paired import paired_interval

Run = Callable[[Feeds], np.ndarray]


def answers(model: Listed, runtime: str, path: Path) -> np.ndarray:
    """[judged samples, answers] on one thread. Raises Unsupported, with the runtime's words, where it fails."""
    try:
        run = runner(runtime, path, model.output)
        return np.stack([model.answer(run(model.feeds(k))) for k in model.judged])
    except Error:
        raise
    except Exception as e:  # whatever a foreign runtime throws
        raise Unsupported(
            f"{runtime} refuses '{path.name}': {type(e).__name__}: {' '.join(str(e).split())[:200]}"
        ) from e


def runner(runtime: str, path: Path, output: str) -> Run:
    if runtime == "octavo":
        import octavo

        session = octavo.Session(path, threads=1)
        known = {i.name for i in session.get_inputs()}
        return lambda feeds: session.run([output], {k: v for k, v in feeds.items() if k in known})[0]
    module = peers.load(runtime)
    if runtime == "onnxruntime":
        options = module.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3
        peer = module.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = {i.name for i in peer.get_inputs()}
        return lambda feeds: peer.run([output], {k: v for k, v in feeds.items() if k in names})[0]
    network = module.Core().read_model(str(path))
    number = next(k for k, out in enumerate(network.outputs) if output in out.names)
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = module.Core().compile_model(network, "CPU", settings)
    wanted = {name for port in compiled.inputs for name in port.names}
    return lambda feeds: compiled({k: v for k, v in feeds.items() if k in wanted})[number]


def accuracy(model: Listed, found: np.ndarray) -> float:
    """Per cent right of the labelled samples, or Spearman's correlation times 100."""
    if model.task == "sts":
        return spearman(cosines(found), model.labels)
    return 100 * float(right(model, found).mean())


def right(model: Listed, found: np.ndarray) -> np.ndarray:
    """Of each labelled sample, whether the answer is its label."""
    labels = model.labels[model.judged.start :]
    return np.asarray(found.argmax(1) == labels)[labels >= 0]


def cosines(embeddings: np.ndarray) -> np.ndarray:
    """Of each pair of rows."""
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray((units[::2] * units[1::2]).sum(1))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return 100 * float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ranks(a: np.ndarray) -> np.ndarray:
    """Ties share their mean rank."""
    _, inverse, counts = np.unique(a, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])


@dataclass
class Judgement:
    """A quantized model's answers against the float one's on the same samples.

    drop: what accuracy loses, in points, with its 95 % interval. lost, won: labelled samples that only the float
    model, only the quantized one answers rightly. agreement: per cent of all samples with the same largest answer
    (None: of embeddings). sqnr: of the answers, in decibels. right: a bit a labelled sample; of embeddings cosines and
    scores: a float32 a pair; all hexadecimal, so that any two tools can be compared later.
    """

    samples: int
    labelled: int
    float_accuracy: float
    accuracy: float
    drop: float
    interval: tuple[float, float]
    lost: int | None
    won: int | None
    agreement: float | None
    sqnr: float
    right: str = ""
    cosines: str = ""
    scores: str = ""

    @classmethod
    def of(cls, model: Listed, exact: np.ndarray, rough: np.ndarray) -> Judgement:
        a, b = accuracy(model, exact), accuracy(model, rough)
        noise = float(((exact.astype(np.float64) - rough) ** 2).sum())
        sqnr = 10 * math.log10(float((exact.astype(np.float64) ** 2).sum()) / noise) if noise else math.inf
        if model.task == "sts":
            found, scores = cosines(rough), model.labels
            interval, held = bootstrap(cosines(exact), found, scores), (numbers(found), numbers(scores))
            return cls(len(exact), len(scores), a, b, a - b, interval, None, None, None, sqnr, "", *held)
        was, now = right(model, exact), right(model, rough)
        lost, won = int((was & ~now).sum()), int((now & ~was).sum())
        low, high = paired_interval(lost, won, len(was))
        agreement = 100 * float((exact.argmax(1) == rough.argmax(1)).mean())
        return cls(len(exact), len(was), a, b, a - b, (100 * low, 100 * high), lost, won, agreement, sqnr, packed(now))

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        found["interval"] = [round(v, 3) for v in self.interval]
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}


def bootstrap(exact: np.ndarray, rough: np.ndarray, scores: np.ndarray, rounds: int = 1000) -> tuple[float, float]:
    """The 95 % interval of what the correlation with the scores loses: pairs are drawn anew, the same for both."""
    rng = np.random.default_rng(0)
    drops = []
    for _ in range(rounds):
        k = rng.integers(0, len(scores), len(scores))
        drops.append(spearman(exact[k], scores[k]) - spearman(rough[k], scores[k]))
    low, high = np.percentile(drops, [2.5, 97.5])
    return float(low), float(high)


def numbers(x: np.ndarray) -> str:
    return x.astype("<f4").tobytes().hex()


def read_numbers(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), "<f4")


def packed(bits: np.ndarray) -> str:
    return np.packbits(bits).tobytes().hex()


def unpacked(bits: str, count: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8))[:count].astype(bool)
