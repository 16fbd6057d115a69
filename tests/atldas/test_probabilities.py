"""Tables of what a search learned."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_search import tiny_search
from spaces import spaces

from atldas.probabilities import PROBABILITIES, learnt_in_words, read_probabilities, write_learnt, write_probabilities
from atldas.space import Space


def test_probabilities_over_time(tmp_path: Path) -> None:
    finished = tiny_search(tmp_path)
    histories = {history.variable: history for history in read_probabilities(finished / PROBABILITIES)}
    assert set(histories) == {"normal.node_2", "normal.2_from_0", "normal.2_from_1"}
    edge = histories["normal.2_from_0"]
    assert edge.options == ["skip_connect", "nor_conv_1x1", "nor_conv_3x3"] and list(edge.steps) == list(range(12))
    np.testing.assert_allclose(edge.probabilities.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(edge.probabilities[0], 1 / 3, atol=0.2)


@settings(max_examples=25, deadline=None)
@given(space=spaces(), steps=st.lists(st.integers(0, 10**6), max_size=4, unique=True), data=st.data())
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, space: Space, steps: list[int], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "probabilities.csv"
    count = sum(len(variable.options) for variable in space.variables)
    values = data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    write_probabilities(path, space, [(step, torch.tensor(values) / (1 + n)) for n, step in enumerate(steps)])
    read = read_probabilities(path)
    assert [(h.variable, h.options) for h in read] == [
        (variable.name, [str(option) for option in variable.options]) for variable in space.variables
    ]
    assert all(h.steps.tolist() == steps for h in read)
    for n in range(len(steps)):
        row = np.concatenate([h.probabilities[n] for h in read])
        np.testing.assert_allclose(row, np.array(values) / (1 + n), atol=1e-5)


def test_no_table_is_no_history(tmp_path: Path) -> None:
    assert read_probabilities(tmp_path / "probabilities.csv") == []


def test_a_row_for_every_child_that_was_measured(tmp_path: Path) -> None:
    write_learnt(tmp_path / "learnt.csv", {"learned": [0.5, 0.75], "random": [0.25]}, "accuracy")
    with (tmp_path / "learnt.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["from", "accuracy"], ["learned", "0.5"], ["learned", "0.75"], ["random", "0.25"]]


def test_words_about_what_was_learnt() -> None:
    words = learnt_in_words({"learned": [0.5, 0.75], "random": [0.25, 0.25]}, "accuracy")
    assert words == "accuracy of 2 learned children 0.625 (deviation 0.18), of 2 random ones 0.25 (0)"


def test_one_child_has_no_deviation() -> None:
    words = learnt_in_words({"learned": [2.0], "random": [3.0]}, "SAD")
    assert words == "SAD of 1 learned children 2 (deviation 0), of 1 random ones 3 (0)"
