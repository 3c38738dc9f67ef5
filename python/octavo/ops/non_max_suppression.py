"""NonMaxSuppression: the best boxes that do not overlap."""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, Inputs, get_int, need, optional

F32 = np.float32


def _corners(boxes: Array, center: bool) -> Array:
    if center:
        x, y, w, h = (boxes[:, k] for k in range(4))
        w, h = w / F32(2), h / F32(2)
        boxes = np.stack([y - h, x - w, y + h, x + w], axis=1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def _overlap(a: Array, b: Array, threshold: np.float32) -> bool:
    h, w = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if not (h > 0 and w > 0):
        return False
    inter = h * w
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return bool(inter / (areas - inter) > threshold)


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """int64 rows (image, class, box): for every image and class the boxes in the order of their scores, equal ones in
    their own order, that overlap no box taken before by more than the threshold.

    Inputs: boxes float32 `[N, B, 4]`, scores float32 `[N, C, B]`, and three numbers: boxes a class at most (0),
    iou threshold (0), score threshold (none: every score but NaN). `center_point_box`: x, y, width, height instead of
    two corners. Source: ONNX NonMaxSuppression-11.
    """
    boxes, scores, most, iou = need(inputs, 0), need(inputs, 1), optional(inputs, 2), optional(inputs, 3)
    least = optional(inputs, 4)
    limit = 0 if most is None else int(most.reshape(-1)[0])
    threshold = F32(0) if iou is None else F32(iou.reshape(-1)[0])
    rows = []
    with np.errstate(all="ignore"):
        for n, c in np.ndindex(scores.shape[:2]):
            score, corner = scores[n, c], _corners(boxes[n], bool(get_int(attrs, "center_point_box", 0)))
            fit = score > least.reshape(-1)[0] if least is not None else ~np.isnan(score)
            taken: list[int] = []
            for k in np.argsort(-score, kind="stable"):
                if fit[k] and len(taken) < limit and not any(_overlap(corner[j], corner[k], threshold) for j in taken):
                    taken.append(int(k))
            rows += [(n, c, k) for k in taken]
    return [np.asarray(rows, np.int64).reshape(-1, 3)]
