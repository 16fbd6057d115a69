"""Every strategy in whole searches: it finds what can be found, and a control without anything to find stays even."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stripes import CHOICE_SPACE, SPACE, WIDTH_SPACE

from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.experiment import Experiment
from atldas.searching import Found, search

CPU = torch.device("cpu")


def run(folder: Path, strategy: str, space: str = SPACE, **changed: Any) -> Found:
    """A search of 120 steps, unless `changed` says otherwise."""
    (folder / "space.yaml").write_text(space)
    steps = changed.get("steps", 120)
    given = {
        "schema": 2, "name": "found", "space": str(folder / "space.yaml"), "task": "stripes:StripesTask",
        "task_options": changed.get("task_options", {}), "seed": changed.get("seed", 1),
        "strategy": strategy, "strategy_options": changed.get("options", {}),
        "search": {
            "steps": steps, "weights": {"lr": 0.1, "weight_decay": 0.0},
            "architecture": {"start": min(20, max(0, steps - 1)), "lr": 0.1},
        },
        "evaluation": changed.get("evaluation", {"most_probable": 2, "samples": 0}),
    }  # fmt: skip
    found = search(from_dict(Experiment, given, "test"), folder / "run", CPU)
    assert found is not None
    return found


def convolution(found: Found) -> float:
    """The probability that some edge of a child has the 3x3 convolution; 0.70 at first."""
    missing = 1.0
    for variable, categorical in found.search.distribution.items():
        if "nor_conv_3x3" in variable.options:
            missing *= 1 - float(categorical.log_probabilities().exp()[-1].detach())
    return 1 - missing


def opened(found: Found) -> float:
    """The probability of the option that lets something through."""
    return float(found.search.distribution["shutter"].log_probabilities().exp()[1].detach())


@pytest.mark.parametrize("strategy", ["darts", "drnas", "gdas", "atldas"])
def test_what_learns_finds_the_operation_and_the_choice_that_the_task_needs(tmp_path: Path, strategy: str) -> None:
    found = run(tmp_path, strategy, CHOICE_SPACE)
    assert convolution(found) > 0.9 and opened(found) > 0.9
    assert "nor_conv_3x3" in found.genotype.to_yaml() and found.genotype.choices["shutter"] == "open"
    assert found.candidates[0].figures["inherited"] > 0.9


WARM = {"warm_start": 27, "warm_start_steps": 60}


def test_a_warm_start_is_ahead_at_first(tmp_path: Path) -> None:
    """Thirty steps of logits; the proxy is right: what has parameters is needed here."""
    found = []
    for name, options in {"cold": {}, "warm": {**WARM, "proxies": {"parameters": 1.0}}}.items():
        (tmp_path / name).mkdir()
        shuffled = {**options, "shuffle_losses": True}  # the judged losses say nothing
        found.append(convolution(run(tmp_path / name, "atldas", steps=50, options=shuffled)))
    assert found[0] < 0.75 and found[1] > found[0] + 0.05


def test_a_misleading_warm_start_is_forgotten(tmp_path: Path) -> None:
    """The proxy is wrong; its weight is 0 from step 60 on, and what was judged decides."""
    options = {**WARM, "proxies": {"parameters": -1.0}}
    (tmp_path / "misled").mkdir()
    misled = run(tmp_path / "misled", "atldas", steps=30, options={**options, "shuffle_losses": True})
    assert convolution(misled) < 0.67
    assert convolution(run(tmp_path, "atldas", options=options)) > 0.9


@pytest.mark.parametrize("strategy", ["darts", "drnas"])
def test_without_anything_to_learn_a_dense_strategy_has_no_liking_for_it(tmp_path: Path, strategy: str) -> None:
    runs = []
    for seed in (2, 3):  # one run drifts, but not always the same way
        (tmp_path / str(seed)).mkdir()
        runs.append(run(tmp_path / str(seed), strategy, CHOICE_SPACE, seed=seed, task_options={"shuffled": True}))
    assert sum(map(convolution, runs)) / 2 < 0.8 and sum(map(opened, runs)) / 2 < 0.8
    assert all(found.candidates[0].figures["inherited"] < 0.65 for found in runs)


@pytest.mark.parametrize("strategy", ["darts", "drnas"])
def test_dense_strategies_refuse_widths(tmp_path: Path, strategy: str) -> None:
    with pytest.raises(UserError, match="cannot mix widths; leave the widths out"):
        run(tmp_path, strategy, WIDTH_SPACE)


def test_evolution_with_widths_on_inherited_weights(tmp_path: Path) -> None:
    options = {"population": 4, "sample": 2, "cycles": 8, "sampler": "strict_fairness"}
    found = run(tmp_path, "evolution", WIDTH_SPACE, options=options)
    figures = [candidate.figures["inherited"] for candidate in found.candidates]
    assert figures == sorted(figures, reverse=True) and figures[0] > 0.9
    assert "nor_conv_3x3" in found.genotype.to_yaml()
    assert any(candidate.origin.startswith("cycle") for candidate in found.candidates)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("evolution", {"population": 4, "sample": 2, "cycles": 6}),
        ("zero_cost", {"children": 3, "proxies": ["synflow", "snip", "parameters"]}),
        ("largest", {"children": 3}),
        ("random", {"children": 8}),
    ],
)
def test_without_weight_steps_children_are_judged_by_short_training(
    tmp_path: Path, strategy: str, options: dict[str, Any]
) -> None:
    rungs = [{"oracle": "short_training", "steps": 30}]
    found = run(tmp_path, strategy, steps=0, options=options, evaluation={"rungs": rungs})
    assert found.candidates[0].figures["short_training_30"] > 0.9
    assert "nor_conv_3x3" in found.genotype.to_yaml()
    assert found.genotype.provenance["strategy"] == strategy


def test_a_strategy_of_the_users_own(tmp_path: Path) -> None:
    found = run(tmp_path, "stripes:Last", steps=5, options={"children": 2})
    assert [candidate.origin for candidate in found.candidates] == ["mine", "mine"]
    with pytest.raises(UserError, match="unknown key"):
        (tmp_path / "other").mkdir()
        run(tmp_path / "other", "stripes:Last", options={"childs": 2})
