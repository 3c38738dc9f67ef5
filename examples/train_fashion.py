"""Train octavo's demo network on Fashion-MNIST and export it to ONNX.

The network is a small depthwise-separable CNN with residual connections (about 72,000 weights, 4.5 million
multiply-adds an image). The script trains it with PyTorch on one CPU core, folds each batch normalization into the
convolution before it, and writes the folded weights as a small, readable ONNX graph:

    image  float32 [N, 1, 28, 28]   pixel / 255, so in [0, 1], no mean or deviation taken off
    logits float32 [N, 10]

``--quantize`` adds the int8 form of the same graph in standard ONNX QDQ: uint8 activations, int8 weights symmetric
per output channel, int32 biases. It calls onnxruntime's ``quantize_static``, an independent quantizer, so the demo
shows octavo running a model that others produced.
``--package DIR`` also copies the models and the first 1,000 test images to DIR, the form ``octavo demo`` reads.

    python examples/train_fashion.py --out build/fashion --quantize
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

CLASS_NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DEBIAN_DATA = Path("/usr/share/datasets/fashion-mnist")  # Debian and Ubuntu: apt install dataset-fashion-mnist
OPSET = 17
CALIBRATION_IMAGES = 200
PACKAGED_IMAGES = 1000

# (name, input channels, output channels, stride): 14x14, then 7x7. Stride 1 and equal width: residual.
BLOCKS = (
    ("block1", 32, 64, 1),
    ("block2", 64, 64, 1),
    ("block3", 64, 128, 2),
    ("block4", 128, 128, 1),
    ("block5", 128, 128, 1),
    ("block6", 128, 128, 1),
)


# ---- data ------------------------------------------------------------------------------------------------------------


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file of bytes, gzipped: magic 0x00 0x00 0x08 rank, then the big-endian sizes, then the data."""
    with gzip.open(path, "rb") as file:
        zero, dtype, rank = int.from_bytes(file.read(2), "big"), file.read(1)[0], file.read(1)[0]
        if zero != 0 or dtype != 8:
            raise ValueError(f"{path} is not an IDX file of unsigned bytes")
        shape = [int.from_bytes(file.read(4), "big") for _ in range(rank)]
        return np.frombuffer(file.read(), dtype=np.uint8).reshape(shape).copy()


def load_dataset(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return train images, train labels, test images, test labels; images are uint8 ``[N, 28, 28]``."""
    if not folder.is_dir():
        raise SystemExit(
            f"Fashion-MNIST is not in {folder}. On Debian or Ubuntu: apt install dataset-fashion-mnist. Elsewhere: put "
            "the four .gz files of github.com/zalandoresearch/fashion-mnist into one folder and name it with --data."
        )
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    a, b, c, d = (read_idx(folder / f"{part}-ubyte.gz") for part in parts)
    return a, b, c, d


def to_network(images: np.ndarray) -> np.ndarray:
    """uint8 ``[N, 28, 28]`` to the network's float32 ``[N, 1, 28, 28]`` in [0, 1]."""
    return images[:, None].astype(np.float32) / np.float32(255)


def augment(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift each image by up to two pixels each way (black moves in) and mirror half of them."""
    n, _, height, width = batch.shape
    padded = functional.pad(batch, (2, 2, 2, 2))
    dy = torch.randint(0, 5, (n, 1), generator=generator)
    dx = torch.randint(0, 5, (n, 1), generator=generator)
    columns = torch.arange(width).expand(n, width)
    flipped = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(flipped, width - 1 - columns, columns) + dx
    rows = torch.arange(height).expand(n, height) + dy
    which = torch.arange(n)[:, None, None]
    return padded[which, 0, rows[:, :, None], columns[:, None, :]][:, None]


# ---- network ---------------------------------------------------------------------------------------------------------


class ConvNorm(nn.Module):
    """A convolution and its batch normalization."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of the one convolution that equals both: w * g/sqrt(v + eps), b - mean * g/sqrt(v + eps)."""
        norm = self.norm
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = self.conv.weight.double() * scale[:, None, None, None]
        bias = norm.bias.double() - norm.running_mean.double() * scale
        return weight.detach().float().numpy(), bias.detach().float().numpy()


class Block(nn.Module):
    """Depthwise 3x3, ReLU, pointwise 1x1, the residual where shapes allow, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.depthwise = ConvNorm(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = ConvNorm(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.pointwise(functional.relu(self.depthwise(x)))
        return functional.relu(x + y if self.residual else y)


class FashionNet(nn.Module):
    """Stem 5x5 of stride 2, six depthwise-separable blocks, global average, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(1, BLOCKS[0][1], 5, 2)
        self.blocks = nn.ModuleDict({name: Block(inputs, outputs, stride) for name, inputs, outputs, stride in BLOCKS})
        self.classifier = nn.Linear(BLOCKS[-1][2], len(CLASS_NAMES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(x))
        for block in self.blocks.values():
            x = block(x)
        return self.classifier(x.mean(dim=(2, 3)))


# ---- training --------------------------------------------------------------------------------------------------------


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.inference_mode():
        right = sum(
            int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(500), labels.split(500), strict=True)
        )
    return right / len(images)


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, args: argparse.Namespace) -> None:
    """AdamW with a one-cycle cosine learning rate, label smoothing, shift and flip augmentation."""
    generator = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.02)
    steps = len(images) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=args.learning_rate, total_steps=args.epochs * steps, pct_start=0.2
    )
    for epoch in range(args.epochs):
        model.train()
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps):
            chosen = order[step * args.batch : (step + 1) * args.batch]
            logits = model(augment(images[chosen], generator))
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1:2}/{args.epochs}  loss {total / steps:.4f}  {seconds:.0f} s", flush=True)


# ---- export ----------------------------------------------------------------------------------------------------------


def to_onnx(model: FashionNet) -> onnx.ModelProto:
    """Write the trained network with batch normalization folded away, one ONNX node an operation."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def add(op: str, name: str, inputs: list[str], **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(x: str, name: str, layer: ConvNorm) -> str:
        weight, bias = layer.folded()
        weights.append(numpy_helper.from_array(weight, f"{name}.weight"))
        weights.append(numpy_helper.from_array(bias, f"{name}.bias"))
        kernel, stride, groups = layer.conv.kernel_size, layer.conv.stride, layer.conv.groups
        pads = [kernel[0] // 2] * 4
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return add("Conv", name, inputs, kernel_shape=kernel, strides=stride, pads=pads, group=groups)

    x = add("Relu", "stem.relu", [conv("image", "stem", model.stem)])
    for name, block in model.blocks.items():
        y = add("Relu", f"{name}.depthwise.relu", [conv(x, f"{name}.depthwise", block.depthwise)])
        y = conv(y, f"{name}.pointwise", block.pointwise)
        if block.residual:
            y = add("Add", f"{name}.add", [x, y])
        x = add("Relu", f"{name}.relu", [y])
    x = add("Flatten", "features", [add("GlobalAveragePool", "pool", [x])], axis=1)
    weights.append(numpy_helper.from_array(model.classifier.weight.detach().numpy(), "classifier.weight"))
    weights.append(numpy_helper.from_array(model.classifier.bias.detach().numpy(), "classifier.bias"))
    nodes.append(
        helper.make_node("Gemm", [x, "classifier.weight", "classifier.bias"], ["logits"], name="classifier", transB=1)
    )
    graph = helper.make_graph(
        nodes,
        "fashion",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(CLASS_NAMES)])],
        weights,
    )
    result = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="train_fashion.py", ir_version=8
    )
    onnx.checker.check_model(result, full_check=True)
    return result


def quantize(float_path: Path, int8_path: Path, calibration: np.ndarray) -> None:
    """Write the QDQ form: ranges are the least and greatest value each activation takes on ``calibration``."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(np.split(calibration, range(20, len(calibration), 20)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    quantize_static(
        str(float_path),
        str(int8_path),
        Images(),
        quant_format=QuantFormat.QDQ,
        calibrate_method=CalibrationMethod.MinMax,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
    )
    onnx.checker.check_model(onnx.load(int8_path), full_check=True)


def onnx_accuracy(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    right = 0
    for start in range(0, len(images), 500):
        (logits,) = session.run(None, {"image": to_network(images[start : start + 500])})
        right += int((logits.argmax(1) == labels[start : start + 500]).sum())
    return right / len(images)


# ---- command line ----------------------------------------------------------------------------------------------------


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the network of `octavo demo` and export it to ONNX.")
    parser.add_argument("--data", type=Path, default=DEBIAN_DATA, help="folder of the four .gz files (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("fashion"), help="folder to write to (%(default)s)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=6e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--threads", type=int, default=1, help="PyTorch threads; another number changes the last digits"
    )
    parser.add_argument("--quantize", action="store_true", help="also write fashion_int8.onnx (needs onnxruntime)")
    parser.add_argument("--no-train", action="store_true", help="take the fashion_float.onnx that --out holds already")
    parser.add_argument("--package", type=Path, help="copy models and test images to this folder (needs --quantize)")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train_images, train_labels, test_images, test_labels = load_dataset(args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    float_path, int8_path = args.out / "fashion_float.onnx", args.out / "fashion_int8.onnx"

    if not args.no_train:
        model = FashionNet().to(memory_format=torch.channels_last)  # twice as fast on a CPU
        count = sum(p.numel() for p in model.parameters())
        print(f"{count:,} parameters, {len(train_images):,} training images", flush=True)
        train(model, torch.from_numpy(to_network(train_images)), torch.from_numpy(train_labels).long(), args)
        top1 = accuracy(model, torch.from_numpy(to_network(test_images)), torch.from_numpy(test_labels).long())
        print(f"PyTorch: {100 * top1:.2f} % top-1 on {len(test_images):,} test images")
        onnx.save(to_onnx(model), float_path)
        print(f"wrote {float_path} ({float_path.stat().st_size:,} bytes)")

    if args.quantize:
        chosen = np.random.default_rng(args.seed).choice(len(train_images), CALIBRATION_IMAGES, replace=False)
        quantize(float_path, int8_path, to_network(train_images[chosen]))
        print(f"wrote {int8_path} ({int8_path.stat().st_size:,} bytes)")
        float_top1 = onnx_accuracy(float_path, test_images, test_labels)
        int8_top1 = onnx_accuracy(int8_path, test_images, test_labels)
        print(f"onnxruntime: float {100 * float_top1:.2f} %, int8 {100 * int8_top1:.2f} % top-1")
        if float_top1 - int8_top1 > 0.005:
            raise SystemExit("the int8 form lost more than 0.5 points")

    if args.package:
        args.package.mkdir(parents=True, exist_ok=True)
        for path in (float_path, int8_path):
            shutil.copy(path, args.package / path.name)
        np.savez_compressed(
            args.package / "fashion_test.npz",
            images=test_images[:PACKAGED_IMAGES],
            labels=test_labels[:PACKAGED_IMAGES],
            classes=np.array(CLASS_NAMES),
        )
        print(f"packaged in {args.package}")


if __name__ == "__main__":
    main()
