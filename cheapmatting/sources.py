"""Endless sources of training pairs: procedural, or made from folders of cut-outs and photographs.

A source is anything with `source[index] -> Sample`. Here a sample is a function of (seed, index) and the
files alone: it does not matter which samples were drawn before, or by which process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from atldas.errors import UserError

from .backgrounds import Background, camouflaged, procedural_background
from .foregrounds import FOREGROUNDS
from .image_folder import ImageFolder
from .images import Bytes, read_image, read_rgba
from .layers import as_layer, straight
from .sample import Sample
from .trimap import Floats, random_trimap

Rng = np.random.Generator
# How often a background takes on the foreground's mean colour.
CAMOUFLAGE = 0.2
# Radii of 1 to 15 pixels: the elliptical kernels of up to 29 pixels across that the field trains with.
WIDTHS = (1, 15)
# Cut-outs and photographs are enlarged by at most 1.5; beyond that they have no detail left.
SMALLEST_RATIO = 1 / 1.5


class Source(Protocol):
    """Where training pairs come from."""

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`, 0 or more."""
        ...


class SyntheticSource:
    """Procedural foregrounds over procedural backgrounds or a folder of photographs.

    Args:
        size: side of the square samples in pixels.
        seed: 0 or more; another seed gives other samples.
        backgrounds: a folder of photographs, or None for procedural backgrounds.
        kinds: names from `FOREGROUNDS`, each equally likely.
        widths: lowest and highest erosion radius of the trimaps, in pixels (see `random_trimap`).

    Raises:
        UserError: an unknown kind, or a folder without images.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        backgrounds: str | Path | None = None,
        kinds: Sequence[str] = tuple(FOREGROUNDS),
        widths: tuple[int, int] = WIDTHS,
    ) -> None:
        unknown = sorted(set(kinds) - set(FOREGROUNDS))
        if unknown or not kinds:
            raise UserError(f"unknown foregrounds {', '.join(unknown) or '(none)'}; allowed: {', '.join(FOREGROUNDS)}")
        self.size, self.seed, self.kinds, self.widths = size, seed, tuple(kinds), widths
        self.background = background_from(backgrounds)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        foreground, alpha = FOREGROUNDS[self.kinds[rng.integers(len(self.kinds))]](self.size, rng)
        return _paired(foreground, alpha, self.background, self.widths, rng)


class FolderSource:
    """Cut-outs from a folder of RGBA images over a folder of photographs or procedural backgrounds.

    A cut-out is mirrored half of the time, scaled at random between whole and 1.5 times enlarged, and cropped
    around one of its edge or translucent pixels, so that every sample has something unknown.

    Args:
        foregrounds: a folder of images with an alpha channel. Files that cannot be used (damaged, without
            alpha, opaque throughout) are named in a warning and skipped; `source.foregrounds.skipped` holds
            them.
        backgrounds, size, seed, widths: as for `SyntheticSource`.

    Raises:
        UserError: a folder without images; on indexing, one without any usable image.
    """

    def __init__(
        self,
        foregrounds: str | Path,
        backgrounds: str | Path | None,
        size: int,
        seed: int,
        widths: tuple[int, int] = WIDTHS,
    ) -> None:
        self.size, self.seed, self.widths = size, seed, widths
        self.foregrounds = ImageFolder(foregrounds, read_cutout)
        self.background = background_from(backgrounds)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        colours, alpha = self.foregrounds.pick(rng)
        layer = cropped_cutout(colours, alpha, self.size, rng)
        if rng.random() < 0.5:
            layer = layer[:, ::-1]
        return _paired(*straight(np.ascontiguousarray(layer)), self.background, self.widths, rng)


class PhotoBackgrounds:
    """Random square crops of the photographs in a folder; callable like the procedural backgrounds.

    Raises:
        UserError: a folder without images; when called, one without any usable image.
    """

    def __init__(self, folder: str | Path) -> None:
        self.photos = ImageFolder(folder, read_image)

    def __call__(self, size: int, rng: Rng) -> Floats:
        """Half to all of a photograph's shorter side, perhaps mirrored: float32 RGB [size, size, 3]."""
        photo = self.photos.pick(rng)
        shorter = min(photo.shape[:2])
        side = max(int(shorter * rng.uniform(0.5, 1)), min(shorter, int(size * SMALLEST_RATIO)))
        top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
        crop = _resized(photo[top : top + side, left : left + side], size)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return np.ascontiguousarray(crop, np.float32) / np.float32(255)


def background_from(folder: str | Path | None) -> Background:
    """Photographs from a folder, or procedural backgrounds for None."""
    return procedural_background if folder is None else PhotoBackgrounds(folder)


def read_cutout(path: str | Path) -> tuple[Bytes, Floats]:
    """As `read_rgba`, and refuses an image of one alpha throughout: there is no edge to learn from."""
    colours, alpha = read_rgba(path)
    if alpha.min() == alpha.max():
        raise UserError(f"{path}: alpha is {alpha.min():.3g} everywhere; a cut-out with visible edges is needed")
    return colours, alpha


def cropped_cutout(colours: Bytes, alpha: Floats, size: int, rng: Rng) -> Floats:
    """A random square of a cut-out, resized: a premultiplied layer [size, size, 4] (see layers.py).

    The square is between 1/1.5 of `size` and a little more than the whole cut-out wide, and holds at least
    one pixel at which alpha changes.

    Args:
        colours: straight uint8 RGB [H, W, 3].
        alpha: float32 [H, W] in 0..1.
    """
    widest = max(1.1 * max(alpha.shape) / size, 1.2 * SMALLEST_RATIO)
    side = max(2, round(size * float(np.exp(rng.uniform(np.log(SMALLEST_RATIO), np.log(widest))))))
    changing = np.flatnonzero(cv2.morphologyEx(alpha, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0)
    at = np.unravel_index(changing[rng.integers(changing.size)], alpha.shape)
    # The share of visible pixels at each end of the columns and rows: (top, bottom), (left, right).
    ends = [(float((lines[0] > 0.5).mean()), float((lines[-1] > 0.5).mean())) for lines in (alpha, alpha.T)]
    top, left = (_crop_start(int(at[i]), side, alpha.shape[i], ends[i], rng) for i in (0, 1))
    rows, columns = (slice(max(s, 0), min(s + side, n)) for s, n in zip((top, left), alpha.shape, strict=True))
    layer = as_layer(colours[rows, columns] * np.float32(1 / 255), alpha[rows, columns])
    before = (rows.start - top, columns.start - left)
    height, width = layer.shape[:2]
    square = cv2.copyMakeBorder(
        layer,
        before[0],
        side - height - before[0],
        before[1],
        side - width - before[1],
        cv2.BORDER_CONSTANT,
        value=(0, 0, 0, 0),
    )
    return np.asarray(_resized(square, size), np.float32)


def _crop_start(at: int, side: int, length: int, ends: tuple[float, float], rng: Rng) -> int:
    """Where a crop of `side` pixels that holds pixel `at` begins on an axis of `length`; may be negative.

    A subject that the frame cut off at one end (a portrait's shoulders) stays at the end of the crop, instead
    of floating with a straight edge.
    """
    if side <= length:
        return int(np.clip(at - rng.uniform(0.15, 0.85) * side, 0, length - side))
    cut_first, cut_last = (share > 0.1 for share in ends)
    if cut_first != cut_last:
        return 0 if cut_first else length - side
    return -int(rng.integers(side - length + 1))


def _resized(image: npt.NDArray, size: int) -> npt.NDArray:
    """A square image at another size, averaged when it shrinks."""
    interpolation = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation))


def _paired(foreground: Floats, alpha: Floats, background_of: Background, widths: tuple[int, int], rng: Rng) -> Sample:
    """A foreground with a background and a trimap drawn for it."""
    background = background_of(alpha.shape[0], rng)
    if rng.random() < CAMOUFLAGE:
        background = camouflaged(background, foreground, alpha, rng)
    return Sample(foreground, background, alpha, random_trimap(alpha, rng, widths))
