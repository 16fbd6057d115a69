"""Trimaps as people have them, mended: exact ones, anti-aliased or JPEG-damaged ones, 0/1/2, soft masks, other sizes.

Everything that is not surely known becomes unknown, which costs time but no quality. What was changed is logged as a
warning; what cannot be meant as a trimap is refused.
"""

from __future__ import annotations

import logging
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from atldas.common.errors import UserError

from .arrays import Bytes
from .images import as_bytes

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255
LEVELS = np.array([BACKGROUND, UNKNOWN, FOREGROUND], np.uint8)
# Levels up to this far from 0, 128 or 255 are those, without a word: some tools write 127 or 253.
SLACK = 8
# A trimap with a plateau at 128 and levels between, from anti-aliasing or JPEG: background up to the first, foreground
# from the second, unknown between them.
DAMAGED_CUTS = (32, 223)
# A soft mask: known only where it is nearly 0 or 255.
SOFT_CUTS = (SLACK, 255 - SLACK)
PLATEAU = 0.5  # share of the levels between 0 and 255 that lie at 128 in a damaged trimap
LEAST_KNOWN = 0.1  # share of a soft mask; a grey photograph has less
GREY = 48  # how far the channels of a grey pixel may be apart: JPEG moves them
COLOURED = 0.01  # share of pixels that may be further apart
ASPECT = 0.01  # relative difference of width / height that still counts as the same
log = logging.getLogger(__name__)


def mended(pixels: npt.NDArray[Any], name: str) -> Bytes:
    """A trimap as uint8 [H, W] of exactly 0, 128 and 255.

    Args:
        pixels: uint8, uint16 or float32 in 0..1, [H, W, C]: grey, or RGB whose channels agree, with or without alpha.
            Where an alpha channel varies, it is what is meant.
        name: whose trimap it is, for errors and warnings.

    Raises:
        UserError: a colour image, or grey levels of which too few are known.
    """
    plane = _plane(pixels, name)
    labels = _labels(plane, name)
    return labels if labels is not None else _cut(as_bytes(plane), name)


def _plane(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The one channel [H, W] that says what is known."""
    channels = pixels.shape[2]
    if channels in (2, 4) and (pixels[..., -1] != pixels[..., -1].flat[0]).any():
        return pixels[..., -1]
    if channels < 3:
        return pixels[..., 0]
    colours = np.ascontiguousarray(pixels[..., :3])
    levels = as_bytes(colours)
    apart = levels.max(axis=2) - levels.min(axis=2)
    if (apart > GREY).mean() > COLOURED:
        raise UserError(
            f"{name}: expected a trimap with the grey levels 0 (background), 128 (unknown) and 255 (foreground), got a "
            f"colour image"
        )
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))


def _labels(plane: npt.NDArray[Any], name: str) -> Bytes | None:
    """Labels 0, 1, 2, or 0, 1 of a mask, as levels; None if these are levels already."""
    highest = plane.max(initial=0)
    if plane.dtype == np.float32 or not 1 <= highest <= 2:
        return None
    meant = LEVELS if highest == 2 else np.array([BACKGROUND, FOREGROUND], np.uint8)
    log.warning("%s: taken as labels: %s", name, ", ".join(f"{i} means {level}" for i, level in enumerate(meant)))
    return np.asarray(meant[plane])


def _cut(levels: Bytes, name: str) -> Bytes:
    counts = np.bincount(levels.ravel(), minlength=256)
    away = np.abs(np.arange(256)[:, None] - LEVELS.astype(int))  # [256 levels, 3 classes]
    meant = LEVELS[away.argmin(axis=1)]
    strange = away.min(axis=1) > SLACK
    if not counts[strange].any():
        return meant[levels]
    middle = counts[SLACK + 1 : 255 - SLACK].sum()
    damaged = counts[UNKNOWN - SLACK : UNKNOWN + SLACK + 1].sum() >= PLATEAU * middle
    low, high = DAMAGED_CUTS if damaged else SOFT_CUTS
    known = counts[: SLACK + 1].sum() + counts[255 - SLACK :].sum()
    share = counts[strange].sum() / levels.size
    if not damaged and known < LEAST_KNOWN * levels.size:
        shown = ", ".join(map(str, np.argsort(-counts * strange, kind="stable")[:3]))
        raise UserError(
            f"{name}: expected a trimap with the grey levels 0 (background), 128 (unknown) and 255 (foreground), or a "
            f"soft mask, got other levels in {share:.1%} of the pixels (most: {shown})"
        )
    what = "a trimap with damaged edges" if damaged else "a soft mask"
    log.warning(
        "%s: taken as %s, %.1f%% of its pixels are other levels than 0, 128 and 255: up to %d is background, from %d "
        "foreground, between them unknown", name, what, 100 * share, low, high
    )  # fmt: skip
    levels_meant = np.full(256, UNKNOWN, np.uint8)
    levels_meant[: low + 1], levels_meant[high:] = BACKGROUND, FOREGROUND
    return levels_meant[levels]


def same_aspect(width: int, height: int, wanted_width: int, wanted_height: int) -> bool:
    """Whether two sizes are one picture's at two scales."""
    return abs(width * wanted_height / (height * wanted_width) - 1) <= ASPECT


def fitted(trimap: Bytes, name: str, width: int, height: int, of: str) -> Bytes:
    """A trimap in the size of its image. A pixel stays known where all that it is made of is known alike.

    Raises:
        UserError: another aspect.
    """
    tall, wide = trimap.shape
    if (wide, tall) == (width, height):
        return trimap
    if not same_aspect(wide, tall, width, height):
        raise UserError(f"{name}: expected {width} x {height} pixels, as {of} has, got {wide} x {tall}")
    log.warning("%s: resized from %d x %d to %d x %d, the size of %s", name, wide, tall, width, height, of)
    how = cv2.INTER_AREA if width < wide else cv2.INTER_LINEAR
    fit = np.full((height, width), UNKNOWN, np.uint8)
    for level in (BACKGROUND, FOREGROUND):
        share = cv2.resize((trimap == level).astype(np.float32), (width, height), interpolation=how)
        fit[share > 1 - 1e-4] = level
    return fit
