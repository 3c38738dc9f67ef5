"""SpaceToDepth: pixels to channels."""

from __future__ import annotations

from ._attributes import Array, Attributes, Inputs, get_int, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """[N, C, H, W] -> [N, C b^2, H / b, W / b], b = `blocksize`. Any dtype. Source: ONNX SpaceToDepth-13."""
    x, b = need(inputs, 0), get_int(attrs, "blocksize")
    n, c, h, w = x.shape
    y = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return [y.reshape(n, c * b * b, h // b, w // b)]
