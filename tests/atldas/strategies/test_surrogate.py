"""The surrogate on an oracle whose best child is known: it finds it where as many random trainings do not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from stripes import context
from toy import cell_space

from atldas.evaluate import EvaluationConfig
from atldas.genotype import Genotype
from atldas.proxies import PROXIES, Newborns
from atldas.space import Space
from atldas.strategies.surrogate import Surrogate, SurrogateOptions
from atldas.strategy import Context

WIDE = Space("wide", {"normal": cell_space(1, 3, None, ("skip_connect", "avg_pool_3x3", "nor_conv_1x1"))})  # 729
SETTINGS = EvaluationConfig()
NOISE = 0.5


@pytest.fixture(autouse=True)
def proxy_without_knowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROXIES, "none", lambda born, child: float(random_of(child, 7)))


def random_of(child: Genotype, seed: int) -> torch.Tensor:
    """Standard normal, a function of child and seed."""
    number = int.from_bytes(hashlib.sha256(f"{child} {seed}".encode()).digest()[:6], "little")
    return torch.randn((), generator=torch.Generator().manual_seed(number))


def quality(child: Genotype) -> float:
    """1x1 convolutions are good, pools bad, a convolution right after a convolution better still: at most 6 + 1."""
    operations = {(node, edge.input): edge.operation for _, cell in child.cells.items() for node, edge in cell.edges()}
    value = sum({"nor_conv_1x1": 1.0, "avg_pool_3x3": -0.5}.get(name, 0.0) for name in operations.values())
    return value + (operations[1, 0] == operations[2, 1] == "nor_conv_1x1")


def judging(seed: int, measured: list[tuple[Genotype, int]], sign: float = 1.0) -> Any:
    """Quality, a repetition's offset, and noise: a function of child and repeat."""

    def judge_all(children: Sequence[Genotype], repeat: int, progress: Callable[[], object]) -> list[float]:
        measured.extend((child, repeat) for child in children)
        noise = [float(random_of(child, 100 * seed + repeat)) for child in children]
        return [sign * (quality(child) + NOISE * n + 3 * repeat) for child, n in zip(children, noise, strict=True)]

    return judge_all


def searched(
    seed: int, options: dict[str, Any], measured: list[tuple[Genotype, int]] | None = None, sign: float = 1.0
) -> tuple[Surrogate, list[Genotype]]:
    given: Context = context(WIDE)
    given.generator.manual_seed(seed)
    given.judge_all = judging(seed, [] if measured is None else measured, sign)
    given.task.larger_is_better = sign > 0
    strategy = Surrogate(SurrogateOptions(**{**OPTIONS, **options}), given)
    return strategy, [candidate.child for candidate in strategy.propose(SETTINGS)]


OPTIONS: dict[str, Any] = {
    "pool_proxies": {"none": 1.0}, "proxies": {"none": 0.0}, "pool_share": 1.0, "initial": 20, "rounds": 3,
    "per_round": 6, "finalists": 5, "repeats": 1,
}  # fmt: skip


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_finds_what_as_many_random_trainings_do_not(sign: float) -> None:
    found, random = [], []
    for seed in range(4):
        measured: list[tuple[Genotype, int]] = []
        strategy, proposed = searched(seed, {}, measured, sign)
        found.append(quality(proposed[0]))
        assert strategy.estimate(proposed[0]) * sign == max(strategy.estimate(child) * sign for child in proposed)
        assert len(measured) == 20 + 3 * 6 + 5
        children = context(WIDE).samples(len(measured), uniform=True)
        values = judging(seed, [])(children, 0, lambda: None)
        random.append(quality(children[values.index(max(values))]))
    assert min(found) >= 6.0 and sum(found) / 4 > sum(random) / 4 + 1.0


def test_figures_dealt_to_the_wrong_children_find_nothing() -> None:
    """The control: what a search finds from noise is what a random child is, not what the same search finds else."""
    found = []
    for seed in range(6):
        given = context(WIDE)
        given.generator.manual_seed(seed)
        order = torch.randperm(WIDE.size(), generator=torch.Generator().manual_seed(seed)).tolist()
        children = list(WIDE.enumerate())
        wrong = {child: quality(children[place]) for child, place in zip(children, order, strict=True)}
        given.judge_all = lambda judged, repeat, progress, wrong=wrong: [wrong[child] for child in judged]  # type: ignore[misc]
        strategy = Surrogate(SurrogateOptions(**OPTIONS), given)
        found.append(quality(next(iter(strategy.propose(SETTINGS))).child))
    assert sum(found) / len(found) < 4.0  # uniform children have 1.1 on average, the best 7


def test_children_that_compute_the_same_are_trained_once_and_the_cheapest_stands_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[tuple[Genotype, int]] = []
    given = context(WIDE)

    def convolutions(child: Genotype) -> int:
        return sum(edge.operation == "nor_conv_1x1" for cell in child.cells.values() for _, edge in cell.edges())

    def first_edge(child: Genotype) -> str:
        return child.cells["normal"].nodes[0][0].operation

    monkeypatch.setattr(type(given.task), "identity", lambda self, child: first_edge(child), raising=False)
    given.judge_all = judging(0, measured)
    options = SurrogateOptions(**{**OPTIONS, "initial": 2, "rounds": 2, "per_round": 2, "repeats": 0})
    strategy = Surrogate(options, given)
    list(strategy.propose(SETTINGS))
    assert len(strategy.pool) == 3 and len({child for child, _ in measured}) == len(measured) == 3
    assert all(convolutions(child) == (first_edge(child) == "nor_conv_1x1") for child in strategy.pool)


def test_a_pool_is_the_best_share_by_proxies_and_unscored_children_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(born: Newborns, child: Genotype) -> float:
        return quality(child) if quality(child) >= 0 else float("-inf")

    monkeypatch.setitem(PROXIES, "known", proxy)
    strategy, _ = searched(
        0, {"pool_proxies": {"known": 1.0}, "pool_share": 0.1, "initial": 5, "rounds": 0, "repeats": 0}
    )
    best = sorted((quality(child) for child in WIDE.enumerate()), reverse=True)[:73]
    assert sorted((quality(child) for child in strategy.pool), reverse=True) == best


def test_the_weight_of_the_metric_against_the_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misleading proxy decides where the metric counts for little, and does not where it counts for much."""

    def misleading(born: Newborns, child: Genotype) -> float:
        return -quality(child)

    monkeypatch.setitem(PROXIES, "misleading", misleading)
    found: dict[float, float] = {}
    for weight in (0.001, 1000.0):
        _, proposed = searched(0, {"proxies": {"misleading": 1.0}, "weight": weight})
        found[weight] = quality(proposed[0])
    assert found[0.001] < 0 < 5 < found[1000.0]
