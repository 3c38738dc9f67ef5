"""Runs the float model over calibration data and watches the tensors that are to be quantized."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from octavo.compress.data import Calibration
from octavo.compress.histogram import Histogram
from octavo.engine import Session
from octavo.errors import InvalidArgument, InvalidModel
from octavo.ir import Graph

Progress = Callable[[str, int, int | None], None]  # (what, done, total or None)


def silent(what: str, done: int, total: int | None) -> None:
    """The Progress that shows nothing."""


def watch(
    session: Session,
    names: Sequence[str],
    data: Calibration,
    see: Callable[[str, np.ndarray], None],
    progress: Progress,
    what: str,
    limit: int | None = None,
) -> None:
    """Calls see(name, array) for every tensor of at most `limit` samples, streamed; names may hold graph inputs.

    Tensors without elements are passed over.
    """

    def full(name: str, array: np.ndarray) -> None:
        if array.size:
            see(name, array)

    inputs = {i.name for i in session.get_inputs()} & set(names)
    known = set(session.values)
    inside = [n for n in names if n in known]
    for done, feeds in enumerate(itertools.islice(data, limit), 1):
        for name in inputs:
            full(name, feeds[name])
        session.observe(feeds, inside, full)
        progress(what, done, limit or data.limit or data.total)


def collect(
    graph: Graph, session: Session, names: Sequence[str], data: Calibration, progress: Progress = silent
) -> dict[str, Histogram]:
    """A histogram of each tensor over all samples.

    session: of the same graph, made with optimize=False so that no tensor was fused away. Raises InvalidModel, naming
    the tensor and the node that computes it, when a value is not finite; InvalidArgument when a tensor was never
    computed, or an input always zero.
    """
    found = {name: Histogram() for name in names}
    producers = graph.producers()
    done = 0

    def see(name: str, array: np.ndarray) -> None:
        if not found[name].add(array):
            node = producers.get(name)
            where = f"node '{node.name}' ({node.op}) computes" if node else "the input has"
            raise InvalidModel(
                f"calibration sample {done}: {where} values in '{name}' that are not finite; such values cannot be "
                "quantized. Check the sample and its preprocessing, or exclude the node"
            )

    def told(what: str, count: int, total: int | None) -> None:
        nonlocal done
        done = count
        progress(what, count, total)

    watch(session, names, data, see, told, "calibrating")
    missing = [name for name, h in found.items() if not h.seen]
    if missing:
        raise InvalidArgument(
            f"the calibration data never computes '{missing[0]}'"
            + (f" and {len(missing) - 1} more tensors" if len(missing) > 1 else "")
            + ": it holds no elements in any sample"
        )
    still = next((name for name in graph.inputs if name in found and found[name].lo == found[name].hi == 0), None)
    if still is not None:
        raise InvalidArgument(
            f"the calibration data never exercises input '{still}': it is 0 in every sample. Give samples in which "
            "it is not, or exclude the nodes that read it"
        )
    return found
