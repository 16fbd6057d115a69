"""The cell: one class for the fixed network and for a supernet's child, so that the two cannot differ.

A network is built from a *cell factory*. `fixed_cells(genotype)` makes cells that hold exactly the genotype's
operations; a `Supernet` makes cells that hold every candidate and run the ones selected. Both kinds of cell carry the
same parameter names, so weights pass from a supernet to a fixed network by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .common.errors import UserError
from .genotype import CellGenotype, Edge, Genotype
from .operations import OPERATIONS, FactorizedReduce, conv_bn


class CellPlace(NamedTuple):
    """Where a cell stands in its network: what a cell factory needs to know.

    Attributes:
        kind: the cell's name in the genotype, such as `normal` or `reduce`.
        in_channels: channels of each input.
        channels: channels of every node inside the cell.
        stride: 2 if the operations that read an input halve the size (a reduction cell), else 1.
        input_strides: 2 for an input that is twice as large as the others and is halved on entry, else 1.
    """

    kind: str
    in_channels: tuple[int, ...]
    channels: int
    stride: int
    input_strides: tuple[int, ...]


@dataclass(frozen=True)
class Gates:
    """Scalars of value one that carry gradients to a distribution: they change no output, see `samplers`."""

    edges: Mapping[tuple[int, int], Tensor] = field(default_factory=dict)  # (node, input) -> scalar
    nodes: Mapping[int, Tensor] = field(default_factory=dict)  # node -> scalar


class Cell(nn.Module):
    """Inputs [N, in_channels[i], H * input_strides[i], ...] -> [N, channels * len(concat), H / stride, W / stride].

    Args:
        genotype: the wiring to run; `select` changes it.
        place: where the cell stands.
        candidates: (node, edge) pairs whose operations the cell holds; by default just the genotype's own.
    """

    def __init__(
        self, genotype: CellGenotype, place: CellPlace, candidates: Iterable[tuple[int, Edge]] | None = None
    ) -> None:
        super().__init__()
        if not genotype.inputs == len(place.in_channels) == len(place.input_strides):
            raise UserError(
                f"the {place.kind} cell has {genotype.inputs} inputs, the network gives it {len(place.in_channels)}"
            )
        self.place = place
        self.out_channels = place.channels * len(genotype.concat)
        self.adapters = nn.ModuleList(
            FactorizedReduce(c, place.channels) if s == 2 else conv_bn(c, place.channels)
            for c, s in zip(place.in_channels, place.input_strides, strict=True)
        )
        edges: dict[str, dict[str, nn.Module]] = {}
        for node, edge in genotype.edges() if candidates is None else candidates:
            stride = place.stride if edge.input < genotype.inputs else 1
            operation = OPERATIONS[edge.operation](place.channels, stride)
            edges.setdefault(_edge_name(node, edge.input), {})[edge.operation] = operation
        self.edges = nn.ModuleDict({name: nn.ModuleDict(operations) for name, operations in edges.items()})
        self.select(genotype)

    def select(self, genotype: CellGenotype, gates: Gates | None = None) -> None:
        """Run `genotype` from now on, its outputs multiplied by `gates` if there are any."""
        self.genotype = genotype
        self.gates = gates

    def operation(self, node: int, edge: Edge) -> nn.Module:
        """The module of one operation."""
        return self.get_submodule(f"edges.{_edge_name(node, edge.input)}.{edge.operation}")

    def forward(self, *inputs: Tensor) -> Tensor:
        states = [adapt(x) for adapt, x in zip(self.adapters, inputs, strict=True)]
        for node, edges in enumerate(self.genotype.nodes, start=len(inputs)):
            total = self._edge_output(node, edges[0], states)
            for edge in edges[1:]:
                total = total + self._edge_output(node, edge, states)
            if self.gates and node in self.gates.nodes:
                total = total * self.gates.nodes[node]
            states.append(total)  # [N, channels, H / stride, W / stride]
        return concatenated([states[node] for node in self.genotype.concat])

    def _edge_output(self, node: int, edge: Edge, states: list[Tensor]) -> Tensor:
        output: Tensor = self.operation(node, edge)(states[edge.input])
        if self.gates and (node, edge.input) in self.gates.edges:
            output = output * self.gates.edges[node, edge.input]
        return output


class _Concatenation(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, *states: Tensor) -> Tensor:
        context.channels = [state.shape[1] for state in states]
        return torch.cat(states, dim=1)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        channels_last = gradient.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return tuple(part.contiguous(memory_format=layout) for part in gradient.split(context.channels, dim=1))


def concatenated(states: list[Tensor]) -> Tensor:
    """`torch.cat` over channels whose gradients are contiguous.

    torch.cat's own backward gives views into one gradient, on which BatchNorm's backward takes a path 15 times slower
    (12 ms against 0.8 ms for [32, 16, 32, 32] on one core); a copy costs 0.4 ms.
    """
    output: Tensor = _Concatenation.apply(*states) if torch.is_grad_enabled() else torch.cat(states, dim=1)
    return output


CellFactory = Callable[[CellPlace], Cell]


def fixed_cells(genotype: Genotype) -> CellFactory:
    """The cell factory of a fixed network.

    Raises:
        UserError: (when called) the network asks for a cell that the genotype does not have.
    """

    def make(place: CellPlace) -> Cell:
        if place.kind not in genotype.cells:
            raise UserError(
                f"genotype {genotype.name}: expected a cell {place.kind!r}, got {', '.join(genotype.cells)}"
            )
        return Cell(genotype.cells[place.kind], place)

    return make


def _edge_name(node: int, input: int) -> str:
    return f"{node}_from_{input}"
