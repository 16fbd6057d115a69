"""Widths that a search chooses: channel counts as expressions, and modules that run with their leading channels.

A task writes its network once, with `builder.width(name)` where it would write a number. A fixed network gets the
number. A supernet gets a `Width`, and `Sliced` modules that hold the parameters of the largest width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Width:
    """A channel count that depends on chosen widths: a sum of multiples of them, and a constant."""

    terms: tuple[tuple[str, int], ...]  # (width's name, factor), sorted by name
    constant: int = 0

    def __add__(self, other: Width | int) -> Width:
        if isinstance(other, int):
            return Width(self.terms, self.constant + other)
        total = dict(self.terms)
        for name, factor in other.terms:
            total[name] = total.get(name, 0) + factor
        return Width(tuple(sorted(total.items())), self.constant + other.constant)

    __radd__ = __add__

    def __mul__(self, factor: int) -> Width:
        return Width(tuple((name, f * factor) for name, f in self.terms), self.constant * factor)

    __rmul__ = __mul__

    def value(self, widths: Mapping[str, int]) -> int:
        """The number of channels when the named widths have these values."""
        return sum(factor * widths[name] for name, factor in self.terms) + self.constant


Channels = int | Width


def value_of(channels: Channels, widths: Mapping[str, int]) -> int:
    """The number that a plain or chosen channel count stands for."""
    return channels if isinstance(channels, int) else channels.value(widths)


@dataclass
class Selection:
    """What a supernet runs now, shared by all its modules.

    Attributes:
        chosen: named choice -> option, for all choices and widths of the space.
        gates: variable -> a scalar of value one that carries a gradient to the logits; it changes no output.
        mixture: edge or choice variable -> weights [options]: run all options and sum them, for dense methods.
    """

    chosen: dict[str, str | int | bool] = field(default_factory=dict)
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    mixture: Mapping[str, Tensor] = field(default_factory=dict)

    def widths(self) -> dict[str, int]:
        """The choices that are numbers, true and false as 1 and 0."""
        return {name: int(option) for name, option in self.chosen.items() if isinstance(option, int)}


class Sliced(nn.Module):
    """A module whose channel counts are chosen: runs with the leading channels of the largest one's parameters.

    Works for any factory of channel counts. Parameters are slices [:n] in every dimension; buffers, such as
    BatchNorm's statistics, are kept once for every combination of widths.

    Args:
        factory: (channel counts) -> module.
        channels: what the factory is given.
        options: width's name -> the values it may take.
        selection: where the widths chosen now stand.
    """

    def __init__(
        self,
        factory: Callable[..., nn.Module],
        channels: tuple[Channels, ...],
        options: Mapping[str, tuple[int, ...]],
        selection: Selection,
    ) -> None:
        super().__init__()
        self._channels, self._selection = channels, selection
        self.names = tuple(sorted({name for c in channels if isinstance(c, Width) for name, _ in c.terms}))
        self.largest = factory(*(value_of(c, {name: max(options[name]) for name in self.names}) for c in channels))
        self._index: dict[tuple[int, ...], int] = {}  # values of `names` -> position in `skeletons`
        self._shapes: dict[tuple[int, ...], dict[str, torch.Size]] = {}  # values -> parameter's name -> shape
        skeletons: list[nn.Module] = []
        for values in itertools.product(*(options[name] for name in self.names)):
            self._index[values] = len(skeletons)
            skeleton = factory(*(value_of(c, dict(zip(self.names, values, strict=True))) for c in channels))
            self._shapes[values] = _strip(skeleton)
            skeletons.append(skeleton)
        self.skeletons = nn.ModuleList(skeletons)

    def forward(self, *inputs: Tensor) -> Tensor:
        values = self._values()
        output: Tensor = torch.func.functional_call(
            self.skeletons[self._index[values]], dict(self._parameters_for(values)), inputs
        )
        return output

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The state dict of the module with the widths chosen now: slices, not copies."""
        values = self._values()
        yield from self._parameters_for(values)
        yield from self.skeletons[self._index[values]].state_dict().items()  # buffers; its parameters were taken away

    def sizes(self) -> dict[tuple[int, ...], int]:
        """The number of parameters for every combination of widths, in the order of `names`."""
        return {values: sum(shape.numel() for shape in shapes.values()) for values, shapes in self._shapes.items()}

    def _values(self) -> tuple[int, ...]:
        widths = self._selection.widths()
        return tuple(widths[name] for name in self.names)

    def _parameters_for(self, values: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
        shapes = self._shapes[values]
        for name, parameter in self.largest.named_parameters():
            yield name, parameter[tuple(slice(n) for n in shapes[name])]


def _strip(module: nn.Module) -> dict[str, torch.Size]:
    """Take a module's parameters away, leaving buffers and code; returns their shapes."""
    shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
    for part in module.modules():
        for name in part._parameters:
            part._parameters[name] = None
    return shapes
