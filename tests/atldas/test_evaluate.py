"""The measured choice: what is proposed, twins, and the comparison of learned with random children."""

from __future__ import annotations

import itertools
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy import random_distribution, space

from atldas.budget import Budget, unit_tables
from atldas.common.errors import UserError
from atldas.distribution import Distribution
from atldas.evaluate import EvaluationConfig, choose, learnt, propose
from atldas.genotype import Genotype
from atldas.halving import Archive, Candidate, Rung
from atldas.space import Space
from atldas.strategy import Context

TOY = Space("toy", dict(space().cells), {"width": (4, 8)})  # 48 children


def context(distribution: Distribution, budget: Budget | None = None) -> Context:
    nothing: Any = None
    return Context(
        distribution.space, nothing, nothing, distribution, torch.Generator().manual_seed(0), nothing, 0,
        torch.device("cpu"), nothing, nothing, budget=budget,
    )  # fmt: skip


def test_the_most_probable_are_proposed_then_their_neighbours_then_samples() -> None:
    distribution = random_distribution(TOY, 0)
    settings = EvaluationConfig(most_probable=3, neighbours=2, samples=40)
    found = list(propose(context(distribution), settings))
    best = [child for _, child in distribution.most_probable(3)]
    assert [c.child for c in found[:3]] == best
    for number in (1, 2):
        around = [c.child for c in found if c.origin == f"neighbour of {number}"]
        assert around == list(TOY.neighbours(best[number - 1]))
    assert [c.origin for c in found[-40:]] == ["sampled"] * 40
    assert len({c.child for c in found[-40:]}) > 5
    assert list(propose(context(distribution), EvaluationConfig(most_probable=0, samples=0))) == []


def differences(a: Genotype, b: Genotype) -> set[str]:
    first, second = TOY.choices_of(a), TOY.choices_of(b)
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


def test_neighbours_differ_in_one_choice_and_every_single_edit_is_one() -> None:
    for child in itertools.islice(TOY.enumerate(), 0, 48, 7):
        around = list(TOY.neighbours(child))
        assert child not in around and len(set(around)) == len(around)
        for other in around:
            changed = differences(child, other)
            nodes = {name for name in changed if ".node_" in name}
            assert len(changed) == 1 or (len(nodes) == 1 and len(changed) == 3)  # another input, its operation
        within = {other for other in TOY.enumerate() if len(differences(child, other)) == 1}
        assert within <= set(around)
        # Node 2 reads one of two, node 3 one of three, with two operations each; and the width.
        assert len(around) == (1 + 2) + (1 + 4) + 1


def test_neither_a_budget_nor_pruning_is_overstepped() -> None:
    distribution = random_distribution(TOY, 1)
    budget = Budget(unit_tables(TOY, {"nor_conv_1x1": 1.0}), 1.0)
    distribution["width"].allowed[1] = False
    found = list(propose(context(distribution, budget), EvaluationConfig(most_probable=9, neighbours=9, samples=20)))
    assert {c.origin.split()[0] for c in found} == {"probable", "neighbour", "sampled"}
    for candidate in found:
        operations = Counter(edge.operation for _, edge in candidate.child.cells["normal"].edges())
        assert operations["nor_conv_1x1"] <= 1 and candidate.child.choices["width"] == 4


class Size:
    """An oracle: the width, and twice the number of convolutions."""

    name = "size"

    def __init__(self) -> None:
        self.calls: Counter[Genotype] = Counter()

    def measure(self, child: Genotype) -> float:
        self.calls[child] += 1
        convolutions = sum(edge.operation == "nor_conv_1x1" for _, edge in child.cells["normal"].edges())
        return float(child.choices["width"]) + 2 * convolutions


def test_twins_are_measured_once() -> None:
    oracle = Size()
    task = SimpleNamespace(larger_is_better=True, identity=lambda child: child.choices["width"])
    proposed = [Candidate(child, "all") for child in TOY.enumerate()]
    found = choose(proposed, [Rung(oracle, 1)], task, Archive())  # type: ignore[arg-type]
    assert [c.child.choices["width"] for c in found] == [8, 4] and sum(oracle.calls.values()) == 2
    whole = choose([*proposed, *proposed], [Rung(oracle, 1)], SimpleNamespace(larger_is_better=True), Archive())  # type: ignore[arg-type]
    assert len(whole) == 48 and whole[0].figures["size"] == 12.0 and sum(oracle.calls.values()) == 50


def test_nothing_proposed_is_named() -> None:
    with pytest.raises(
        UserError, match="expected one or more children from the strategy, got none; raise most_probable or samples"
    ):
        choose([], [Rung(Size(), 1)], SimpleNamespace(larger_is_better=True), Archive())  # type: ignore[arg-type]


def test_learned_children_are_compared_with_random_ones() -> None:
    distribution = Distribution(TOY)
    with torch.no_grad():
        distribution["width"].logits.copy_(torch.tensor([-9.0, 9.0]))
    figures = learnt(distribution, torch.Generator().manual_seed(0), 200, Size(), Archive())
    assert {kind: len(found) for kind, found in figures.items()} == {"learned": 200, "random": 200}
    means = {kind: sum(found) / 200 for kind, found in figures.items()}
    assert means["learned"] == pytest.approx(8 + 2, abs=0.4) and means["random"] == pytest.approx(6 + 2, abs=0.6)
