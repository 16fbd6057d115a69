"""A search space: for each kind of cell, what a search may choose. Read from YAML."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MinLen
from pydantic import BeforeValidator
from torch import nn

from .common.config import Source, config, from_dict
from .common.config_errors import suggestion
from .common.errors import UserError
from .common.shipped import names_in, read_named
from .common.yaml_text import shown
from .genotype import CellGenotype, Edge, Genotype, require_contents
from .operations import OPERATIONS
from .variables import Choices, Condition, Variable, edge_variable, node_variable

MOST_INPUTS, MOST_NODES = 8, 32  # of a cell: 32 nodes have 752 candidate edges
SHIPPED = resources.files("atldas.search_spaces")
CHILD = "child"  # the name of a genotype that was drawn and not yet chosen


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

    def variables(self, kind: str) -> Iterator[Variable]:
        """What a cell of this kind decides: each node's inputs, then the operation on each edge it may read."""
        for node in self.node_numbers:
            subsets = self.subsets(node)
            parent = node_variable(kind, node)
            yield Variable(parent, subsets)
            for i in range(node):
                reading = frozenset(index for index, subset in enumerate(subsets) if i in subset)
                yield Variable(edge_variable(kind, node, i), self.operations, Condition(parent, reading))

    def cell_of(self, kind: str, choices: Choices) -> CellGenotype:
        """The cell with these choices."""
        nodes = []
        for node in self.node_numbers:
            subset = self.subsets(node)[choices[node_variable(kind, node)]]
            nodes.append(tuple(Edge(self.operations[choices[edge_variable(kind, node, i)]], i) for i in subset))
        return CellGenotype(self.inputs, tuple(nodes), self.concat)

    def choices_of(self, kind: str, cell: CellGenotype) -> Choices:
        """The inverse of `cell_of`."""
        choices: Choices = {}
        for node, edges in zip(self.node_numbers, cell.nodes, strict=True):
            subset = tuple(sorted(edge.input for edge in edges))
            choices[node_variable(kind, node)] = self.subsets(node).index(subset)
            for operation, i in edges:
                choices[edge_variable(kind, node, i)] = self.operations.index(operation)
        return choices

    def first(self) -> CellGenotype:
        """Some cell of the space: what a supernet's cell is set to before anything has been drawn."""
        nodes = ((Edge(self.operations[0], i) for i in self.subsets(node)[0]) for node in self.node_numbers)
        return CellGenotype(self.inputs, tuple(tuple(edges) for edges in nodes), self.concat)


@dataclass(frozen=True)
class Space:
    """A named search space.

    Attributes:
        cells: cell kind -> what a cell of that kind may be.
        choices: named choice -> its options, of one kind: names, channel counts, or true and false.
    """

    name: str
    cells: dict[str, CellSpace]
    choices: dict[str, tuple[str | int | bool, ...]] = field(default_factory=dict)

    @staticmethod
    def load(source: str | Path) -> Space:
        """Read a space from a file, or a shipped one by its name, such as `darts`.

        Raises:
            UserError: no such file or name, or a fault in it, named by file, key path, expected and found.
        """
        hint = f"a shipped space ({', '.join(shipped_spaces())})"
        return Space.from_dict(*read_named(source, SHIPPED, hint))

    @staticmethod
    def from_dict(data: dict[str, Any], source: Source | str) -> Space:
        """Check plain data, as YAML holds it, and make a space of it."""
        file = from_dict(_SpaceFile, data, source)
        require_contents(file.schema, file.cells, file.choices, source)
        for name in file.cells:
            _require_module_name(name, f"{source}: cells")
        for name, options in file.choices.items():
            _check_choice(name, options, f"{source}: choices.{name}", file.cells)
        cells = {name: _cell(cell, f"{source}: cells.{name}") for name, cell in file.cells.items()}
        return Space(file.name, cells, dict(file.choices))

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """Everything that a child decides; a parent stands before what depends on it."""
        cells = (variable for kind, cell in self.cells.items() for variable in cell.variables(kind))
        return (*cells, *(Variable(name, options) for name, options in self.choices.items()))

    def variable(self, name: str) -> Variable:
        """The variable of that name."""
        return self._by_name[name]

    def dependents(self, name: str) -> tuple[Variable, ...]:
        """The variables whose condition is on that one."""
        return self._dependents.get(name, ())

    @cached_property
    def _by_name(self) -> dict[str, Variable]:
        return {variable.name: variable for variable in self.variables}

    @cached_property
    def _dependents(self) -> dict[str, tuple[Variable, ...]]:
        found: dict[str, tuple[Variable, ...]] = {}
        for variable in self.variables:
            if variable.condition:
                parent = variable.condition.parent
                found[parent] = (*found.get(parent, ()), variable)
        return found

    def genotype(self, choices: Choices, name: str = CHILD) -> Genotype:
        """The child with these choices; those of variables that do not count are passed over."""
        cells = {kind: cell.cell_of(kind, choices) for kind, cell in self.cells.items()}
        return Genotype(name, cells, choices={key: o[choices[key]] for key, o in self.choices.items()})

    def choices_of(self, child: Genotype) -> Choices:
        """The inverse of `genotype`.

        Raises:
            ValueError, KeyError: the child is not of this space.
        """
        choices: Choices = {}
        for kind, cell in self.cells.items():
            choices |= cell.choices_of(kind, child.cells[kind])
        for key, options in self.choices.items():
            choices[key] = options.index(child.choices[key])
        return choices

    def neighbours(self, child: Genotype) -> Iterator[Genotype]:
        """All children that differ in one choice: another option, or another subset of inputs.

        Where a node reads a new input, each operation on it makes a neighbour, if it is the only new one; the first
        operation stands on it otherwise.
        """
        choices = self.choices_of(child)
        for name, index in choices.items():
            for other in range(len(self.variable(name).options)):
                if other != index:
                    yield from (self.genotype(changed) for changed in self._changed(choices, name, other))

    def _changed(self, choices: Choices, name: str, option: int) -> Iterator[Choices]:
        changed = {**choices, name: option}
        kept = {v.name for v in self.variables if v.counts(changed) and (v.name in changed)}
        new = [v for v in self.dependents(name) if v.counts(changed) and v.name not in choices]
        changed = {key: value for key, value in changed.items() if key in kept}
        if len(new) == 1:
            yield from ({**changed, new[0].name: index} for index in range(len(new[0].options)))
        else:
            yield changed | {variable.name: 0 for variable in new}

    def size(self) -> int:
        """How many different children there are."""
        cells = math.prod(cell.size() for cell in self.cells.values())
        return cells * math.prod(len(options) for options in self.choices.values())

    def enumerate(self) -> Iterator[Genotype]:
        """Every child; for small spaces."""
        cells = itertools.product(*(list(cell.enumerate()) for cell in self.cells.values()))
        for drawn, chosen in itertools.product(cells, list(itertools.product(*self.choices.values()))):
            choices = dict(zip(self.choices, chosen, strict=True))
            yield Genotype(CHILD, dict(zip(self.cells, drawn, strict=True)), choices=choices)


def shipped_spaces() -> list[str]:
    """The spaces that `Space.load` finds by name."""
    return names_in(SHIPPED)


def _count_or_all(value: Any) -> Any:
    if value == "all" or (type(value) is int and value >= 1):
        return value
    raise ValueError("an integer of 1 or more, or all")


@config
class _CellFile:
    inputs: Annotated[int, Ge(1), Le(MOST_INPUTS)]
    nodes: Annotated[int, Ge(1), Le(MOST_NODES)]
    inputs_per_node: Annotated[int | Literal["all"], BeforeValidator(_count_or_all)]
    operations: Annotated[tuple[str, ...], MinLen(1)]
    concat: tuple[int, ...] | None = None


@config
class _SpaceFile:
    schema: Literal[1, 2]
    name: Annotated[str, MinLen(1)]
    cells: dict[str, _CellFile] = field(default_factory=dict)
    choices: dict[str, Annotated[tuple[bool | int | str, ...], MinLen(1)]] = field(default_factory=dict)


def _cell(file: _CellFile, where: str) -> CellSpace:
    for index, operation in enumerate(file.operations):
        if operation not in OPERATIONS:
            raise UserError(
                f"{where}.operations[{index}]: unknown operation {shown(operation)}"
                f"{suggestion(operation, list(OPERATIONS))}; expected one of {', '.join(OPERATIONS)}"
            )
        if operation in file.operations[:index]:
            raise UserError(f"{where}.operations[{index}]: expected each operation once, got {operation} again")
        _require_module_name(operation, f"{where}.operations[{index}]")
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


def _check_choice(name: str, options: tuple[str | int | bool, ...], where: str, cells: Container[str]) -> None:
    if name.partition(".")[0] in cells:
        raise UserError(f"{where}: expected a name that no cell has, got {shown(name)}")
    if any("." in option for option in options if isinstance(option, str)):
        raise UserError(f"{where}: expected names without dots, got {shown(list(options))}")
    if len({type(option) for option in options}) > 1:
        raise UserError(
            f"{where}: expected options of one kind (names, numbers, or true and false), got {shown(list(options))}"
        )
    if len(set(options)) < len(options):
        raise UserError(f"{where}: expected every option once, got {shown(list(options))}")


def _require_module_name(name: str, where: str) -> None:
    """Cells and operations are kept in `nn.ModuleDict`s, which take no dots and no names of their own methods."""
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise UserError(f"{where}: expected a name that PyTorch takes for a module, got {shown(name)}")
