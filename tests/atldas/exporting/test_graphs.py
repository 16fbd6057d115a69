"""Genotypes as graphs: nothing is lost, and every program gets types and names that it reads."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree

import networkx as nx
import pytest

from atldas.exporting.graphs import genotype_graph, graphml, node_link
from atldas.genotype import CellGenotype, Edge, Genotype, shipped_names

XML = "{http://graphml.graphdrawing.org/xmlns}"


def cells_of(graph: nx.MultiDiGraph) -> dict[str, CellGenotype]:
    """The inverse of `genotype_graph`."""
    cells = {}
    for kind in dict.fromkeys(cell for _, cell in graph.nodes(data="cell")):
        roles = {name: role for name, role in graph.nodes(data="kind") if name.startswith(f"{kind}/")}
        nodes = [name for name, role in roles.items() if role == "node"]
        entering = {name: [] for name in [*nodes, f"{kind}/output"]}
        for source, target, operation in graph.edges(data="operation"):
            if target in entering:
                entering[target].append(Edge(operation, int(source.split("/")[1])))
        concat = [edge.input for edge in entering.pop(f"{kind}/output")]
        inputs = sum(role == "input" for role in roles.values())
        cells[kind] = CellGenotype(inputs, tuple(tuple(entering[name]) for name in nodes), tuple(concat))
    return cells


def alike(found: dict[str, CellGenotype], genotype: Genotype) -> bool:
    """Equal but for the order of what is summed and concatenated, which a graph does not keep."""

    def plain(cell: CellGenotype) -> tuple[object, ...]:
        return cell.inputs, [sorted(edges) for edges in cell.nodes], sorted(cell.concat)

    return {kind: plain(cell) for kind, cell in found.items()} == {k: plain(c) for k, c in genotype.cells.items()}


@pytest.mark.parametrize("name", shipped_names())
def test_networkx_reads_both_formats_and_nothing_is_lost(name: str) -> None:
    genotype = Genotype.load(name)
    assert alike(cells_of(nx.node_link_graph(json.loads(node_link(genotype)), edges="edges")), genotype)
    read = nx.read_graphml(io.BytesIO(graphml(genotype).encode()), force_multigraph=True)
    assert read.is_directed() and alike(cells_of(read), genotype)


def test_two_operations_between_the_same_nodes_are_two_edges() -> None:
    cell = CellGenotype(1, ((Edge("sep_conv_3x3", 0), Edge("sep_conv_5x5", 0)),), (1,))
    graph = genotype_graph(Genotype("double", {"normal": cell}))
    assert graph.number_of_edges("normal/0", "normal/1") == 2
    assert cells_of(graph) == {"normal": cell}


def test_choices_are_attributes_of_the_graph_with_their_types() -> None:
    choices = {"width": 24, "hints": True, "head": "half"}
    genotype = Genotype("whole", Genotype.load("cheapmatting").cells, choices=choices)
    assert json.loads(node_link(genotype))["graph"]["choices"] == choices
    read = nx.read_graphml(io.BytesIO(graphml(genotype).encode())).graph
    assert {key.removeprefix("choice."): value for key, value in read.items() if key.startswith("choice.")} == choices
    assert read["name"] == "whole"


def test_a_genotype_of_choices_alone_is_a_graph_without_nodes() -> None:
    data = json.loads(node_link(Genotype("choices", {}, choices={"head": "half"})))
    assert data["nodes"] == [] and data["graph"]["choices"] == {"head": "half"}


def test_graphml_has_what_gephi_and_yed_need() -> None:
    root = ElementTree.fromstring(graphml(Genotype.load("nasnet")))
    assert root.tag == f"{XML}graphml"
    assert {key.get("attr.type") for key in root.iter(f"{XML}key")} <= {"boolean", "int", "long", "double", "string"}
    assert {"label", "kind", "cell"} <= {
        key.get("attr.name") for key in root.iter(f"{XML}key") if key.get("for") == "node"
    }
    edges = list(root.iter(f"{XML}edge"))
    assert (
        len({edge.get("id") for edge in edges})
        == len(edges)
        == 2 * 10 + sum(len(cell.concat) for cell in Genotype.load("nasnet").cells.values())
    )
