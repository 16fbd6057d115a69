"""Reading and writing image files. Errors name the file, and say what is wrong with it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from atldas.common.atomic import atomic_path
from atldas.common.errors import UserError

from . import exr
from .arrays import Bytes
from .decoding import MAX_PIXELS, STANDARD_STREAM, Metadata, Source, name_of, read_picture

# The name and the options of each of Pillow's writers: JPEG with a quality that keeps edges, WebP without loss.
WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 3}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),  # exact: colours under an alpha of 0 as well
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".bmp": ("BMP", {}),
}
NO_ALPHA = (".jpg", ".jpeg", ".bmp")
DEEP = (".png", ".tif", ".tiff")  # grey of 16 bits


def read_image(path: Source, max_pixels: int = MAX_PIXELS) -> Bytes:
    """An image file as uint8 RGB, [H, W, 3].

    Grey, palettes, CMYK and LAB become RGB, an alpha channel is dropped, 16 bits are scaled to 8 and a photograph is
    turned as its EXIF orientation says. `-` is standard input.

    Raises:
        UserError: no such file, a folder, empty, damaged, not an image, of more than `max_pixels`, or neither 8 nor 16
            bits deep.
    """
    return read_photograph(path, max_pixels)[0]


def read_photograph(path: Source, max_pixels: int = MAX_PIXELS) -> tuple[Bytes, Metadata, bool]:
    """As `read_image`, with the metadata, and whether the EXIF orientation swapped the sides."""
    pixels, metadata, turned = read_picture(path, max_pixels)
    if pixels.dtype == np.float32:
        raise UserError(f"{name_of(path)}: expected 8 or 16 bits per channel, got float32")
    return rgb(as_bytes(pixels)), metadata, turned


def read_rgba(path: Source, max_pixels: int = MAX_PIXELS) -> tuple[Bytes, npt.NDArray[np.float32]]:
    """A cut-out: straight (not premultiplied) uint8 RGB [H, W, 3] and float32 alpha [H, W] in 0..1.

    Raises:
        UserError: as `read_image`, and for an image without an alpha channel.
    """
    levels = as_bytes(read_picture(path, max_pixels).pixels)
    channels = levels.shape[2]
    if channels not in (2, 4):
        raise UserError(
            f"{name_of(path)}: expected a cut-out with an alpha channel (4 channels, as PNG or WebP), "
            f"got {channels} channel{'s' * (channels != 1)}"
        )
    return rgb(levels), np.asarray(levels[..., -1] / np.float32(255), np.float32)


def read_alpha(path: Source, max_pixels: int = MAX_PIXELS) -> Bytes:
    """An alpha matte file as uint8 [H, W]: the alpha channel of an RGBA file, or the levels of a grey one.

    A file whose alpha channel is 255 everywhere counts as one without it. OpenEXR has it in the channel A or Y.

    Raises:
        UserError: as `read_image`, and for a colour image without transparency, which holds no alpha.
    """
    levels = as_bytes(read_picture(path, max_pixels, as_data=True).pixels)
    if levels.shape[2] in (2, 4) and levels[..., -1].min() < 255:
        return np.ascontiguousarray(levels[..., -1])
    if levels.shape[2] > 2 and (levels[..., :2] != levels[..., 1:3]).any():
        raise UserError(
            f"{name_of(path)}: expected an alpha matte (grey, or the alpha channel of RGBA), got a colour image"
        )
    return np.ascontiguousarray(levels[..., 0])


def rgb(levels: Bytes) -> Bytes:
    """RGB [H, W, 3] of grey, grey and alpha, RGB or RGBA [H, W, C]; an alpha is dropped."""
    colours = levels[..., :3] if levels.shape[2] > 2 else np.repeat(levels[..., :1], 3, axis=2)
    return np.ascontiguousarray(colours)


def as_bytes(pixels: npt.NDArray[Any]) -> Bytes:
    """uint8 of uint8, uint16 or float32 in 0..1, rounded."""
    if pixels.dtype == np.uint16:
        return np.asarray((pixels.astype(np.uint32) + 128) // 257, np.uint8)  # 65535 = 257 * 255
    if pixels.dtype == np.float32:
        levels = pixels.clip(0, 1)  # the only copy in float32: photographs are large
        levels[np.isnan(levels)] = 0
        levels *= 255
        return np.rint(levels, out=levels).astype(np.uint8)
    return np.asarray(pixels, np.uint8)


def require_same_size(path: str | Path, pixels: Bytes, other: str | Path, wanted: Bytes) -> None:
    """Check that two images that belong together, [H, W, ...] each, have the same height and width.

    Raises:
        UserError: they differ; both files and both sizes are named.
    """
    (height, width), (wanted_height, wanted_width) = pixels.shape[:2], wanted.shape[:2]
    if (height, width) != (wanted_height, wanted_width):
        raise UserError(
            f"{path}: expected {wanted_width} x {wanted_height} pixels, as {other} has, got {width} x {height}"
        )


def require_writable_suffix(path: str | Path, alpha: bool, bits: int = 8) -> None:
    """Check that `write_image` can write such a file, before there is something to write.

    Args:
        alpha: whether it has an alpha channel.
        bits: 8, or 16, or 32 for the float32 of OpenEXR.

    Raises:
        UserError: an unknown suffix, or alpha or a depth in a format without it.
    """
    suffix = suffix_of(path)
    if suffix not in (*WRITERS, *([exr.SUFFIX] if bits == 32 else [])):
        raise UserError(f"{path}: expected a name that ends in {', '.join(WRITERS)}, got {suffix or 'no suffix'}")
    if alpha and suffix in NO_ALPHA:
        raise UserError(f"{path}: expected a format with an alpha channel (.png, .webp, .tif), got {suffix}")
    if bits == 16 and suffix not in DEEP:
        raise UserError(f"{path}: expected a format of 16 bits ({', '.join(DEEP)}), got {suffix}")


def suffix_of(path: str | Path) -> str:
    """The suffix that decides the format; standard output has PNG."""
    return ".png" if str(path) == STANDARD_STREAM else Path(path).suffix.lower()


def write_image(path: str | Path, array: npt.NDArray[Any], metadata: Metadata = Metadata()) -> None:  # noqa: B008
    """Write grey [H, W], RGB [H, W, 3] or straight RGBA [H, W, 4] of uint8, in the format of the suffix.

    Grey may also be uint16 (PNG, TIFF) or float32 in 0..1 (OpenEXR). The file appears whole or not at all. `-` is
    standard output, as PNG.

    Args:
        metadata: written as far as the format has room for it; a profile of RGB colours is not for grey.

    Raises:
        UserError: an unknown suffix, alpha or a depth in a format without it, or a place that cannot be written.
        ValueError: an array of another shape or type.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    bits = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16, np.dtype(np.float32): 32}.get(array.dtype, 0)
    allowed = array.ndim == 2 or (bits == 8 and array.ndim == 3 and channels in (1, 3, 4))
    if not allowed or not bits or array.size == 0 or (bits == 32 and suffix_of(path) != exr.SUFFIX):
        raise ValueError(f"write_image needs uint8 [H, W], [H, W, 3] or [H, W, 4], got {array.dtype} {array.shape}")
    require_writable_suffix(path, alpha=channels == 4, bits=bits)
    if bits == 32:
        with atomic_path(path) as temporary:
            exr.write(temporary, array)
        return
    data = encoded(path, array[..., 0] if array.ndim == 3 and channels == 1 else array, metadata)
    if str(path) == STANDARD_STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def encoded(path: str | Path, array: npt.NDArray[Any], metadata: Metadata) -> bytes:
    """The bytes that `write_image` writes for an array [H, W], [H, W, 3] or [H, W, 4]; not for OpenEXR.

    Raises:
        UserError: the format cannot hold so large an image.
    """
    name, options = WRITERS[suffix_of(path)]
    along = {
        "icc_profile": metadata.icc if array.ndim == 3 and name != "BMP" else None,
        "exif": metadata.exif if name != "BMP" else None,
        "dpi": metadata.dpi,
    }
    if name == "TIFF" and metadata.exif:
        options = {}  # libtiff, which compresses, cannot write EXIF folders
    buffer = io.BytesIO()
    try:
        Image.fromarray(array).save(buffer, name, **options, **{key: value for key, value in along.items() if value})
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: of libtiff
        raise UserError(
            f"{path}: {array.shape[1]} x {array.shape[0]} pixels cannot be written as {suffix_of(path)} ({error})"
        ) from error
    return buffer.getvalue()
