"""The mattes of a video's frames: key trimaps are carried on by the motion and the last alpha, and alphas steadied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from ..masks.trimap_from_mask import banded
from ..masks.width import DEFAULT_WIDTH, Width
from ..trimap import UNKNOWN, known_pixels_kept
from .flow import Motion, motion

# How much of the last alpha, moved along, an unknown pixel keeps where nothing speaks against it.
STEADY = 0.5
# What speaks against it: the colours differ from the last frame's by this many levels, or the alphas by this much.
OTHER_COLOUR, OTHER_ALPHA = 12.0, 0.5
log = logging.getLogger(__name__)

MatteOf = Callable[[Bytes, Bytes], Floats]  # image uint8 [H, W, 3], trimap uint8 [H, W] -> alpha float32 [H, W]


class Frame(NamedTuple):
    """A matted frame: uint8 RGB [H, W, 3], uint8 trimap [H, W], float32 alpha [H, W] in 0..1."""

    image: Bytes
    trimap: Bytes
    alpha: Floats


@dataclass(frozen=True)
class _Last:
    """What is kept of the last frame, and how far from the outline the key's band goes, in pixels."""

    grey: Bytes  # [H, W]
    trimap: Bytes
    alpha: Floats
    reach: float


def matte_frames(
    matte: MatteOf,
    frames: Iterable[Bytes],
    keys: Mapping[int, Callable[[Bytes], Bytes]],
    width: Width = DEFAULT_WIDTH,
    steady: float = STEADY,
) -> Iterator[Frame]:
    """Matte frame after frame; of those before, only the last is kept.

    Args:
        matte: such as `Matter.matte`.
        frames: uint8 RGB [H, W, 3] of one size.
        keys: functions from a frame to its trimap, by the frame's number, from 0. The first frame needs one. A key
            trimap replaces what was carried so far; nothing is carried backwards.
        width: the least width of the carried trimaps' unknown band.
        steady: from 0, every frame alone, to below 1: the share of the last alpha that unknown pixels keep.

    Raises:
        UserError: no key trimap for the first frame, or a frame of another size than the first.
    """
    if not 0 <= steady < 1:
        raise UserError(f"--steady: expected 0 or more and less than 1, got {steady:g}")
    if 0 not in keys:
        raise UserError("--trimap: expected one for the first frame, 0=FILE")
    last: _Last | None = None
    number = -1
    for number, image in enumerate(frames):
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        if last and last.grey.shape != grey.shape:
            raise UserError(f"frame {number}: expected the first frame's size, {last.grey.shape}, got {grey.shape}")
        moved = motion(last.grey, grey) if last else None
        if number in keys:
            trimap = keys[number](image)
        else:
            assert last and moved
            trimap = carried(moved, last.trimap, last.alpha, last.reach, width.pixels(*grey.shape))
        alpha = matte(image, trimap)
        if last and moved:
            alpha = known_pixels_kept(steadied(alpha, last, moved, grey, steady), trimap)
        reach = _reach(trimap, alpha) if number in keys or last is None else last.reach
        last = _Last(grey, trimap, alpha, reach)
        yield Frame(image, trimap, alpha)
    if late := sorted(key for key in keys if key > number):
        log.warning("the trimaps of the frames %s were not used: there are %d frames", late, number + 1)


def carried(moved: Motion, trimap: Bytes, alpha: Floats, reach: float, band: int) -> Bytes:
    """The trimap uint8 [H, W] of a frame, from the trimap and the alpha of the frame before.

    Both are moved along. What was unknown stays so. The alpha gets a band around it, as any rough alpha does; near its
    outline, what cannot be trusted to be the same place is unknown. Nothing is unknown further from the outline than
    `reach`, or than the band: doubt must not spread from frame to frame.
    """
    warped = moved.warped(alpha)
    levels = np.rint(warped * 255).astype(np.uint8)
    distance = _outline_distance(warped)
    levels[~moved.trusted & (distance <= band)] = UNKNOWN
    far = distance > max(reach, band)
    levels[far] = np.where(warped[far] >= 0.5, 255, 0)
    now = banded(levels, band)
    now[(moved.warped((trimap == UNKNOWN).astype(np.float32)) >= 0.5) & ~far] = UNKNOWN
    return now


def steadied(alpha: Floats, last: _Last, moved: Motion, grey: Bytes, steady: float) -> Floats:
    """Alpha float32 [H, W] drawn towards the last one, moved along; less where the picture or the alpha changed."""
    if steady == 0:
        return alpha
    before = moved.warped(last.alpha)
    colours = np.abs(moved.warped(last.grey.astype(np.float32)) - grey)
    colours = cv2.GaussianBlur(colours, (0, 0), 1)
    same = np.clip(1 - colours / OTHER_COLOUR, 0, 1) * np.clip(1 - np.abs(alpha - before) / OTHER_ALPHA, 0, 1)
    weight = (steady * same * moved.trusted).astype(np.float32)
    return alpha + weight * (before - alpha)


def _outline_distance(alpha: Floats) -> Floats:
    """Pixels to where alpha crosses a half, float32 [H, W]; 0 everywhere if it never does."""
    inside = (alpha >= 0.5).astype(np.uint8)
    if inside.min() == inside.max():
        return np.zeros(alpha.shape, np.float32)
    to_outside, to_inside = (cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_5) for side in (inside, 1 - inside))
    return np.asarray(to_outside + to_inside, np.float32)


def _reach(trimap: Bytes, alpha: Floats) -> float:
    """The largest distance of an unknown pixel from the outline."""
    unknown = trimap == UNKNOWN
    return float(_outline_distance(alpha)[unknown].max()) if unknown.any() else 0.0
