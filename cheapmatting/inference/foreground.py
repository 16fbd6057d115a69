"""The colours of a foreground, without the background behind it."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Bytes, Floats

BAND = 2**22  # pixels whose colours are estimated at once: 50 MB for each of several maps
REACH = 64  # rows that the two boxes of `estimate_foreground` reach, 90 / 2 + 6 / 2, and some more


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
    foreground = background = image
    for radius in radii:
        box = (radius, radius)
        weight = cv2.blur(alpha, box)[..., None]
        mean_foreground = cv2.blur(foreground * a, box) / (weight + 1e-5)
        mean_background = cv2.blur(background * (1 - a), box) / ((1 - weight) + 1e-5)
        foreground = mean_foreground + a * (image - a * mean_foreground - (1 - a) * mean_background)
        foreground = np.clip(foreground, 0, 1).astype(np.float32)
        background = mean_background.astype(np.float32)
    return np.where(a == 1, image, foreground)


def cut_out(image: Bytes, alpha: Floats) -> Bytes:
    """A straight RGBA cut-out, uint8 [H, W, 4], of an image uint8 RGB [H, W, 3] by its alpha float32 [H, W]."""
    height, width = alpha.shape
    cutout = np.empty((height, width, 4), np.uint8)
    rows = max(BAND // width, 2 * REACH)
    for start in range(0, height, rows):
        top, stop = max(start - REACH, 0), min(start + rows, height)
        seen = slice(top, stop + REACH)
        colours = estimate_foreground(image[seen].astype(np.float32) / np.float32(255), alpha[seen])
        cutout[start:stop, :, :3] = np.rint(colours[start - top : stop - top] * 255)
    cutout[..., 3] = np.rint(alpha * 255)
    return cutout
