"""Judging children with the supernet's weights: forward only, in training mode, and nothing moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .common import processes
from .genotype import Genotype
from .supernet import Supernet
from .task import Task


@contextmanager
def still_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by the batch, as in training, but its running statistics do not move."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@torch.no_grad()
def judge(supernet: Supernet, task: Task, children: Sequence[Genotype], batch: Any) -> Tensor:
    """The loss of each child on one held-out batch, float [K] on the CPU.

    In training mode, where a child is normalised by its own statistics; the running ones are averages over all
    children. Neither weights nor statistics move. Several processes share the children among them; all get every loss.
    """
    supernet.train()
    losses = torch.zeros(len(children))
    with still_statistics(supernet):
        for number in range(processes.rank(), len(children), processes.world_size()):
            supernet.select(children[number])
            losses[number] = task.loss(supernet, batch).float()
    return processes.total(losses)
