"""Every strategy resumes to the same bits: stopped in the loop, and stopped in the choice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from stripes import CHOICE_SPACE

from atldas.common.config import from_dict
from atldas.common.runfolder import load_checkpoint
from atldas.experiment import Experiment
from atldas.genotype import Genotype
from atldas.halving import Archive
from atldas.oracles import Oracle
from atldas.searching import Search, search
from atldas.strategies import STRATEGIES

CPU = torch.device("cpu")
OPTIONS: dict[str, dict[str, Any]] = {
    "atldas": {"children": 3, "memory": 12, "sampler": "strict_fairness", "warm_start": 6, "warm_start_steps": 9},
    "darts": {},
    "gdas": {},
    "drnas": {"distance": 0.1},
    "random": {"children": 5},
    "evolution": {"population": 3, "sample": 2, "cycles": 4, "sampler": "strict_fairness"},
    "zero_cost": {"proxies": ["synflow", "zico"], "scored": 5, "children": 4},
    "largest": {"children": 4},
    "surrogate": {
        "proxies": {"naswot_share": 1.0},
        "scored": 12,
        "pool_share": 0.8,
        "initial": 2,
        "rounds": 1,
        "per_round": 2,
        "finalists": 3,
        "repeats": 0,
    },
}
STEPS = 12


def test_every_strategy_is_among_them() -> None:
    assert OPTIONS.keys() == STRATEGIES.keys()


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[[str], Experiment]:
    (tmp_path / "space.yaml").write_text(CHOICE_SPACE)
    return lambda strategy: from_dict(
        Experiment,
        {
            "schema": 2, "name": "found", "space": str(tmp_path / "space.yaml"), "task": "stripes:StripesTask",
            "task_options": {"batch": 8}, "strategy": strategy, "strategy_options": OPTIONS[strategy],
            "search": {
                "steps": STEPS, "architecture": {"start": 2, "lr": 0.1}, "log_every": 1, "checkpoint_every": 5,
                "pruning": {"every": 3, "patience": 1, "share": 0.7},
            },
            "evaluation": {
                "most_probable": 2, "samples": 3, "controls": 2,
                "rungs": [{"oracle": "inherited", "keep": 2}, {"oracle": "short_training", "steps": 3}],
            },
        },
        "test",
    )  # fmt: skip


def assert_same(found: Path, expected: Path) -> None:
    for name in ("genotype.yaml", "candidates.csv", "log.csv", "measured.json"):
        assert (found / name).read_text() == (expected / name).read_text(), name
    states = [load_checkpoint(folder / "checkpoint.pt") for folder in (found, expected)]
    for part in ("supernet", "distribution", "weight_optimizer", "strategy"):
        assert_equal(states[0][part], states[1][part], part)


def assert_equal(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_equal(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for index, pair in enumerate(zip(found, expected, strict=True)):
            assert_equal(*pair, f"{where}.{index}")
    else:
        assert found == expected, where


@pytest.mark.parametrize("strategy", OPTIONS)
def test_a_search_stopped_in_the_loop_and_in_the_choice_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experiment: Callable[[str], Experiment], strategy: str
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert search(experiment(strategy), whole, CPU) is not None

    step = Search.weight_step

    def stopping(self: Search, batch: Any) -> float:
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Search, "weight_step", stopping)
        assert search(experiment(strategy), stopped, CPU) is None
    assert load_checkpoint(stopped / "checkpoint.pt")["step"] == 8

    measured: list[str] = []
    measure_all = Archive.measure_all

    def tired(self: Archive, oracle: Oracle, children: Sequence[Genotype], *others: Any) -> list[float]:
        figures = []
        for child in children:
            measured.append(oracle.name)
            if len(measured) == 2:
                raise KeyboardInterrupt
            figures += measure_all(self, oracle, [child], *others)
        return figures

    with monkeypatch.context() as patched:
        patched.setattr(Archive, "measure_all", tired)
        with pytest.raises(KeyboardInterrupt):
            search(experiment(strategy), stopped, CPU, resume=True)
    assert not (stopped / "genotype.yaml").exists() and (stopped / "measured.json").exists()
    assert search(experiment(strategy), stopped, CPU, resume=True) is not None
    assert_same(stopped, whole)
