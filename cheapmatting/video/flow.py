"""Where the pixels of a frame were in the frame before.

T. Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; the implementation is OpenCV's.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ..arrays import Bytes, Floats

LONGEST = 960  # pixels of the longer side at which motion is found; larger frames are made smaller for it
SMALLEST = 32  # pixels of the shorter side; below, nothing is assumed to move
# A pixel that is followed back and forth must arrive this near to where it began, in pixels and as a share of its way.
NEAR, NEAR_SHARE = 1.0, 0.05


class Motion(NamedTuple):
    """From a frame to the frame before.

    Attributes:
        back: float32 [H, W, 2]; the pixel (x, y) was at (x, y) + back[y, x].
        trusted: bool [H, W]; whether following it forth again leads to the same place. What was covered before is not.
    """

    back: Floats
    trusted: npt.NDArray[np.bool_]

    def warped(self, before: Floats) -> Floats:
        """A plane of the frame before, float32 [H, W], where its pixels are now."""
        xs, ys = _places(self.back)
        return np.asarray(cv2.remap(before, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def motion(before: Bytes, now: Bytes) -> Motion:
    """The motion between two grey frames, uint8 [H, W] each."""
    height, width = now.shape
    scale = min(1.0, LONGEST / max(height, width))
    small = (round(width * scale), round(height * scale))
    if min(small) < SMALLEST:
        return Motion(np.zeros((height, width, 2), np.float32), np.ones((height, width), bool))
    first, second = (np.asarray(cv2.resize(frame, small, interpolation=cv2.INTER_AREA)) for frame in (before, now))
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = np.asarray(finder.calc(second, first, None), np.float32)  # type: ignore[call-overload]
    forth = np.asarray(finder.calc(first, second, None), np.float32)  # type: ignore[call-overload]
    xs, ys = _places(back)
    returned = back + cv2.remap(forth, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    allowed = NEAR + NEAR_SHARE * np.linalg.norm(back, axis=2)
    trusted = (np.linalg.norm(returned, axis=2) <= allowed).astype(np.uint8)
    if scale < 1:
        ratio = np.array([width / small[0], height / small[1]], np.float32)
        back = np.asarray(cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR) * ratio, np.float32)
        trusted = np.asarray(cv2.resize(trusted, (width, height), interpolation=cv2.INTER_NEAREST))
    return Motion(back, trusted > 0)


def _places(back: Floats) -> tuple[Floats, Floats]:
    """Where the pixels were: x and y, float32 [H, W] each."""
    height, width = back.shape[:2]
    xs = np.arange(width, dtype=np.float32)[None] + back[..., 0]
    ys = np.arange(height, dtype=np.float32)[:, None] + back[..., 1]
    return xs, ys
