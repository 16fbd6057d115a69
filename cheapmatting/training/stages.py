"""Which batches a training sees at which step: its stages, one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from atldas.common import processes

from ..data.config import make_source
from ..data.loader import batches
from ..data.sample import Batch
from .recipe import TrainConfig


class Stages:
    """The batches of all stages, a function of the settings and the step; `number` counts stages from 0.

    Under torchrun, batches come in rounds of one for each process, and each process takes its own.
    """

    def __init__(self, settings: TrainConfig) -> None:
        self.settings = settings

    def at(self, step: int) -> tuple[int, int]:
        """The number of the stage that a step belongs to, and how many of the stage's steps come before it."""
        *before, _ = self.settings.stages
        first = 0
        for number, stage in enumerate(before):
            if step < first + stage.steps:
                return number, step - first
            first += stage.steps
        return len(before), step - first

    def from_step(self, step: int) -> Iterator[Batch]:
        """This process's batches from a step on to the end, made by the workers of the settings."""
        present, done = self.at(step)
        per_step = self.settings.gradient_accumulation
        for number, stage in list(enumerate(self.settings.stages))[present:]:
            coming = self.batches(number, done * per_step, self.settings.workers)
            yield from itertools.islice(coming, (stage.steps - done) * per_step)
            done = 0

    def batches(self, number: int, first: int = 0, workers: int = 0) -> Iterator[Batch]:
        """This process's batches of one stage, without end, from its batch `first` on."""
        stage = self.settings.stages[number]
        source = make_source(replace(self.settings.data, size=stage.size), self.settings.seed + number)
        start = first * processes.world_size() + processes.rank()
        return batches(source, stage.batch, start, workers, processes.world_size())
