"""More pictures from few, mirrored and cropped: what is learned from them must hold for others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SEED = 0
CROPS = (0.7, 1.0)  # shares of a picture's sides


def variants(feeds: dict[str, np.ndarray], number: int, count: int) -> Iterator[dict[str, np.ndarray]]:
    """Sample `number` of the calibration data and count - 1 variants of it; only itself when it is no picture.

    A picture is the one input [N, 3, H, W]. The same call gives the same variants.
    """
    yield feeds
    if len(feeds) != 1:
        return
    ((name, x),) = feeds.items()
    if x.ndim != 4 or x.shape[1] != 3 or x.dtype != np.float32 or min(x.shape[2:]) < 8:
        return
    for k in range(1, count):
        rng = np.random.default_rng((SEED, number, k))
        mirrored = x[..., ::-1] if k % 2 else x
        yield {name: np.ascontiguousarray(mirrored if k == 1 else cropped(mirrored, rng))}


def cropped(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random part of the pictures, enlarged to their size."""
    for axis in (2, 3):
        n = x.shape[axis]
        size = rng.uniform(*CROPS) * (n - 1)
        at = rng.uniform(0, n - 1 - size) + np.linspace(0, size, n)
        low = np.minimum(at.astype(int), n - 2)
        share = (at - low).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(4)])
        x = x.take(low, axis) * (1 - share) + x.take(low + 1, axis) * share
    return x
