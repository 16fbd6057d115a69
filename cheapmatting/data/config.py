"""The configuration of training data, and the source of pairs that it describes."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, MinLen
from pydantic import AfterValidator

from atldas.common.config import config

from ..drawing.backgrounds import Background, procedural_background
from ..drawing.foregrounds import FOREGROUNDS, Foreground
from .augment import AugmentConfig
from .composed import ComposedSource
from .cutouts import Cutouts, cutout_folder, pair_folder
from .lru_cache import LRUCache
from .photos import PhotoBackgrounds
from .sample import Sample
from .sources import RADII, LayeredSource, ProceduralForegrounds, Source


def _foreground_name(name: str) -> str:
    if name not in FOREGROUNDS:
        raise ValueError(f"one of {', '.join(FOREGROUNDS)}")
    return name


@config
class SourceConfig:
    """One source of training pairs.

    Attributes:
        kind: `synthetic` (procedural foregrounds), `cutouts` (RGBA images), `pairs` (colour images and alpha images) or
            `composed` (ready composites or photographs with their alpha).
        weight: how often it is drawn from, relative to the other sources.
        kinds: what `synthetic` draws, names from `FOREGROUNDS`, each equally often, and twice as often if named twice;
            by default each once.
        foregrounds: the folder of `cutouts`, or of the colour images of `pairs`.
        alphas: the folder of the alpha images of `pairs` and `composed`, matched by name.
        images: the folder of the images of `composed`.
        trimaps: a folder of trimaps for `composed`; without it trimaps are drawn.
        backgrounds: a folder of photographs; procedural backgrounds without it. Not for `composed`.
        include, exclude: text files with one file name a line (see name_list.py): the foregrounds, or images, that are
            used, and those that are not; thus training never sees what validation does.
        backgrounds_include, backgrounds_exclude: the same for the photographs.

    All folders are read with those below them.
    """

    kind: Literal["synthetic", "cutouts", "pairs", "composed"] = "synthetic"
    weight: Annotated[float, Gt(0)] = 1.0
    kinds: Annotated[tuple[Annotated[str, AfterValidator(_foreground_name)], ...], MinLen(1)] | None = None
    foregrounds: str | None = None
    alphas: str | None = None
    images: str | None = None
    trimaps: str | None = None
    backgrounds: str | None = None
    include: str | None = None
    exclude: str | None = None
    backgrounds_include: str | None = None
    backgrounds_exclude: str | None = None

    def __post_init__(self) -> None:
        needed, optional = KEYS[self.kind]
        given = [key for key in ALL_KEYS if getattr(self, key) is not None]
        if not set(needed) <= set(given) <= {*needed, *optional}:
            raise ValueError(
                f"for kind {self.kind}: {' and '.join(needed) or 'nothing'} needed, {', '.join(optional)} possible"
            )
        if self.backgrounds is None and (self.backgrounds_include or self.backgrounds_exclude):
            raise ValueError("backgrounds_include and backgrounds_exclude beside a folder of backgrounds alone")


ON_PHOTOS = ("backgrounds", "backgrounds_include", "backgrounds_exclude")
# For each kind: the keys that it needs, and those that it may have.
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "synthetic": ((), ("kinds", *ON_PHOTOS)),
    "cutouts": (("foregrounds",), ("include", "exclude", *ON_PHOTOS)),
    "pairs": (("foregrounds", "alphas"), ("include", "exclude", *ON_PHOTOS)),
    "composed": (("images", "alphas"), ("trimaps", "include", "exclude")),
}
ALL_KEYS = ("kinds", "foregrounds", "alphas", "images", "trimaps", "include", "exclude", *ON_PHOTOS)


@config
class DataConfig:
    """What pairs are made of.

    Attributes:
        size: side of the square pairs in pixels.
        sources: see `SourceConfig`.
        trimap_radii: lowest and highest erosion radius of the trimaps, in pixels; with `augment`, its own take their
            place.
        augment: what is done to the pairs; nothing where it is left out. `augment: {}` is the usual recipe.
        cache_mb: how many megabytes of decoded images every process that makes pairs may keep.
    """

    size: Annotated[int, Ge(32)] = 256
    sources: Annotated[tuple[SourceConfig, ...], MinLen(1)] = field(default_factory=lambda: (SourceConfig(),))
    trimap_radii: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]] = RADII
    augment: AugmentConfig | None = None
    cache_mb: Annotated[int, Ge(0)] = 256


class MixedSource:
    """Draws every sample from one of several sources, chosen by their weights. A function of (seed, index)."""

    def __init__(self, sources: list[Source], weights: list[float], seed: int) -> None:
        self.sources, self.seed = sources, seed
        self.shares = np.array(weights) / sum(weights)

    def __getitem__(self, index: int) -> Sample:
        # Other numbers than those of the source, which begins from (seed, index): else the choice of the source would
        # foretell what it draws.
        rng = np.random.default_rng([self.seed, index, len(self.sources)])
        return self.sources[rng.choice(len(self.sources), p=self.shares)][index]


def make_source(settings: DataConfig, seed: int) -> Source:
    """The source that `settings` describe.

    Raises:
        UserError: a folder that does not exist or holds no images, or a list of names that does not fit it.
    """
    cache = LRUCache(settings.cache_mb * 2**20)
    sources = [_make_one(one, settings, seed, cache) for one in settings.sources]
    return sources[0] if len(sources) == 1 else MixedSource(sources, [one.weight for one in settings.sources], seed)


def _make_one(one: SourceConfig, settings: DataConfig, seed: int, cache: LRUCache) -> Source:
    size, radii, augment = settings.size, settings.trimap_radii, settings.augment
    if one.kind == "composed":
        assert one.images is not None and one.alphas is not None  # SourceConfig saw to it
        return ComposedSource(
            one.images, one.alphas, one.trimaps, size, seed, radii, augment, one.include, one.exclude, cache
        )
    background: Background = procedural_background
    if one.backgrounds is not None:
        background = PhotoBackgrounds(one.backgrounds, one.backgrounds_include, one.backgrounds_exclude, cache)
    return LayeredSource(_foreground(one, settings, cache), background, size, seed, radii, augment)


def _foreground(one: SourceConfig, settings: DataConfig, cache: LRUCache) -> Foreground:
    geometry = settings.augment.geometry if settings.augment else None
    if one.foregrounds is None:
        return ProceduralForegrounds(one.kinds or tuple(FOREGROUNDS), geometry)
    if one.alphas is None:
        return Cutouts(cutout_folder(one.foregrounds, one.include, one.exclude, cache), geometry)
    return Cutouts(pair_folder(one.foregrounds, one.alphas, one.include, one.exclude, cache), geometry)
