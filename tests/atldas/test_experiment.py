"""Faults of an experiment's file, named before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_search import data_folder, experiment

from atldas.common.errors import UserError
from atldas.searching import search

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "atldas.classification:NoSuchTask"}, "e.yaml: task: expected .*has no NoSuchTask"),
        ({"task": "no_such_module:Task"}, "e.yaml: task: expected .*there is no module no_such_module"),
        ({"task": "math:sqrt"}, "e.yaml: task: expected a task .*, got math:sqrt without Options, metric"),
        ({"strategy": "math:sqrt"}, "e.yaml: strategy: expected a class with Options, got sqrt"),
        ({"strategy_options": {"childs": 3}}, "e.yaml: strategy_options.childs: unknown key .did you mean children"),
        ({"strategy": "gdas", "strategy_options": {"children": 3}}, "e.yaml: strategy_options.children: unknown key"),
        (
            {"evaluation": {"rungs": [{"oracle": "inherited"}, {"oracle": "inherited", "calibration_batches": 3}]}},
            "e.yaml: evaluation.rungs: expected oracles that differ, got inherited, inherited",
        ),
        ({"budget": {"gmacs": 1e-6}}, "budget: gmacs .*: expected a limit that some child keeps"),
        ({"task_options": {"foldr": "x"}}, "e.yaml: task_options.foldr: unknown key .did you mean folder"),
        ({"space": "dart"}, "dart: expected a file or a shipped space"),
    ],
)
def test_faulty_settings_are_named_before_a_folder_is_made(
    data: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        search(experiment(data, **settings), tmp_path / "run", CPU, source="e.yaml")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("architecture", {"betas": [0.5, 1.0]}, r"search.architecture.betas\[1\]: expected less than 1, got 1.0"),
        (
            "architecture",
            {"start": 3},
            r"search: expected the first architecture step under steps \(3\)",
        ),
        ("pruning", {"treshold": 0.1}, "search.pruning.treshold: unknown key"),
        ("steps", -1, "search.steps: expected 0 or more, got -1"),
    ],
)
def test_faulty_search_settings_are_named(data: Path, path: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^experiment: {said}"):
        experiment(data, search={"steps": 3, path: value})


@pytest.mark.parametrize(("name", "said"), [("atlas", "did you mean atldas"), ("nothing", "one of atldas")])
def test_a_strategy_that_is_not_there_is_named(data: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^experiment: strategy: expected .*{said}"):
        experiment(data, strategy=name)
