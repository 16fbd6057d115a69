"""Parameters and multiply-adds (MACs) of modules, computed from shapes alone: nothing is run, no memory is used."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .operations import OPERATIONS, Factory


class Cost(NamedTuple):
    """What a module weighs: `parameters` (count) and `macs` (multiply-adds of convolutions and matrix products)."""

    parameters: int
    macs: int


def cost(module: nn.Module, *shapes: Sequence[int]) -> Cost:
    """Cost of one forward pass over inputs of the given shapes (each [N, C, H, W]).

    Works on shapes through PyTorch's meta device. Like the field's tables, it counts convolutions and matrix
    products only: normalisation, activation, pooling and resizing count as nothing.
    """
    return Cost(parameters(module), macs(module, lambda meta: meta(*(torch.empty(s, device="meta") for s in shapes))))


def macs(module: nn.Module, forward: Callable[[nn.Module], object]) -> int:
    """MACs of `forward(module)`, the module being moved to the meta device (a copy: yours stays where it is)."""
    meta = on_meta(module)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward(meta)
    return counter.get_total_flops() // 2


def macs_by_part(module: nn.Module, *shapes: Sequence[int]) -> dict[str, int]:
    """MACs of each direct child of `module` in one forward pass, in the children's order."""
    meta = on_meta(module)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        meta(*(torch.empty(shape, device="meta") for shape in shapes))
    counts = counter.get_flop_counts()

    def flops(part: nn.Module, name: str) -> int:
        if name in counts:
            return sum(counts[name].values())
        return sum(flops(child, f"{name}.{key}") for key, child in part.named_children())  # a list is never called

    return {key: flops(child, f"{type(meta).__name__}.{key}") // 2 for key, child in meta.named_children()}


def parameters(module: nn.Module) -> int:
    """The number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())


def operation_cost(name: str, channels: int, stride: int, height: int, width: int) -> Cost:
    """Cost of the operation `name` on one input of [1, channels, height, width]."""
    return _operation_cost(OPERATIONS[name], channels, stride, height, width)


@functools.cache
def _operation_cost(factory: Factory, channels: int, stride: int, height: int, width: int) -> Cost:
    with torch.device("meta"):
        module = factory(channels, stride)
    return cost(module, (1, channels, height, width))


def on_meta(module: nn.Module) -> nn.Module:
    """A copy in eval mode: in training mode BatchNorm refuses a single pooled pixel."""
    return copy.deepcopy(module).to("meta").eval()
