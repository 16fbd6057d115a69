"""The genotype: equal after a round trip through a file, frozen, every fault named."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atldas.common.errors import UserError
from atldas.common.yaml_text import parse_yaml, to_yaml
from atldas.genotype import CellGenotype, Edge, Genotype, shipped_names
from atldas.operations import OPERATIONS


@st.composite
def cell_genotypes(draw: st.DrawFn) -> CellGenotype:
    inputs = draw(st.integers(1, 3))
    nodes = []
    for node in range(inputs, inputs + draw(st.integers(1, 4))):
        sources = draw(st.lists(st.integers(0, node - 1), min_size=1, unique=True))
        nodes.append(tuple(Edge(draw(st.sampled_from(list(OPERATIONS))), i) for i in sources))
    numbers = st.integers(inputs, inputs + len(nodes) - 1)
    return CellGenotype(inputs, tuple(nodes), tuple(draw(st.lists(numbers, min_size=1, unique=True))))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
sections = st.dictionaries(
    texts,
    st.recursive(scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(texts, t, max_size=3), max_leaves=5),
    max_size=4,
)
genotypes = st.builds(
    Genotype,
    name=texts.filter(bool),
    cells=st.dictionaries(texts, cell_genotypes(), max_size=3),
    network=sections,
    provenance=sections,
    choices=st.dictionaries(texts, st.booleans() | st.integers() | texts, max_size=3),
).filter(lambda genotype: genotype.cells or genotype.choices)
CELL = CellGenotype(1, ((Edge("none", 0),),), (1,))
AWKWARD = ["", "yes", "1e-5", "0x1", "null", "~", "a: b", "# c", "'", '"', "\n", "a\x85b", "\u2028", "\ufeff", "\x00",
           " a ", "\t", "<<", "=", "- a", "{a", "2024-01-01", "\U0001f600", "%", "a\nb: c"]  # fmt: skip


@given(genotypes)
@example(Genotype("a\nb", {"c\n d": CELL}, {}, dict.fromkeys(AWKWARD, AWKWARD)))
@example(Genotype("f", {"normal": CELL}, {"rates": [1e-5, 1e300, 5e-324, -0.0, float("inf"), 0.1, 1e16, 2**80]}))
def test_the_text_forms_give_back_an_equal_genotype(genotype: Genotype) -> None:
    for text in (genotype.to_yaml(), genotype.to_json()):
        again = Genotype.parse(text, "text")
        assert again == genotype
        assert hash(again) == hash(genotype)
        assert repr(again) == repr(genotype)  # which tells 1 from True and 0.0 from -0.0
    assert "\n" not in genotype.to_json()


def test_schema_2_is_written_where_there_are_choices_and_1_where_there_are_none() -> None:
    """Older versions read what has no choices."""
    plain = Genotype("g", {"normal": CELL}, {"depth": 3})
    chosen = Genotype("g", {"normal": CELL}, choices={"width": 8, "hints": True, "head.kind": "half"})
    assert plain.to_yaml().startswith("schema: 1\n") and '"schema": 1' in plain.to_json()
    assert "choices" not in plain.to_yaml() + plain.to_json()
    assert chosen.to_yaml().startswith("schema: 2\n") and '"schema": 2' in chosen.to_json()
    assert "choices: {width: 8, hints: true, head.kind: half}\n" in chosen.to_yaml()
    whole = Genotype("g", {}, choices={"width": 8})
    assert "cells" not in whole.to_yaml() and Genotype.parse(whole.to_yaml(), "text") == whole


def test_a_choice_keeps_its_kind() -> None:
    found = Genotype.parse("schema: 2\nname: g\nchoices: {a: true, b: 1, c: 'true', d: '1'}", "text").choices
    assert [found[name] for name in "abcd"] == [True, 1, "true", "1"]
    assert [type(found[name]) for name in "abcd"] == [bool, int, str, str]


@given(genotypes)
def test_save_then_load_is_the_identity(tmp_path_factory: pytest.TempPathFactory, genotype: Genotype) -> None:
    path = tmp_path_factory.getbasetemp() / "genotype.yaml"
    genotype.save(path)
    assert Genotype.load(path) == genotype


def test_is_frozen_all_the_way_down() -> None:
    genotype = Genotype("g", {"normal": CELL}, {"widths": [1, 2]}, {"scores": {"sad": 3.5}})
    with pytest.raises(FrozenInstanceError):
        genotype.name = "h"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        CELL.inputs = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        genotype.cells["normal"] = CELL  # type: ignore[index]
    with pytest.raises(TypeError):
        genotype.provenance["scores"]["sad"] = 0
    assert genotype.network["widths"] == (1, 2)


def test_a_source_mapping_changed_later_changes_nothing() -> None:
    network: dict[str, Any] = {"widths": [1, 2]}
    genotype = Genotype("g", {"normal": CELL}, network)
    network["widths"].append(3)
    network["depth"] = 4
    assert genotype.network_dict() == {"widths": [1, 2]}


def test_equal_genotypes_are_one_element_of_a_set() -> None:
    a, b = Genotype.load("cheapmatting"), Genotype.load("cheapmatting")
    assert a is not b and {a, b} == {a}
    assert {a, Genotype(a.name, {"normal": CELL})} != {a}
    assert pickle.loads(pickle.dumps(a)) == copy.deepcopy(a) == a


def test_the_shipped_genotype_is_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cheapmatting").mkdir()
    assert "cheapmatting" in shipped_names()
    genotype = Genotype.load("cheapmatting")
    assert genotype.name == "cheapmatting"
    assert genotype.cells["normal"].nodes[0] == (Edge("skip_connect", 0), Edge("dil_conv_5x5", 1))
    assert genotype.cells["reduce"].nodes[3] == (Edge("sep_conv_5x5", 3), Edge("dil_conv_5x5", 4))
    assert all(cell.concat == (2, 3, 4, 5) for cell in genotype.cells.values())


def test_a_file_is_preferred_to_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Genotype("mine", {"normal": CELL}).save(tmp_path / "cheapmatting")
    assert Genotype.load("cheapmatting").name == "mine"


def normal(data: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = data["cells"]["normal"]
    return cell


FAULTS: list[tuple[Callable[[dict[str, Any]], object], list[str]]] = [
    (
        lambda d: normal(d)["nodes"][1].__setitem__(0, ["sep_conv_3x4", 0]),
        ["cells.normal.nodes[1][0][0]", 'unknown operation "sep_conv_3x4"', "did you mean sep_conv_3x3?",
         "expected one of none, avg_pool_3x3"],
    ),
    (lambda d: normal(d).update(node=[]), ["cells.normal.node: unknown key", "nodes?", "inputs, nodes, conc"]),
    (lambda d: d.update(cell=1), ["cell: unknown key", "cells?", "expected one of schema, name, cells"]),
    (lambda d: normal(d).pop("concat"), ["cells.normal.concat: expected a value, got nothing"]),
    (
        lambda d: normal(d)["nodes"][1].__setitem__(0, ["none", 3]),
        ["cells.normal.nodes[1][0][1]: expected an input before node 3: 0..2, got 3"],
    ),
    (lambda d: normal(d)["nodes"][1].__setitem__(0, ["none", -1]), ["expected an input before node 3: 0..2, got -1"]),
    (
        lambda d: normal(d)["nodes"].__setitem__(1, [["sep_conv_3x3", 0], ["sep_conv_3x3", 0]]),
        ["cells.normal.nodes[1][1]: expected each edge once per node, got sep_conv_3x3 on input 0 again"],
    ),
    (lambda d: normal(d)["nodes"][0].__setitem__(0, ["none", "0"]), ["nodes[0][0][1]", '"0" (text)', "integer"]),
    (lambda d: normal(d)["nodes"][0].__setitem__(0, ["none", 0.5]), ["nodes[0][0][1]", "0.5 (a number)", "integer"]),
    (lambda d: normal(d)["nodes"][0].__setitem__(0, [0, "none"]), ["nodes[0][0][0]", "0 (an integer)", "text"]),
    (lambda d: normal(d)["nodes"][0].__setitem__(0, ["none"]), ["nodes[0][0][1]: expected an item, got nothing"]),
    (lambda d: normal(d)["nodes"][0].__setitem__(0, ["none", 0, 1]), ["nodes[0][0]: expected 2 or fewer items, got"]),
    (lambda d: normal(d)["nodes"].__setitem__(0, "none"), ["cells.normal.nodes[0]", '"none" (text)', "a list"]),
    (lambda d: normal(d)["nodes"].__setitem__(2, []), ["cells.normal.nodes[2]: expected one or more edges, got none"]),
    (lambda d: normal(d).update(nodes=[]), ["cells.normal.nodes: expected one or more nodes, got none"]),
    (lambda d: normal(d).update(inputs=0), ["cells.normal.inputs: expected 1 or more, got 0"]),
    (lambda d: normal(d).update(concat=[]), ["cells.normal.concat: expected one or more nodes of 2..5, got none"]),
    (lambda d: normal(d).update(concat=[2, 6]), ["cells.normal.concat[1]: expected nodes of 2..5, each once, got 6"]),
    (lambda d: normal(d).update(concat=[2, 2]), ["cells.normal.concat[1]: expected nodes of 2..5, each once, got 2"]),
    (lambda d: normal(d).update(concat=[1]), ["cells.normal.concat[0]: expected nodes of 2..5, each once, got 1"]),
    (lambda d: d.update(cells={}), ["expected cells or choices, got neither"]),
    (lambda d: d.update(cells=[1]), ["cells: expected a mapping of keys to values, got [1] (a list)"]),
    (lambda d: d["cells"].update(normal=None), ["cells.normal: expected a mapping of keys to values, got nothing"]),
    (lambda d: d.update(schema=3), ["schema: expected 1 or 2, got 3"]),
    (lambda d: d.update(choices={"width": 8}), ["schema: expected 2, which has choices, got 1"]),
    (lambda d: d.update(schema=2, choices={"width": 1.5}), ["choices.width", "1.5"]),
    (lambda d: d.update(schema=2, choices={"width": None}), ["choices.width", "nothing"]),
    (lambda d: d.update(schema=2, choices=[8]), ["choices: expected a mapping of keys to values, got [8] (a list)"]),
    (lambda d: d.update(name=""), ['name: expected 1 or more characters, got ""']),
    (lambda d: d.update(provenance="me"), ['provenance: expected a mapping of keys to values, got "me" (text)']),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "parts"), FAULTS)
def test_a_fault_is_one_line_with_file_key_expected_and_found(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], parts: list[str]
) -> None:
    data = parse_yaml(Genotype.load("cheapmatting").to_yaml(), "genotype")
    edit(data)
    path = tmp_path / "faulty.yaml"
    path.write_text(to_yaml(data))
    with pytest.raises(UserError) as error:
        Genotype.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["got an empty file"]),
        (b"- 1", ["top level: expected a mapping of keys to values, got [1] (a list)"]),
        (b"schema: 1\nname: a\nname: b", ["name: expected each key once, got it a second time at line 3"]),
        (
            b"cells:\n  normal: {inputs: 2, inputs: 3}",
            ["cells.normal.inputs: expected each key once, got it a second time at line 2"],
        ),
        (b"\x89PNG\r\n\x1a\n\xff", ["a file that is not UTF-8 text"]),
        (b"\x00\x01\x02", ["expected valid YAML"]),
        (b"name: [", ["expected valid YAML, got a fault at line 1"]),
    ],
)
def test_a_file_that_is_no_genotype_is_named(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        Genotype.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("source", ["cheapmating", "absent.yaml", "folder/absent.yml", "x" * 300, "."])
def test_a_source_that_is_not_there_is_named(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        Genotype.load(source)
    message = str(error.value)
    assert message.startswith(f"{source}: ") and "\n" not in message
    assert "cannot be read" in message or "a shipped genotype (amoebanet, cheapmatting" in message


def test_the_published_graph() -> None:
    graph = Genotype.load("cheapmatting").cells["normal"].graph()
    assert isinstance(graph, nx.DiGraph)
    assert set(graph) == {0, 1, 2, 3, 4, 5, "output"}
    assert [graph.nodes[n]["kind"] for n in (0, 1, 2, 5, "output")] == ["input", "input", "node", "node", "output"]
    assert graph.edges[0, 2]["operation"] == "skip_connect"
    assert graph.edges[1, 2]["operation"] == "dil_conv_5x5"
    assert graph.edges[4, 5]["operation"] == "dil_conv_3x3"
    assert {edge for edge in graph.edges if edge[1] == "output"} == {(n, "output") for n in (2, 3, 4, 5)}
    assert graph.number_of_edges() == 8 + 4


@given(cell_genotypes())
def test_a_graph_is_acyclic_and_has_every_edge(cell: CellGenotype) -> None:
    graph = cell.graph()
    assert nx.is_directed_acyclic_graph(graph)
    operations = {(a, b): name for a, b, name in graph.edges(data="operation") if b != "output"}
    assert operations == {(edge.input, node): edge.operation for node, edge in cell.edges()}
    assert {a for a, b in graph.edges if b == "output"} == set(cell.concat)
