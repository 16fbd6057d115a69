"""Zero-cost proxies against values worked out by hand, and against what they must not depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from stripes import StripesOptions, StripesTask, context
from torch import Tensor, nn
from toy import cell_space

from atldas.builder import Builder
from atldas.cost_tables import CostTables, parameter_tables
from atldas.genotype import Genotype
from atldas.proxies import PROXIES, Newborns, log_ranks, mean_ranks
from atldas.space import Space

CPU = torch.device("cpu")
OF = Space("some", {"normal": cell_space(1, 2, None, ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"))})
NONE, FULL = (OF.genotype({v.name: index * (len(v.options) - 1) for v in OF.variables}) for index in (0, 1))


def newborns(seed: int = 0) -> Newborns:
    given = context(OF)
    return Newborns(StripesTask(StripesOptions(batch=8), 0, CPU), CPU, given.macs, seed)


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_is_a_function_of_the_child_and_the_seed(name: str) -> None:
    born = [newborns(seed) for seed in (0, 0, 1)]
    before = torch.get_rng_state()
    found = [PROXIES[name](each, FULL) for each in born]
    assert found[0] == found[1] and math.isfinite(found[0])
    assert (found[0] == found[2]) is (name in ("parameters", "macs"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", PROXIES)
def test_a_cell_of_convolutions_scores_over_an_empty_one(name: str) -> None:
    empty, full = (PROXIES[name](newborns(), child) for child in (NONE, FULL))
    assert full > empty or (name == "zico" and full > 0)


def test_parameters_and_macs_are_those_of_the_tables() -> None:
    given = context(OF)
    for child in list(OF.enumerate())[::9]:
        assert PROXIES["parameters"](newborns(), child) == parameter_tables(given.supernet).of(child)
        assert PROXIES["macs"](newborns(), child) == given.macs.of(child)


class Two(nn.Module):
    """[N, 2] -> [N, 1]: two linear layers with a ReLU between, and a BatchNorm that synflow must not see."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3)
        self.relu, self.last = nn.ReLU(), nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 1.0], [-1.0, -1.0]]))
            self.last.weight.copy_(torch.tensor([[1.0, -1.0, 2.0]]))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.relu(self.norm(self.first(x))))
        return output


class Unnormalised(Two):
    """Without BatchNorm, for values by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()  # type: ignore[assignment]


class HandTask:
    """Batch n is n + 1 times two fixed points; the loss is the summed output."""

    Options = StripesOptions
    metric, larger_is_better, input_shape = "none", True, (1, 2)
    network: type[Two] = Unnormalised

    def build(self, builder: Builder) -> nn.Module:
        return self.network()

    def training_batches(self, start: int) -> Iterator[Any]:
        points = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        while True:
            start += 1
            yield start * points

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        total: Tensor = network(batch).sum()
        return total


def hand(name: str, network: type[Two] = Unnormalised) -> float:
    """A proxy of one of the networks above, whose memory format is a matrix's."""
    task = HandTask()
    task.network = network

    class Plain(Newborns):
        def network(self, child: Genotype) -> nn.Module:
            return task.build(None).train()  # type: ignore[arg-type]

    return PROXIES[name](Plain(task, CPU, CostTables(OF, 0.0, ()), 0), NONE)  # type: ignore[arg-type]


def test_values_by_hand() -> None:
    # Hidden units on the points (1, 0) and (0, 1): [1, 0.5, -1] and [-2, 1, -1]; on: 101 -> [1, 1, 0], [0, 1, 0].
    # So the gradient is [1, 0], [-1, -1], [0, 0] by the first layer's weights, [1, 1.5, 0] by the last one's.
    assert hand("grad_norm") == pytest.approx(math.sqrt(3) + math.sqrt(1 + 2.25))
    assert hand("snip") == pytest.approx(1 + 0.5 + 1 + 1 * 1 + 1 * 1.5)
    # |weights|: hidden of ones = [3, 1.5, 2], output 3 + 1.5 + 4 = 8.5; each layer's sum of w * dR/dw is R.
    assert hand("synflow") == pytest.approx(math.log(2 * 8.5))
    assert hand("synflow", Two) == pytest.approx(math.log(2 * 8.5))
    # K: both images agree with themselves in 3 units, with each other in 2.
    assert hand("naswot") == pytest.approx(math.log(9 - 4))
    # The second batch's gradients are twice the first's: 1.5 / 0.5 for three weights, then for two; the others are 0.
    assert hand("zico") == pytest.approx(math.log(3 * 3) + math.log(2 * 3))


def test_naswot_without_relu_is_minus_infinity() -> None:
    class Linear(Unnormalised):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.Identity()  # type: ignore[assignment]

    assert hand("naswot", Linear) == -math.inf


def test_ranks_are_averaged_over_proxies_ties_shared_and_no_number_is_last() -> None:
    assert mean_ranks([[3.0, 1.0, 2.0]]) == [3.0, 1.0, 2.0]
    assert mean_ranks([[5.0, 5.0, 1.0, 9.0]]) == [2.5, 2.5, 1.0, 4.0]
    assert mean_ranks([[1.0, math.nan, -math.inf], [1.0, 2.0, 3.0]]) == [2.0, 1.75, 2.25]
    assert mean_ranks([[1.0, 2.0], [1e30, -1e30]]) == [1.5, 1.5]  # a scale does not count


def test_log_ranks_by_hand_with_ties_and_what_is_not_finite() -> None:
    scores = torch.tensor([[1.0, 5.0], [3.0, float("nan")], [3.0, 6.0], [float("-inf"), 7.0]])
    first, second = torch.tensor([2.0, 3.5, 3.5, 1.0]).log(), torch.tensor([2.0, 1.0, 3.0, 4.0]).log()
    expected = first + 0.5 * second - 1.5 * math.log(4)
    assert torch.allclose(log_ranks(scores, [1.0, 0.5]).float(), expected)


def test_log_ranks_prefer_the_second_best_in_all_to_the_best_in_one_and_the_worst_in_another() -> None:
    scores = torch.tensor([[9.0, 1.0], [5.0, 5.0], [1.0, 9.0]])
    assert log_ranks(scores, [1.0, 1.0]).argmax() == 1
