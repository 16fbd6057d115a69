"""The Gaussian process over children: known truths are recovered, noise is not, repetitions' offsets are told apart."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from atldas.gaussian_process import GaussianProcess

CODES = torch.tensor(list(itertools.product(range(3), repeat=5)))  # [243, 5]
CHOICES = torch.nn.functional.one_hot(CODES, 3).flatten(1).double()  # [243, 15]


def truth(generator: torch.Generator, pairs: bool = False) -> Tensor:
    """A sum of random effects of options, or of pairs of options."""
    table = torch.randn(15, 15, generator=generator, dtype=torch.float64)
    return torch.einsum("no,op,np->n", CHOICES, table, CHOICES) if pairs else CHOICES @ table[0]


def correlation(found: Tensor, expected: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([found, expected]))[0, 1])


def fitted(y: Tensor, count: int, noise: float, seed: int, repeats: int = 1) -> tuple[GaussianProcess, Tensor]:
    """The process after `count` random children were measured, and which they were."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(y), generator=generator)[:count]
    repeat = torch.arange(count) % repeats
    values = y[chosen] + noise * torch.randn(count, generator=generator, dtype=torch.float64) + 10.0 * repeat
    features = torch.randn(len(y), 1, generator=generator, dtype=torch.float64)
    process = GaussianProcess(CHOICES, features)
    return process.fit(chosen.tolist(), repeat.tolist(), values.tolist()), chosen


def unseen(process: GaussianProcess, chosen: Tensor, y: Tensor) -> float:
    """The correlation of mean and truth over the children that were not measured."""
    others = torch.ones(len(y), dtype=torch.bool)
    others[chosen] = False
    return correlation(process.predict()[0][others], y[others])


@pytest.mark.parametrize(("pairs", "least"), [(False, 0.95), (True, 0.75)])
def test_unmeasured_children_are_predicted_and_shuffled_ones_are_not(pairs: bool, least: float) -> None:
    y = truth(torch.Generator().manual_seed(1), pairs)
    process, chosen = fitted(y, 80, 0.3 * float(y.std()), seed=2)
    assert unseen(process, chosen, y) > least
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(3))]
    process, chosen = fitted(shuffled, 80, 0.0, seed=2)
    assert abs(unseen(process, chosen, y)) < 0.3


def test_a_feature_that_tells_everything_is_used() -> None:
    y = torch.randn(243, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # no effect of any option
    process = GaussianProcess(CHOICES, y[:, None] * 3.0 + 7.0)
    process.fit(list(range(30)), [0] * 30, y[:30].tolist())
    assert correlation(process.predict()[0][30:], y[30:]) > 0.99


def test_the_offsets_of_repetitions_are_no_part_of_the_prediction() -> None:
    y = truth(torch.Generator().manual_seed(1))
    process, chosen = fitted(y, 90, 0.1, seed=2, repeats=3)  # offsets of 0, 10 and 20, far larger than the effects
    assert unseen(process, chosen, y) > 0.95


def test_deviations_cover_the_truth_and_are_smaller_where_something_was_measured() -> None:
    y = truth(torch.Generator().manual_seed(1), pairs=True)
    process, chosen = fitted(y, 60, 0.2 * float(y.std()), seed=2)
    mean, deviation = process.predict()
    inside = ((mean - y).abs() < 2 * deviation).double().mean()
    assert 0.85 < inside <= 1.0
    measured = torch.zeros(len(y), dtype=torch.bool)
    measured[chosen] = True
    assert deviation[measured].mean() < 0.8 * deviation[~measured].mean()


def test_more_repetitions_make_it_surer() -> None:
    y = truth(torch.Generator().manual_seed(1), pairs=True)
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(243, 1, generator=generator, dtype=torch.float64)
    deviations = []
    for times in (1, 8):
        children = [child for child in range(40) for _ in range(times)]
        noise = float(y.std()) * torch.randn(len(children), generator=generator, dtype=torch.float64)
        process = GaussianProcess(CHOICES, features).fit(children, [0] * len(children), (y[children] + noise).tolist())
        deviations.append(float(process.predict()[1][:40].mean()))
    assert deviations[1] < 0.7 * deviations[0]
