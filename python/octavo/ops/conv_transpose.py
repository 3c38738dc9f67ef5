"""ConvTranspose: the adjoint of Conv, float."""

from __future__ import annotations

import numpy as np

from ._activation import epilogue
from ._attributes import Array, Attributes, Inputs, get_int, get_ints, need, optional
from ._window import as_image


def reference(inputs: Inputs, attrs: Attributes) -> list[Array]:
    """y[n, p*s + i*d - pad, .., o] += x[n, p, .., c] * w[o, i, j, c], in float64 and rounded once; then the epilogue.

    Inputs: x float32 [N, H, W, C]; w float32 [O, kH, kW, C/group]; bias float32 [O]?. One dimension less for the 1-D
    form. Output: float32 [N, OH, OW, O], OH = (H - 1) * stride + (kH - 1) * dilation + 1 + output_padding - pads.
    Group g maps input channels [g C/group, ..) to output channels [g O/group, ..). Source: ONNX ConvTranspose-22.
    """
    x, w = need(inputs, 0), need(inputs, 1)
    one_d = x.ndim == 3
    image, filters = as_image(x).astype(np.float64), as_image(w).astype(np.float64)

    def pair(key: str, default: int) -> tuple[int, int]:
        values = get_ints(attrs, key, [default] * (1 if one_d else 2))
        return (1 if default else 0, values[0]) if one_d else (values[0], values[1])

    strides, dilations, extra = pair("strides", 1), pair("dilations", 1), pair("output_padding", 0)
    pads = get_ints(attrs, "pads", [0] * (2 if one_d else 4))
    begin, end = ((0, pads[0]), (0, pads[1])) if one_d else ((pads[0], pads[1]), (pads[2], pads[3]))
    kernel, group = filters.shape[1:3], get_int(attrs, "group", 1)
    full = [(image.shape[1 + a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 + extra[a] for a in (0, 1)]
    out, depth = filters.shape[0], filters.shape[3]
    y = np.zeros((image.shape[0], full[0], full[1], out))
    per = out // group
    rows, columns = image.shape[1:3]
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilations[0], j * dilations[1]
            target = y[:, top : top + rows * strides[0] : strides[0], left : left + columns * strides[1] : strides[1]]
            target = target[:, :rows, :columns]
            for g in range(group):
                part = image[..., g * depth : (g + 1) * depth]
                target[..., g * per : (g + 1) * per] += part @ filters[g * per : (g + 1) * per, i, j, :].T
    y = y[:, begin[0] : full[0] - end[0], begin[1] : full[1] - end[1]]
    with np.errstate(over="ignore"):
        rounded = y.astype(np.float32)
    return [epilogue(rounded[:, 0] if one_d else rounded, optional(inputs, 2), optional(inputs, 3), attrs)]
