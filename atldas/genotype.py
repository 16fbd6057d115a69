"""A genotype: what a search found, as a small frozen value that is written to and read from YAML.

A cell has `inputs` input nodes, numbered from 0, and intermediate nodes numbered on from there. Each intermediate node
is the sum of operations on distinct earlier nodes; the cell's output concatenates the nodes in `concat`. A genotype
names its cells (`normal`, `reduce`, or any other name that the network it is for knows).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, MinLen

from .common.atomic import write_text
from .common.config import Source, config, from_dict
from .common.config_errors import suggestion
from .common.errors import UserError
from .common.shipped import names_in, read_named
from .common.yaml_text import parse_yaml, shown, to_yaml
from .operations import OPERATIONS

if TYPE_CHECKING:
    import networkx as nx

ONE_LINE = 10**9  # characters
SHIPPED = resources.files("atldas") / "genotypes"
REPEATABLE = ("none", "avg_pool_3x3", "max_pool_3x3")  # without weights: NASNet has the same pool twice on one edge


class FrozenMapping(Mapping[str, Any]):
    """A hashable mapping of plain data, frozen all the way down: lists become tuples, mappings FrozenMappings."""

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = {str(key): _frozen(value) for key, value in (items or {}).items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenMapping(value)
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:
    """The inverse of `_frozen`: what YAML and JSON can write."""
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


class Edge(NamedTuple):
    """One operation applied to one earlier node."""

    operation: str
    input: int


@dataclass(frozen=True)
class CellGenotype:
    """One cell's wiring.

    Attributes:
        inputs: the number of input nodes.
        nodes: per intermediate node its edges, in the order in which their outputs are summed.
        concat: the nodes that the output concatenates, by number.

    Raises:
        UserError: an unknown operation, an input that is not an earlier node, the same edge twice, a bad `concat`.
    """

    inputs: int
    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(tuple(Edge(*edge) for edge in edges) for edges in self.nodes))
        object.__setattr__(self, "concat", tuple(self.concat))
        if self.inputs < 1:
            raise UserError(f"inputs: expected 1 or more, got {self.inputs}")
        if not self.nodes:
            raise UserError("nodes: expected one or more nodes, got none")
        for k, edges in enumerate(self.nodes):
            if not edges:
                raise UserError(f"nodes[{k}]: expected one or more edges, got none")
            read: set[Edge] = set()
            for e, edge in enumerate(edges):
                self._check_edge(edge, k, e, read)
                read.add(edge)
        last = self.inputs + len(self.nodes) - 1
        for index, node in enumerate(self.concat):
            if not self.inputs <= node <= last or node in self.concat[:index]:
                raise UserError(f"concat[{index}]: expected nodes of {self.inputs}..{last}, each once, got {node}")
        if not self.concat:
            raise UserError(f"concat: expected one or more nodes of {self.inputs}..{last}, got none")

    def _check_edge(self, edge: Edge, k: int, e: int, read: set[Edge]) -> None:
        if edge.operation not in OPERATIONS:
            raise UserError(
                f"nodes[{k}][{e}][0]: unknown operation {shown(edge.operation)}"
                f"{suggestion(edge.operation, list(OPERATIONS))}; expected one of {', '.join(OPERATIONS)}"
            )
        if not 0 <= edge.input < self.inputs + k:
            raise UserError(
                f"nodes[{k}][{e}][1]: expected an input before node {self.inputs + k}: "
                f"0..{self.inputs + k - 1}, got {edge.input}"
            )
        if edge in read and edge.operation not in REPEATABLE:
            raise UserError(
                f"nodes[{k}][{e}]: expected each edge once per node, got {edge.operation} on input {edge.input} again"
            )

    def edges(self) -> Iterator[tuple[int, Edge]]:
        """(node number, edge) for every edge, in order."""
        for k, edges in enumerate(self.nodes):
            for edge in edges:
                yield self.inputs + k, edge

    def unread(self) -> list[int]:
        """The nodes that do not reach the output: what their edges compute is thrown away."""
        import networkx as nx  # here, because it takes 0.15 s, and few programs make graphs

        reaching = nx.ancestors(self.graph(), "output")
        return [node for node in range(self.inputs, self.inputs + len(self.nodes)) if node not in reaching]

    def graph(self) -> nx.DiGraph:
        """The cell as a graph: integer nodes with a `kind`, an `output` node, edges with an `operation`."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(range(self.inputs), kind="input")
        graph.add_nodes_from(range(self.inputs, self.inputs + len(self.nodes)), kind="node")
        graph.add_node("output", kind="output")
        graph.add_edges_from((edge.input, node, {"operation": edge.operation}) for node, edge in self.edges())
        graph.add_edges_from((node, "output", {"operation": "concat"}) for node in self.concat)
        return graph


@dataclass(frozen=True)
class Genotype:
    """Named cells, named choices, a name, and two free sections of plain data.

    Attributes:
        name: its name in tables and files.
        cells: cell name -> CellGenotype.
        choices: named choice -> the option chosen: a name, a channel count, or true or false.
        network: settings of the network around the cells; the task that builds the network reads them.
        provenance: where it comes from: space, seed, scores, command, versions.
    """

    name: str
    cells: Mapping[str, CellGenotype]
    network: Mapping[str, Any] = field(default_factory=FrozenMapping)
    provenance: Mapping[str, Any] = field(default_factory=FrozenMapping)
    choices: Mapping[str, Any] = field(default_factory=FrozenMapping)

    def __post_init__(self) -> None:
        for section in ("cells", "network", "provenance", "choices"):
            object.__setattr__(self, section, FrozenMapping(getattr(self, section)))

    @staticmethod
    def load(source: str | Path) -> Genotype:
        """Read a genotype from a file, or a shipped one by its name, such as `cheapmatting`.

        Raises:
            UserError: no such file or name, or a fault in it, named by file, key path, expected and found.
        """
        hint = f"a shipped genotype ({', '.join(shipped_names())})"
        return Genotype.from_dict(*read_named(source, SHIPPED, hint))

    @staticmethod
    def parse(text: str, source: str) -> Genotype:
        """Read a genotype from the text of `to_yaml` or `to_json`; `source` names it in errors."""
        try:
            data = json.loads(text)  # first, because it is faster
        except ValueError:
            data = parse_yaml(text, source)
        return Genotype.from_dict(data, source)

    @staticmethod
    def from_dict(data: dict[str, Any], source: Source | str) -> Genotype:
        """Check plain data, as YAML holds them, and make a genotype of them."""
        file = from_dict(_GenotypeFile, data, source)
        require_contents(file.schema, file.cells, file.choices, source)
        cells = {}
        for name, cell in file.cells.items():
            try:
                cells[name] = CellGenotype(cell.inputs, cell.nodes, cell.concat)  # type: ignore[arg-type]
            except UserError as error:
                raise UserError(f"{source}: cells.{name}.{error}") from None
        return Genotype(file.name, cells, file.network, file.provenance, file.choices)

    def network_dict(self) -> dict[str, Any]:
        """The `network` section as plain mappings and lists, fit for `atldas.common.config.from_dict`."""
        section: dict[str, Any] = _thawed(self.network)
        return section

    def save(self, path: str | Path) -> None:
        """Write the genotype as YAML; `load` gives back an equal one."""
        write_text(path, self.to_yaml())

    def to_yaml(self) -> str:
        """The file's text: the cells line by line, then the free sections."""
        lines = [f"schema: {self._schema()}", _on_one_line({"name": self.name}), *(["cells:"] if self.cells else [])]
        for name, cell in self.cells.items():
            lines += [
                f"  {_on_one_line(name)}:",
                f"    inputs: {cell.inputs}",
                f"    nodes:{'' if cell.nodes else ' []'}",
            ]
            for k, edges in enumerate(cell.nodes):
                listed = ", ".join(f"[{_on_one_line(edge.operation)}, {edge.input}]" for edge in edges)
                lines.append(f"      - [{listed}]  # node {cell.inputs + k}")
            lines.append(f"    concat: {list(cell.concat)}")
        text = "\n".join(lines) + "\n"
        for section in ("choices", "network", "provenance"):
            if content := _thawed(getattr(self, section)):
                text += to_yaml({section: content}, short_lists=True)
        return text

    def to_json(self) -> str:
        """One line of text with everything in it, for a weight file's metadata; `parse` reads it."""
        cells = {
            name: {"inputs": cell.inputs, "nodes": cell.nodes, "concat": cell.concat}
            for name, cell in self.cells.items()
        }
        sections = {"network": _thawed(self.network), "provenance": _thawed(self.provenance)}
        if self.choices:
            sections["choices"] = _thawed(self.choices)
        return json.dumps({"schema": self._schema(), "name": self.name, "cells": cells, **sections})

    def _schema(self) -> int:
        """1 for cells alone, which older versions read as well; 2 with named choices."""
        return 2 if self.choices else 1


def shipped_names() -> list[str]:
    """The genotypes that `Genotype.load` finds by name."""
    return names_in(SHIPPED)


def require_contents(schema: int, cells: Mapping[str, Any], choices: Mapping[str, Any], source: Source | str) -> None:
    """What the files of spaces and of genotypes have in common: schema 1 has cells alone, 2 named choices as well.

    Raises:
        UserError: choices in schema 1, or neither cells nor choices.
    """
    if schema == 1 and choices:
        raise UserError(f"{source}: schema: expected 2, which has choices, got 1")
    if not cells and not choices:
        raise UserError(f"{source}: expected cells or choices, got neither")


def _on_one_line(value: Any) -> str:
    """A scalar as YAML, or a mapping of one key to a scalar; quoted where it needs to be."""
    return to_yaml(value, width=ONE_LINE).removesuffix("\n")


@config
class _CellFile:
    inputs: Annotated[int, Ge(1)]
    nodes: tuple[tuple[tuple[str, int], ...], ...]
    concat: tuple[int, ...]


@config
class _GenotypeFile:
    schema: Literal[1, 2]
    name: Annotated[str, MinLen(1)]
    cells: dict[str, _CellFile] = field(default_factory=dict)
    choices: dict[str, bool | int | str] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
