"""The supernet: one network that holds every candidate operation and runs just the child that was selected.

Hard pruning: an operation that is not in the selected child is not called. It gets no gradient (`None`, not zero), so
an optimizer neither moves it nor makes state for it until it is first drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from .cell import Cell, CellFactory, CellPlace, Gates, fixed_cells
from .common.errors import UserError
from .cost import macs, operation_cost
from .genotype import Genotype
from .space import Space

Build = Callable[[CellFactory], nn.Module]


class Supernet(nn.Module):
    """Wraps the network that `build` makes; called like that network.

    Args:
        space: what each kind of cell may be.
        build: makes the task's network from a cell factory.
    """

    def __init__(self, space: Space, build: Build) -> None:
        super().__init__()
        self.space = space
        self._build = build
        self._cells: list[Cell] = []  # in the order in which the network asked for them
        self.network = build(self._new_cell)

    def _new_cell(self, place: CellPlace) -> Cell:
        if place.kind not in self.space.cells:
            raise UserError(
                f"space {self.space.name}: expected a cell {place.kind!r}, got {', '.join(self.space.cells)}"
            )
        space = self.space.cells[place.kind]
        cell = Cell(space.first(), place, space.candidates())
        self._cells.append(cell)
        return cell

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self.network(*inputs)
        return output

    def select(self, child: Genotype, gates: Mapping[str, Gates] | None = None) -> None:
        """Run `child` from now on, with the gates of an evaluation sampler if there are any."""
        for cell in self._cells:
            kind = cell.place.kind
            cell.select(child.cells[kind], gates[kind] if gates else None)

    def selected_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the selected child uses: those outside the cells, the adapters, its own operations."""
        candidates = {id(p) for cell in self._cells for p in cell.edges.parameters()}
        yield from (p for p in self.network.parameters() if id(p) not in candidates)
        for cell in self._cells:
            for node, edge in cell.genotype.edges():
                yield from cell.operation(node, edge).parameters()

    def fixed(self, child: Genotype) -> nn.Module:
        """The fixed network of `child` with this supernet's weights and statistics copied in: the same function."""
        network = self._build(fixed_cells(child))
        mine = self.network.state_dict()
        # Assigned rather than copied in, so that device and memory layout are the supernet's too.
        network.load_state_dict({name: mine[name].clone() for name in network.state_dict()}, assign=True)
        return network.to(next(self.network.parameters()).device)

    def operation_macs(self, input_shape: Sequence[int]) -> tuple[dict[str, Tensor], int]:
        """MACs of every (edge, operation), summed over the cells of each kind, and the MACs of everything else.

        Drops the selected child's gates: they belong to a graph, which cannot be copied to count on.

        Returns:
            kind -> [edges, operations], and the constant part, both for one input of `input_shape` ([1, C, H, W]).
        """
        for cell in self._cells:
            cell.select(cell.genotype)
        tables = {
            kind: torch.zeros(len(s.edges), len(s.operations), dtype=torch.float64)  # counts pass float32's 2 ** 24
            for kind, s in self.space.cells.items()
        }
        for place, height, width in self._cell_calls(input_shape):
            space, table = self.space.cells[place.kind], tables[place.kind]
            for row, (_, i) in enumerate(space.edges):
                # Behind the cell's inputs everything has the reduced size and stride 1.
                from_input = i < space.inputs
                stride = place.stride if from_input else 1
                h, w = (height, width) if from_input else (-(-height // place.stride), -(-width // place.stride))
                for column, name in enumerate(space.operations):
                    table[row, column] += operation_cost(name, place.channels, stride, h, w).macs
        return tables, self._constant_macs(input_shape, tables)

    def _cell_calls(self, input_shape: Sequence[int]) -> list[tuple[CellPlace, int, int]]:
        """Every run of a cell in one forward pass: its place, and the height and width of its adapted inputs."""
        # Not of `self`: `_build` may lead to a task with a whole data set in it.
        network, cells = copy.deepcopy((self.network, self._cells))
        calls: list[tuple[CellPlace, int, int]] = []

        def record(cell: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(cell, Cell)
            stride = cell.place.input_strides[-1]
            height, width = inputs[-1].shape[2:]
            calls.append((cell.place, -(-height // stride), -(-width // stride)))

        for cell in cells:
            cell.register_forward_pre_hook(record)
        with torch.no_grad():
            network.to("meta").eval()(torch.empty(tuple(input_shape), device="meta"))
        return calls

    def _constant_macs(self, input_shape: Sequence[int], tables: Mapping[str, Tensor]) -> int:
        """MACs of the network less those of the operations that it currently runs."""
        total = macs(self.network, lambda meta: meta(torch.empty(tuple(input_shape), device="meta")))
        selected = {cell.place.kind: cell.genotype for cell in self._cells}
        for kind, genotype in selected.items():
            space = self.space.cells[kind]
            for node, edge in genotype.edges():
                row, column = space.edges.index((node, edge.input)), space.operations.index(edge.operation)
                total -= int(tables[kind][row, column])
        return total
