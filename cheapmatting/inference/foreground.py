"""The colours of a foreground, without the background behind it."""

from __future__ import annotations

from itertools import product
from typing import Any, cast, overload

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats

# Pixels a side of what colours are estimated of at once: 120 MiB for all maps. Bands of 2^22 pixels took 410 MiB, more
# than the bound of memory counts, and no less time.
TILE = 1024
REACH = 64  # pixels that the two boxes of `estimate_foreground` reach, 90 / 2 + 6 / 2, and some more


def estimate_foreground(image: Floats, alpha: Floats, radii: tuple[int, ...] = (90, 6)) -> Floats:
    """Foreground colours from an image and its alpha: *blur fusion*, applied once for each radius.

    M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021: foreground and background are first taken as
    local averages weighted by alpha and 1 - alpha, then corrected so that they compose to the image.

    Args:
        image: float32 RGB [H, W, 3] in 0..1.
        alpha: float32 [H, W] in 0..1.
        radii: side of the averaging box in pixels, coarse to fine.

    Returns:
        float32 RGB [H, W, 3] in 0..1; where alpha is 1 it is the image.
    """
    a = alpha[..., None]
    b = 1 - a
    foreground = background = image
    for radius in radii:
        box = (radius, radius)
        weight = cv2.blur(alpha, box)[..., None]
        mean_foreground: Floats = np.asarray(cv2.blur(foreground * a, box), np.float32)
        mean_foreground /= weight + 1e-5
        background = np.asarray(cv2.blur(background * b, box), np.float32)
        background /= (1 - weight) + 1e-5
        # mean_foreground + a * (image - a * mean_foreground - b * background), without a new map for each step
        foreground = a * mean_foreground
        np.subtract(image, foreground, out=foreground)
        foreground -= b * background
        foreground *= a
        foreground += mean_foreground
        np.clip(foreground, 0, 1, out=foreground)
    return np.where(a == 1, image, foreground)


@overload
def cut_out(image: Image.Image, alpha: Image.Image) -> Image.Image: ...


@overload
def cut_out(image: Bytes, alpha: npt.NDArray[Any]) -> Bytes: ...


def cut_out(image: Bytes | Image.Image, alpha: npt.NDArray[Any] | Image.Image) -> Bytes | Image.Image:
    """A straight RGBA cut-out, uint8 [H, W, 4], of an image uint8 RGB [H, W, 3] by its alpha, floats [H, W] in 0..1.

    Of two PIL images, as `Matter.matte` takes and gives them, it is a PIL image.

    Raises:
        UserError: other types, sizes that differ, or an alpha outside of 0..1: levels of 0..255 would give nonsense.
    """
    if isinstance(image, Image.Image) and isinstance(alpha, Image.Image):
        rgb, levels = np.array(image.convert("RGB")), np.array(alpha.convert("L"))
        return Image.fromarray(cut_out(rgb, levels / np.float32(255)))
    _check(image, alpha)
    return _cut_out(cast(Bytes, image), np.asarray(alpha, np.float32))


def _check(image: Any, alpha: Any) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"image: expected uint8 RGB [H, W, 3], as read_image gives it, got {_described(image)}")
    if not isinstance(alpha, np.ndarray) or alpha.dtype.kind != "f" or alpha.shape != image.shape[:2]:
        raise UserError(
            f"alpha: expected floats {list(image.shape[:2])} in 0..1, as Matter.matte gives it, got "
            f"{_described(alpha)}; divide levels by 255"
        )
    low, high = float(alpha.min(initial=0)), float(alpha.max(initial=0))
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also where one is NaN
        raise UserError(f"alpha: expected floats in 0..1, got {low:g} to {high:g}; divide levels by 255")


def _described(given: Any) -> str:
    is_array = isinstance(given, np.ndarray)
    return f"{given.dtype} {list(given.shape)}" if is_array else type(given).__name__


def _cut_out(image: Bytes, alpha: Floats) -> Bytes:
    height, width = alpha.shape
    cutout = np.empty((height, width, 4), np.uint8)
    for top, left in product(range(0, height, TILE), range(0, width, TILE)):
        tile = slice(top, top + TILE), slice(left, left + TILE)
        above, before = max(top - REACH, 0), max(left - REACH, 0)
        seen = slice(above, top + TILE + REACH), slice(before, left + TILE + REACH)
        opacity = alpha[seen].clip(0, 1)
        colours = estimate_foreground(image[seen].astype(np.float32) / np.float32(255), opacity)
        inside = slice(top - above, top - above + TILE), slice(left - before, left - before + TILE)
        cutout[tile][..., :3] = np.rint(colours[inside] * 255)
        cutout[tile][..., 3] = np.rint(opacity[inside] * 255)
    return cutout


def premultiplied(cutout: Bytes) -> Bytes:
    """A straight cut-out, uint8 RGBA [H, W, 4], with its colours multiplied by alpha, rounded."""
    result = cutout.copy()
    for row in result:  # one by one: of the whole, the products in 16 bits take 20 bytes a pixel
        row[:, :3] = (row[:, :3] * row[:, 3:].astype(np.uint16) + 127) // 255
    return result


def laid_on(cutout: Bytes, background: Bytes) -> Bytes:
    """A straight cut-out, uint8 RGBA [H, W, 4], on a background, uint8 RGB [H, W, 3] or [1, 1, 3]: uint8 RGB."""
    result = cutout[..., :3].copy()
    for row, behind, alpha in zip(result, np.broadcast_to(background, result.shape), cutout[..., 3:], strict=True):
        row[:] = (row * alpha.astype(np.uint16) + behind * (255 - alpha).astype(np.uint16) + 127) // 255
    return result
