"""From configuration to batches: which sources training pairs come from, and a loader that reads ahead."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from annotated_types import Ge, Gt, MinLen
from pydantic import AfterValidator
from torch.utils.data import DataLoader, Dataset

from atldas.config import config
from atldas.errors import UserError

from .augment import AugmentConfig
from .backgrounds import Background, procedural_background
from .composed import ComposedSource
from .cutouts import Cutouts, cutout_folder, pair_folder
from .foregrounds import FOREGROUNDS, Foreground
from .image_cache import ImageCache
from .photos import PhotoBackgrounds
from .sample import Batch, Sample, collate
from .sources import WIDTHS, LayeredSource, ProceduralForegrounds, Source


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
        only, without: text files with one file name a line (see name_list.py): the foregrounds, or images, that are
            used, and those that are not; thus training never sees what validation does.
        backgrounds_only, backgrounds_without: the same for the photographs.

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
    only: str | None = None
    without: str | None = None
    backgrounds_only: str | None = None
    backgrounds_without: str | None = None

    def __post_init__(self) -> None:
        needed, optional = KEYS[self.kind]
        given = [key for key in ALL_KEYS if getattr(self, key) is not None]
        if not set(needed) <= set(given) <= {*needed, *optional}:
            raise ValueError(
                f"for kind {self.kind}: {' and '.join(needed) or 'nothing'} needed, {', '.join(optional)} possible"
            )
        if self.backgrounds is None and (self.backgrounds_only or self.backgrounds_without):
            raise ValueError("backgrounds_only and backgrounds_without beside a folder of backgrounds alone")


ON_PHOTOS = ("backgrounds", "backgrounds_only", "backgrounds_without")
# For each kind: the keys that it needs, and those that it may have.
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "synthetic": ((), ("kinds", *ON_PHOTOS)),
    "cutouts": (("foregrounds",), ("only", "without", *ON_PHOTOS)),
    "pairs": (("foregrounds", "alphas"), ("only", "without", *ON_PHOTOS)),
    "composed": (("images", "alphas"), ("trimaps", "only", "without")),
}
ALL_KEYS = ("kinds", "foregrounds", "alphas", "images", "trimaps", "only", "without", *ON_PHOTOS)


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
    trimap_radii: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]] = WIDTHS
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
    cache = ImageCache(settings.cache_mb * 2**20)
    sources = [_make_one(one, settings, seed, cache) for one in settings.sources]
    return sources[0] if len(sources) == 1 else MixedSource(sources, [one.weight for one in settings.sources], seed)


def _make_one(one: SourceConfig, settings: DataConfig, seed: int, cache: ImageCache) -> Source:
    size, widths, augment = settings.size, settings.trimap_radii, settings.augment
    if one.kind == "composed":
        assert one.images is not None and one.alphas is not None  # SourceConfig saw to it
        return ComposedSource(
            one.images, one.alphas, one.trimaps, size, seed, widths, augment, one.only, one.without, cache
        )
    background: Background = procedural_background
    if one.backgrounds is not None:
        background = PhotoBackgrounds(one.backgrounds, one.backgrounds_only, one.backgrounds_without, cache)
    return LayeredSource(_foreground(one, settings, cache), background, size, seed, widths, augment)


def _foreground(one: SourceConfig, settings: DataConfig, cache: ImageCache) -> Foreground:
    geometry = settings.augment.geometry if settings.augment else None
    if one.foregrounds is None:
        return ProceduralForegrounds(one.kinds or tuple(FOREGROUNDS), geometry)
    if one.alphas is None:
        return Cutouts(cutout_folder(one.foregrounds, one.only, one.without, cache), geometry)
    return Cutouts(pair_folder(one.foregrounds, one.alphas, one.only, one.without, cache), geometry)


class Pool:
    """The first `count` samples of a source, kept once made; index n means sample n modulo `count`."""

    def __init__(self, source: Source, count: int) -> None:
        self.source, self.count = source, count
        self._kept: dict[int, Sample] = {}

    def __getitem__(self, index: int) -> Sample:
        number = index % self.count
        if number not in self._kept:
            self._kept[number] = self.source[number]
        return self._kept[number]


def batches(source: Source, size: int, start: int = 0, workers: int = 0, stride: int = 1) -> Iterator[Batch]:
    """Endless batches of `size` samples, from batch number `start` on: batch n holds samples n * size and following.

    With `workers`, that many processes make batches ahead; the batches are the same. Of `stride` trainings that share
    the batches each starts with its own and takes every `stride`-th.
    """
    if workers == 0:
        number = start
        while True:
            yield collate([source[index] for index in range(number * size, (number + 1) * size)])
            number += stride
    loader = DataLoader(
        _Numbered(source),
        batch_sampler=_Consecutive(size, start, stride),
        num_workers=workers,
        collate_fn=_collate_or_fault,
        worker_init_fn=_quiet_worker,
        prefetch_factor=4,
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


class _Numbered(Dataset[Sample | UserError]):
    """A fault comes as a value: raised in a worker, PyTorch would put the worker's whole traceback into its text."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Sample | UserError:
        try:
            return self.source[index]
        except UserError as fault:
            return fault


def _collate_or_fault(samples: list[Sample | UserError]) -> Batch | UserError:
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
    return collate([sample for sample in samples if isinstance(sample, Sample)])


class _Consecutive:
    """Batches of consecutive sample numbers, without end."""

    def __init__(self, size: int, start: int, stride: int) -> None:
        self.size, self.start, self.stride = size, start, stride

    def __iter__(self) -> Iterator[list[int]]:
        number = self.start
        while True:
            yield list(range(number * self.size, (number + 1) * self.size))
            number += self.stride


def _quiet_worker(worker: int) -> None:
    """One thread a worker; being stopped is for the main process, which ends its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a signal to the whole group reaches workers too
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
