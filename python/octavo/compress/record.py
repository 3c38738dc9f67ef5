"""What quantize() tells about its work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class LayerReport:
    """One node: what became of it. method: how its first operand's range was chosen.

    weights: how its constant weights are stored ("int4, 32 a scale"); "" where it has none that are quantized.
    """

    name: str
    op: str
    kind: str  # "int8", "int16", "weight_only", "float"
    reason: str = ""  # why octavo computes it in float
    lo: float | None = None
    hi: float | None = None
    method: str = ""
    weights: str = ""


@dataclass
class QuantizeReport:
    """What quantize() did. model: the onnx.ModelProto; path: where it was written, if anywhere."""

    model: Any
    path: str | None
    layers: list[LayerReport]
    notes: list[tuple[str, str]]
    samples: int
    bytes_before: int
    bytes_after: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def float_layers(self) -> list[LayerReport]:
        return [layer for layer in self.layers if layer.kind == "float"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the model."""
        return {
            "path": self.path,
            "samples": self.samples,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "options": self.options,
            "layers": [vars(layer) for layer in self.layers],
            "notes": [list(note) for note in self.notes],
        }
