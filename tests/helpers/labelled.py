"""What the tests' small classification tasks have in common: streams of batches, the loss, the accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LabelledTask:
    """All of `atldas.task.Task` but `Options`, `input_shape`, `build`, and `_batches`, which yields (images, labels).

    Stream 1 trains weights, stream 2 moves logits, stream 3 measures.
    """

    metric = "accuracy"
    larger_is_better = True

    def __init__(self, options: Any, seed: int, device: torch.device) -> None:
        self.options, self.seed, self.device = options, seed, device

    def network_section(self) -> dict[str, Any]:
        return {}

    def training_batches(self, start: int) -> Iterator[Any]:
        return self._batches(start, 1)

    def held_out_batches(self, start: int) -> Iterator[Any]:
        return self._batches(start, 2)

    def _batches(self, start: int, stream: int) -> Iterator[Any]:
        raise NotImplementedError

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(network(batch[0]), batch[1])

    def measure(self, network: nn.Module) -> float:
        return accuracy(network, *next(self._batches(0, 3)))


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images [N, ...] whose class is the label [N]."""
    return float((network(images).argmax(dim=1) == labels).float().mean())
