"""Reading and writing image files. Errors name the file, and say what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from atldas.common.atomic import atomic_path
from atldas.common.errors import UserError

from .arrays import Bytes

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
# The options of each writer: JPEG with a quality that keeps edges, WebP without loss.
WRITERS: dict[str, list[int]] = {
    ".png": [],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],
    ".tif": [],
    ".tiff": [],
    ".bmp": [],
}
NO_ALPHA = (".jpg", ".jpeg", ".bmp")
# OpenCV takes arrays in its own channel order, BGR.
TO_FILE_ORDER = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}


def read_image(path: str | Path) -> Bytes:
    """An image file as uint8 RGB, [H, W, 3].

    Grey becomes RGB, an alpha channel is dropped, 16 bits are scaled to 8 and a photograph is turned as its
    EXIF orientation says.

    Raises:
        UserError: no such file, a folder, empty, damaged, not an image, or neither 8 nor 16 bits deep.
    """
    bgr = decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_rgba(path: str | Path) -> tuple[Bytes, npt.NDArray[np.float32]]:
    """A cut-out: straight (not premultiplied) uint8 RGB [H, W, 3] and float32 alpha [H, W] in 0..1.

    Raises:
        UserError: as `read_image`, and for an image without an alpha channel.
    """
    bgra = decode(path, cv2.IMREAD_UNCHANGED)
    if bgra.ndim != 3 or bgra.shape[2] != 4:
        channels = 1 if bgra.ndim == 2 else bgra.shape[2]
        raise UserError(
            f"{path}: expected a cut-out with an alpha channel (4 channels, as PNG or WebP), "
            f"got {channels} channel{'s' * (channels != 1)}"
        )
    rgba = cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA)
    return np.ascontiguousarray(rgba[..., :3]), np.asarray(rgba[..., 3] / np.float32(255), np.float32)


def read_alpha(path: str | Path) -> Bytes:
    """An alpha matte file as uint8 [H, W]: the alpha channel of an RGBA file, or the levels of a grey one.

    A file whose alpha channel is 255 everywhere counts as one without it.

    Raises:
        UserError: as `read_image`, and for a colour image without transparency, which holds no alpha.
    """
    # OpenCV applies the EXIF orientation with these flags, but not with IMREAD_UNCHANGED.
    without_alpha = Path(path).suffix.lower() in NO_ALPHA
    pixels = decode(path, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if without_alpha else cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        return np.ascontiguousarray(pixels[..., 3])
    if (pixels[..., :2] != pixels[..., 1:3]).any():
        raise UserError(f"{path}: expected an alpha matte (grey, or the alpha channel of RGBA), got a colour image")
    return np.ascontiguousarray(pixels[..., 0])


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


def decode(path: str | Path, flags: int) -> Bytes:
    """A file decoded by OpenCV with `flags` (channels in BGR order), 16 bits scaled to 8.

    Raises:
        UserError: as `read_image`.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if data.size == 0:
        raise UserError(f"{path}: expected an image, got an empty file")
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise UserError(f"{path}: expected an image, got a file that cannot be decoded ({error.err})") from error
    if pixels is None or pixels.size == 0 or _cut_short(data):
        raise UserError(f"{path}: expected an image ({', '.join(READABLE)}), got a damaged or other file")
    if pixels.dtype == np.uint16:
        return np.asarray((pixels.astype(np.uint32) + 128) // 257, np.uint8)  # 65535 = 257 * 255
    if pixels.dtype != np.uint8:
        raise UserError(f"{path}: expected 8 or 16 bits per channel, got {pixels.dtype}")
    return np.asarray(pixels, np.uint8)


def _cut_short(data: Bytes) -> bool:
    """Whether a JPEG has lost its end: OpenCV decodes what is there and makes the rest grey."""
    start, end = data[:2].tobytes(), data[-65536:].tobytes()
    return start == b"\xff\xd8" and b"\xff\xd9" not in end


def require_writable_suffix(path: str | Path, alpha: bool) -> None:
    """Check that `write_image` can write such a file, before there is something to write.

    Raises:
        UserError: an unknown suffix, or alpha in a format without it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise UserError(f"{path}: expected a name that ends in {', '.join(WRITERS)}, got {suffix or 'no suffix'}")
    if alpha and suffix in NO_ALPHA:
        raise UserError(f"{path}: expected a format with an alpha channel (.png, .webp, .tif), got {suffix}")


def write_image(path: str | Path, array: Bytes) -> None:
    """Write uint8 grey [H, W], RGB [H, W, 3] or straight RGBA [H, W, 4], in the format of the suffix.

    The file appears whole or not at all.

    Raises:
        UserError: an unknown suffix, alpha in a format without it, or a place that cannot be written.
        ValueError: an array of another shape or type.
    """
    suffix = Path(path).suffix.lower()
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise ValueError(f"write_image needs uint8 [H, W], [H, W, 3] or [H, W, 4], got {array.dtype} {array.shape}")
    require_writable_suffix(path, alpha=channels == 4)
    ordered = cv2.cvtColor(array, TO_FILE_ORDER[channels]) if channels > 1 else array
    try:
        encoded, data = cv2.imencode(suffix, ordered, WRITERS[suffix])
    except cv2.error as error:
        raise UserError(
            f"{path}: {array.shape[1]} x {array.shape[0]} pixels cannot be written as {suffix} ({error.err})"
        ) from error
    if not encoded:
        raise UserError(f"{path}: {array.shape[1]} x {array.shape[0]} pixels cannot be written as {suffix}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
