"""From a source of pairs to batches, read ahead by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from atldas.common.errors import UserError

from .sample import Batch, Sample, collate
from .sources import Source


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
    """Returns a `UserError` instead of raising it: PyTorch would add the worker's traceback to its text."""

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
    """One thread for each worker. Signals are ignored: the main process stops its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a signal to the whole group reaches workers too
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
