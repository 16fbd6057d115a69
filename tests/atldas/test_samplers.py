"""Samplers: right frequencies, and gradients that agree with the exact one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy import ToyNetwork, cell_space, children, random_distribution, space

from atldas.distribution import Distribution
from atldas.genotype import Genotype
from atldas.samplers import EVALUATION_SAMPLERS, TRAINING_SAMPLERS, mixed, score_function, straight_through, uniform
from atldas.space import Space
from atldas.supernet import Supernet

TOY = space()  # 24 children
DRAWS = 2500


def chi_square(found: Counter[Genotype], probabilities: dict[Genotype, float]) -> float:
    draws = sum(found.values())
    return sum((found[child] - draws * p) ** 2 / (draws * p) for child, p in probabilities.items())


def learned(distribution: Distribution) -> dict[Genotype, float]:
    with torch.no_grad():
        return {child: float(distribution.log_prob(child).exp()) for child in children(distribution.space)}


def uniformly() -> dict[Genotype, float]:
    """Topology first, then operations: here every node's subsets have the same number of edges."""
    return dict.fromkeys(children(TOY), 1 / 24)


def half_and_half(distribution: Distribution) -> dict[Genotype, float]:
    return {child: 0.5 * p + 0.5 / 24 for child, p in learned(distribution).items()}


Drawn = Callable[[Distribution, torch.Generator], Genotype]
CASES: dict[str, tuple[Drawn, Callable[[Distribution], dict[Genotype, float]]]] = {
    "uniform": (lambda d, g: uniform(d, 0.0, g), lambda d: uniformly()),
    "mixed, all uniform": (lambda d, g: mixed(d, 1.0, g), lambda d: uniformly()),
    "mixed, half": (lambda d, g: mixed(d, 0.5, g), half_and_half),
    "mixed, none": (lambda d, g: mixed(d, 0.0, g), learned),
    "straight-through, hot": (lambda d, g: straight_through(d, 5.0, g).child, learned),
    "straight-through, cold": (lambda d, g: straight_through(d, 0.1, g).child, learned),
    "score function": (lambda d, g: score_function(d, 1.0, g).child, learned),
}


@pytest.mark.parametrize("name", CASES)
def test_frequencies_match_probabilities(name: str) -> None:
    draw, expected = CASES[name]
    distribution = random_distribution(TOY, 11, scale=0.7)
    generator = torch.Generator().manual_seed(0)
    found = Counter(draw(distribution, generator) for _ in range(DRAWS))
    assert found.keys() <= expected(distribution).keys()
    # 23 degrees of freedom: mean 23, standard deviation 6.8; a right sampler exceeds 55 once in 5000 seeds.
    assert chi_square(found, expected(distribution)) < 55


def test_the_bound_on_frequencies_tells_samplers_apart() -> None:
    distribution = random_distribution(TOY, 11, scale=0.7)
    generator = torch.Generator().manual_seed(0)
    found = Counter(uniform(distribution, 0.0, generator) for _ in range(DRAWS))
    assert chi_square(found, learned(distribution)) > 200


def test_uniform_weighs_wirings_alike_whatever_was_learned() -> None:
    toy = Space("toy", {"normal": cell_space(2, 2, 2)})
    distribution = random_distribution(toy, 0, scale=3.0)
    generator = torch.Generator().manual_seed(1)
    wirings = Counter(
        tuple(edge.input for edge in uniform(distribution, 0.0, generator).cells["normal"].nodes[1])
        for _ in range(1500)
    )
    assert set(wirings) == {(0, 1), (0, 2), (1, 2)}
    assert all(abs(count - 500) < 4 * (1500 * 2 / 9) ** 0.5 for count in wirings.values())


@pytest.mark.parametrize("sampler", [*TRAINING_SAMPLERS.values(), *EVALUATION_SAMPLERS.values()])
def test_the_same_generator_draws_the_same(sampler: Callable[..., object]) -> None:
    distribution = random_distribution(Space.load("darts"), 0)

    def drawn(seed: int) -> list[Genotype]:
        generator = torch.Generator().manual_seed(seed)
        results = [sampler(distribution, 0.5, generator) for _ in range(3)]
        return [getattr(result, "child", result) for result in results]

    torch.manual_seed(0)
    first = drawn(5)
    torch.manual_seed(1)
    assert drawn(5) == first and drawn(6) != first


def exact_gradient(distribution: Distribution, losses: dict[Genotype, Tensor]) -> list[Tensor]:
    """Of the expected loss, by enumeration."""
    expected = torch.stack([distribution.log_prob(child).exp() * loss for child, loss in losses.items()]).sum()
    return list(torch.autograd.grad(expected, list(distribution.parameters())))


def flat(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("baseline", [0.0, 0.5])
@pytest.mark.parametrize("pruned", [False, True])
def test_score_function_agrees_with_the_exact_gradient(baseline: float, pruned: bool) -> None:
    distribution = random_distribution(TOY, 2)
    if pruned:
        distribution.cell("normal").operation_allowed[1, 0] = False
        distribution.cell("normal").topology_allowed(1)[2] = False
    table = torch.rand(24, generator=torch.Generator().manual_seed(3))
    losses = {
        child: loss for child, loss in zip(children(TOY), table, strict=True) if distribution.log_prob(child).isfinite()
    }
    generator = torch.Generator().manual_seed(4)
    parameters = list(distribution.parameters())
    per_child: dict[Genotype, Tensor] = {}  # the estimate is a function of the child alone
    samples = []
    for _ in range(4000):
        draw = score_function(distribution, 1.0, generator)
        assert draw.gates is None
        if draw.child not in per_child:
            surrogate = draw.surrogate(losses[draw.child], baseline)
            per_child[draw.child] = flat(list(torch.autograd.grad(surrogate, parameters)))
        samples.append(per_child[draw.child])
    estimates = torch.stack(samples).double()
    error = estimates.std(dim=0) / len(samples) ** 0.5
    difference = (estimates.mean(dim=0) - flat(exact_gradient(distribution, losses))).abs()
    assert (difference <= 4 * error + 1e-7).all()
    assert float(flat(exact_gradient(distribution, losses)).norm()) > 10 * float(error.mean())


@pytest.mark.parametrize("pruned", [False, True])
def test_straight_through_points_the_way_of_the_exact_gradient(pruned: bool) -> None:
    toy = space(2, 2, 1, ("none", "skip_connect", "nor_conv_1x1"))
    torch.manual_seed(0)
    supernet = Supernet(toy, ToyNetwork).eval()
    distribution = random_distribution(toy, 1, scale=0.5)
    if pruned:
        distribution.cell("normal").operation_allowed[0, 0] = False
        distribution.cell("normal").topology_allowed(1)[1] = False
    images = torch.randn(24, 2, 4, 4)
    target = torch.randn(24, 3)

    def loss() -> Tensor:
        return F.mse_loss(supernet(images), target)

    losses = {}
    with torch.no_grad():
        for child in children(toy):
            if distribution.log_prob(child).isfinite():
                supernet.select(child)
                losses[child] = loss()
    exact = flat(exact_gradient(distribution, losses))
    generator = torch.Generator().manual_seed(5)
    total = torch.zeros_like(exact)
    for _ in range(600):
        draw = straight_through(distribution, 1.0, generator)
        supernet.select(draw.child, draw.gates)
        objective = draw.surrogate(loss(), 0.0)
        gradients = torch.autograd.grad(objective, list(distribution.parameters()))
        assert all(gradient.isfinite().all() for gradient in gradients)
        total += flat(list(gradients))
    assert float(F.cosine_similarity(total, exact, dim=0)) > 0.5


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.05])
def test_gates_are_exactly_one_and_reach_every_drawn_logit(temperature: float) -> None:
    distribution = random_distribution(Space.load("darts"), 0, scale=6.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        draw = straight_through(distribution, temperature, generator)
        assert draw.gates is not None
        for kind, gates in draw.gates.items():
            cell = draw.child.cells[kind]
            assert set(gates.edges) == {(node, edge.input) for node, edge in cell.edges()}
            assert set(gates.nodes) == {2, 3, 4, 5}
            for gate in [*gates.edges.values(), *gates.nodes.values()]:
                assert float(gate.detach()) == 1.0 and gate.requires_grad
    assert draw.surrogate(torch.tensor(3.5), 99.0) == 3.5


def test_a_gates_gradient_is_that_of_the_relaxed_probability() -> None:
    distribution = random_distribution(TOY, 0)
    cell = distribution.cell("normal")
    draw = straight_through(distribution, 2.0, torch.Generator().manual_seed(7))
    assert draw.gates is not None
    ((node, edge), *_) = draw.child.cells["normal"].edges()
    (gradient,) = torch.autograd.grad(draw.gates["normal"].edges[node, edge.input], [cell.operation_logits])
    row = gradient[cell.edge_index[node, edge.input]]
    chosen = TOY.cells["normal"].operations.index(edge.operation)
    # d g_c / d logit_o = g_c (1[c = o] - g_o) / temperature: with two operations plus and minus g (1 - g) / 2.
    assert float(row[chosen]) > 0 and float(row.sum()) == pytest.approx(0, abs=1e-7)
    assert float(row[chosen]) <= 0.25 / 2 + 1e-6
    others = torch.arange(len(gradient)) != cell.edge_index[node, edge.input]
    assert not gradient[others].any()
