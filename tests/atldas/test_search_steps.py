"""Single steps of a search: what they move, what they leave alone, and what they warn of."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from searches import experiment, search_data

from atldas.searching import Search

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images and a small space's file."""
    return search_data(tmp_path_factory.mktemp("data"))


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
        begun._warn_of_collapse(begun.figures(1.0, None))

    row()
    assert caplog.text == ""  # two thirds, as at first
    with torch.no_grad():
        for variable, categorical in begun.distribution.items():
            if "nor_conv_1x1" in variable.options:
                categorical.logits[variable.options.index("nor_conv_1x1")] = -9.0
    row()
    row()
    assert caplog.text.count("operations without weights have 100% of the probability (67% at first)") == 1
