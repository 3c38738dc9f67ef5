"""Timing things in turn, so that a busy machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[int, int], object]

WARM_UP_S = 0.1
ROUND_S = 0.03  # runs of one round; models take turns round by round


def time_interleaved(
    runs: list[Callable[[], object]], rounds: int, progress: Progress | None = None, round_s: float = ROUND_S
) -> list[list[int]]:
    """Nanoseconds of each call of each run. The runs take turns, so that a busy machine slows all alike.

    Each turn opens with a call that does not count, which brings code, weights and threads back to where they serve.
    """
    repeats = []
    for run in runs:
        start, calls = time.perf_counter(), 0
        while calls < 2 or time.perf_counter() - start < WARM_UP_S:
            run()
            calls += 1
        repeats.append(max(1, round(round_s * calls / (time.perf_counter() - start))))
    times: list[list[int]] = [[] for _ in runs]
    for number in range(rounds):
        if progress is not None:
            progress(number, rounds)
        for run, taken, times_each in zip(runs, times, repeats):
            run()
            for _ in range(times_each):
                start_ns = time.perf_counter_ns()
                run()
                taken.append(time.perf_counter_ns() - start_ns)
    return times
