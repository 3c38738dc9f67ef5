"""Slice: ranges with steps along axes."""

from __future__ import annotations

from ._attributes import Array, Attributes, Inputs, need, optional


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """Inputs: x; starts, ends int64; axes int64? (default 0, 1, ..); steps int64? (default 1, may be negative).
    Negative bounds count from the end, all are clamped. Source: ONNX Slice-13.
    """
    x, starts, ends = need(inputs, 0), need(inputs, 1), need(inputs, 2)
    axes, steps = optional(inputs, 3), optional(inputs, 4)
    cut = [slice(None)] * x.ndim
    for k in range(starts.size):
        axis = int(axes[k]) if axes is not None else k
        step = int(steps[k]) if steps is not None else 1
        size = x.shape[axis]
        first, last = int(starts[k]), int(ends[k])
        first, last = (first + size if first < 0 else first), (last + size if last < 0 else last)
        if step > 0:
            cut[axis] = slice(min(max(first, 0), size), min(max(last, 0), size), step)
        else:
            first, last = min(max(first, 0), size - 1), min(max(last, -1), size - 1)
            cut[axis] = slice(first, None if last < 0 else last, step) if size else slice(0, 0)
    return [x[tuple(cut)].copy()]
