"""A whole search: what it writes, and what each of its steps may move."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from small_search import STEPS, data_folder, experiment
from torch import Tensor, nn

from atldas.classification import ImageFolderTask
from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from atldas.common.runfolder import read_log
from atldas.experiment import Experiment
from atldas.genotype import Genotype
from atldas.searching import COLUMNS, Search, search

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data"))


def test_writes_everything_and_a_genotype_that_loads(data: Path, tmp_path: Path) -> None:
    made = experiment(data)
    found = search(made, tmp_path / "run", CPU, command="atldas search e.yaml")
    assert found is not None
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml", "checkpoint.pt", "log.csv", "tensorboard", "measured.json", "genotype.yaml", "candidates.csv",
        "probabilities.csv", "learnt.csv", "cells.png", "curves.png", "pruned.csv",
        "spent.json",
    }  # fmt: skip
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
    for name in ("cells.png", "curves.png"):
        assert cv2.imread(str(tmp_path / "run" / name)).std() > 1

    genotype, winner = Genotype.load(tmp_path / "run" / "genotype.yaml"), found.candidates[0]
    assert genotype == found.genotype and genotype.cells == winner.child.cells
    assert genotype.name == "stripes" and set(genotype.cells) == {"normal", "reduce"}
    assert genotype.network["channels"] == 4
    assert genotype.provenance["scores"] == {f"accuracy_{oracle}": figure for oracle, figure in winner.figures.items()}
    assert genotype.provenance["command"] == "atldas search e.yaml" and genotype.provenance["seed"] == 3
    assert genotype.provenance["strategy"] == "atldas"

    with (tmp_path / "run" / "candidates.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert 3 <= len(table) <= 5 and len({row["child"] for row in table}) == len(table)
    trained = [row["accuracy_short_training_3"] for row in table]
    assert all(trained[:2]) and not any(trained[2:])
    assert float(trained[0]) == winner.figures["short_training_3"] >= float(trained[1])
    dropped = [float(row["accuracy_inherited"]) for row in table[2:]]
    assert dropped == sorted(dropped, reverse=True)
    assert min(float(row["accuracy_inherited"]) for row in table[:2]) >= max(dropped)

    rows = read_log(tmp_path / "run")
    assert [int(row["step"]) for row in rows] == list(range(STEPS)) and tuple(rows[0]) == ("step", *COLUMNS)
    assert [row["held_out_loss"] == "" for row in rows] == [True, True] + [False] * (STEPS - 2)
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)
    uniform = 2 * math.log(2 * 3 * 3 * 3)
    assert float(rows[0]["entropy"]) == pytest.approx(uniform, abs=1e-4) and float(rows[-1]["entropy"]) < uniform - 0.1
    assert float(rows[0]["weight_free_share"]) == pytest.approx(2 / 3)
    assert float(rows[0]["best_probability"]) == pytest.approx(1 / 54**2, rel=1e-4)
    assert {kind: len(figures) for kind, figures in found.learnt.items()} == {"learned": 2, "random": 2}
    assert from_dict(Experiment, to_dict(made), "again") == made


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("call", [1, 5])  # a weight step, the second judged child of an architecture step
def test_a_loss_that_is_not_finite_is_named_and_spoils_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float, call: int
) -> None:
    original, calls = ImageFolderTask.loss, 0

    def loss(self: ImageFolderTask, network: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return original(self, network, batch) * (bad if calls == call else 1.0)

    monkeypatch.setattr(ImageFolderTask, "loss", loss)
    running = Search(experiment(data), tmp_path, CPU)
    with pytest.raises(UserError, match=rf"finite loss, got {bad} at step {0 if call == 1 else 2}; there is no"):
        running.run(tmp_path, None)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert all(p.isfinite().all() for p in [*running.supernet.parameters(), *running.distribution.parameters()])


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> Search:
    """After a few steps."""
    running = Search(experiment(data), tmp_path, CPU)
    for batch in itertools.islice(running.task.training_batches(0), 3):
        running.weight_step(batch)
    return running


def test_an_architecture_step_moves_no_weight_no_statistic_and_leaves_no_gradient(begun: Search) -> None:
    before = {name: tensor.clone() for name, tensor in begun.supernet.state_dict().items()}
    logits = [p.clone() for p in begun.distribution.parameters()]
    begun.weights.optimizer.zero_grad()
    begun.architecture_step(begun.task.held_out_batches(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in begun.supernet.state_dict().items())
    assert all(p.grad is None for p in begun.supernet.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(logits, begun.distribution.parameters(), strict=True))


def test_a_weight_step_moves_no_logit_and_nothing_that_was_not_drawn(begun: Search) -> None:
    logits = [p.clone() for p in begun.distribution.parameters()]
    before = {name: p.clone() for name, p in begun.supernet.named_parameters()}
    held = {name for name, p in begun.supernet.named_parameters() if p in begun.weights.optimizer.state}
    begun.weight_step(next(begun.task.training_batches(3)))
    assert all(torch.equal(a, b) for a, b in zip(logits, begun.distribution.parameters(), strict=True))
    drawn = {name for name, p in begun.supernet.named_parameters() if p.grad is not None}
    assert drawn == {name for name, p in begun.supernet.named_parameters() if not torch.equal(p, before[name])}
    now = {name for name, p in begun.supernet.named_parameters() if p in begun.weights.optimizer.state}
    assert now == held | drawn and now != set(before)


def test_batches_that_a_strategy_does_not_use_are_counted(data: Path, tmp_path: Path) -> None:
    """A resumed run else judges on batches that were seen."""
    running = Search(experiment(data), tmp_path, CPU)
    running.strategy.objective = lambda batch, step: None  # type: ignore[method-assign]
    held_out = running.task.held_out_batches(0)
    assert running.architecture_step(held_out) is None
    state = running.state_dict()
    assert state["architecture_steps"] == 1
    following = next(running.task.held_out_batches(state["architecture_steps"]))
    assert torch.equal(next(held_out).images, following.images)


def test_a_collapse_to_operations_without_weights_is_told_once(begun: Search, caplog: pytest.LogCaptureFixture) -> None:
    def row() -> None:
        begun.collapse.check(begun.step, begun.figures(1.0, None)["weight_free_share"] or 0.0)

    row()
    assert caplog.text == ""  # two thirds, as at first
    with torch.no_grad():
        for variable, categorical in begun.distribution.items():
            if "nor_conv_1x1" in variable.options:
                categorical.logits[variable.options.index("nor_conv_1x1")] = -9.0
    row()
    row()
    assert caplog.text.count("operations without weights have 100% of the probability (67% at first)") == 1
