"""Samplers: right frequencies, the same draws from the same generator, fairness by counting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from spaces import distributions
from toy import cell_space, random_distribution

from atldas.distribution import Distribution
from atldas.genotype import Genotype
from atldas.samplers import TRAINING_SAMPLERS, StrictFairness
from atldas.space import Space
from atldas.strategies.gdas import Gdas, GdasOptions

TOY = Space("toy", {"normal": cell_space(2, 2, 1, ("skip_connect", "nor_conv_1x1"))}, {"width": (4, 8)})  # 48 children
DRAWS = 2500
Drawn = Callable[[Distribution, torch.Generator], Callable[[], Genotype]]


def chi_square(found: Counter[Genotype], probabilities: dict[Genotype, float]) -> float:
    draws = sum(found.values())
    return sum((found[child] - draws * p) ** 2 / (draws * p) for child, p in probabilities.items())


@torch.no_grad()
def learned(distribution: Distribution) -> dict[Genotype, float]:
    return {child: float(distribution.log_prob(child).exp()) for child in distribution.space.enumerate()}


def uniformly(distribution: Distribution) -> dict[Genotype, float]:
    """Here every node's subsets have the same number of edges."""
    return dict.fromkeys(TOY.enumerate(), 1 / 48)


def half_and_half(distribution: Distribution) -> dict[Genotype, float]:
    return {child: 0.5 * p + 0.5 / 48 for child, p in learned(distribution).items()}


def training(name: str, share: float) -> Drawn:
    """A training sampler's draws."""

    def of(distribution: Distribution, generator: torch.Generator) -> Callable[[], Genotype]:
        sampler = TRAINING_SAMPLERS[name](distribution, generator)
        return lambda: sampler.child(lambda uniform: distribution.sample(generator, uniform), share)

    return of


def gates(temperature: float) -> Drawn:
    def of(distribution: Distribution, generator: torch.Generator) -> Callable[[], Genotype]:
        context = SimpleNamespace(distribution=distribution, generator=generator, space=distribution.space)
        gdas = Gdas(GdasOptions(), context)  # type: ignore[arg-type]
        return lambda: gdas.draw(temperature)[0]

    return of


CASES: dict[str, tuple[Drawn, Callable[[Distribution], dict[Genotype, float]]]] = {
    "learned": (lambda d, g: lambda: d.sample(g), learned),
    "uniform": (training("uniform", 0.0), uniformly),
    "mixed, all uniform": (training("mixed", 1.0), uniformly),
    "mixed, half": (training("mixed", 0.5), half_and_half),
    "mixed, none": (training("mixed", 0.0), learned),
    "straight-through, hot": (gates(5.0), learned),
    "straight-through, cold": (gates(0.1), learned),
}


@pytest.mark.parametrize("name", CASES)
def test_frequencies_match_probabilities(name: str) -> None:
    make, expected = CASES[name]
    distribution = random_distribution(TOY, 11, scale=0.7)
    draw = make(distribution, torch.Generator().manual_seed(0))
    found = Counter(draw() for _ in range(DRAWS))
    assert found.keys() <= expected(distribution).keys()
    # 47 degrees of freedom: mean 47, standard deviation 9.7; a right sampler exceeds 90 once in 6000 seeds.
    assert chi_square(found, expected(distribution)) < 90


def test_the_bound_on_frequencies_tells_samplers_apart() -> None:
    distribution = random_distribution(TOY, 11, scale=0.7)
    draw = training("uniform", 0.0)(distribution, torch.Generator().manual_seed(0))
    assert chi_square(Counter(draw() for _ in range(DRAWS)), learned(distribution)) > 200


def test_uniform_weighs_wirings_alike_whatever_was_learned() -> None:
    toy = Space("toy", {"normal": cell_space(2, 2, 2)})
    draw = training("uniform", 0.0)(random_distribution(toy, 0, scale=3.0), torch.Generator().manual_seed(1))
    wirings = Counter(tuple(edge.input for edge in draw().cells["normal"].nodes[1]) for _ in range(1500))
    assert set(wirings) == {(0, 1), (0, 2), (1, 2)}
    assert all(abs(count - 500) < 4 * (1500 * 2 / 9) ** 0.5 for count in wirings.values())


@pytest.mark.parametrize("make", [*(training(name, 0.5) for name in TRAINING_SAMPLERS), gates(1.0)])
def test_the_same_generator_draws_the_same(make: Drawn) -> None:
    distribution = random_distribution(Space.load("darts"), 0)

    def drawn(seed: int) -> list[Genotype]:
        draw = make(distribution, torch.Generator().manual_seed(seed))
        return [draw() for _ in range(3)]

    torch.manual_seed(0)
    first = drawn(5)
    torch.manual_seed(1)
    assert drawn(5) == first and drawn(6) != first


@settings(max_examples=25, deadline=None)
@given(distributions())
def test_fairness_gives_every_option_left_exactly_one_turn_a_round(distribution: Distribution) -> None:
    """A round of a variable is as many of *its* steps as it has options left."""
    sampler = StrictFairness(distribution, torch.Generator().manual_seed(0))
    turns: dict[str, list[int]] = {variable.name: [] for variable in distribution.space.variables}
    for _ in range(24):
        child = sampler.child(lambda uniform: pytest.fail("draws by itself"), 0.5)
        assert distribution.log_prob(child).isfinite()
        for name, index in distribution.space.choices_of(child).items():
            turns[name].append(index)
    for name, taken in turns.items():
        left = distribution[name].allowed.nonzero().flatten().tolist()
        rounds = [taken[start : start + len(left)] for start in range(0, len(taken), len(left))]
        assert all(sorted(whole) == left for whole in rounds if len(whole) == len(left))
        assert all(len(set(begun)) == len(begun) for begun in rounds)


def test_fairness_skips_what_is_pruned_in_the_middle_of_a_round_and_resumes() -> None:
    of = Space("s", {}, {"a": (1, 2, 3, 4, 5)})
    distribution = Distribution(of)
    sampler = StrictFairness(distribution, torch.Generator().manual_seed(3))

    def turn(of_sampler: StrictFairness) -> int:
        chosen: int = of_sampler.child(distribution.sample, 0.0).choices["a"]  # type: ignore[arg-type]
        return chosen

    taken = [turn(sampler), turn(sampler)]
    gone = next(option for option in (1, 2, 3, 4, 5) if option not in taken)
    distribution["a"].allowed[gone - 1] = False
    again = StrictFairness(distribution, torch.Generator())
    again.load_state_dict(sampler.state_dict())
    again.generator.set_state(sampler.generator.get_state())
    rest = [turn(sampler), turn(sampler)]
    assert sorted([*taken, *rest, gone]) == [1, 2, 3, 4, 5]
    following = [turn(sampler) for _ in range(4)]
    assert sorted([*following, gone]) == [1, 2, 3, 4, 5]
    assert [turn(again) for _ in range(6)] == rest + following


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.05])
def test_gates_are_exactly_one_and_reach_every_drawn_logit(temperature: float) -> None:
    distribution = random_distribution(Space.load("darts"), 0, scale=6.0)
    context = SimpleNamespace(
        distribution=distribution, generator=torch.Generator().manual_seed(0), space=distribution.space
    )
    gdas = Gdas(GdasOptions(), context)  # type: ignore[arg-type]
    for _ in range(10):
        child, found = gdas.draw(temperature)
        assert found.keys() == distribution.space.choices_of(child).keys()
        assert all(float(gate.detach()) == 1.0 and gate.requires_grad for gate in found.values())


def test_a_gates_gradient_is_that_of_the_relaxed_probability() -> None:
    distribution = random_distribution(TOY, 0)
    context = SimpleNamespace(distribution=distribution, generator=torch.Generator().manual_seed(7), space=TOY)
    child, found = Gdas(GdasOptions(), context).draw(2.0)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(found["width"], [distribution["width"].logits])
    # d g_c / d logit_o = g_c (1[c = o] - g_o) / temperature: with two options plus and minus g (1 - g) / 2.
    chosen = TOY.choices["width"].index(child.choices["width"])
    assert 0 < float(gradient[chosen]) <= 0.25 / 2 + 1e-6
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-7)
