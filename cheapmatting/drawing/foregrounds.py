"""The procedural foregrounds by name.

Each is a function of the picture's side in pixels and a random generator that returns straight colours,
float32 RGB [S, S, 3], defined also where nothing is visible, and alpha, float32 [S, S], both in 0..1. A new
one is such a function and a line in `FOREGROUNDS`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..arrays import Floats, Rng
from .compositing import as_layer, straight
from .meshes import lace, mesh, net
from .plants import leaves
from .solids import sharp
from .strands import fur, hair
from .translucent import glass, smoke, veil
from .wings import wings

Foreground = Callable[[int, Rng], tuple[Floats, Floats]]
STILL: dict[str, Foreground] = {
    "hair": hair,
    "fur": fur,
    "leaves": leaves,
    "lace": lace,
    "net": net,
    "mesh": mesh,
    "smoke": smoke,
    "glass": glass,
    "veil": veil,
    "wings": wings,
    "sharp": sharp,
}
# What has solid parts, so that a blurred edge can be told from translucency.
BLURRABLE = ("hair", "fur", "leaves", "sharp")


def defocused(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """Another kind seen out of focus: colours and alpha averaged over a disc, as a wide lens does."""
    radius = int(rng.integers(2, 3 + size // 50))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.float32)
    return _blurred(size, rng, disc / disc.sum())


def moving(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """Another kind with motion blur: colours and alpha averaged along a line."""
    half = int(rng.integers(4, 5 + size // 24))
    angle = rng.uniform(0, 2 * np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * half
    line = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = [np.rint((half + sign * reach) * 16).astype(int).tolist() for sign in (-1, 1)]
    cv2.line(line, tuple(ends[0]), tuple(ends[1]), 1.0, 1, shift=4)
    return _blurred(size, rng, line / line.sum())


def _blurred(size: int, rng: Rng, kernel: Floats) -> tuple[Floats, Floats]:
    """A random blurrable kind through a kernel of sum 1. Averaging must be done on premultiplied colours."""
    colours, alpha = STILL[BLURRABLE[rng.integers(len(BLURRABLE))]](size, rng)
    layer = cv2.filter2D(as_layer(colours, alpha), -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return straight(np.asarray(layer, np.float32))


FOREGROUNDS: dict[str, Foreground] = {**STILL, "defocused": defocused, "moving": moving}
