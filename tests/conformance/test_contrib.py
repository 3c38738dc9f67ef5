"""onnxruntime's fused operators against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from test_qoperators import F32, U8, Case, numbers, real, zero

CLOSE = 2e-5  # relative: float operators in another order of summation


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("op", ["FastGelu", "BiasGelu", "QuickGelu", "Gelu"])
def test_gelu(op: str, bias: bool) -> None:
    rng = np.random.default_rng(0)
    case = Case(op, **({"alpha": 1.5} if op == "QuickGelu" and bias else {})).feed(real(rng, -4, 4, 3, 5, 16))
    if op == "BiasGelu" or (op == "FastGelu" and bias):
        case.const(real(rng, -1, 1, 16))
    case.check(most=CLOSE)


@pytest.mark.parametrize("a_t", [0, 1])
@pytest.mark.parametrize("b_t", [0, 1])
@pytest.mark.parametrize("constant", [False, True])
def test_fused_matmul(a_t: int, b_t: int, constant: bool) -> None:
    rng = np.random.default_rng(1)
    a, b = real(rng, -1, 1, *([2, 7, 5] if a_t else [2, 5, 7])), real(rng, -1, 1, *([9, 7] if b_t else [7, 9]))
    case = Case("FusedMatMul", alpha=0.125, transA=a_t, transB=b_t).feed(a)
    (case.const if constant else case.feed)(b)
    case.check(most=CLOSE)


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid"])
@pytest.mark.parametrize("residual", [False, True])
def test_fused_conv(activation: str, residual: bool) -> None:
    rng = np.random.default_rng(2)
    params = {"LeakyRelu": [0.2], "Clip": [-0.5, 1.0], "HardSigmoid": [0.2, 0.4]}.get(activation)
    attrs: dict[str, Any] = {"activation": activation, "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    if params:
        attrs["activation_params"] = params
    case = Case("FusedConv", **attrs).feed(real(rng, -1, 1, 2, 6, 7, 8)).const(real(rng, -0.3, 0.3, 10, 6, 3, 3))
    case.const(real(rng, -1, 1, 10))
    if residual:
        case.feed(real(rng, -1, 1, 2, 10, 7, 8))
    case.check(most=CLOSE)


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_skip_layer_normalization(beta: bool, bias: bool) -> None:
    rng = np.random.default_rng(3)
    case = (
        Case("SkipLayerNormalization", epsilon=1e-5).feed(real(rng, -1, 1, 2, 5, 16)).feed(real(rng, -1, 1, 2, 5, 16))
    )
    case.const(real(rng, 0.5, 1.5, 16), real(rng, -1, 1, 16) if beta else None, real(rng, -1, 1, 16) if bias else None)
    case.check(most=CLOSE)


@pytest.mark.parametrize("segments", [False, True])
def test_embed_layer_normalization(segments: bool) -> None:
    rng = np.random.default_rng(4)
    case = Case("EmbedLayerNormalization").feed(rng.integers(0, 30, (2, 6)).astype(np.int32))
    if segments:
        case.feed(rng.integers(0, 2, (2, 6)).astype(np.int32))
    else:
        case.const(None)
    case.const(real(rng, -1, 1, 30, 16), real(rng, -1, 1, 9, 16), real(rng, -1, 1, 2, 16) if segments else None)
    case.const(real(rng, 0.5, 1.5, 16), real(rng, -1, 1, 16)).feed(np.array([[1] * 6, [1] * 4 + [0] * 2], np.int32))
    case.node.output.append("mask_index")
    case.check(most=CLOSE)


@pytest.mark.parametrize("mask", ["none", "rows", "lengths"])
@pytest.mark.parametrize("quantized", [False, True])
def test_attention(mask: str, quantized: bool) -> None:
    rng = np.random.default_rng(5)
    case = Case("QAttention" if quantized else "Attention", num_heads=4)
    if quantized:
        case.feed(numbers(rng, U8, 2, 6, 24)).const(numbers(rng, np.int8, 24, 72), real(rng, -1, 1, 72))
        case.const(F32(0.01), F32(0.004))
    else:
        case.feed(real(rng, -1, 1, 2, 6, 24)).const(real(rng, -0.4, 0.4, 24, 72), real(rng, -1, 1, 72))
    if mask == "rows":
        case.feed(np.array([[1] * 6, [1] * 4 + [0] * 2], np.int32))
    elif mask == "lengths":
        case.feed(np.array([6, 4], np.int32))
    elif quantized:
        case.const(None)
    if quantized:
        case.const(zero(rng, U8), np.int8(0))
    case.check(most=CLOSE)


@pytest.mark.parametrize("columns", [False, True])
def test_dynamic_quantize_lstm(columns: bool) -> None:
    """Weights as in the file; onnxruntime quantizes the activations too, so it is the one that is off."""
    rng = np.random.default_rng(6)
    hidden = 8
    case = Case("DynamicQuantizeLSTM", hidden_size=hidden).feed(real(rng, -1, 1, 5, 2, 6))
    case.const(numbers(rng, np.int8, 1, 6, 4 * hidden), numbers(rng, np.int8, 1, hidden, 4 * hidden))
    case.const(real(rng, -0.3, 0.3, 1, 8 * hidden), *[None] * 4)
    for _ in range(2):
        scales = real(rng, 0.002, 0.004, *([1, 4 * hidden] if columns else [1]))
        case.const(scales, np.zeros(scales.shape, np.int8))
    case.check(most=0.02, python=True)
