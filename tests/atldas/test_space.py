"""Search spaces: sizes, order, shipped files, faults."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import spaces
from toy import cell_space

from atldas.common.errors import UserError
from atldas.common.yaml_text import parse_yaml, to_yaml
from atldas.genotype import CellGenotype, Edge
from atldas.operations import OPERATIONS
from atldas.space import CellSpace, Space, shipped_spaces


def test_sizes_of_the_shipped_spaces() -> None:
    assert shipped_spaces() == ["darts", "matting", "matting_network", "nasbench201", "nasbench_macro"]
    cell = (1 * 3 * 6 * 10) * 7**8
    assert Space.load("darts").size() == cell**2
    assert Space.load("matting").cells == Space.load("darts").cells
    nasbench = Space.load("nasbench201")
    assert nasbench.size() == 5**6 == 15625
    assert nasbench.cells["normal"].concat == (3,) and nasbench.cells["normal"].inputs_per_node is None


def test_shipped_spaces_are_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "darts").mkdir()
    assert Space.load("darts").name == "darts"


def test_edges_and_subsets_are_numbered_node_by_node() -> None:
    space = cell_space(2, 2, 2)
    assert space.edges == ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
    assert space.subsets(2) == ((0, 1),) and space.subsets(3) == ((0, 1), (0, 2), (1, 2))
    assert cell_space(2, 2, None).subsets(3) == ((0, 1, 2),)
    assert list(space.candidates())[:4] == [
        (2, Edge("skip_connect", 0)), (2, Edge("nor_conv_1x1", 0)), (2, Edge("avg_pool_3x3", 0)),
        (2, Edge("skip_connect", 1)),
    ]  # fmt: skip


@given(st.integers(1, 2), st.integers(1, 2), st.sampled_from([1, 2, None]), st.integers(1, 2))
def test_enumeration_gives_every_cell_once(inputs: int, nodes: int, k: int | None, operations: int) -> None:
    if k is not None and k > inputs:
        k = 1
    space = cell_space(inputs, nodes, k, ("none", "skip_connect")[:operations])
    cells = list(space.enumerate())
    assert len(cells) == len(set(cells)) == space.size()
    assert cells[0] == space.first()


def test_first_needs_no_enumeration() -> None:
    space = CellSpace(2, 12, None, ("none", "skip_connect", "nor_conv_1x1"), (13,))
    first = space.first()
    assert len(first.nodes[-1]) == 13 and {edge.operation for _, edge in first.edges()} == {"none"}


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("schema: 1\nname: mine\ncells: {a: {inputs: 1, nodes: 2, inputs_per_node: 1, operations: [none]}}")
    space = Space.load(path)
    assert space.name == "mine" and space.cells["a"] == CellSpace(1, 2, 1, ("none",), (1, 2))
    assert list(space.cells["a"].enumerate())[1] == CellGenotype(1, ((("none", 0),), (("none", 1),)), (1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        (
            {"operations": ["none", "skip_conect"]},
            ["operations[1]", '"skip_conect"', "did you mean skip_connect?", "expected one of none"],
        ),
        ({"operations": ["none", "none"]}, ["operations[1]: expected each operation once, got none again"]),
        ({"operations": []}, ["operations: expected 1 or more items, got []"]),
        ({"inputs_per_node": 3}, ["inputs_per_node: expected 1..2, the earlier nodes", "or all, got 3"]),
        ({"inputs_per_node": 0}, ["inputs_per_node: expected an integer of 1 or more, or all, got 0"]),
        (
            {"inputs_per_node": "every"},
            ['inputs_per_node: expected an integer of 1 or more, or all, got "every" (text)'],
        ),
        ({"inputs_per_node": True}, ["inputs_per_node: expected an integer of 1 or more, or all, got true"]),
        ({"inputs_per_node": 1.5}, ["inputs_per_node: expected an integer of 1 or more, or all, got 1.5"]),
        ({"concat": [1]}, ["concat[0]: expected nodes of 2..3, each once, got 1"]),
        ({"concat": [2, 2]}, ["concat[1]: expected nodes of 2..3, each once, got 2"]),
        ({"concat": []}, ["concat: expected one or more nodes of 2..3, got none"]),
        ({"nodes": 0}, ["nodes: expected 1 or more, got 0"]),
        ({"nodes": 10**6}, ["nodes: expected 32 or less, got 1000000"]),
        ({"inputs": 10**9}, ["inputs: expected 8 or less, got 1000000000"]),
        ({"node": 0}, ["node: unknown key", "nodes?"]),
    ],
)
def test_a_fault_is_named(tmp_path: Path, cell: dict[str, object], parts: list[str]) -> None:
    good = {"inputs": 2, "nodes": 2, "inputs_per_node": 2, "operations": ["none"]}
    path = tmp_path / "faulty.yaml"
    path.write_text(to_yaml({"schema": 1, "name": "x", "cells": {"normal": {**good, **cell}}}))
    with pytest.raises(UserError) as error:
        Space.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: cells.normal.") and "\n" not in message
    for part in parts:
        assert part in message


def test_a_name_that_is_not_shipped_is_named() -> None:
    with pytest.raises(
        UserError, match=r"dart: expected a file or a shipped space \(darts, matting, matting_network, nasbe"
    ):
        Space.load("dart")
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read"):
        Space.load("absent.yaml")


NETWORK = """
schema: 2
name: whole
cells:
  normal: {inputs: 1, nodes: 1, inputs_per_node: 1, operations: [none, skip_connect]}
choices:
  width: [16, 24, 32]
  hints: [false, true]
  decoder_8.block: [residual, ghost]
"""


def test_named_choices_stand_beside_cells(tmp_path: Path) -> None:
    (tmp_path / "whole.yaml").write_text(NETWORK)
    space = Space.load(tmp_path / "whole.yaml")
    assert space.choices == {"width": (16, 24, 32), "hints": (False, True), "decoder_8.block": ("residual", "ghost")}
    assert [type(option) for option in space.choices["hints"]] == [bool, bool]
    names = [variable.name for variable in space.variables]
    assert names == ["normal.node_1", "normal.1_from_0", "width", "hints", "decoder_8.block"]
    assert space.size() == 2 * 3 * 2 * 2 == len(set(space.enumerate()))
    child = list(space.enumerate())[-1]
    assert dict(child.choices) == {"width": 32, "hints": True, "decoder_8.block": "ghost"}


def test_a_file_of_schema_1_is_the_same_space_of_cells(tmp_path: Path) -> None:
    cells = NETWORK[: NETWORK.index("choices:")]
    found = [Space.from_dict(parse_yaml(cells.replace("schema: 2", f"schema: {n}"), "s"), "s") for n in (1, 2)]
    assert found[0] == found[1] and found[0].choices == {}


@given(spaces())
@settings(max_examples=25, deadline=None)
def test_choices_of_is_the_inverse_of_genotype_for_every_child(space: Space) -> None:
    children = list(itertools.islice(space.enumerate(), 200))
    assert len(set(children)) == len(children) == min(200, space.size())
    for child in children:
        choices = space.choices_of(child)
        assert space.genotype(choices) == child
        assert choices.keys() == {variable.name for variable in space.variables if variable.counts(choices)}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"schema": 1}, "schema: expected 2, which has choices, got 1"),
        ({"choices": {"width": []}}, "choices.width: expected 1 or more items, got []"),
        ({"choices": {"width": [16, 16]}}, "choices.width: expected every option once, got [16, 16]"),
        ({"choices": {"width": [16, "wide"]}}, "choices.width: expected options of one kind (names, numbers, or true"),
        ({"choices": {"width": [1, True]}}, "choices.width: expected options of one kind"),
        ({"choices": {"width": [1.5]}}, "choices.width[0]"),
        ({"choices": {"block": ["a.b"]}}, "choices.block: expected names without dots"),
        ({"choices": {"normal": ["a"]}}, 'choices.normal: expected a name that no cell has, got "normal"'),
        ({"choices": {"normal.node_1": ["a"]}}, "choices.normal.node_1: expected a name that no cell has"),
        ({"choices": {}, "cells": {}}, "expected cells or choices, got neither"),
    ],
)
def test_faults_of_choices_are_named(edit: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as error:
        Space.from_dict({**parse_yaml(NETWORK, "s.yaml"), **edit}, "s.yaml")
    assert str(error.value).startswith(f"s.yaml: {said}")


@pytest.mark.parametrize("name", ["double", "training", "a.b"])
def test_a_name_that_pytorch_does_not_take_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, name, OPERATIONS["none"])
    cell = {"inputs": 1, "nodes": 1, "inputs_per_node": 1, "operations": [name]}
    with pytest.raises(
        UserError,
        match=rf"s\.yaml: cells\.a\.operations\[0\]: expected a name that PyTorch takes for a module, got .{name}",
    ):
        Space.from_dict({"schema": 1, "name": "x", "cells": {"a": cell}}, "s.yaml")
    with pytest.raises(
        UserError, match=rf"s\.yaml: cells: expected a name that PyTorch takes for a module, got .{name}"
    ):
        Space.from_dict({"schema": 1, "name": "x", "cells": {name: {**cell, "operations": ["none"]}}}, "s.yaml")
