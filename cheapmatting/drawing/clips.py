"""Short films of a drawn foreground that moves over a drawn background, with their true alphas."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..arrays import Bytes, Floats
from .backgrounds import BACKGROUNDS
from .compositing import as_layer
from .foregrounds import FOREGROUNDS

TURN = 12.0  # degrees to either side
SWAY = 0.08  # of the picture's side, to either side
PERIOD = 96  # frames of one sway; at 24 frames a second, a slow one
NOISE = 4.0  # levels: a camera's, which makes alphas flicker


def made_clip(
    kind: str, background: str, size: int, frames: int, seed: int = 0, noise: float = NOISE, period: int = PERIOD
) -> Iterator[tuple[Bytes, Floats]]:
    """Frames uint8 RGB [S, S, 3] with noise, and their true alphas float32 [S, S].

    The foreground sways and turns around its middle; the background drifts the other way.

    Args:
        kind: a key of `FOREGROUNDS`; background: one of `BACKGROUNDS`.
        noise: the standard deviation of every level of every frame.
        period: frames of one sway: small for fast motion.
    """
    rng = np.random.default_rng(seed)
    colours, alpha = FOREGROUNDS[kind](size, rng)
    layer = as_layer(colours, alpha)
    behind = cv2.resize(BACKGROUNDS[background](size, rng), None, fx=1.3, fy=1.3, interpolation=cv2.INTER_LINEAR)
    for number in range(frames):
        phase = 2 * np.pi * number / period
        placed = cv2.getRotationMatrix2D((size / 2, size / 2), TURN * np.sin(phase), 0.8)
        placed[0, 2] += size * SWAY * np.sin(phase)
        placed[1, 2] += size * SWAY * np.sin(2 * phase) / 2
        top = cv2.warpAffine(layer, placed, (size, size), flags=cv2.INTER_LINEAR)
        drift = np.array([[1, 0, -0.15 * size * (1 - np.sin(phase) / 4)], [0, 1, -0.15 * size]])
        bottom = cv2.warpAffine(behind, drift, (size, size), flags=cv2.INTER_LINEAR)
        picture = 255 * (top[..., :3] + (1 - top[..., 3:]) * bottom) + rng.normal(0, noise, (size, size, 3))
        yield np.rint(np.clip(picture, 0, 255)).astype(np.uint8), np.clip(top[..., 3], 0, 1).astype(np.float32)
