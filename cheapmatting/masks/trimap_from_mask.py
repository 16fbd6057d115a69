"""A trimap from a mask or a rough alpha."""

from __future__ import annotations

import logging

import cv2
import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes
from ..rough_trimap import same_aspect
from ..trimap import BACKGROUND, FOREGROUND, make_trimap
from .width import DEFAULT_WIDTH, Width

# Levels up to 12 count as background and from 243 as foreground: networks seldom answer exactly 0 and 255, and JPEG
# blurs them. What lies between is uncertain.
CERTAIN_BACKGROUND, CERTAIN_FOREGROUND = 12, 243
log = logging.getLogger(__name__)


def trimap_from_mask(mask: Bytes, width: Width = DEFAULT_WIDTH) -> Bytes:
    """The trimap uint8 [H, W] of a mask or rough alpha uint8 [H, W].

    Around an edge between certain background and certain foreground, `width` pixels are unknown, half of them on each
    side, and of an odd number one more outside. Where the mask is uncertain (13 to 242), all uncertain pixels are
    unknown, and half of `width` around them: a soft edge gets a band as much wider as it is soft.

    Raises:
        UserError: the mask has no certain pixel of one of the two kinds, so that there is nothing to cut out.
    """
    levels = _stretched(mask)
    if levels.min() > CERTAIN_BACKGROUND:
        raise UserError(f"mask: expected foreground and background, got no background (0 to {CERTAIN_BACKGROUND})")
    if levels.max() < CERTAIN_FOREGROUND:
        raise UserError(f"mask: expected foreground and background, got no foreground ({CERTAIN_FOREGROUND} to 255)")
    band = width.pixels(*levels.shape)
    trimap = banded(levels, band)
    for level, name in ((FOREGROUND, "foreground"), (BACKGROUND, "background")):
        if not (trimap == level).any():
            log.warning("the band of %d pixels leaves no certain %s; a smaller --width keeps some", band, name)
    return trimap


def banded(levels: Bytes, band: int) -> Bytes:
    """The trimap uint8 [H, W] of `trimap_from_mask`, with a band of so many pixels; one of the kinds may be missing."""
    known = np.full(levels.shape, 0.5, np.float32)
    known[levels <= CERTAIN_BACKGROUND] = 0
    known[levels >= CERTAIN_FOREGROUND] = 1
    return make_trimap(known, outer=band - band // 2, inner=band // 2)


def _stretched(mask: Bytes) -> Bytes:
    """A mask of 0 and 1, which is no picture of anything else, as 0 and 255."""
    return mask * np.uint8(255) if mask.max() == 1 else mask


def fitted(mask: Bytes, height: int, width: int, name: str) -> Bytes:
    """`mask` [h, w] in the size of its photograph; one of the same aspect is resized, and a warning says so.

    Raises:
        UserError: another aspect.
    """
    if mask.shape == (height, width):
        return mask
    h, w = mask.shape
    if not same_aspect(w, h, width, height):
        raise UserError(f"{name}: expected a mask of {width} x {height} pixels, as the photograph has, got {w} x {h}")
    log.warning("%s: resized from %d x %d to %d x %d, the photograph's size", name, w, h, width, height)
    return resized(mask, height, width)


def resized(mask: Bytes, height: int, width: int) -> Bytes:
    """`mask` in another size; its edges become as soft as it is coarse."""
    smaller = height * width < mask.size
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, (width, height), interpolation=how), np.uint8)
