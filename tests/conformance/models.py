"""The listed models beside the repository and real inputs for them."""

from __future__ import annotations

import csv
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

try:
    import tomllib
except ImportError:  # Python 3.10
    tomllib = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[2]


def find_shared() -> Path | None:
    for folder in (os.environ.get("OCTAVO_SHARED"), ROOT.parent / "shared", ROOT.parent.parent / "shared"):
        if folder and (Path(folder) / "models" / "models.toml").is_file():
            return Path(folder)
    return None


SHARED = find_shared() if tomllib else None


def evaluator() -> Any:
    """The folder's own evaluation script, for its preprocessing."""
    assert SHARED is not None
    spec = importlib.util.spec_from_file_location("eval_models", SHARED / "tools" / "eval_models.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Listed:
    """One entry of models.toml."""

    entry: dict[str, Any]

    @property
    def name(self) -> str:
        return self.entry["name"]

    @property
    def path(self) -> Path:
        assert SHARED is not None
        return SHARED / "models" / self.entry["file"]

    @property
    def task(self) -> str:
        return self.entry["task"]

    @property
    def quantized(self) -> bool:
        return self.entry["precision"] != "float32"

    @property
    def has_accuracy(self) -> bool:
        return self.task in {"imagenet", "cifar10", "kws", "vww", "ad", "sts", "ppocr-cls"}

    @property
    def output_step(self) -> float:
        """What one integer step of the output is worth, in output units (1 where the output is an integer)."""
        import octavo

        kind = octavo.Session(self.path).get_outputs()[0].type
        return 1.0 if "int" in kind else 0.0

    def real_inputs(self, count: int) -> list[dict[str, np.ndarray]]:
        """Feeds of batch 1 made of the folder's data."""
        tool, spec = evaluator(), self.entry["input"]
        return [{spec["name"]: x} if not isinstance(x, dict) else x for x in self._samples(tool, spec, count)]

    def _samples(self, tool: Any, spec: dict[str, Any], count: int) -> list[Any]:
        assert SHARED is not None
        data = SHARED / "data"
        if self.task == "sts":
            with open(data / "stsb.csv", newline="") as f:
                rows = list(csv.DictReader(f))[:count]
            ids = [np.array([[int(t) for t in r["ids1"].split()]], np.int64) for r in rows]
            return [{"input_ids": x, "attention_mask": np.ones_like(x)} for x in ids]
        if self.task in {"cifar10", "kws", "vww", "ad"}:
            file = {"cifar10": "cifar10", "kws": "kws01", "vww": "vww01", "ad": "ad01"}[self.task]
            pixels = np.load(data / f"{file}.npz")["inputs"][:count].astype(np.float32)
            return [tool.to_input([tool.normalise(x, self.entry["preprocess"])], spec) for x in pixels]
        return [tool.to_input([self._image(tool, path)], spec) for path in self._image_files(data)[:count]]

    def _image_files(self, data: Path) -> list[Path]:
        with open(data / "imagenet.csv", newline="") as f:
            return [data / "imagenet" / r["file"] for r in csv.DictReader(f)]

    def _image(self, tool: Any, path: Path) -> np.ndarray:
        from PIL import Image

        prep = dict(self.entry["preprocess"])
        shape = self.entry["input"]["shape"]
        if "crop" not in prep:  # detection and text lines: any picture scaled to the input will do here
            height, width = (shape[2], shape[3]) if self.entry["input"]["layout"] == "NCHW" else (shape[1], shape[2])
            prep["resize_exact"] = [width, height]
        return tool.prepare_image(Image.open(path), prep)


def listed_models() -> list[Listed]:
    """Every listed model."""
    assert SHARED is not None and tomllib is not None
    with open(SHARED / "models" / "models.toml", "rb") as f:
        entries = tomllib.load(f)["model"]
    return [Listed(e) for e in entries]
