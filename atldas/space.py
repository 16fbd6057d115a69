"""A search space: for each kind of cell, what a search may choose. Read from YAML."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from pydantic import BeforeValidator
from torch import nn

from .common.config import Source, config, from_dict
from .common.config_errors import suggestion
from .common.errors import UserError
from .common.shipped import names_in, read_named
from .common.yaml_text import shown
from .genotype import CellGenotype, Edge
from .operations import OPERATIONS

SHIPPED = resources.files("atldas.search_spaces")


@dataclass(frozen=True)
class CellSpace:
    """The choices within one kind of cell.

    Each of `nodes` intermediate nodes reads `inputs_per_node` distinct earlier nodes (None: all of them) and applies
    one of `operations` to each. Candidate edges are numbered node by node, within a node by the earlier node read.
    """

    inputs: int
    nodes: int
    inputs_per_node: int | None
    operations: tuple[str, ...]
    concat: tuple[int, ...]

    @cached_property
    def node_numbers(self) -> tuple[int, ...]:
        return tuple(range(self.inputs, self.inputs + self.nodes))

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Every candidate (node, input)."""
        return tuple((node, i) for node in self.node_numbers for i in range(node))

    def subsets(self, node: int) -> tuple[tuple[int, ...], ...]:
        """The sets of earlier nodes that `node` may read."""
        return tuple(itertools.combinations(range(node), self.inputs_per_node or node))

    def candidates(self) -> Iterator[tuple[int, Edge]]:
        """Every operation on every candidate edge."""
        return ((node, Edge(operation, i)) for node, i in self.edges for operation in self.operations)

    def size(self) -> int:
        """How many different cells there are."""
        choices = len(self.operations)
        return math.prod(sum(choices ** len(subset) for subset in self.subsets(node)) for node in self.node_numbers)

    def enumerate(self) -> Iterator[CellGenotype]:
        """Every cell; for toy spaces."""
        per_node = [
            [
                tuple(Edge(*pair) for pair in zip(operations, subset, strict=True))
                for subset in self.subsets(node)
                for operations in itertools.product(self.operations, repeat=len(subset))
            ]
            for node in self.node_numbers
        ]
        return (CellGenotype(self.inputs, nodes, self.concat) for nodes in itertools.product(*per_node))

    def first(self) -> CellGenotype:
        """Some cell of the space: what a supernet's cell is set to before anything has been drawn."""
        nodes = ((Edge(self.operations[0], i) for i in self.subsets(node)[0]) for node in self.node_numbers)
        return CellGenotype(self.inputs, tuple(tuple(edges) for edges in nodes), self.concat)


@dataclass(frozen=True)
class Space:
    """A named search space: cell kind -> CellSpace."""

    name: str
    cells: dict[str, CellSpace]

    @staticmethod
    def load(source: str | Path) -> Space:
        """Read a space from a file, or a shipped one by its name, such as `darts`.

        Raises:
            UserError: no such file or name, or a fault in it, named by file, key path, expected and found.
        """
        hint = f"a shipped space; shipped are {', '.join(shipped_spaces())}"
        return Space.from_dict(*read_named(source, SHIPPED, hint))

    @staticmethod
    def from_dict(data: dict[str, Any], source: Source | str) -> Space:
        """Check plain data, as YAML holds it, and make a space of it."""
        file = from_dict(_SpaceFile, data, source)
        for name in file.cells:
            _check_module_name(name, f"{source}: cells")
        return Space(file.name, {name: _cell(cell, f"{source}: cells.{name}") for name, cell in file.cells.items()})

    def size(self) -> int:
        """How many different children there are."""
        return math.prod(cell.size() for cell in self.cells.values())


def shipped_spaces() -> list[str]:
    """The spaces that `Space.load` finds by name."""
    return names_in(SHIPPED)


def _count_or_all(value: Any) -> Any:
    if value == "all" or (type(value) is int and value >= 1):
        return value
    raise ValueError("an integer of 1 or more, or all")


@config
class _CellFile:
    inputs: Annotated[int, Ge(1)]
    nodes: Annotated[int, Ge(1)]
    inputs_per_node: Annotated[int | Literal["all"], BeforeValidator(_count_or_all)]
    operations: Annotated[tuple[str, ...], MinLen(1)]
    concat: tuple[int, ...] | None = None


@config
class _SpaceFile:
    schema: Literal[1]
    name: Annotated[str, MinLen(1)]
    cells: Annotated[dict[str, _CellFile], MinLen(1)]


def _cell(file: _CellFile, where: str) -> CellSpace:
    for index, operation in enumerate(file.operations):
        if operation not in OPERATIONS:
            raise UserError(
                f"{where}.operations[{index}]: unknown operation {shown(operation)}"
                f"{suggestion(operation, list(OPERATIONS))}; expected one of {', '.join(OPERATIONS)}"
            )
        if operation in file.operations[:index]:
            raise UserError(f"{where}.operations[{index}]: expected each operation once, got {operation} again")
        _check_module_name(operation, f"{where}.operations[{index}]")
    k = None if file.inputs_per_node == "all" else file.inputs_per_node
    if k is not None and k > file.inputs:
        raise UserError(
            f"{where}.inputs_per_node: expected 1..{file.inputs}, the earlier nodes that the first node can read, "
            f"or all, got {k}"
        )
    concat = file.concat if file.concat is not None else tuple(range(file.inputs, file.inputs + file.nodes))
    space = CellSpace(file.inputs, file.nodes, k, file.operations, concat)
    try:
        space.first()  # its genotype checks `concat`
    except UserError as error:
        raise UserError(f"{where}.{error}") from None
    return space


def _check_module_name(name: str, where: str) -> None:
    """Cells and operations are kept in `nn.ModuleDict`s, which take no dots and no names of their own methods."""
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise UserError(f"{where}: expected a name that PyTorch takes for a module, got {shown(name)}")
