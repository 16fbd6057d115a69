"""The measured choice: what is proposed, how statistics are recomputed, which candidate wins."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import BrightnessOptions, BrightnessTask, children, random_distribution, space

from atldas.distribution import Distribution
from atldas.evaluate import Candidate, EvaluationConfig, best_first, evaluate, propose, recalibrate, write_candidates
from atldas.supernet import Supernet

TOY = space(2, 2, 1, ("skip_connect", "nor_conv_1x1"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_most_probable_are_proposed_then_new_samples() -> None:
    distribution = random_distribution(TOY, 0)
    proposals = list(propose(distribution, EvaluationConfig(most_probable=3, samples=40), generator()))
    assert [child for child, _ in proposals[:3]] == [child for _, child in distribution.most_probable(3)]
    assert [origin for _, origin in proposals] == ["probable"] * 3 + ["sampled"] * (len(proposals) - 3)
    assert len({child for child, _ in proposals}) == len(proposals) > 8
    assert len(list(propose(distribution, EvaluationConfig(most_probable=99, samples=9), generator()))) == 24


class Fixed:
    """A task whose training batches are known."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches

    def training_batches(self, start: int) -> Iterator[Any]:
        while True:
            yield from self.batches[start:]

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        y: Tensor = network(batch).sum()
        return y


def test_recalibration_takes_plain_averages() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(5, 2, 3, 3) * (1 + k) + k for k in range(3)]
    norm = nn.BatchNorm2d(2, momentum=0.3)
    with torch.no_grad():
        norm(torch.randn(4, 2, 3, 3) + 50)  # statistics to be forgotten
    network = nn.Sequential(norm, nn.Dropout(0.5))
    recalibrate(network, Fixed(batches), 3)
    mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in batches]).mean(0)
    variance = torch.stack([x.var(dim=(0, 2, 3)) for x in batches]).mean(0)
    assert norm.running_mean is not None and norm.running_var is not None
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    assert torch.allclose(norm.running_var, variance, atol=1e-4)
    assert norm.momentum == 0.3 and not any(module.training for module in network.modules())


def test_recalibration_of_a_network_without_normalisation_does_nothing() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    before = [p.clone() for p in network.parameters()]
    recalibrate(network, Fixed([]), 3)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_candidate_carries_both_figures_and_leaves_the_supernet_alone() -> None:
    torch.manual_seed(0)
    task = BrightnessTask(BrightnessOptions(), 0, torch.device("cpu"))
    supernet, distribution = Supernet(TOY, task.build), Distribution(TOY)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    child = children(TOY)[5]
    found = evaluate(supernet, task, distribution, child, "probable", EvaluationConfig(calibration_batches=4))
    assert found.child == child and found.origin == "probable"
    assert found.log_probability == pytest.approx(-math.log(24), abs=1e-5)
    assert found.inherited == task.measure(supernet.fixed(child).eval())
    assert found.recalibrated == task.measure(found.network) and not found.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def candidate(metric: float) -> Candidate:
    return Candidate(children(TOY)[0], "sampled", -1.5, 0.25, metric, nn.Identity())


def test_the_best_comes_first_and_what_is_not_a_number_last() -> None:
    candidates = [candidate(metric) for metric in (math.nan, 0.5, 2.0, math.nan, 1.0)]
    for larger, order in ((True, [2.0, 1.0, 0.5]), (False, [0.5, 1.0, 2.0])):
        found = [c.recalibrated for c in best_first(candidates, larger)]
        assert found[:3] == order and all(math.isnan(metric) for metric in found[3:])


def test_the_table(tmp_path: Path) -> None:
    write_candidates(tmp_path / "candidates.csv", [candidate(0.75), candidate(0.5)], "accuracy")
    with (tmp_path / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {
        "rank": "2", "origin": "sampled", "log_probability": "-1.5", "accuracy_inherited": "0.25",
        "accuracy_recalibrated": "0.5", "cells": "normal 2=skip_connect(0) 3=skip_connect(0)",
    }  # fmt: skip
