"""Trimaps: uint8 [H, W] with exactly 0 background, 128 unknown and 255 foreground."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .arrays import Bytes, Floats
from .decoding import MAX_PIXELS, Source, name_of, read_picture
from .rough_trimap import BACKGROUND, FOREGROUND, LEVELS, UNKNOWN, mended

__all__ = ["BACKGROUND", "FOREGROUND", "LEVELS", "TOLERANCE", "UNKNOWN"]
__all__ += ["encode_trimap", "known_pixels_kept", "make_trimap", "read_trimap"]
# An 8-bit alpha of 1 or 254 still counts as known. The 1e-6 is for rounding in single precision.
TOLERANCE = 1 / 255 + 1e-6


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
    distance = np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    # Its square is an integer; the distance itself has other last bits in each call where OpenCV has Intel's IPP.
    np.rint(np.square(distance, out=distance), out=distance)
    return distance > np.square(radius)


def encode_trimap(trimap: Bytes) -> Floats:
    """The network's trimap planes: one-hot float32 [3, H, W] for background, unknown, foreground."""
    return (trimap[None] == LEVELS[:, None, None]).astype(np.float32)


def known_pixels_kept(alpha: Floats, trimap: Bytes) -> Floats:
    """`alpha` [H, W] with exactly 1 where the trimap is foreground and exactly 0 where it is background."""
    kept = alpha.astype(np.float32)  # a copy, and the only one: photographs are large
    kept[trimap == FOREGROUND] = 1
    kept[trimap == BACKGROUND] = 0
    return kept


def read_trimap(path: Source, max_pixels: int = MAX_PIXELS) -> Bytes:
    """A trimap file as uint8 [H, W] of exactly 0, 128 and 255, mended where it is rough (see `rough_trimap`).

    Raises:
        UserError: the file cannot be read (see `read_image`), or is no trimap.
    """
    return mended(read_picture(path, max_pixels, as_data=True).pixels, name_of(path))
