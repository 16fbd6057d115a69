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
from torch.utils.data import DataLoader, Dataset

from atldas.config import config

from .sample import Batch, Sample, collate
from .sources import WIDTHS, FolderSource, Source, SyntheticSource


@config
class SourceConfig:
    """One source of training pairs.

    Attributes:
        kind: `synthetic` (procedural foregrounds) or `cutouts` (a folder of RGBA images).
        weight: how often it is drawn from, relative to the other sources.
        foregrounds: the folder of `cutouts`.
        backgrounds: a folder of photographs; procedural backgrounds without it.
    """

    kind: Literal["synthetic", "cutouts"] = "synthetic"
    weight: Annotated[float, Gt(0)] = 1.0
    foregrounds: str | None = None
    backgrounds: str | None = None

    def __post_init__(self) -> None:
        if (self.kind == "cutouts") != (self.foregrounds is not None):
            raise ValueError("a folder in foregrounds for kind cutouts, and for it alone")


@config
class DataConfig:
    """What pairs are made of.

    Attributes:
        size: side of the square pairs in pixels.
        sources: see `SourceConfig`.
        trimap_radii: lowest and highest erosion radius of the trimaps, in pixels.
    """

    size: Annotated[int, Ge(32)] = 256
    sources: Annotated[tuple[SourceConfig, ...], MinLen(1)] = field(default_factory=lambda: (SourceConfig(),))
    trimap_radii: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]] = WIDTHS


class MixedSource:
    """Draws every sample from one of several sources, chosen by their weights. A function of (seed, index)."""

    def __init__(self, sources: list[Source], weights: list[float], seed: int) -> None:
        self.sources, self.seed = sources, seed
        self.shares = np.array(weights) / sum(weights)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        return self.sources[rng.choice(len(self.sources), p=self.shares)][index]


def make_source(settings: DataConfig, seed: int) -> Source:
    """The source that `settings` describe.

    Raises:
        UserError: a folder that does not exist or holds no images.
    """
    sources = [_make_one(one, settings, seed) for one in settings.sources]
    return sources[0] if len(sources) == 1 else MixedSource(sources, [one.weight for one in settings.sources], seed)


def _make_one(one: SourceConfig, settings: DataConfig, seed: int) -> Source:
    if one.kind == "cutouts":
        assert one.foregrounds is not None  # SourceConfig saw to it
        return FolderSource(one.foregrounds, one.backgrounds, settings.size, seed, settings.trimap_radii)
    return SyntheticSource(settings.size, seed, one.backgrounds, widths=settings.trimap_radii)


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


def batches(source: Source, size: int, start: int = 0, workers: int = 0) -> Iterator[Batch]:
    """Endless batches of `size` samples, from batch number `start` on: batch n holds samples n * size and following.

    With `workers`, that many processes make batches ahead; the batches are the same.
    """
    if workers == 0:
        number = start
        while True:
            yield collate([source[index] for index in range(number * size, (number + 1) * size)])
            number += 1
    loader = DataLoader(
        _Numbered(source),
        batch_sampler=_Consecutive(size, start),
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_quiet_worker,
        prefetch_factor=4,
    )
    yield from loader


class _Numbered(Dataset[Sample]):
    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Sample:
        return self.source[index]


class _Consecutive:
    """Batches of consecutive sample numbers, without end."""

    def __init__(self, size: int, start: int) -> None:
        self.size, self.start = size, start

    def __iter__(self) -> Iterator[list[int]]:
        number = self.start
        while True:
            yield list(range(number * self.size, (number + 1) * self.size))
            number += 1


def _quiet_worker(worker: int) -> None:
    """One thread a worker, and Ctrl-C is for the main process, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
