"""Trimaps: uint8 [H, W] with exactly 0 background, 128 unknown and 255 foreground."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from atldas.common.errors import UserError

from .arrays import Bytes, Floats
from .images import decode

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255
LEVELS = np.array([BACKGROUND, UNKNOWN, FOREGROUND], np.uint8)
# An 8-bit alpha of 1 or 254 still counts as known. The 1e-6 is for rounding in single precision.
TOLERANCE = 1 / 255 + 1e-6
# How far a grey level in a file may be from 0, 128 or 255: covers 127 and mild JPEG noise, not drawn greys.
GREY_SLACK = 8


def make_trimap(alpha: Floats, outer: float | Floats, inner: float | Floats) -> Bytes:
    """The trimap of an alpha matte: pixels near the edge of the foreground or the background become unknown.

    A pixel is foreground where alpha is 1 (within 1/255) on the whole disc of radius `inner` around it, and
    background where alpha is 0 on the whole disc of radius `outer`; all else is unknown. This is erosion by a
    disc, the elliptical kernel of (2 r + 1) x (2 r + 1) pixels that holds all offsets with dx^2 + dy^2 <=
    r^2; radius 0 erodes nothing. The frame of the image does not erode. It is computed as a threshold on the
    exact Euclidean distance, whose cost does not grow with the radius.

    Args:
        alpha: float32 [H, W] in 0..1.
        outer, inner: radii in pixels, 0 or more: numbers, or arrays [H, W] with a radius for every pixel.
    """
    if np.min(outer) < 0 or np.min(inner) < 0:
        raise ValueError(f"erosion radii must be 0 or more, got outer {outer} and inner {inner}")
    trimap = np.full(alpha.shape, UNKNOWN, np.uint8)
    trimap[_eroded(alpha >= 1 - TOLERANCE, inner)] = FOREGROUND
    trimap[_eroded(alpha <= TOLERANCE, outer)] = BACKGROUND
    return trimap


def _eroded(mask: npt.NDArray[np.bool_], radius: float | Floats) -> npt.NDArray[np.bool_]:
    """`mask` [H, W] eroded by a disc: pixels further than `radius` from every pixel outside the mask."""
    if not np.any(radius) or mask.all():
        return mask
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance > radius)


def encode_trimap(trimap: Bytes) -> Floats:
    """The network's trimap planes: one-hot float32 [3, H, W] for background, unknown, foreground."""
    return (trimap[None] == LEVELS[:, None, None]).astype(np.float32)


def known_pixels_kept(alpha: Floats, trimap: Bytes) -> Floats:
    """`alpha` [H, W] with exactly 1 where the trimap is foreground and exactly 0 where it is background."""
    kept = np.where(trimap == FOREGROUND, np.float32(1), alpha)
    return np.where(trimap == BACKGROUND, np.float32(0), kept).astype(np.float32)


def read_trimap(path: str | Path) -> Bytes:
    """A trimap file as uint8 [H, W] of exactly 0, 128 and 255.

    Levels up to 8 away from these three become the nearest of them: JPEG files and some tools write 127 or 253.

    Raises:
        UserError: the file cannot be read (see `read_image`), or holds other grey levels.
    """
    grey = decode(path, cv2.IMREAD_GRAYSCALE)
    away = np.abs(np.arange(256)[:, None] - LEVELS.astype(int))  # [256 levels, 3 classes]
    counts = np.bincount(grey.ravel(), minlength=256)
    strange = np.flatnonzero((counts > 0) & (away.min(axis=1) > GREY_SLACK))
    if strange.size:
        shown = ", ".join(map(str, strange[np.argsort(-counts[strange], kind="stable")][:5]))
        more = f" and {strange.size - 5} more" if strange.size > 5 else ""
        share = counts[strange].sum() / grey.size
        raise UserError(
            f"{path}: expected a trimap with the grey levels 0 (background), 128 (unknown) and 255 (foreground), each "
            f"within {GREY_SLACK}, got {shown}{more} in {share:.2%} of the pixels"
        )
    return np.asarray(LEVELS[away.argmin(axis=1)][grey], np.uint8)
