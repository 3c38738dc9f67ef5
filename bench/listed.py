"""The models that quantizers are judged on, their calibration samples and their labelled data.

A folder of models says with a ``models.toml`` how each is fed and judged; the labelled data lie beside it in ``data/``,
and ``tools/eval_models.py`` there prepares them (images are resized by Pillow, once, and kept as bytes).

Of every set the first 64 samples calibrate and the rest judges.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

CALIBRATE = 64
Feeds = dict[str, np.ndarray]

# The ImageNet classes (first, last) that show a COCO class, by its number among the 80.
COCO = {
    1: ((444, 444), (671, 671)),  # bicycle
    2: ((436, 436), (468, 468), (511, 511), (609, 609), (627, 627), (656, 656), (661, 661), (751, 751), (817, 817)),
    3: ((665, 665), (670, 670)),  # motorcycle; before it car
    4: ((404, 404), (895, 895)),  # aeroplane
    5: ((654, 654), (779, 779), (874, 874)),  # bus
    6: ((466, 466), (547, 547), (705, 705), (820, 820)),  # train
    7: ((555, 555), (569, 569), (675, 675), (717, 717), (864, 864), (867, 867)),  # truck
    8: ((472, 472), (484, 484), (510, 510), (554, 554), (576, 576), (625, 625), (628, 628), (724, 724), (780, 780),
        (814, 814), (871, 871), (914, 914)),  # boat
    9: ((920, 920),),  # traffic light
    12: ((704, 704),),  # parking meter
    13: ((703, 703),),  # bench
    14: ((7, 24), (80, 100), (127, 146)),  # bird
    15: ((281, 285),),  # cat
    16: ((151, 268),),  # dog
    17: ((339, 339),),  # horse
    18: ((348, 349),),  # sheep
    19: ((345, 346),),  # cow
    20: ((385, 386),),  # elephant
    21: ((294, 297),),  # bear
    22: ((340, 340),),  # zebra
    27: ((906, 906),),  # tie
    39: ((440, 440), (720, 720), (737, 737), (898, 898), (907, 907)),  # bottle
    46: ((954, 954),),  # banana
    49: ((950, 950),),  # orange
    50: ((937, 937),),  # broccoli
    52: ((934, 934),),  # hot dog
    53: ((963, 963),),  # pizza
    63: ((620, 620), (681, 681)),  # laptop
    64: ((673, 673),),  # mouse
    65: ((761, 761),),  # remote
    66: ((508, 508),),  # keyboard
    67: ((487, 487),),  # mobile phone
    68: ((651, 651),),  # microwave oven
    70: ((859, 859),),  # toaster
    72: ((760, 760),),  # refrigerator
    74: ((409, 409), (530, 530), (892, 892)),  # clock
    75: ((883, 883),),  # vase
    77: ((850, 850),),  # teddy bear
}  # fmt: skip
COCO_OF = {label: kind for kind, spans in COCO.items() for a, b in spans for label in range(a, b + 1)}


@dataclass
class Listed:
    """One entry of models.toml. work: a folder for what is prepared once."""

    entry: dict[str, Any]
    models: Path
    work: Path
    tool: Any = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    @property
    def path(self) -> Path:
        return self.models / self.entry["file"]

    @property
    def task(self) -> str:
        return str(self.entry["task"])

    @property
    def data(self) -> Path:
        return self.models.parent / "data"

    @property
    def output(self) -> str:
        return str(self.entry["output"]["name"])

    def feeds(self, k: int) -> Feeds:
        """Sample k, ready to run."""
        if self.task == "sts":
            return sentence(self.sentences[k])
        pixels = self.pixels[k].astype(np.float32)
        prepared = self.tool.normalise(pixels, self.entry["preprocess"])
        return {self.entry["input"]["name"]: self.tool.to_input([prepared], self.entry["input"])}

    @property
    def count(self) -> int:
        return len(self.sentences) if self.task == "sts" else len(self.pixels)

    @property
    def calibration(self) -> range:
        return range(CALIBRATE)

    @property
    def judged(self) -> range:
        """Where vww has 21 labelled images, they come after the 500 others, which only tell agreement."""
        return range(CALIBRATE, self.count)

    @cached_property
    def pixels(self) -> np.ndarray:
        """[n, height, width, channels], before the mean is taken off: bytes, or what the file holds."""
        if self.task in {"cifar10", "kws"}:
            return np.asarray(self._file["inputs"])
        if self.task == "vww":
            return np.concatenate([self.cached(self.pictures), self._file["inputs"]])
        return self.cached(self.lines if self.task == "ppocr-cls" else self.pictures)

    @cached_property
    def _file(self) -> Any:
        names = {"cifar10": "cifar10", "kws": "kws01", "vww": "vww01"}
        return np.load(self.data / f"{names[self.task]}.npz")

    def cached(self, make: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
        file = self.work / "prepared" / f"{self.name}.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_suffix(".part.npy")
            whole = np.stack(list(make()))
            small = whole.astype(np.uint8)
            np.save(beside, small if np.array_equal(small, whole) else whole.astype(np.float32))
            beside.replace(file)
        return np.load(file, mmap_mode="r")

    def pictures(self) -> Iterator[np.ndarray]:
        from PIL import Image

        keep = {"mean", "std", "color"}
        how = {k: v for k, v in self.entry["preprocess"].items() if k not in keep}
        if "letterbox" not in how and "crop" not in how:
            shape = self.entry["input"]["shape"]
            how["resize_exact"] = [shape[2], shape[1]] if self.entry["input"]["layout"] == "NHWC" else shape[:1:-1]
        for row in self.images:
            image = Image.open(self.data / "imagenet" / row["file"])
            yield letterboxed(image, how) if "letterbox" in how else self.tool.prepare_image(image, how)

    def lines(self) -> Iterator[np.ndarray]:
        """Lines of text, upright and turned, as the folder's tool draws them; padding is what normalises to zero."""
        from PIL import Image, ImageDraw, ImageFont

        font = ImageFont.load_default(28)
        _, channels, height, width = self.entry["input"]["shape"]
        for row in self.pairs[:200]:
            text = row["sentence1"][:28]
            w = int(font.getlength(text)) + 16
            upright = Image.new("RGB", (w, 44), "white")
            ImageDraw.Draw(upright).text((8, 4), text, fill=(20, 20, 60), font=font)
            for image in (upright, upright.rotate(180)):
                fitted = image.resize((min(width, max(1, round(w * height / 44))), height), Image.Resampling.BILINEAR)
                x = np.full((height, width, channels), 127.5)
                x[:, : fitted.width] = np.asarray(fitted)
                yield x

    @cached_property
    def images(self) -> list[dict[str, str]]:
        return read_csv(self.data / "imagenet.csv")

    @cached_property
    def pairs(self) -> list[dict[str, str]]:
        return read_csv(self.data / "stsb.csv")

    @cached_property
    def sentences(self) -> list[list[int]]:
        """The first sentences of the pairs that calibrate, then both of every other pair."""
        first = [self.pairs[k]["ids1"] for k in range(CALIBRATE)]
        rest = [row[column] for row in self.pairs[CALIBRATE:] for column in ("ids1", "ids2")]
        return [[int(t) for t in ids.split()] for ids in first + rest]

    @cached_property
    def labels(self) -> np.ndarray:
        """Of each sample; -1 where it has none. Of sts: the scores of the judged pairs."""
        if self.task == "sts":
            return np.array([float(row["score"]) for row in self.pairs[CALIBRATE:]])
        if self.task == "ppocr-cls":
            return np.tile([0, 1], len(self.pixels) // 2)
        if self.task in {"cifar10", "kws"}:
            return np.asarray(self._file["labels"])
        of_images = np.array([int(row["label"]) for row in self.images])
        if self.task == "vww":
            return np.concatenate([np.full(len(of_images), -1), self._file["labels"]])
        if self.task == "detection":
            return np.array([COCO_OF.get(int(label), -1) for label in of_images])
        return of_images

    def answer(self, y: np.ndarray) -> np.ndarray:
        """A model's output for one sample as a row: a number a class, or the embedding."""
        row = y.reshape(y.shape[0], -1)[0] if self.task != "detection" else (y[0, :, 4:5] * y[0, :, 5:]).max(0)
        return row.astype(np.float32)[self.entry["output"].get("label_offset", 0) :]


def letterboxed(image: Any, how: dict[str, Any]) -> np.ndarray:
    """Scaled to fit a square, placed top left."""
    from PIL import Image

    side = how["letterbox"]
    image = image.convert("RGB")
    scale = side / max(image.size)
    fitted = image.resize([max(1, round(v * scale)) for v in image.size], Image.Resampling.BILINEAR)
    whole = Image.new("RGB", (side, side), (how["letterbox_fill"],) * 3)
    whole.paste(fitted, (0, 0))
    return np.asarray(whole)


def sentence(ids: list[int]) -> Feeds:
    tokens = np.array([ids], np.int64)
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def listed_models(models: Path, work: Path) -> dict[str, Listed]:
    """Every float model of the folder's models.toml. Raises FileNotFoundError."""
    import tomllib

    with open(models / "models.toml", "rb") as file:
        entries = tomllib.load(file)["model"]
    spec = importlib.util.spec_from_file_location("eval_models", models.parent / "tools" / "eval_models.py")
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return {e["name"]: Listed(e, models, work, tool) for e in entries if e["precision"] == "float32"}
