"""The configuration of training data: one class for each kind of source, and the source of pairs that they make.

A new kind is a class with a `kind`, a `weight` and a `make`, and its name in `SourceConfig`. Paths in a file are
relative to that file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator, Discriminator

from atldas.common.config import FilePath, config

from ..drawing.backgrounds import Background, procedural_background
from ..drawing.foregrounds import FOREGROUNDS, Foreground
from .augment import PLAIN, AugmentConfig
from .composed import ComposedSource
from .cutouts import Cutouts, cutout_folder, pair_folder
from .lru_cache import LRUCache
from .photos import PhotoBackgrounds
from .sources import LayeredSource, MixedSource, ProceduralForegrounds, Source


def _foreground_name(name: str) -> str:
    if name not in FOREGROUNDS:
        raise ValueError(f"one of {', '.join(FOREGROUNDS)}")
    return name


PairSize = Annotated[int, Ge(32), Le(8192)]  # the side of a square pair in pixels
ForegroundName = Annotated[str, AfterValidator(_foreground_name)]


@config
class LayeredConfig:
    """What all sources share that lay a foreground over a background.

    Attributes:
        weight: how often the source is drawn from, relative to the other sources.
        backgrounds: a folder of photographs, read with those below it; procedural backgrounds without it.
        backgrounds_include, backgrounds_exclude: text files with one file name a line (see name_list.py): the
            photographs that are used, and those that are not.
    """

    weight: Annotated[float, Gt(0)] = 1.0
    backgrounds: FilePath | None = None
    backgrounds_include: FilePath | None = None
    backgrounds_exclude: FilePath | None = None

    def __post_init__(self) -> None:
        if self.backgrounds is None and (self.backgrounds_include or self.backgrounds_exclude):
            raise ValueError("a folder of backgrounds beside backgrounds_include and backgrounds_exclude")

    def over_backgrounds(
        self, foreground: Foreground, size: int, seed: int, augment: AugmentConfig, cache: LRUCache
    ) -> LayeredSource:
        """The source of this foreground over the configured backgrounds."""
        background: Background = procedural_background
        if self.backgrounds is not None:
            background = PhotoBackgrounds(self.backgrounds, self.backgrounds_include, self.backgrounds_exclude, cache)
        return LayeredSource(foreground, background, size, seed, augment)


@config
class SyntheticConfig(LayeredConfig):
    """Procedural foregrounds.

    Attributes:
        kinds: names from `FOREGROUNDS`, each drawn equally often, and twice as often if named twice.
    """

    kind: Literal["synthetic"] = "synthetic"
    kinds: Annotated[tuple[ForegroundName, ...], MinLen(1)] = tuple(FOREGROUNDS)

    def make(self, size: int, seed: int, augment: AugmentConfig, cache: LRUCache) -> Source:
        foreground = ProceduralForegrounds(self.kinds, augment.geometry)
        return self.over_backgrounds(foreground, size, seed, augment, cache)


@config
class CutoutsConfig(LayeredConfig):
    """Cut-outs: a folder of RGBA images, read with those below it.

    Attributes:
        foregrounds: the folder.
        include, exclude: lists of the files that are used, and of those that are not; thus training never sees what
            validation does.
    """

    kind: Literal["cutouts"] = "cutouts"
    foregrounds: FilePath
    include: FilePath | None = None
    exclude: FilePath | None = None

    def make(self, size: int, seed: int, augment: AugmentConfig, cache: LRUCache) -> Source:
        folder = cutout_folder(self.foregrounds, self.include, self.exclude, cache)
        return self.over_backgrounds(Cutouts(folder, augment.geometry), size, seed, augment, cache)


@config
class PairsConfig(LayeredConfig):
    """Cut-outs whose colours and alpha are files of two folders, matched by name.

    Attributes:
        foregrounds, alphas: the folders.
        include, exclude: as for `CutoutsConfig`.
    """

    kind: Literal["pairs"] = "pairs"
    foregrounds: FilePath
    alphas: FilePath
    include: FilePath | None = None
    exclude: FilePath | None = None

    def make(self, size: int, seed: int, augment: AugmentConfig, cache: LRUCache) -> Source:
        folder = pair_folder(self.foregrounds, self.alphas, self.include, self.exclude, cache)
        return self.over_backgrounds(Cutouts(folder, augment.geometry), size, seed, augment, cache)


@config
class ComposedConfig:
    """Ready composites, or photographs, with their alpha.

    Attributes:
        weight: as for `LayeredConfig`.
        images, alphas: the folders; files are matched by name.
        trimaps: a folder of trimaps; without it trimaps are drawn.
        include, exclude: as for `CutoutsConfig`, for the images.
    """

    kind: Literal["composed"] = "composed"
    weight: Annotated[float, Gt(0)] = 1.0
    images: FilePath
    alphas: FilePath
    trimaps: FilePath | None = None
    include: FilePath | None = None
    exclude: FilePath | None = None

    def make(self, size: int, seed: int, augment: AugmentConfig, cache: LRUCache) -> Source:
        return ComposedSource(
            self.images, self.alphas, self.trimaps, size, seed, augment, self.include, self.exclude, cache
        )


SourceConfig = Annotated[SyntheticConfig | CutoutsConfig | PairsConfig | ComposedConfig, Discriminator("kind")]


def _not_empty(sources: tuple[Any, ...]) -> tuple[Any, ...]:
    # Not MinLen, which pydantic counts as failed, too, where a source is faulty: the error would be of both.
    if not sources:
        raise ValueError("at least one source")
    return sources


@config
class DataConfig:
    """What pairs are made of.

    Attributes:
        size: side of the square pairs in pixels.
        sources: where pairs come from: one of the classes above for each, told apart by its `kind`.
        augment: what is done to the pairs; nothing where it is left out (`augment.PLAIN`). `augment: {}` is the usual
            recipe.
        cache_mb: how many megabytes of decoded images every process that makes pairs may keep.
    """

    size: PairSize = 256
    sources: Annotated[tuple[SourceConfig, ...], AfterValidator(_not_empty)] = (SyntheticConfig(),)
    augment: AugmentConfig = PLAIN
    cache_mb: Annotated[int, Ge(0)] = 256


def make_source(settings: DataConfig, seed: int) -> Source:
    """The source that `settings` describe.

    Raises:
        UserError: a folder that does not exist or holds no images, or a list of names that does not fit it.
    """
    cache = LRUCache(settings.cache_mb * 2**20)
    sources = [one.make(settings.size, seed, settings.augment, cache) for one in settings.sources]
    return sources[0] if len(sources) == 1 else MixedSource(sources, [one.weight for one in settings.sources], seed)
