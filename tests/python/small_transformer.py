"""A small seeded BERT-shaped encoder: embeddings, attention with a mask, GELU written out, LayerNormalization."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from small_models import model, tensor

DEPTH, WIDTH, HEADS, INNER, WORDS, LONGEST = 2, 32, 4, 64, 90, 24


class Builder:
    def __init__(self, seed: int, outliers: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.outliers = outliers
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op: str, inputs: list[str], name: str, **attrs: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [f"{name}:out"], name, **attrs))
        return f"{name}:out"

    def const(self, name: str, value: np.ndarray | float | list[int]) -> str:
        array = np.asarray(value)
        self.constants[name] = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
        return name

    def dense(self, x: str, name: str, inputs: int, outputs: int) -> str:
        w = self.const(f"{name}.w", self.rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs)))
        b = self.const(f"{name}.b", self.rng.normal(0, 0.1, outputs))
        return self.add("Add", [b, self.add("MatMul", [x, w], name)], f"{name}/bias")

    def norm(self, x: str, name: str) -> str:
        gain = self.rng.uniform(0.5, 1.5, WIDTH)
        gain[self.rng.permutation(WIDTH)[:2]] *= self.outliers  # two channels much larger than the others
        scale, shift = self.const(f"{name}.scale", gain), self.const(f"{name}.shift", self.rng.normal(0, 0.1, WIDTH))
        return self.add("LayerNormalization", [x, scale, shift], name, epsilon=1e-5)

    def heads(self, x: str, name: str, perm: list[int]) -> str:
        split = self.add("Reshape", [x, self.const("split", [0, 0, HEADS, WIDTH // HEADS])], f"{name}/split")
        return self.add("Transpose", [split], f"{name}/heads", perm=perm)

    def gelu(self, x: str, name: str) -> str:
        half = self.add("Div", [x, self.const("root2", float(np.sqrt(2)))], f"{name}/div")
        one = self.add("Add", [self.add("Erf", [half], f"{name}/erf"), self.const("one", 1.0)], f"{name}/add")
        return self.add("Mul", [self.add("Mul", [x, one], f"{name}/mul"), self.const("half", 0.5)], f"{name}/half")

    def layer(self, x: str, mask: str, k: int) -> str:
        q = self.heads(self.dense(x, f"{k}/query", WIDTH, WIDTH), f"{k}/q", [0, 2, 1, 3])
        key = self.heads(self.dense(x, f"{k}/key", WIDTH, WIDTH), f"{k}/k", [0, 2, 3, 1])
        v = self.heads(self.dense(x, f"{k}/value", WIDTH, WIDTH), f"{k}/v", [0, 2, 1, 3])
        scores = self.add("Div", [self.add("MatMul", [q, key], f"{k}/scores"), self.const("root", 8**0.5)], f"{k}/div")
        p = self.add("Softmax", [self.add("Add", [scores, mask], f"{k}/mask")], f"{k}/softmax", axis=-1)
        mixed = self.add("Transpose", [self.add("MatMul", [p, v], f"{k}/mix")], f"{k}/back", perm=[0, 2, 1, 3])
        joined = self.add("Reshape", [mixed, self.const("join", [0, 0, WIDTH])], f"{k}/join")
        attended = self.add("Add", [self.dense(joined, f"{k}/out", WIDTH, WIDTH), x], f"{k}/residual1")
        x = self.norm(attended, f"{k}/norm1")
        inner = self.gelu(self.dense(x, f"{k}/up", WIDTH, INNER), f"{k}/gelu")
        return self.norm(
            self.add("Add", [self.dense(inner, f"{k}/down", INNER, WIDTH), x], f"{k}/residual2"), f"{k}/norm2"
        )


def transformer(seed: int = 11, outliers: float = 1.0) -> ModelProto:
    """ids, attention_mask int64 [N, L] -> y [N, L, 8]. outliers: how much larger two channels of each norm are."""
    b = Builder(seed, outliers)
    words = b.add("Gather", [b.const("table", b.rng.normal(0, 1, (WORDS, WIDTH))), "ids"], "words")
    real = b.add("Cast", ["attention_mask"], "real", to=TensorProto.FLOAT)
    hidden = b.add("Mul", [b.add("Sub", [b.const("one", 1.0), real], "hidden"), b.const("least", -10_000.0)], "minus")
    mask = b.add("Unsqueeze", [hidden, b.const("axes", [1, 2])], "mask")
    x = b.norm(words, "norm0")
    for k in range(DEPTH):
        x = b.layer(x, mask, k)
    y = b.dense(x, "head", WIDTH, 8)
    b.nodes.append(helper.make_node("Identity", [y], ["y"], "result"))
    inputs = [tensor(name, ["N", "L"], TensorProto.INT64) for name in ("ids", "attention_mask")]
    return model(b.nodes, inputs, [tensor("y", ["N", "L", 8])], b.constants)


def sentences(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Of different lengths, some padded."""
    rng = np.random.default_rng(seed)
    feeds = []
    for _ in range(count):
        rows, length = int(rng.integers(1, 3)), int(rng.integers(3, LONGEST))
        mask = np.ones((rows, length), np.int64)
        mask[-1, int(rng.integers(2, length + 1)) :] = 0
        feeds.append({"ids": rng.integers(0, WORDS, (rows, length)) * mask, "attention_mask": mask})
    return feeds
