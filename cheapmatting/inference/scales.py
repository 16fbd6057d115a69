"""Wide bands of unknown at half the size first: what is clear there, and far from all that is known, is known after it.

A network has learned bands of some width. In a wider one it sees nothing but unknown pixels around the middle, and
answers grey for what a person tells at a glance. At half the size the same band is half as wide.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Bytes, Floats
from ..trimap import BACKGROUND, FOREGROUND, UNKNOWN

SCALES = ("auto", "one")
DEEP = 40  # pixels to the next known one, beyond which half the size is the better judge
SMALLEST = 256  # the shorter side, below which nothing is halved: smaller pictures show too little
CLEAR = 0.01  # alpha, from 0 or 1; at 0.05 a fine net, which looks solid at half the size, became so
MARGIN = 4  # pixels of half the size around a settled one that are clear as well


def too_wide(trimap: Bytes) -> bool:
    """Whether uint8 [H, W] has unknown pixels deeper than `DEEP`, and is large enough to be halved."""
    return min(trimap.shape) >= 2 * SMALLEST and bool(_inside(trimap == UNKNOWN, DEEP).any())


def halved(image: Bytes, trimap: Bytes) -> tuple[Bytes, Bytes]:
    """The image [H, W, 3], and the trimap [H, W] without new levels, at half their size."""
    height, width = trimap.shape
    size = ((width + 1) // 2, (height + 1) // 2)
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    levels = cv2.resize(trimap, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(smaller, np.uint8), np.asarray(levels, np.uint8)


def narrowed(trimap: Bytes, coarse: Floats) -> Bytes:
    """The trimap [H, W] without those unknown pixels that `coarse`, an alpha of half the size, settles."""
    far = _inside(trimap == UNKNOWN, DEEP)
    settled = trimap.copy()
    for level, clear in ((FOREGROUND, coarse > 1 - CLEAR), (BACKGROUND, coarse < CLEAR)):
        known = _inside(clear, MARGIN).view(np.uint8)
        enlarged = cv2.resize(known, trimap.shape[::-1], interpolation=cv2.INTER_NEAREST)
        settled[far & enlarged.view(np.bool_)] = level
    return settled


def _inside(mask: np.ndarray, radius: int) -> np.ndarray:
    """The pixels of a mask all of whose neighbours up to `radius`, in rows and columns, are of it."""
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.erode(mask.view(np.uint8), square).view(np.bool_)
