"""ai.onnx.preview.training Gradient, against differences of the function itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

import octavo

HEAD = '<ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.preview.training" : 1]>'
TAIL = '[grad] da, db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "y"> (a, b) }'


def model(body: str, opset: int = 18, y: str = "2, 3", b: str = "2, 3") -> onnx.ModelProto:
    head = HEAD.format(opset=opset)
    return parser.parse_model(
        f"{head} g (float[2, 3] a, float[{b}] b) => (float[{y}] y, float da, float db) {{ {body} {TAIL}"
    )


BODIES = [
    "y = Add(a, b)",
    "s = Sub(a, b)\n y = Mul(s, a)",
    "q = Div(a, b)\n e = Exp(q)\n y = Neg(e)",
    "s = Sum(a, b, a)\n l = Log(s)\n y = Sqrt(l)",
    "u = Sigmoid(a)\n v = Tanh(b)\n y = Mul(u, v)",
    "d = Sub(a, b)\n r = Relu(d)\n i = Identity(r)\n y = Mul(i, i)",
]


def differences(f: octavo.Session, a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Central differences of sum(y)."""
    found = []
    for which, x in enumerate((a, b)):
        out = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            sides = []
            for step in (1e-2, -1e-2):
                feeds = [a.copy(), b.copy()]
                feeds[which][at] += np.float32(step)
                sides.append(f.run(["y"], feeds)[0].astype(np.float64).sum())
            out[at] = (sides[0] - sides[1]) / 2e-2
        found.append(out)
    return found


def compare(proto: onnx.ModelProto, a: np.ndarray, b: np.ndarray) -> None:
    session = octavo.Session(proto)
    _, da, db = session.run(None, [a, b])
    for got, want in zip((da, db), differences(session, a, b)):
        assert got.shape == want.shape and np.allclose(got, want, rtol=2e-2, atol=2e-3)


@pytest.fixture
def a() -> np.ndarray:
    return np.random.default_rng(1).uniform(1.5, 3, (2, 3)).astype(np.float32)


@pytest.fixture
def b() -> np.ndarray:
    return np.random.default_rng(2).uniform(0.5, 1.4, (2, 3)).astype(np.float32)


@pytest.mark.parametrize("body", BODIES)
def test_elementwise(body: str, a: np.ndarray, b: np.ndarray) -> None:
    compare(model(body), a, b)


@pytest.mark.parametrize("opset", [12, 18])
def test_broadcasting_is_summed(opset: int, a: np.ndarray, b: np.ndarray) -> None:
    compare(model("y = Mul(a, b)", opset, b="3"), a, b[0])
    compare(model("y = Div(a, b)", opset, b="2, 1"), a, b[:, :1])


def test_matrices(a: np.ndarray, b: np.ndarray) -> None:
    compare(model("t = Transpose <perm = [1, 0]> (b)\n y = MatMul(a, t)", y="2, 2"), a, b)
    body = "s = Constant <value_ints = [3, 2]> ()\n r = Reshape(b, s)\n y = MatMul(a, r)"
    compare(model(body, y="2, 2"), a, b)


def test_it_is_taken_at_its_own_inputs(a: np.ndarray, b: np.ndarray) -> None:
    """Gradient(H) with xs = X: the derivative with respect to X, at X = H."""
    text = HEAD.format(opset=18) + (
        "g (float[2, 3] a, float[2, 3] b) => (float[2, 3] da) { y = Mul(a, a)\n"
        '[grad] da = ai.onnx.preview.training.Gradient <xs = ["a"], y = "y"> (b) }'
    )
    assert np.array_equal(octavo.run(parser.parse_model(text), [a, b])[0], b + b)


def test_what_has_no_derivative_is_named() -> None:
    with pytest.raises(octavo.Unsupported, match=r"\(Floor\).*no derivative"):
        octavo.Session(model("f = Floor(a)\n y = Add(f, b)"))
    # What y does not depend on has derivative zero.
    da, db = octavo.run(model("y = Neg(a)"), [np.ones((2, 3), np.float32)] * 2)[1:]
    assert np.array_equal(da, -np.ones((2, 3))) and np.array_equal(db, np.zeros((2, 3)))
