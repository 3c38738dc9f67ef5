"""DepthToSpace: channels to pixels."""

from __future__ import annotations

from ._attributes import Array, Attributes, Inputs, get_int, get_str, need


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """[N, C, H, W] -> [N, C / b^2, H b, W b], `mode` DCR or CRD, b = `blocksize`. Any dtype.
    Source: ONNX DepthToSpace-13.
    """
    x, b = need(inputs, 0), get_int(attrs, "blocksize")
    n, c, h, w = x.shape
    if get_str(attrs, "mode", "DCR") == "DCR":
        y = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return [y.reshape(n, c // (b * b), h * b, w * b)]
