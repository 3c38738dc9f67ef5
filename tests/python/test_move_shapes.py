"""Shape and Size of dequantized values read the integers."""

from __future__ import annotations

import onnx.parser

from octavo.lower import compile_graph


def test_shapes_are_read_off_the_integers() -> None:
    """Shape(Relu(DequantizeLinear(q))) reads q; Shape of a product's result is left alone."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> g (uint8[N,4] q) => (int64[2] s, int64[2] t)
        <float scale = {0.5}, uint8 zero = {3}, float[4,2] w = {1,2,3,4,5,6,7,8}> {
            x = DequantizeLinear (q, scale, zero) r = Relu (x) s = Shape (r) p = MatMul (r, w) t = Shape (p) }"""
    )
    graph = compile_graph(model, optimize=False)
    first, second = (n for n in graph.nodes if n.op == "Shape")
    assert first.inputs == ["q"] and second.inputs == ["p"]
