"""The regression over judged children: against its definition, brute force over every child, and a known truth."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import cell_space, random_distribution, space

from atldas.distribution import Distribution, Factor
from atldas.estimators import Regression
from atldas.space import Space
from atldas.variables import Choices

OF_TWO = space(2, 2, 1)
PAIRS = Space("pairs", {"normal": cell_space(2, 2, 2, ("skip_connect", "nor_conv_1x1"))}, {"width": (2, 4, 8)})
ALL = Space("all", {"normal": cell_space(1, 2, None)}, {"head": ("full", "half")})
SPACES = {"one of two": OF_TWO, "two of three": PAIRS, "all": ALL}


def every_child(of: Space) -> list[Choices]:
    return [of.choices_of(child) for child in of.enumerate()]


def fitted(distribution: Distribution, pairs: bool, ridge: float = 0.5, seed: int = 0) -> Regression:
    """Eight groups of three to five children with random losses."""
    generator = torch.Generator().manual_seed(seed)
    regression = Regression(distribution, 100, ridge, pairs)
    for number in range(8):
        children = [
            distribution.space.choices_of(distribution.sample(generator, uniform=True)) for _ in range(3 + number % 3)
        ]
        regression.add(children, torch.randn(len(children), generator=generator).tolist())
    return regression


def predicted(regression: Regression, child: Choices) -> float:
    """What the fit says of a child: its options' effects, and its pairs'."""
    main, pairs = regression.effects()
    chosen = [regression.distribution.start[name] + index for name, index in child.items()]
    total = float(main[chosen].sum())
    if pairs is not None:
        total += sum(float(pairs[i, j]) for i, j in itertools.combinations(chosen, 2))
    return total


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("pairs", [False, True])
def test_the_expectation_and_its_gradient_are_those_of_all_children(name: str, pairs: bool) -> None:
    distribution = random_distribution(SPACES[name], 5)
    regression = fitted(distribution, pairs)
    losses = [predicted(regression, child) for child in every_child(SPACES[name])]
    log_p = torch.stack([distribution.log_prob(child) for child in every_child(SPACES[name])]).double()
    exact = (log_p.exp() * torch.tensor(losses, dtype=torch.float64)).sum()
    found = regression.expected()
    assert float(found.detach()) == pytest.approx(float(exact.detach()), abs=1e-5)
    parameters = list(distribution.parameters())
    gradients = [torch.autograd.grad(value, parameters, allow_unused=True) for value in (found, exact)]
    for ours, theirs in zip(*gradients, strict=True):
        assert ours is not None and theirs is not None and torch.allclose(ours, theirs, atol=1e-5)
    assert max(float(gradient.abs().max()) for gradient in gradients[0] if gradient is not None) > 1e-3


@pytest.mark.parametrize("pairs", [False, True])
def test_the_fit_is_the_ridge_regression_that_it_says(pairs: bool) -> None:
    """Against the normal equations over explicit columns, one for each effect."""
    distribution = random_distribution(PAIRS, 1)
    regression = fitted(distribution, pairs, ridge=0.7)
    size, start = distribution.size, distribution.start
    alone = {start[v.name] for v in PAIRS.variables if len(v.options) == 1}
    owner = [v.name for v in PAIRS.variables for _ in v.options]
    columns = [(i,) for i in range(size) if i not in alone]
    if pairs:
        kept = [i for (i,) in columns]
        columns += [(i, j) for i, j in itertools.combinations(kept, 2) if owner[i] != owner[j]]  # type: ignore[misc]
    rows, targets = [], []
    for children, losses in regression.groups:
        chosen = [{start[name] + index for name, index in child.items()} for child in children]
        group = torch.tensor([[float(set(column) <= one) for column in columns] for one in chosen], dtype=torch.float64)
        rows.append(group - group.mean(dim=0))
        targets.append(torch.tensor(losses, dtype=torch.float64) - sum(losses) / len(losses))
    x, y = torch.cat(rows), torch.cat(targets)
    penalty = torch.tensor([0.7 if len(column) == 1 else 0.7 * 4 for column in columns], dtype=torch.float64)
    expected = torch.linalg.solve(x.T @ x + penalty.diag(), x.T @ y)
    main, two = regression.effects()
    for column, effect in zip(columns, expected.tolist(), strict=True):
        found = main[column[0]] if len(column) == 1 else two[column]  # type: ignore[index]
        assert float(found) == pytest.approx(effect, abs=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_batchs_difficulty_changes_nothing(seed: int) -> None:
    distribution = random_distribution(OF_TWO, 0)
    plain, shifted = fitted(distribution, True, seed=seed), Regression(distribution, 100, 0.5, True)
    for number, (children, losses) in enumerate(plain.groups):
        shifted.add(children, [loss + 10.0 * number for loss in losses])
    for ours, theirs in zip(plain.effects(), shifted.effects(), strict=True):
        assert ours is not None and theirs is not None and torch.allclose(ours, theirs, atol=1e-8)


def test_only_pairs_find_what_two_choices_do_together() -> None:
    """A child is good if exactly one of two edges is a convolution: neither edge tells anything by itself."""
    of = Space("xor", {"normal": cell_space(1, 2, None, ("skip_connect", "nor_conv_1x1"))})
    distribution = Distribution(of)
    edges = [variable.name for variable in of.variables if len(variable.options) == 2]
    generator = torch.Generator().manual_seed(0)
    errors = {}
    for pairs in (False, True):
        regression = Regression(distribution, 400, 1.0, pairs)
        for _ in range(60):
            children = [of.choices_of(distribution.sample(generator)) for _ in range(4)]
            regression.add(children, [float(child[edges[0]] == child[edges[1]]) for child in children])
        guesses = torch.tensor([predicted(regression, child) for child in every_child(of)])
        truth = torch.tensor([float(child[edges[0]] == child[edges[1]]) for child in every_child(of)])
        errors[pairs] = float((guesses - guesses.mean() - truth + truth.mean()).abs().max())
    assert errors[True] < 0.1 and errors[False] > 0.4


def test_memory_and_state() -> None:
    distribution = random_distribution(OF_TWO, 0)
    regression = fitted(distribution, True)
    regression.memory = 9
    regression.add([dict(child) for child in every_child(OF_TWO)[:4]], [1.0, 2.0, 3.0, 4.0])
    assert len(regression) == 8 and len(regression.groups) == 2
    other = Regression(distribution, 9, 0.5, True)
    other.load_state_dict(regression.state_dict())
    for ours, theirs in zip(regression.effects(), other.effects(), strict=True):
        assert ours is not None and theirs is not None and torch.equal(ours, theirs)
    assert float(regression.expected().detach()) == float(other.expected().detach())


# The distribution's tables over all variables at once


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("pruned", [False, True])
def test_marginals_entropy_and_expected_costs_are_those_of_all_children(name: str, pruned: bool) -> None:
    distribution = random_distribution(SPACES[name], 9, scale=1.5)
    if pruned:
        for _, categorical in distribution.items():
            categorical.allowed[: len(categorical.logits) // 2] = False
    children = every_child(SPACES[name])
    with torch.no_grad():
        p = torch.stack([distribution.log_prob(child).exp() for child in children]).double()
        one, two = distribution.marginals()
        assert float(p.sum()) == pytest.approx(1.0, abs=1e-5)
        rows = torch.zeros(len(children), distribution.size, dtype=torch.float64)
        for row, child in zip(rows, children, strict=True):
            row[[distribution.start[key] + index for key, index in child.items()]] = 1.0
        assert torch.allclose(one, p @ rows, atol=1e-5)
        owner = torch.tensor([n for n, v in enumerate(SPACES[name].variables) for _ in v.options])
        different = owner[:, None] != owner
        exact = (rows * p[:, None]).T @ rows
        assert torch.allclose(two[different], exact[different], atol=1e-5)
        finite = p[p > 0]
        assert float(distribution.entropy()) == pytest.approx(float(-(finite * finite.log()).sum()), abs=1e-4)
        counting = {v.name: float(distribution.probability_of_counting(v.name)) for v in SPACES[name].variables}
        for key, share in counting.items():
            assert share == pytest.approx(float(p[[key in child for child in children]].sum()), abs=1e-5)


def test_expected_costs_over_tuples_of_variables() -> None:
    distribution = random_distribution(PAIRS, 4)
    edge, other = "normal.3_from_2", "normal.2_from_0"
    generator = torch.Generator().manual_seed(0)
    factors = [
        Factor((edge,), torch.rand(2, generator=generator)),
        Factor(("width",), torch.rand(3, generator=generator, dtype=torch.float64)),
        Factor((edge, "width"), torch.rand(2, 3, generator=generator, dtype=torch.float64)),
        Factor((other, "width"), torch.rand(2, 3, generator=generator, dtype=torch.float64)),
    ]
    exact = 0.0
    for child in every_child(PAIRS):
        cost = sum(float(f.table[tuple(child[n] for n in f.variables)]) for f in factors if f.variables[0] in child)
        exact += float(distribution.log_prob(child).exp().detach()) * cost
    assert float(distribution.expected(factors).detach()) == pytest.approx(exact, abs=1e-5)
    assert float(distribution.expected([])) == 0.0


def test_samples_follow_the_distribution_and_uniform_ones_do_not() -> None:
    distribution = random_distribution(SPACES["one of two"], 2)
    distribution["normal.3_from_0"].allowed[0] = False
    generator = torch.Generator().manual_seed(0)
    one = distribution.marginals()[0].detach()
    for uniform in (False, True):
        counts = torch.zeros(distribution.size)
        for _ in range(4000):
            child = SPACES["one of two"].choices_of(distribution.sample(generator, uniform))
            counts[[distribution.start[key] + index for key, index in child.items()]] += 1
        assert torch.allclose(counts / 4000, one.float(), atol=0.03) is not uniform
        assert counts[distribution.start["normal.3_from_0"]] == 0
