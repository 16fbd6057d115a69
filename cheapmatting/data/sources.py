"""Endless sources of training pairs: procedural, or made from folders of cut-outs and photographs.

A source is anything with `source[index] -> Sample`. A sample depends on (seed, index) and the files alone, not on which
samples were drawn before, or by which process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..arrays import Floats, Rng
from ..drawing.backgrounds import Background
from ..drawing.foregrounds import FOREGROUNDS, Foreground
from ..trimap import make_trimap
from .augment import AugmentConfig, augmented, combined, turned
from .chance import happens
from .geometry import GeometryConfig
from .sample import Sample


class Source(Protocol):
    """Where training pairs come from."""

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`, 0 or more."""
        ...


class LayeredSource:
    """Foregrounds over backgrounds, with trimaps drawn for them.

    Args:
        foreground, background: what draws or reads them, called with a side in pixels and a random generator.
        size: side of the square samples in pixels.
        seed: 0 or more; another seed gives other samples.
        augment: what is done to the pairs, and how their trimaps are drawn.
    """

    def __init__(
        self,
        foreground: Foreground,
        background: Background,
        size: int,
        seed: int,
        augment: AugmentConfig,
    ) -> None:
        self.foreground, self.background = foreground, background
        self.size, self.seed, self.augment = size, seed, augment

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        foreground, alpha = self.foreground(self.size, rng)
        if happens(rng, self.augment.combine):
            foreground, alpha = combined((foreground, alpha), self.foreground(self.size, rng))
        background = self.background(self.size, rng)
        return augmented(Sample(foreground, background, alpha, make_trimap(alpha, 0, 0)), rng, self.augment)


class MixedSource:
    """Draws every sample from one of several sources, in proportion to `shares`. A function of (seed, index)."""

    def __init__(self, sources: Sequence[Source], shares: Sequence[float], seed: int) -> None:
        self.sources, self.seed = sources, seed
        self.shares = np.array(shares) / sum(shares)

    def __getitem__(self, index: int) -> Sample:
        # Not seeded as the sources are, from (seed, index): the same numbers would correlate the choice of a source
        # with what it draws.
        rng = np.random.default_rng([self.seed, index, len(self.sources)])
        return self.sources[rng.choice(len(self.sources), p=self.shares)][index]


class ProceduralForegrounds:
    """A foreground of a random kind; callable like each of them.

    Args:
        kinds: names from `FOREGROUNDS`, each equally likely.
        geometry: how they are turned.
    """

    def __init__(self, kinds: Sequence[str], geometry: GeometryConfig) -> None:
        self.kinds, self.geometry = tuple(kinds), geometry

    def __call__(self, size: int, rng: Rng) -> tuple[Floats, Floats]:
        """Colours float32 RGB [size, size, 3] and alpha float32 [size, size], in 0..1."""
        draw = FOREGROUNDS[self.kinds[rng.integers(len(self.kinds))]]
        if not self.geometry.turns:  # nor interpolated
            return draw(size, rng)
        side = size
        if happens(rng, self.geometry.close_up):
            side = round(size * float(np.exp(rng.uniform(0, np.log(self.geometry.closest)))))
        return turned(*draw(side, rng), size, rng, self.geometry)
