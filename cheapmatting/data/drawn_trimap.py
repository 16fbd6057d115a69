"""Trimaps as people draw them: narrow and wide, uneven, with more marked unknown than need be, and never wrong."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from atldas.common.config import config

from ..arrays import Bytes, Floats, Rng
from ..drawing.textures import smooth_field
from ..trimap import FOREGROUND, UNKNOWN, make_trimap
from .chance import Chance, Range, check_range, happens

# Radii are given for pairs of this size, at which the field trains.
USUAL_SIZE = 512


@config
class TrimapConfig:
    """How trimaps are drawn.

    Attributes:
        radii: lowest and highest radius of erosion in pixels. Each side of an edge gets a radius of its own.
        spacing: `log` draws radii log-evenly, so that narrow trimaps are as frequent as wide ones, for pairs 512 pixels
            wide; for others they are in proportion, but 1 at least. `even` draws whole numbers evenly, for all sizes.
        alike: chance that both sides have the same radius, as in trimaps that a program made of a mask.
        wide: chance of up to three times the highest radius.
        uneven: chance that the radius varies along the edge, down to a tenth.
        strokes: chance of some brush strokes of unknown around unknown pixels.
        patches: chance of strokes and blobs of unknown anywhere, also over solid interiors and plain background.
        pieces: chance that connected pieces of what is solid are left unknown as a whole, each with a chance of a half.
        unknown_foreground: chance that no pixel at all is marked as foreground.
        never_empty: whether a trimap in which nothing is known is replaced by the narrowest one.
    """

    radii: Range = (1.0, 29.0)
    spacing: Literal["log", "even"] = "log"
    alike: Chance = 0.0
    wide: Chance = 0.1
    uneven: Chance = 0.3
    strokes: Chance = 0.2
    patches: Chance = 0.0
    pieces: Chance = 0.0
    unknown_foreground: Chance = 0.05
    never_empty: bool = True

    def __post_init__(self) -> None:
        check_range(self.radii, 1 if self.spacing == "log" else 0, 500)


# Radii of 1 to 15 pixels: the elliptical kernels of up to 29 pixels across that the field trains with.
PLAIN_TRIMAPS = TrimapConfig(
    radii=(1.0, 15.0), spacing="even", wide=0.0, uneven=0.0, strokes=0.0, unknown_foreground=0.0, never_empty=False
)


def drawn_trimap(alpha: Floats, rng: Rng, settings: TrimapConfig) -> Bytes:
    """A random trimap uint8 [H, W] of alpha float32 [H, W]; no known pixel is wrong (see `make_trimap`)."""
    radii = [_radius(alpha, rng, settings) for _ in range(2)]
    if happens(rng, settings.alike):
        radii[1] = radii[0]
    if happens(rng, settings.uneven):
        field = smooth_field(max(alpha.shape), rng, int(rng.integers(3, 12)), 2)[: alpha.shape[0], : alpha.shape[1]]
        share = np.clip(1.5 * field - 0.25, 0.1, 1)
        trimap = make_trimap(alpha, radii[0] * share[..., 0], radii[1] * share[..., 1])
    else:
        trimap = make_trimap(alpha, *radii)
    if happens(rng, settings.strokes):
        trimap[_strokes(trimap == UNKNOWN, rng)] = UNKNOWN
    if happens(rng, settings.patches):
        trimap[_strokes(np.ones(trimap.shape, np.bool_), rng) | _blobs(trimap.shape, rng)] = UNKNOWN
    if happens(rng, settings.pieces):
        trimap[_pieces(trimap == FOREGROUND, rng)] = UNKNOWN
    if happens(rng, settings.unknown_foreground):
        trimap[trimap == FOREGROUND] = UNKNOWN
    if settings.never_empty and not (trimap != UNKNOWN).any():
        return make_trimap(alpha, 1, 1)
    return trimap


def _radius(alpha: Floats, rng: Rng, settings: TrimapConfig) -> float:
    """One radius in pixels."""
    lowest, highest = settings.radii
    if happens(rng, settings.wide):
        lowest, highest = highest, 3 * highest
    if settings.spacing == "even":
        return float(rng.integers(round(lowest), round(highest) + 1))
    drawn = float(np.exp(rng.uniform(np.log(lowest), np.log(highest))))
    return max(1.0, drawn * max(alpha.shape) / USUAL_SIZE)


def _strokes(unknown: npt.NDArray[np.bool_], rng: Rng) -> npt.NDArray[np.bool_]:
    """One to three wandering strokes of a thick round brush that begin at unknown pixels, as a mask [H, W]."""
    mask = np.zeros(unknown.shape, np.uint8)
    places = np.argwhere(unknown)
    size = max(unknown.shape)
    for _ in range(int(rng.integers(1, 4)) if len(places) else 0):
        start = places[rng.integers(len(places)), ::-1]  # x, y
        steps = rng.normal(0, 0.06 * size, (int(rng.integers(1, 6)), 2))
        line = np.rint(start + np.cumsum(np.vstack([[0, 0], steps]), axis=0)).astype(np.int32)
        thickness = max(2, round(size * float(np.exp(rng.uniform(np.log(0.02), np.log(0.12))))))
        cv2.polylines(mask, [line], False, 1, thickness)
    return mask > 0


def _blobs(shape: tuple[int, ...], rng: Rng) -> npt.NDArray[np.bool_]:
    """One to four filled ellipses anywhere, the largest half as wide as the picture, as a mask [H, W]."""
    mask = np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        centre = [int(rng.integers(length)) for length in shape[::-1]]
        axes = np.rint(max(shape) * np.exp(rng.uniform(np.log(0.02), np.log(0.25), 2))).astype(int)
        cv2.ellipse(mask, centre, axes.tolist(), rng.uniform(0, 180), 0, 360, 1, cv2.FILLED)
    return mask > 0


def _pieces(solid: npt.NDArray[np.bool_], rng: Rng) -> npt.NDArray[np.bool_]:
    """Each connected piece of a mask [H, W] with a chance of a half, as a mask."""
    count, labels = cv2.connectedComponents(solid.astype(np.uint8))
    chosen = rng.random(count) < 0.5
    return chosen[labels] & solid
