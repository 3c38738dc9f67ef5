"""Two models judged on the same samples: how far apart their accuracies can be, by what they answer differently.

T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
Statistics in Medicine 17, 1998, 891-908: the interval holds every difference that a score test does not refute. It
covers where few samples differ or none do, where Wald's interval collapses (R. G. Newcombe, ibid., 2635-2650).
"""

from __future__ import annotations

import math

Z95 = 1.959963984540054  # the standard normal's 97.5 % point


def score(gained: int, lost: int, count: int, difference: float) -> float:
    """Tango's statistic of H0: the share that is gained less the share that is lost is `difference`, in (-1, 1)."""
    b = -gained - lost + (2 * count - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    likely = (math.sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)  # the share lost, most likely under H0
    variance = count * (2 * likely + difference * (1 - difference))
    off = gained - lost - count * difference
    return off / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, off) if off else 0.0


def paired_interval(gained: int, lost: int, count: int, z: float = Z95) -> tuple[float, float]:
    """(low, high): the interval of (gained - lost) / count, of `count` paired samples.

    gained: samples that only the second model gets right; lost: those that only the first does. Raises ValueError when
    these are not counts of that many samples.
    """
    if min(gained, lost) < 0 or count < 1 or gained + lost > count:
        raise ValueError(f"{gained} gained and {lost} lost of {count} samples are no counts")
    found = (gained - lost) / count
    return bound(gained, lost, count, -1.0, found, z), bound(gained, lost, count, 1.0, found, z)


def bound(gained: int, lost: int, count: int, far: float, near: float, z: float) -> float:
    """Where the score's magnitude is z, between the estimate and an end of [-1, 1]; by bisection."""
    for _ in range(60):
        middle = (far + near) / 2
        if abs(score(gained, lost, count, middle)) > z:
            far = middle
        else:
            near = middle
    return (far + near) / 2
