"""A genotype as a graph, for networkx, Gephi, yEd and whatever reads node-link data."""

from __future__ import annotations

import io
import json
from pathlib import Path

import networkx as nx

from ..common.atomic import write_text
from ..genotype import Genotype


def genotype_graph(genotype: Genotype) -> nx.MultiDiGraph:
    """All cells in one graph, each a component of its own.

    A node is named `CELL/NUMBER` or `CELL/output` and has `label`, `cell` and `kind` (input, node, output). An edge
    has an `operation`; one to an output has `concat`. Two operations may join the same nodes. Edges' keys are unique
    in the whole graph, because Gephi takes edges of the same key for the same edge.
    """
    graph = nx.MultiDiGraph(name=genotype.name)
    for kind, cell in genotype.cells.items():
        end = cell.inputs + len(cell.nodes)
        for number in range(end):
            role = "input" if number < cell.inputs else "node"
            graph.add_node(f"{kind}/{number}", label=str(number), cell=kind, kind=role)
        graph.add_node(f"{kind}/output", label="output", cell=kind, kind="output")
        edges = [(f"{kind}/{edge.input}", f"{kind}/{node}", edge.operation) for node, edge in cell.edges()]
        edges += [(f"{kind}/{node}", f"{kind}/output", "concat") for node in cell.concat]
        for source, target, operation in edges:
            graph.add_edge(source, target, key=f"e{graph.number_of_edges()}", operation=operation)
    return graph


def node_link(genotype: Genotype) -> str:
    """JSON that `networkx.node_link_graph(data, edges="edges")` reads; choices and free sections are in `graph`."""
    graph = genotype_graph(genotype)
    sections = json.loads(genotype.to_json())
    graph.graph |= {key: sections.get(key, {}) for key in ("choices", "network", "provenance")}
    return json.dumps(nx.node_link_data(graph, edges="edges"), indent=1) + "\n"


def graphml(genotype: Genotype) -> str:
    """GraphML. A named choice is an attribute of the graph, such as `choice.width`; all types are plain ones."""
    graph = genotype_graph(genotype)
    graph.graph |= {f"choice.{name}": option for name, option in genotype.choices.items()}
    text = io.BytesIO()
    nx.write_graphml(graph, text)  # networkx's own writer: with lxml installed it may use other types
    return text.getvalue().decode() + "\n"


def write_json(genotype: Genotype, path: Path) -> None:
    """Write node-link data."""
    write_text(path, node_link(genotype))


def write_graphml(genotype: Genotype, path: Path) -> None:
    """Write GraphML."""
    write_text(path, graphml(genotype))
