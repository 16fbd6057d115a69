"""A task that only a 3x3 convolution solves, in a network with BatchNorm behind every cell; both train in a second.

Images hold level or upright stripes of random phase, sign and noise. Single pixels are distributed alike in both
classes, and a pool blurs both alike: operations without weights, or pixel by pixel, cannot tell them apart.
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
from atldas.space import CellSpace, Space

OPERATIONS = ("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
RIGHT = "nor_conv_3x3"


def chain_space() -> Space:
    """One edge, 5 operations: 5 children."""
    return Space("chain", {"normal": CellSpace(1, 1, 1, OPERATIONS, (1,))})


def wired_space() -> Space:
    """Two nodes that read one of 1 and one of 2 inputs, 3 edges of 4 operations, and a choice: (4 * 8) * 2 = 64."""
    cell = CellSpace(1, 2, 1, ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"), (1, 2))
    return Space("wired", {"normal": cell}, {"pooling": ("mean", "largest")})


class Pooling(nn.Module):
    """[N, C, H, W] -> [N, C]: the mean or the largest value."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) if self.kind == "mean" else x.amax(dim=(2, 3))


class TextureNetwork(nn.Module):
    """[N, 1, H, W] -> [N, 2]: a stem that sees single pixels, two cells with BatchNorm behind each, a linear layer."""

    def __init__(self, builder: Builder, channels: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 1, bias=False), nn.BatchNorm2d(channels))
        first = builder.cell(CellPlace("normal", (channels,), channels, 1, (1,)))
        second = builder.cell(CellPlace("normal", (first.out_channels,), channels, 1, (1,)))
        self.cells = nn.ModuleList([first, second])
        self.norms = nn.ModuleList(nn.BatchNorm2d(int(cell.out_channels)) for cell in (first, second))  # type: ignore[call-overload]
        self.pooling = builder.choice(
            "pooling", {"mean": lambda: Pooling("mean"), "largest": lambda: Pooling("largest")}, default="mean"
        )
        self.classifier = nn.Linear(int(second.out_channels), 2)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for cell, norm in zip(self.cells, self.norms, strict=True):
            x = norm(cell(x))
        logits: Tensor = self.classifier(self.pooling(F.relu(x)))
        return logits


@config
class TextureOptions:
    """Options of `TextureTask`."""

    batch: int = 32


class TextureTask(LabelledTask):
    """Fulfils `atldas.task.Task`; batches are pairs of images [N, 1, 8, 8] and labels [N]."""

    Options = TextureOptions
    input_shape = (1, 1, 8, 8)

    def build(self, builder: Builder) -> nn.Module:
        return TextureNetwork(builder)

    def network_section(self) -> dict[str, Any]:
        return {"channels": 4}

    def _batches(self, start: int, stream: int, count: int | None = None) -> Iterator[Any]:
        number, count = start, count or self.options.batch
        while True:
            rng = np.random.default_rng([self.seed, stream, number])
            labels = rng.integers(0, 2, count)
            phases, signs = rng.integers(0, 4, count), rng.choice([-1.0, 1.0], count)
            rows = np.arange(8)[None, :] + phases[:, None]  # [N, 8]
            level = np.where(rows % 4 < 2, 1.0, -1.0)[:, :, None] * signs[:, None, None] * np.ones((1, 1, 8))
            images = np.where(labels[:, None, None] == 0, level, level.swapaxes(1, 2))[:, None]  # [N, 1, 8, 8]
            images = images + rng.normal(0, 0.5, images.shape)
            yield torch.from_numpy(images.astype(np.float32)).to(self.device), torch.from_numpy(labels).to(self.device)
            number += 1

    def measure(self, network: nn.Module) -> float:
        return accuracy(network, *next(self._batches(0, 3, 200)))
