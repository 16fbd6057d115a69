"""The distribution's exact figures against brute force over every child, on random spaces with cells and choices."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaces import distributions
from toy import cell_space, random_distribution, space

from atldas.distribution import Distribution, Factor
from atldas.genotype import CellGenotype, Genotype
from atldas.space import Space

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@torch.no_grad()
def log_probabilities(distribution: Distribution) -> torch.Tensor:
    """log p of every child, float64."""
    return torch.stack([distribution.log_prob(child) for child in distribution.space.enumerate()]).double()


@few
@given(distributions())
def test_probabilities_of_all_children_sum_to_one(distribution: Distribution) -> None:
    log_p = log_probabilities(distribution)
    assert len(log_p) == distribution.space.size()
    assert float(log_p.logsumexp(0)) == pytest.approx(0, abs=1e-4)


@few
@given(distributions())
def test_entropy_is_the_brute_force_one(distribution: Distribution) -> None:
    log_p = log_probabilities(distribution)
    log_p = log_p[log_p.isfinite()]
    assert float(distribution.entropy().detach()) == pytest.approx(float(-(log_p.exp() * log_p).sum()), abs=1e-3)


@few
@given(distributions(), st.sampled_from([1, 3, 10**6]))
def test_most_probable_is_the_sorted_top(distribution: Distribution, n: int) -> None:
    log_p = log_probabilities(distribution)
    expected = sorted(log_p[log_p.isfinite()].tolist(), reverse=True)[:n]
    found = distribution.most_probable(n)
    assert [score for score, _ in found] == pytest.approx(expected, abs=1e-4)
    assert len({child for _, child in found}) == len(found)
    for score, child in found[:10]:
        assert float(distribution.log_prob(child).detach()) == pytest.approx(score, abs=1e-4)


@few
@given(distributions())
def test_the_probabilities_of_pairs_are_the_brute_force_ones(distribution: Distribution) -> None:
    """Also of an edge and its own node's inputs, of edges of one node, of cells and choices."""
    space, start = distribution.space, distribution.start
    rows = torch.zeros(space.size(), distribution.size, dtype=torch.float64)
    for row, child in zip(rows, space.enumerate(), strict=True):
        row[[start[name] + index for name, index in space.choices_of(child).items()]] = 1.0
    weighted = rows * log_probabilities(distribution).exp()[:, None]
    one, two = distribution.marginals()
    owner = torch.tensor([number for number, variable in enumerate(space.variables) for _ in variable.options])
    different = owner[:, None] != owner
    assert torch.allclose(one.detach(), weighted.sum(dim=0), atol=1e-4)
    assert torch.allclose(two.detach()[different], (weighted.T @ rows)[different], atol=1e-4)


@few
@given(distributions(), st.data())
def test_expectation_of_factors_is_the_brute_force_one(distribution: Distribution, data: st.DataObject) -> None:
    """Of any variable with any named choices beside it, as costs have them."""
    variables = distribution.space.variables
    free = [number for number, variable in enumerate(variables) if variable.condition is None]
    beside = st.lists(st.sampled_from(free), max_size=2, unique=True)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    factors = []
    for first in data.draw(st.lists(st.integers(0, len(variables) - 1), min_size=1, max_size=4)):
        parent = variables[first].condition and variables[first].condition.parent
        others = [k for k in data.draw(beside) if k != first and variables[k].name != parent]
        scope = [first, *others]
        shape = [len(variables[k].options) for k in scope]
        table = torch.randn(shape, generator=generator, dtype=torch.float64)
        factors.append(Factor(tuple(variables[k].name for k in scope), table))
    exact = 0.0
    for child, log_p in zip(distribution.space.enumerate(), log_probabilities(distribution).tolist(), strict=True):
        choices = distribution.space.choices_of(child)
        counted = [f for f in factors if all(name in choices for name in f.variables)]
        exact += math.exp(log_p) * sum(float(f.table[tuple(choices[name] for name in f.variables)]) for f in counted)
    assert float(distribution.expected(factors).detach()) == pytest.approx(exact, abs=1e-4)


@few
@given(distributions())
def test_gradients_are_those_of_brute_force_and_finite_after_pruning(distribution: Distribution) -> None:
    parameters = list(distribution.parameters())
    log_p = torch.stack([distribution.log_prob(child) for child in distribution.space.enumerate()])
    log_p = log_p[log_p.isfinite()]
    exact = torch.autograd.grad(-(log_p.exp() * log_p).sum(), parameters, allow_unused=True)
    found = torch.autograd.grad(distribution.entropy(), parameters, allow_unused=True)
    for parameter, a, b, (_, categorical) in zip(parameters, found, exact, distribution.items(), strict=True):
        a = torch.zeros_like(parameter) if a is None else a
        b = torch.zeros_like(parameter) if b is None else b
        assert a.isfinite().all() and not a[~categorical.allowed].any()
        assert torch.allclose(a, b, atol=1e-3)


def test_log_prob_is_the_definition() -> None:
    of = Space("toy", {"normal": cell_space(2, 2, 2, ("skip_connect", "nor_conv_1x1"))}, {"width": (4, 8)})
    distribution = random_distribution(of, 3)
    nodes = ((("skip_connect", 0), ("nor_conv_1x1", 1)), (("skip_connect", 0), ("skip_connect", 2)))
    child = Genotype("child", {"normal": CellGenotype(2, nodes, (2, 3))}, choices={"width": 8})  # type: ignore[arg-type]
    p = {variable.name: c.logits.detach().softmax(0) for variable, c in distribution.items()}
    # Node 3's subsets are (0, 1), (0, 2), (1, 2).
    expected = p["normal.node_2"][0] * p["normal.2_from_0"][0] * p["normal.2_from_1"][1] * p["width"][1]
    expected = expected * p["normal.node_3"][1] * p["normal.3_from_0"][0] * p["normal.3_from_2"][0]
    assert float(distribution.log_prob(child).detach()) == pytest.approx(math.log(expected), abs=1e-5)
    swapped = CellGenotype(2, (nodes[0][::-1], nodes[1]), (2, 3))  # type: ignore[arg-type]
    same = Genotype("child", {"normal": swapped}, choices={"width": 8})
    assert torch.allclose(distribution.log_prob(same), distribution.log_prob(child), atol=1e-6)


def test_edges_count_as_often_as_their_nodes_read_them() -> None:
    for k, of in itertools.product((1, 2), (2, 3)):
        distribution = random_distribution(Space("toy", {"normal": cell_space(of, 2, k)}), seed=k)
        for node in (of, of + 1):
            counted = [distribution.probability_of_counting(f"normal.{node}_from_{i}").item() for i in range(node)]
            assert sum(counted) == pytest.approx(k, abs=1e-5) and min(counted) > 0


def test_a_new_distribution_is_uniform() -> None:
    darts = Space.load("darts")
    entropy = float(Distribution(darts).entropy().detach())
    assert entropy == pytest.approx(math.log(darts.size()), abs=1e-3)
    score, _ = Distribution(darts).most_probable(3)[0]
    assert score == pytest.approx(-math.log(darts.size()), abs=1e-3)


def test_log_probability_of_choices_is_that_of_the_child() -> None:
    distribution = random_distribution(space(), 0)
    for child in distribution.space.enumerate():
        choices = distribution.space.choices_of(child)
        assert distribution.space.genotype(choices) == child
        assert torch.equal(distribution.log_prob(choices), distribution.log_prob(child))
