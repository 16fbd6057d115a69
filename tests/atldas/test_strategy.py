"""What a strategy is given: draws and the most probable children, with and without a budget, and what is allowed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from stripes import choice_context

from atldas.budget import Budget
from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.genotype import Genotype
from atldas.strategies import STRATEGIES
from atldas.strategy import Context, Strategy


@pytest.fixture(scope="module")
def given() -> Context:
    """A context of 18 children whose costs differ."""
    return choice_context()


def tight(given: Context) -> tuple[Context, float]:
    """The same with a budget that a third of the children or more is over, and its limit."""
    limit = sorted(given.macs.of(child) for child in given.space.enumerate())[given.space.size() // 2]
    return dataclasses.replace(given, budget=Budget(given.macs, limit)), limit


def test_draws_are_a_function_of_the_generator(given: Context) -> None:
    drawn = []
    for seed in (0, 0, 1):
        given.generator.manual_seed(seed)
        drawn.append(given.samples(5))
    assert drawn[0] == drawn[1] != drawn[2]


def test_draws_follow_the_distribution_or_are_uniform(given: Context) -> None:
    sure = dataclasses.replace(given, distribution=type(given.distribution)(given.space))
    with torch.no_grad():
        sure.distribution["shutter"].logits.copy_(torch.tensor([0.0, 50.0]))
    given.generator.manual_seed(0)
    assert {child.choices["shutter"] for child in sure.samples(20)} == {"open"}
    assert {child.choices["shutter"] for child in sure.samples(20, uniform=True)} == {"open", "shut"}
    assert sure.most_probable(1)[0].choices["shutter"] == "open"


def test_nothing_over_the_budget_is_drawn_or_proposed(given: Context) -> None:
    within, limit = tight(given)
    costs = {child: given.macs.of(child) for child in given.space.enumerate()}
    assert max(costs.values()) > limit
    allowed = {child for child, cost in costs.items() if cost <= limit}
    for uniform in (False, True):
        assert set(within.samples(40, uniform)) <= allowed
    assert set(within.most_probable(len(costs))) == allowed
    assert {child for child in costs if within.allows(child)} == allowed
    assert all(given.allows(child) for child in costs)


def test_the_most_probable_are_as_many_as_asked_for_and_differ(given: Context) -> None:
    for n in (0, 1, 5):
        found = given.most_probable(n)
        assert len(found) == len(set(found)) == n


def test_what_pruning_removed_is_not_allowed(given: Context) -> None:
    pruned = dataclasses.replace(given, distribution=type(given.distribution)(given.space))
    pruned.distribution["shutter"].allowed[0] = False
    allowed: list[Genotype] = [child for child in given.space.enumerate() if pruned.allows(child)]
    assert {child.choices["shutter"] for child in allowed} == {"open"}
    assert len(allowed) == given.space.size() // 2


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_fulfils_the_protocol(name: str) -> None:
    members = [
        member for member in vars(Strategy) if not member.startswith("_") and callable(getattr(Strategy, member))
    ]
    assert {"select_for_training", "objective", "parameters", "propose", "state_dict"} <= set(members)
    made = STRATEGIES[name]
    assert dataclasses.is_dataclass(made.Options)
    assert [member for member in members if not hasattr(made, member)] == []


@pytest.mark.parametrize("name", STRATEGIES)
def test_absurd_counts_are_refused_at_once(name: str) -> None:
    options = STRATEGIES[name].Options
    counts = [field.name for field in dataclasses.fields(options) if type(field.default) is int]
    for count in counts:
        if not count.endswith("_steps"):  # those cost nothing until they are done
            with pytest.raises(UserError, match=f"strategy_options.{count}: expected "):
                from_dict(options, {count: 10**9}, "search.yaml", at="strategy_options")
