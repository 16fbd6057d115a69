"""The hard budget: against enumeration on random spaces, cells and named choices alike."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atldas.budget import Budget, BudgetConfig, unit_tables
from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.cost_tables import CostTables
from atldas.distribution import Distribution, Factor
from atldas.genotype import Genotype
from atldas.space import Space

SPACE = Space.from_dict(
    {
        "schema": 2, "name": "small",
        "cells": {
            "normal": {"inputs": 2, "nodes": 2, "inputs_per_node": 1, "operations": ["skip_connect", "nor_conv_1x1"]}
        },
        "choices": {"width": [4, 8], "block": ["a", "b", "c"], "deep": [True, False]},
    },
    "test",
)  # fmt: skip


def random_case(seed: int) -> tuple[CostTables, Distribution, torch.Generator]:
    """Costs over one, two and three variables, and a distribution with random logits."""
    generator = torch.Generator().manual_seed(seed)

    def table(*names: str) -> Factor:
        shape = [len(SPACE.variable(name).options) for name in names]
        return Factor(names, 10 * torch.rand(shape, generator=generator, dtype=torch.float64))

    edges = [table(v.name, "width") for v in SPACE.variables if v.condition]
    costs = CostTables(SPACE, 3.0, (*edges, table("block", "width", "deep"), table("deep"), table("width")))
    distribution = Distribution(SPACE)
    with torch.no_grad():
        for logits in distribution.parameters():
            logits.copy_(torch.randn(logits.shape, generator=generator))
    return costs, distribution, generator


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 1.0))
def test_no_child_over_the_budget_is_drawn_or_proposed_and_the_order_is_exact(seed: int, share: float) -> None:
    costs, distribution, generator = random_case(seed)
    every = [(costs.of(child), child) for child in SPACE.enumerate()]
    limit = sorted(cost for cost, _ in every)[int(share * (len(every) - 1))]
    budget = Budget(costs, limit * (1 + 1e-9), bins=40_000)
    assert all(costs.of(child) <= limit * (1 + 1e-6) for child in budget.sample(distribution, generator, count=50))
    within = [child for cost, child in every if cost <= limit]
    assert all(budget.allows(child) for child in within)
    with torch.no_grad():
        exact = sorted((float(distribution.log_prob(child)) for child in within), reverse=True)
    found = budget.most_probable(distribution, 10**6)
    children = {child for _, child in found}
    rounding = len(costs.factors) * limit / 40_000  # a bin for every table
    assert len(children) == len(found) and children <= set(within)
    assert {child for cost, child in every if cost <= limit - rounding} <= children
    log_p = [value for value, _ in found]
    assert log_p == sorted(log_p, reverse=True)
    if len(found) == len(within):
        assert log_p == pytest.approx(exact, abs=1e-5)


def chi_square(found: Counter[Genotype], expected: dict[Genotype, float]) -> float:
    """Children that are expected fewer than five times count as one."""
    often = [child for child, count in expected.items() if count >= 5]
    rest = (
        found.total() - sum(found[child] for child in often),
        sum(expected.values()) - sum(expected[c] for c in often),
    )
    pairs = [*((found[child], expected[child]) for child in often), *([rest] if rest[1] > 1e-9 else [])]
    return sum((seen - count) ** 2 / count for seen, count in pairs)


@pytest.mark.parametrize("uniform", [False, True])
def test_draws_follow_the_distribution_within_the_budget(uniform: bool) -> None:
    costs, distribution, generator = random_case(5)
    every = list(SPACE.enumerate())
    limit = sorted(costs.of(child) for child in every)[60] + 1e-6
    within = [child for child in every if costs.of(child) <= limit]
    with torch.no_grad():
        reference = Distribution(SPACE) if uniform else distribution
        p = torch.stack([reference.log_prob(child) for child in within]).double().exp()
    found = Counter(Budget(costs, limit, bins=40_000).sample(distribution, generator, uniform, count=3000))
    assert set(found) <= set(within)
    expected = {child: 3000 * float(share) for child, share in zip(within, p / p.sum(), strict=True)}
    # At most 61 degrees of freedom: a right sampler exceeds 120 once in 100,000 seeds.
    assert chi_square(found, expected) < 120
    if not uniform:
        assert chi_square(found, {child: 3000 / len(within) for child in within}) > 500


def test_the_cap_of_nasbench201_is_exact() -> None:
    space = Space.load("nasbench201")
    units = unit_tables(space, {"nor_conv_3x3": 9, "nor_conv_1x1": 1})
    within = sum(units.of(child) <= 20 for child in space.enumerate())
    assert len(Budget(units, 20).most_probable(Distribution(space), 10**6)) == within == 13885


def test_equal_children_of_a_large_space_are_listed_at_once() -> None:
    space = Space.load("darts")
    costs = unit_tables(space, {"sep_conv_5x5": 3.0, "sep_conv_3x3": 2.0})
    found = Budget(costs, 12).most_probable(Distribution(space), 20)
    assert len(found) == 20 and all(costs.of(child) <= 12 for _, child in found)
    assert all(value == pytest.approx(-math.log(space.size()), abs=1e-3) for value, _ in found)


def test_a_limit_that_no_child_keeps_is_one_line() -> None:
    costs, _, _ = random_case(0)
    with pytest.raises(UserError, match=r"^budget: gmacs: expected a limit that some child keeps, got 3"):
        Budget(costs, 3.0, "gmacs")


@pytest.mark.parametrize("given", [{}, {"gmacs": 1, "units": 2}, {"units": 3}, {"gmacs": 0}, {"gigamacs": 1}])
def test_faulty_budgets(given: dict[str, object]) -> None:
    with pytest.raises(UserError, match="budget"):
        from_dict(BudgetConfig, given, "e.yaml", at="budget")
