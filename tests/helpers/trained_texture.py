"""A supernet of the texture task whose statistics are not the initial ones, children for it, and its state."""

from __future__ import annotations

import torch
from texture import TextureOptions, TextureTask, wired_space
from torch import Tensor, nn

from atldas.distribution import Distribution
from atldas.genotype import Genotype
from atldas.space import Space
from atldas.supernet import Supernet

CPU = torch.device("cpu")


def task() -> TextureTask:
    return TextureTask(TextureOptions(), 0, CPU)


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def unchanged(network: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def children(space: Space, count: int) -> list[Genotype]:
    generator = torch.Generator().manual_seed(0)
    return [Distribution(space).sample(generator) for _ in range(count)]


def of(operation: str) -> Genotype:
    """A child with this operation on both edges."""
    every = wired_space().enumerate()
    return next(c for c in every if {edge.operation for _, edge in c.cells["normal"].edges()} == {operation})


def trained_supernet() -> Supernet:
    """With statistics that are not the initial ones."""
    torch.manual_seed(0)
    made = Supernet(wired_space(), task().build).train()
    for child in children(wired_space(), 6):
        made.select(child)
        made(torch.randn(8, 1, 8, 8) + 1)
    return made
