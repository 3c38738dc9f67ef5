"""Options that several commands share, and what their values may be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octavo.images import ImageOptions


def add_command(commands: Any, name: str, help_text: str, function: Any, epilog: str = "") -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", epilog=epilog
    )
    command.set_defaults(command=function)
    return command


def add_engine_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=positive, metavar="N", help="threads of a run (default: the CPUs there are)")
    command.add_argument("--isa", metavar="LEVEL", help="instruction-set level (default: $OCTAVO_ISA or the best)")
    add_requantize(command)


def add_requantize(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--requantize",
        choices=("float", "fixed"),
        help="how integers round: as ONNX spells it (float, the default), or integers only, as TFLite does (fixed)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object")


def add_html(command: argparse.ArgumentParser) -> None:
    command.add_argument("--html", metavar="FILE", help="also write a page with plots; it needs no other file")


def add_dim(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dim", action="append", default=[], type=dimension, metavar="NAME=SIZE", help="size of a symbolic dimension"
    )


def positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def dimension(text: str) -> tuple[str, int]:
    name, equals, number = text.rpartition("=")
    if not (equals and name and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE")
    return name, int(number)


def layer_bits(text: str) -> tuple[str, int | str]:
    name, equals, bits = text.rpartition("=")
    if not (equals and name and (bits in ("float", "ternary", "binary") or bits.isdecimal())):
        raise argparse.ArgumentTypeError(f"{text!r} is not NODE=BITS or NODE=float")
    return name, int(bits) if bits.isdecimal() else bits


def extent(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a side such as 256 nor a size such as 320x240")
    return tuple(int(p) for p in parts)


def numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(p) for p in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas between") from None


def divisors(text: str) -> tuple[float, ...]:
    found = numbers(text)
    if 0.0 in found:
        raise argparse.ArgumentTypeError("a standard deviation cannot be 0")
    return found


def names(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} holds no name")
    return found


def add_pictures(command: argparse.ArgumentParser) -> None:
    pictures = command.add_argument_group("pictures")
    pictures.add_argument("--resize", type=extent, default=(), metavar="SIDE|WxH", help="the shorter side, or exactly")
    pictures.add_argument("--crop", type=extent, default=(), metavar="SIDE|WxH", help="the centre to keep")
    pictures.add_argument("--mean", type=numbers, default=(0.0,), metavar="M[,M,M]", help="default 0")
    pictures.add_argument("--std", type=divisors, default=(1.0,), metavar="S[,S,S]", help="default 1")
    pictures.add_argument("--layout", choices=("auto", "nchw", "nhwc"), default="auto")
    pictures.add_argument("--color", choices=("rgb", "bgr", "gray"), default="rgb")
    pictures.add_argument("--interpolation", choices=("nearest", "bilinear", "bicubic", "lanczos"), default="bilinear")


def picture_options(options: argparse.Namespace) -> ImageOptions:
    """What add_pictures() read."""
    from octavo.images import ImageOptions

    return ImageOptions(
        options.resize,
        options.crop,
        options.mean,
        options.std,
        options.layout,
        options.color,
        options.interpolation,
    )
