"""Pictures with transparency: drawing them finer than the pixel grid, stacking and blurring them, and finding
a foreground colour for every pixel.

A *layer* is float32 RGBA [H, W, 4] in 0..1 with colours *premultiplied* by alpha, the form in which averaging
and stacking are plain sums (Porter and Duff, 1984). Points are in unit coordinates: (0, 0) is the top left
corner of the picture, (1, 1) the bottom right, x first.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Points

SHIFT = 4  # cv2's fixed-point bits: coordinates to 1/16 of a canvas pixel
# Below this alpha a pixel's own colour is too coarsely known (8-bit sources) to be trusted alone.
TRUSTED_ALPHA = 1 / 8


class Canvas:
    """A transparent square, `oversampling` times finer than the layer it becomes.

    cv2's anti-aliased drawing blends every channel towards the drawn colour; with (R, G, B, 1) on a
    premultiplied canvas that is exactly "over". A line one canvas pixel wide is thus a strand of sub-pixel
    width in the layer.
    """

    def __init__(self, size: int, oversampling: int = 3) -> None:
        self.size = size
        self.fine = size * oversampling
        self.pixels = np.zeros((self.fine, self.fine, 4), np.uint8)

    def strands(self, lines: Points, colours: Floats, width: int = 1) -> None:
        """Draw n open lines of T points, float [n, T, 2], in colours [n, 3], later ones over earlier ones.

        `width` is in canvas pixels.
        """
        for line, colour in zip(self._fixed(lines), _opaque(colours), strict=True):
            cv2.polylines(self.pixels, [line], False, colour, width, cv2.LINE_AA, SHIFT)

    def threads(self, lines: Sequence[Points], colour: Floats, width: int = 1) -> None:
        """Draw open lines [T, 2] of one colour [3] at once."""
        fixed = [self._fixed(line) for line in lines]
        cv2.polylines(self.pixels, fixed, False, _opaque(colour[None])[0], width, cv2.LINE_AA, SHIFT)

    def polygon(self, outline: Points, colour: Floats) -> None:
        """Fill a closed outline [T, 2] with a colour [3]."""
        cv2.fillPoly(self.pixels, [self._fixed(outline)], _opaque(colour[None])[0], cv2.LINE_AA, SHIFT)

    def hole(self, outline: Points) -> None:
        """Make the inside of a closed outline [T, 2] transparent again."""
        cv2.fillPoly(self.pixels, [self._fixed(outline)], (0, 0, 0, 0), cv2.LINE_AA, SHIFT)

    def layer(self) -> Floats:
        """The drawing averaged down to [size, size, 4]."""
        small = cv2.resize(self.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(small * np.float32(1 / 255), np.float32)

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        return np.rint((points * self.fine - 0.5) * (1 << SHIFT)).astype(np.int32)


def _opaque(colours: Floats) -> list[tuple[int, ...]]:
    """Colours [n, 3] in 0..1 as cv2 scalars with alpha 255."""
    levels = np.rint(np.clip(colours, 0, 1) * 255).astype(int)
    return [(*level, 255) for level in levels.tolist()]


def over(top: Floats, bottom: Floats) -> Floats:
    """One layer on another."""
    return top + (1 - top[..., 3:]) * bottom


def shaded(layer: Floats, light: Floats) -> Floats:
    """A layer whose colours are multiplied by `light`, [H, W] or [H, W, 3] (1 leaves them)."""
    factor = light if light.ndim == 3 else light[..., None]
    colours = np.minimum(layer[..., :3] * factor, layer[..., 3:])
    return np.concatenate([colours, layer[..., 3:]], axis=2)


def as_layer(colours: Floats, alpha: Floats) -> Floats:
    """Straight colours [H, W, 3] and alpha [H, W] as a layer."""
    return np.concatenate([colours * alpha[..., None], alpha[..., None]], axis=2).astype(np.float32, copy=False)


def straight(layer: Floats) -> tuple[Floats, Floats]:
    """A layer as foreground colours [H, W, 3], defined everywhere, and alpha [H, W]."""
    return extended_colours(layer), np.clip(layer[..., 3], 0, 1)


def extended_colours(layer: Floats) -> Floats:
    """Straight colours [H, W, 3] of a layer, carried on into its transparent pixels.

    Without this, compositing with a blurred or rescaled alpha would pull whatever lies under alpha 0 (often
    black) into the edge. A pyramid of averages gives each transparent pixel the mean colour of the nearest
    scale at which anything is visible; pixels of alpha above 1/8 keep their own colour exactly.
    """
    levels = [layer]
    while max(levels[-1].shape[:2]) > 1:
        height, width = levels[-1].shape[:2]
        half = ((width + 1) // 2, (height + 1) // 2)
        smaller = cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.float32))
    colours = np.zeros((1, 1, 3), np.float32)
    for level in reversed(levels):
        height, width = level.shape[:2]
        coarse = cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR)
        alpha = level[..., 3:]
        trust = np.minimum(alpha / TRUSTED_ALPHA, 1) if level.shape[:2] != (1, 1) else np.float32(1)
        colours = coarse + trust * (level[..., :3] / np.maximum(alpha, 1e-6) - coarse)
    return np.clip(colours, 0, 1)
