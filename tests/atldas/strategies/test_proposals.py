"""Evolution, the largest children and zero-cost proxies on oracles whose best child is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from stripes import context
from toy import BrightnessOptions, BrightnessTask, cell_space

from atldas.cost_tables import parameter_tables
from atldas.evaluate import EvaluationConfig
from atldas.genotype import Genotype
from atldas.space import Space
from atldas.strategies import largest
from atldas.strategies.evolution import Evolution, EvolutionOptions
from atldas.strategies.largest import Largest, LargestOptions
from atldas.strategies.random import Random, RandomOptions
from atldas.strategies.zero_cost import ZeroCost, ZeroCostOptions
from atldas.strategy import Context

WIDE = Space("wide", {"normal": cell_space(1, 3, None, ("skip_connect", "avg_pool_3x3", "nor_conv_1x1"))})  # 729
SETTINGS = EvaluationConfig()


def convolutions(child: Genotype) -> float:
    """An oracle: how many edges of a child are 1x1 convolutions, 6 at most."""
    return float(sum(edge.operation == "nor_conv_1x1" for cell in child.cells.values() for _, edge in cell.edges()))


def judged(of: Space, judge: Callable[[Genotype], float], seed: int = 0) -> Context:
    given = context(of)
    given.judge_all = lambda children, repeat, progress: [judge(child) for child in children]
    given.generator.manual_seed(seed)
    return given


def test_evolution_climbs_where_as_many_random_children_do_not() -> None:
    options = EvolutionOptions(population=10, sample=4, cycles=70)
    best, best_random = [], []
    for seed in range(5):
        given = judged(WIDE, convolutions, seed)
        best.append(convolutions(next(iter(Evolution(options, given).propose(SETTINGS))).child))
        drawn = Random(RandomOptions(children=80), given).propose(SETTINGS)
        best_random.append(max(convolutions(candidate.child) for candidate in drawn))
    assert sum(best) / 5 == 6.0
    assert sum(best_random) / 5 < 5.7


def test_evolution_gives_everyone_that_ever_lived_best_first() -> None:
    given = judged(WIDE, convolutions)
    proposed = list(Evolution(EvolutionOptions(population=5, sample=2, cycles=12), given).propose(SETTINGS))
    figures = [convolutions(candidate.child) for candidate in proposed]
    assert len(proposed) == 17 and figures == sorted(figures, reverse=True)
    assert {candidate.origin for candidate in proposed} == {"first population", *(f"cycle {n}" for n in range(1, 13))}


def test_evolution_minimises_where_less_is_better() -> None:
    given = judged(WIDE, convolutions)
    given.task.larger_is_better = False
    best = next(iter(Evolution(EvolutionOptions(population=10, sample=4, cycles=60), given).propose(SETTINGS)))
    assert convolutions(best.child) == 0.0


def test_the_oldest_dies_however_good_it_was() -> None:
    """Only the first child is judged good: after a population's length nobody can be its direct child any more."""
    lives = itertools.count()
    ages: list[int] = []
    parents: list[Genotype] = []

    class Watched(Evolution):
        def mutant(self, parent: Genotype) -> Genotype:
            parents.append(parent)
            return super().mutant(parent)

    def judge(child: Genotype) -> float:
        ages.append(next(lives))
        return 1.0 if len(ages) == 1 else 0.0

    given = judged(WIDE, judge)
    strategy = Watched(EvolutionOptions(population=3, sample=30, cycles=6), given)
    first = next(iter(strategy.propose(SETTINGS))).child
    assert parents[0] == first  # thirty draws of three meet it
    assert first not in parents[1:]  # the first child of evolution pushed it out


def test_mutants_differ_in_one_choice_and_keep_to_the_budget() -> None:
    given = judged(WIDE, convolutions)
    given.allows = lambda child: convolutions(child) <= 2  # type: ignore[method-assign]
    strategy = Evolution(EvolutionOptions(), given)
    parent = next(child for child in WIDE.enumerate() if convolutions(child) == 2)
    for _ in range(30):
        child = strategy.mutant(parent)
        before, after = WIDE.choices_of(parent), WIDE.choices_of(child)
        assert sum(before[name] != after[name] for name in before) == 1 and convolutions(child) <= 2
    given.allows = lambda child: False  # type: ignore[method-assign]
    assert strategy.mutant(parent) == parent


CONVOLUTIONS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3")
OF_THREE = Space("widths", {"normal": cell_space(1, 2, None, CONVOLUTIONS)}, {"width": (2, 3, 4)})
OF_ONE_INPUT = Space("subsets", {"normal": cell_space(1, 3, 1, CONVOLUTIONS)}, {"width": (2, 4)})
OF_TWO_INPUTS = Space("pairs", {"normal": cell_space(2, 2, 2, CONVOLUTIONS)})


@pytest.mark.parametrize("enumerated", [True, False])
@pytest.mark.parametrize("of", [OF_THREE, OF_ONE_INPUT, OF_TWO_INPUTS], ids=lambda of: of.name)
def test_largest_gives_the_children_of_most_parameters(
    monkeypatch: pytest.MonkeyPatch, enumerated: bool, of: Space
) -> None:
    given = context(of, BrightnessTask(BrightnessOptions(), 0, torch.device("cpu")) if of is OF_TWO_INPUTS else None)
    size = parameter_tables(given.supernet).of
    if not enumerated:
        monkeypatch.setattr(largest, "ENUMERATED", 0)
    children = [candidate.child for candidate in Largest(LargestOptions(children=40), given).propose(SETTINGS)]
    assert len(set(children)) == len(children) == 40
    assert [size(child) for child in children] == sorted(map(size, of.enumerate()), reverse=True)[:40]


def test_largest_keeps_to_the_budget() -> None:
    given = judged(WIDE, convolutions)
    given.allows = lambda child: convolutions(child) <= 3  # type: ignore[method-assign]
    children = [candidate.child for candidate in Largest(LargestOptions(children=30), given).propose(SETTINGS)]
    assert [convolutions(child) for child in children] == [3.0] * 30


def test_zero_cost_proposes_the_best_by_the_mean_of_ranks() -> None:
    options = ZeroCostOptions(proxies=("parameters", "macs"), scored=1000, children=5)
    proposed = list(ZeroCost(options, judged(WIDE, convolutions)).propose(SETTINGS))
    assert [convolutions(candidate.child) for candidate in proposed] == [6.0] + [5.0] * 4
    few = ZeroCostOptions(proxies=("parameters",), scored=20, children=1)
    best = next(iter(ZeroCost(few, judged(WIDE, convolutions)).propose(SETTINGS)))
    assert convolutions(best.child) < 6  # twenty of 729: the best of all is not among them


def test_strategies_draw_nothing_from_torchs_random_state() -> None:
    """The archive then answers in a resumed run without changing what is drawn."""
    for strategy in (
        Evolution(EvolutionOptions(population=3, cycles=3), judged(WIDE, convolutions)),
        ZeroCost(ZeroCostOptions(proxies=("snip", "naswot"), scored=3), judged(WIDE, convolutions)),
        Largest(LargestOptions(children=3), judged(WIDE, convolutions)),
    ):
        before = torch.get_rng_state()
        list(strategy.propose(SETTINGS))
        assert torch.equal(before, torch.get_rng_state())
