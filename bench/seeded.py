"""MobileNetV1 and ResNet-50 with seeded weights, quantized: QDQ, int8 weights per channel, uint8 activations.

Speed needs no training, but it needs plausible numbers: weights are He-initialised, so that activations neither die nor
explode, and the scale of each activation is its range over a seeded picture, measured on the float network.

    from seeded import mobilenet_v1, resnet50
    onnx.save(mobilenet_v1(), "mobilenet_v1_1.0_224_seeded.onnx")
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

import octavo

Ranges = dict[str, tuple[float, float]]


class Network:
    """Writes a graph twice: in float with every activation an output, then, given their ranges, with Q/DQ.

    Both times the same random numbers are drawn in the same order.
    """

    def __init__(self, size: int, seed: int, ranges: Ranges | None) -> None:
        self.rng = np.random.default_rng(seed)
        self.size, self.ranges = size, ranges
        self.nodes: list[object] = []
        self.constants: list[TensorProto] = []
        self.activations: list[str] = []
        self.scales: dict[str, np.float32] = {}
        self.count = 0

    def node(self, op: str, inputs: list[str], **attrs: object) -> str:
        self.count += 1
        out = f"{op.lower()}_{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attrs))
        return out

    def const(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def activation(self, x: str) -> str:
        """Marks an activation: an output of the float graph; Q and DQ, uint8 per tensor, in the quantized one."""
        key = f"a{len(self.activations)}"
        self.activations.append(x)
        if self.ranges is None:
            return x
        low, high = self.ranges[key]
        low, high = min(low, 0.0), max(high, 0.0)  # 0 must be a value, for padding
        scale = np.float32(max(high - low, 1e-6) / 255)
        parameters = [self.const(np.asarray(scale)), self.const(np.uint8(round(-low / float(scale))))]
        out = self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *parameters]), *parameters])
        self.scales[out] = scale
        return out

    def weights(self, x: str, shape: tuple[int, ...], gain: float) -> tuple[str, str]:
        """Weights and bias for input x: floats, or int8 per output channel and int32 behind DequantizeLinear."""
        fan = math.prod(shape[1:])
        w = (self.rng.standard_normal(shape) * gain * math.sqrt(2 / fan)).astype(np.float32)
        b = (self.rng.standard_normal(shape[0]) * 0.05).astype(np.float32)
        if self.ranges is None:
            return self.const(w), self.const(b)
        spread = (-1, *[1] * (len(shape) - 1))
        scale = (np.abs(w).reshape(shape[0], -1).max(axis=1) / 127).astype(np.float32)
        q = np.clip(np.rint(w / scale.reshape(spread)), -127, 127).astype(np.int8)
        unit = (self.scales[x] * scale).astype(np.float32)
        qb = np.rint(b.astype(np.float64) / unit).astype(np.int32)
        zeros = np.zeros(shape[0], np.int8), np.zeros(shape[0], np.int32)
        return tuple(
            self.node("DequantizeLinear", [self.const(v), self.const(s), self.const(z)], axis=0)
            for v, s, z in ((q, scale, zeros[0]), (qb, unit, zeros[1]))
        )  # type: ignore[return-value]

    def conv(
        self, x: str, channels: tuple[int, int], kernel: int, stride: int, act: str, group: int = 1, gain: float = 1.0
    ) -> str:
        """Convolution, activation, quantization; the padding is half the kernel."""
        w, b = self.weights(x, (channels[1], channels[0] // group, kernel, kernel), gain)
        pad = kernel // 2
        y = self.node("Conv", [x, w, b], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=group)
        return self.activation(self.activated(y, act))

    def activated(self, y: str, act: str) -> str:
        if act == "relu6":
            return self.node("Clip", [y, self.const(np.float32(0)), self.const(np.float32(6))])
        return self.node("Relu", [y]) if act == "relu" else y

    def classifier(self, x: str, channels: int, classes: int) -> str:
        x = self.activation(self.node("GlobalAveragePool", [x]))
        x = self.node("Flatten", [x])
        if self.ranges is not None:  # a Flatten between Q and DQ keeps its scale
            (flatten,) = [n for n in self.nodes if n.output[0] == x]  # type: ignore[attr-defined]
            self.scales[x] = self.scales[flatten.input[0]]
        w, b = self.weights(x, (classes, channels), 1.0)
        return self.activation(self.node("Gemm", [x, w, b], transB=1))

    def model(self, name: str, last: str) -> ModelProto:
        """The float graph with its activations as outputs, or the quantized one with `last` as "logits"."""
        outputs = [helper.make_empty_tensor_value_info(a) for a in self.activations]
        if self.ranges is not None:
            self.nodes.append(helper.make_node("Identity", [last], ["logits"], "logits"))
            outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", None])]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, self.size, self.size])
        graph = helper.make_graph(self.nodes, name, [image], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def mobilenet_v1(width: float = 1.0, size: int = 224, classes: int = 1000, seed: int = 0) -> ModelProto:
    """MobileNetV1 (Howard et al. 2017): 569 M multiply-accumulates at width 1.0 and 224 x 224."""

    def wide(channels: int) -> int:
        return max(8, int(channels * width))

    def body(net: Network) -> str:
        x = net.activation("image")
        x = net.conv(x, (3, wide(32)), 3, 2, "relu6")
        channels = wide(32)
        rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
        for out, stride in rows:
            x = net.conv(x, (channels, channels), 3, stride, "relu6", group=channels)
            x = net.conv(x, (channels, wide(out)), 1, 1, "relu6")
            channels = wide(out)
        return net.classifier(x, channels, classes)

    return calibrated("mobilenet_v1", body, size, seed)


def resnet50(
    width: float = 1.0, size: int = 224, classes: int = 1000, seed: int = 0, blocks: tuple[int, ...] = (3, 4, 6, 3)
) -> ModelProto:
    """ResNet-50 (He et al. 2015), the stride of a block in its 3x3 convolution: 4.1 G multiply-accumulates."""

    def body(net: Network) -> str:
        x = net.activation("image")
        channels = max(8, int(64 * width))
        x = net.conv(x, (3, channels), 7, 2, "relu")
        x = net.activation(net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
        for stage, many in enumerate(blocks):
            middle = max(8, int(64 * width)) * 2**stage
            for block in range(many):
                stride = 2 if stage > 0 and block == 0 else 1
                shortcut = x
                if block == 0:
                    shortcut = net.conv(x, (channels, 4 * middle), 1, stride, "")
                y = net.conv(x, (channels, middle), 1, 1, "relu")
                y = net.conv(y, (middle, middle), 3, stride, "relu")
                y = net.conv(y, (middle, 4 * middle), 1, 1, "", gain=0.3)
                x = net.activation(net.activated(net.node("Add", [y, shortcut]), "relu"))
                channels = 4 * middle
        return net.classifier(x, channels, classes)

    return calibrated("resnet50", body, size, seed)


def calibrated(name: str, body: Callable[[Network], str], size: int, seed: int) -> ModelProto:
    """Measures the activations of the float network on a seeded picture and writes the quantized one."""
    floats = Network(size, seed, None)
    measured = floats.model(name, body(floats))
    picture = np.random.default_rng(seed + 1).standard_normal((1, 3, size, size)).astype(np.float32)
    # The input is the first activation; as an output it would only be a copy.
    del measured.graph.output[0]
    values = [picture, *octavo.Session(measured).run(None, {"image": picture})]
    ranges = {f"a{k}": (float(v.min()), float(v.max())) for k, v in enumerate(values)}
    quantized = Network(size, seed, ranges)
    return quantized.model(name, body(quantized))
