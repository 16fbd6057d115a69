"""Endless sources of training pairs: procedural, or made from folders of cut-outs and photographs.

A source is anything with `source[index] -> Sample`. Here a sample is a function of (seed, index) and the
files alone: it does not matter which samples were drawn before, or by which process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from atldas.common.errors import UserError

from ..arrays import Floats, Rng
from ..drawing.backgrounds import Background, camouflaged, procedural_background
from ..drawing.foregrounds import FOREGROUNDS, Foreground
from ..trimap import random_trimap
from .augment import AugmentConfig, augmented, combined, turned
from .cutouts import Cutouts, cutout_folder
from .drawn_trimap import drawn_trimap
from .geometry import GeometryConfig
from .photos import PhotoBackgrounds
from .sample import Sample

# How often a background takes on the foreground's mean colour, where there is no augmentation.
CAMOUFLAGE = 0.2
# Radii of 1 to 15 pixels: the elliptical kernels of up to 29 pixels across that the field trains with.
RADII = (1, 15)


class Source(Protocol):
    """Where training pairs come from."""

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`, 0 or more."""
        ...


class LayeredSource:
    """A foreground over a background, with a trimap drawn for it.

    Args:
        foreground, background: what draws or reads them, called with a side in pixels and a random generator.
        size: side of the square samples in pixels.
        seed: 0 or more; another seed gives other samples.
        radii: lowest and highest erosion radius of the trimaps, in pixels (see `random_trimap`).
        augment: what is done to the pairs; `augment.trimap` then takes the place of `radii`.
    """

    def __init__(
        self,
        foreground: Foreground,
        background: Background,
        size: int,
        seed: int,
        radii: tuple[int, int] = RADII,
        augment: AugmentConfig | None = None,
    ) -> None:
        self.foreground, self.background = foreground, background
        self.size, self.seed, self.radii, self.augment = size, seed, radii, augment

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        return self._plain(rng) if self.augment is None else self._augmented(rng, self.augment)

    def _plain(self, rng: Rng) -> Sample:
        foreground, alpha = self.foreground(self.size, rng)
        background = self.background(self.size, rng)
        if rng.random() < CAMOUFLAGE:
            background = camouflaged(background, foreground, alpha, rng)
        return Sample(foreground, background, alpha, random_trimap(alpha, rng, self.radii))

    def _augmented(self, rng: Rng, augment: AugmentConfig) -> Sample:
        foreground, alpha = self.foreground(self.size, rng)
        if rng.random() < augment.combine:
            foreground, alpha = combined((foreground, alpha), self.foreground(self.size, rng))
        background = self.background(self.size, rng)
        trimap = drawn_trimap(alpha, rng, augment.trimap)
        return augmented(Sample(foreground, background, alpha, trimap), rng, augment)


class SyntheticSource(LayeredSource):
    """Procedural foregrounds over procedural backgrounds or a folder of photographs.

    Args:
        backgrounds: photographs, a folder of them, or None for procedural backgrounds.
        kinds: names from `FOREGROUNDS`, each equally likely.
        size, seed, radii, augment: as for `LayeredSource`.

    Raises:
        UserError: an unknown kind, or a folder without images.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        backgrounds: str | Path | Background | None = None,
        kinds: Sequence[str] = tuple(FOREGROUNDS),
        radii: tuple[int, int] = RADII,
        augment: AugmentConfig | None = None,
    ) -> None:
        foreground = ProceduralForegrounds(kinds, augment.geometry if augment else None)
        super().__init__(foreground, background_from(backgrounds), size, seed, radii, augment)


class FolderSource(LayeredSource):
    """Cut-outs from a folder of RGBA images over a folder of photographs or procedural backgrounds.

    Args:
        foregrounds: a folder of images with an alpha channel. Files that cannot be used (damaged, without
            alpha, opaque throughout) are named in a warning and skipped; `source.foregrounds.skipped` holds
            them.
        backgrounds, size, seed, radii, augment: as for `SyntheticSource`.

    Raises:
        UserError: a folder without images; on indexing, one without any usable image.
    """

    def __init__(
        self,
        foregrounds: str | Path,
        backgrounds: str | Path | Background | None,
        size: int,
        seed: int,
        radii: tuple[int, int] = RADII,
        augment: AugmentConfig | None = None,
    ) -> None:
        self.foregrounds = cutout_folder(foregrounds)
        cutouts = Cutouts(self.foregrounds, augment.geometry if augment else None)
        super().__init__(cutouts, background_from(backgrounds), size, seed, radii, augment)


class ProceduralForegrounds:
    """A foreground of a random kind; callable like each of them.

    Args:
        kinds: names from `FOREGROUNDS`, each equally likely.
        geometry: how they are turned; None leaves them as they are.

    Raises:
        UserError: an unknown kind.
    """

    def __init__(self, kinds: Sequence[str] = tuple(FOREGROUNDS), geometry: GeometryConfig | None = None) -> None:
        unknown = sorted(set(kinds) - set(FOREGROUNDS))
        if unknown or not kinds:
            raise UserError(f"unknown foregrounds {', '.join(unknown) or '(none)'}; allowed: {', '.join(FOREGROUNDS)}")
        self.kinds, self.geometry = tuple(kinds), geometry

    def __call__(self, size: int, rng: Rng) -> tuple[Floats, Floats]:
        """Colours float32 RGB [size, size, 3] and alpha float32 [size, size], in 0..1."""
        draw = FOREGROUNDS[self.kinds[rng.integers(len(self.kinds))]]
        if self.geometry is None:
            return draw(size, rng)
        side = size
        # No number is drawn where there are none: recipes without close-ups keep their pairs.
        if self.geometry.close_up and rng.random() < self.geometry.close_up:
            side = round(size * float(np.exp(rng.uniform(0, np.log(self.geometry.closest)))))
        return turned(*draw(side, rng), size, rng, self.geometry)


def background_from(backgrounds: str | Path | Background | None) -> Background:
    """Photographs from a folder, procedural backgrounds for None, or what was given."""
    if backgrounds is None:
        return procedural_background
    return PhotoBackgrounds(backgrounds) if isinstance(backgrounds, str | Path) else backgrounds
