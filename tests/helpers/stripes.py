"""A task that only some children can learn, for tests of whole searches: upright or level stripes, one pixel wide.

Whatever looks at single pixels, or averages over 3x3 of them, cannot tell the two; a 3x3 convolution can. BatchNorm
stands behind the cell, as it does in real networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from labelled import LabelledTask, accuracy
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.builder import Builder
from atldas.cell import CellPlace
from atldas.common.config import config
from atldas.common.yaml_text import parse_yaml
from atldas.cost_tables import mac_tables
from atldas.distribution import Distribution
from atldas.evaluate import EvaluationConfig
from atldas.halving import Candidate
from atldas.space import Space
from atldas.strategies.random import Random
from atldas.strategy import Context
from atldas.supernet import Supernet
from atldas.task import Task

SPACE = """
schema: 2
name: stripes
cells:
  normal:
    {inputs: 1, nodes: 2, inputs_per_node: all, concat: [2], operations: [skip_connect, avg_pool_3x3, nor_conv_3x3]}
"""
CHOICE_SPACE = SPACE + "choices: {shutter: [shut, open]}\n"
WIDTH_SPACE = SPACE + "choices: {width: [2, 4]}\n"


class Shut(nn.Module):
    """Lets nothing through."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


class StripesNetwork(nn.Module):
    """[N, 1, 8, 8] -> [N, 2]: a 1x1 stem, one cell without adapters, BatchNorm, a linear layer."""

    def __init__(self, builder: Builder) -> None:
        super().__init__()
        width = builder.width("width", default=4)
        self.stem = builder.sized(lambda c: nn.Sequential(nn.Conv2d(1, c, 1, bias=False), nn.BatchNorm2d(c)), width)
        self.cell = builder.cell(CellPlace("normal", (width,), width, 1, (1,), adapted=False))
        self.shutter = builder.choice("shutter", {"shut": Shut, "open": nn.Identity}, default="open")
        self.norm = builder.sized(nn.BatchNorm2d, self.cell.out_channels)
        self.classifier = builder.sized(lambda c: nn.Linear(c, 2), self.cell.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shutter(self.norm(self.cell(self.stem(x))))  # behind BatchNorm: mixtures cannot see a scale before it
        logits: Tensor = self.classifier(F.relu(x).mean(dim=(2, 3)))
        return logits


@config
class StripesOptions:
    """`shuffled`: a control whose labels say nothing of the images."""

    batch: int = 32
    shuffled: bool = False


class StripesTask(LabelledTask):
    """See the module; the metric is accuracy."""

    Options = StripesOptions
    input_shape = (1, 1, 8, 8)

    def build(self, builder: Builder) -> nn.Module:
        return StripesNetwork(builder)

    def _batches(self, start: int, stream: int) -> Iterator[Any]:
        number, size = start, self.options.batch
        while True:
            # Image by image, so that two batches of 16 are one of 32.
            images, labels = zip(*(self._image(stream, size * number + n) for n in range(size)), strict=True)
            yield torch.stack(images).to(self.device), torch.tensor(labels).to(self.device)
            number += 1

    def _image(self, stream: int, number: int) -> tuple[Tensor, int]:
        rng = np.random.default_rng([self.seed, stream, number])
        level, phase = rng.integers(0, 2, 2)
        image = np.where((np.arange(8)[:, None] + phase) % 2, 1.0, -1.0) + rng.normal(0, 1.5, (8, 8))
        label = rng.integers(0, 2) if self.options.shuffled else level
        return torch.from_numpy((image if level else image.T).astype(np.float32))[None], int(label)

    def measure(self, network: nn.Module) -> float:
        return sum(accuracy(network, *next(self._batches(number, 3))) for number in range(4)) / 4


@config
class LastOptions:
    """Options of `Last`."""

    children: int = 1


class Last(Random):
    """A user's own strategy: proposes the last children of an enumeration."""

    Options = LastOptions

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        everything = list(self.context.space.enumerate())
        return (Candidate(child, "mine") for child in everything[-self.options.children :])


def context(of: Space, task: Task | None = None) -> Context:
    """What a strategy is given before the first step; its oracle answers 0."""
    cpu = torch.device("cpu")
    task = task or StripesTask(StripesOptions(), 0, cpu)
    torch.manual_seed(0)
    supernet = Supernet(of, task.build)
    costs = mac_tables(supernet, task.input_shape)
    generator = torch.Generator().manual_seed(0)
    return Context(
        of, task, supernet, Distribution(of), generator, costs, 10, cpu,
        lambda children, repeat, progress: [0.0] * len(children), lambda changes: task,
    )  # fmt: skip


def choice_context() -> Context:
    """A context of `CHOICE_SPACE`."""
    return context(Space.from_dict(parse_yaml(CHOICE_SPACE, "test"), "test"))
