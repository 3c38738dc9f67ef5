"""Pictures -> network inputs, for the command line. Needs pillow: ``pip install octavo[image]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octavo.errors import InvalidArgument, IoError, Unsupported
from octavo.feeds import TensorInfo

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
LAYOUTS = ("auto", "nchw", "nhwc")
COLORS = ("rgb", "bgr", "gray")


@dataclass(frozen=True)
class ImageOptions:
    """How a picture becomes an input: resize, then crop the centre, then (pixel - mean) / std with pixels 0..255.

    resize: (side,) scales the shorter side to it, (width, height) scales to exactly that; () leaves the size, or where
        crop is () too and the network fixes its size, scales to that.
    crop: (side,) or (width, height) of the centre; () keeps all.
    mean, std: one number, or one a channel.
    layout: "nchw", "nhwc", or "auto": where the network's shape has 1 or 3 channels.
    """

    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "auto"
    color: str = "rgb"
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for name, allowed in (("layout", LAYOUTS), ("color", COLORS), ("interpolation", INTERPOLATIONS)):
            if getattr(self, name) not in allowed:
                raise InvalidArgument(f"{name} should be one of {', '.join(allowed)}, not {getattr(self, name)!r}")


def load_image(path: str | Path, info: TensorInfo, options: ImageOptions) -> np.ndarray:
    """One picture as a batch of one for input `info`: [1, C, H, W] or [1, H, W, C] of info.dtype.

    For an integer input the result is rounded and clipped to its range. Raises IoError, InvalidArgument or Unsupported.
    """
    channels_last = is_channels_last(info, options)
    picture = open_picture(path, "L" if options.color == "gray" else "RGB")
    pixels = arranged(picture, options, fixed_size(info, channels_last))
    array = np.asarray(pixels, np.float32)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if options.color == "bgr":
        array = array[:, :, ::-1]
    array = (array - per_channel(options.mean, array, "mean")) / per_channel(options.std, array, "std")
    if not channels_last:
        array = array.transpose(2, 0, 1)
    if info.dtype.kind in "iu":
        limits = np.iinfo(info.dtype)
        array = np.clip(np.rint(array), limits.min, limits.max)
    return np.ascontiguousarray(array[np.newaxis].astype(info.dtype))


def open_picture(path: str | Path, mode: str) -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise Unsupported("reading pictures needs pillow: pip install octavo[image]") from None
    try:
        with Image.open(path) as picture:
            return picture.convert(mode)
    except OSError as e:
        raise IoError(f"cannot read the picture '{path}': {e}") from e
    except (ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise InvalidArgument(f"'{path}' is not a picture that can be read: {e}") from e


def is_channels_last(info: TensorInfo, options: ImageOptions) -> bool:
    """Where the channels are; raises InvalidArgument when the input is no image or it cannot be told."""
    if len(info.shape) != 4:
        raise InvalidArgument(
            f"input '{info.name}' has {len(info.shape)} dimensions, so no picture fits; images have 4"
        )
    if options.layout != "auto":
        return options.layout == "nhwc"
    channels = 1 if options.color == "gray" else 3
    first, last = info.shape[1] == channels, info.shape[3] == channels
    if first == last:
        raise InvalidArgument(
            f"cannot tell where input '{info.name}' {info.shape} has its {channels} channel{'s' * (channels > 1)}; "
            "say --layout nchw or nhwc" + ("" if channels == 1 else ", or --color gray for a network with one channel")
        )
    return last


def fixed_size(info: TensorInfo, channels_last: bool) -> tuple[int, int] | None:
    """(width, height) that the network demands, or None."""
    height, width = info.shape[1:3] if channels_last else info.shape[2:4]
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def arranged(picture: Any, options: ImageOptions, demanded: tuple[int, int] | None) -> Any:
    """The picture resized and cropped."""
    from PIL import Image

    how = getattr(Image.Resampling, options.interpolation.upper())
    resize = options.resize or (() if options.crop else demanded or ())
    if len(resize) == 1:
        width, height = picture.size
        scale = resize[0] / min(width, height)
        resize = (max(resize[0], round(width * scale)), max(resize[0], round(height * scale)))
    if resize and resize != picture.size:
        picture = picture.resize(resize, how)
    if options.crop:
        width, height = options.crop * 2 if len(options.crop) == 1 else options.crop
        if width > picture.size[0] or height > picture.size[1]:
            raise InvalidArgument(
                f"--crop {width}x{height} exceeds the picture of {picture.size[0]}x{picture.size[1]}; --resize it first"
            )
        left, top = (picture.size[0] - width) // 2, (picture.size[1] - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    return picture


def per_channel(numbers: Sequence[float], array: np.ndarray, what: str) -> np.ndarray:
    if len(numbers) not in (1, array.shape[2]):
        raise InvalidArgument(f"--{what} needs 1 number or {array.shape[2]}, one a channel, not {len(numbers)}")
    return np.asarray(numbers, np.float32)
