"""Alphas in OpenEXR files (extra `exr`): as films are composed from. OpenCV's wheels lack this format."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from atldas.common.errors import UserError

from .arrays import Floats

SUFFIX = ".exr"
MAGIC = b"\x76\x2f\x31\x01"
CHANNELS = ("A", "Y")  # where an alpha stands: beside colours, or alone as grey


def size(stream: BinaryIO, name: str) -> tuple[int, int]:
    """Width and height, from the header alone.

    Raises:
        UserError: OpenEXR is not installed.
    """
    (left, top), (right, bottom) = _file(stream, name, header_only=True).header()["dataWindow"]
    return int(right) - int(left) + 1, int(bottom) - int(top) + 1


def read(stream: BinaryIO, name: str) -> Floats:
    """The alpha as float32 [H, W, 1].

    Raises:
        UserError: OpenEXR is not installed, no channel A or Y but several others, or a damaged file.
    """
    channels = _file(stream, name).channels()
    found = [channel for channel in CHANNELS if channel in channels] or (list(channels) if len(channels) == 1 else [])
    if not found:
        raise UserError(f"{name}: expected an alpha in the channel A or Y, got the channels {', '.join(channels)}")
    pixels = channels[found[0]].pixels
    width, height = size(stream, name)
    if np.shape(pixels) != (height, width):  # the package prints what is wrong and goes on
        raise UserError(f"{name}: expected {width} x {height} pixels, got a damaged file")
    return np.array(pixels, np.float32)[..., None]


def write(path: Path, alpha: Floats) -> None:
    """Write float32 [H, W] as the channel Y.

    Raises:
        UserError: OpenEXR is not installed.
    """
    package = _package(str(path))
    header = {"compression": package.ZIP_COMPRESSION, "type": package.scanlineimage}
    package.File(header, {"Y": np.ascontiguousarray(alpha)}).write(str(path))


def _file(stream: BinaryIO, name: str, header_only: bool = False) -> Any:
    stream.seek(0)
    return _package(name).File(stream, separate_channels=True, header_only=header_only)


def _package(name: str) -> Any:
    try:
        return importlib.import_module("OpenEXR")  # an extra
    except ImportError as error:
        raise UserError(f"{name}: OpenEXR files need the package OpenEXR; pip install 'cheapmatting[exr]'") from error
