"""The peak of activation memory: by hand, the same in a supernet and a fixed network, and as a hard budget."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import INPUT_SHAPE, SMALL_SPACE, AnyNetwork, spaces
from torch import Tensor, nn

from atldas.budget import BudgetConfig, make_budget
from atldas.builder import FixedBuilder
from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.cost_tables import mac_tables, parameter_tables
from atldas.distribution import Distribution
from atldas.peak_memory import PeakMemory, peak_memory
from atldas.space import Space
from atldas.supernet import Supernet

MIB = 2**20


class Residual(nn.Module):
    """Keeps its input alive while it computes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def test_the_peak_of_memory_is_what_is_alive_at_once() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    one = 4 * 4 * 8 * 8  # bytes of [1, 4, 8, 8]
    assert peak_memory(layer, (1, 4, 8, 8)) == 2 * one
    # The input is the caller's and stays; of a chain's values two are alive at a time.
    assert peak_memory(nn.Sequential(layer, layer, layer, layer), (1, 4, 8, 8)) == 3 * one
    assert peak_memory(nn.Sequential(layer, Residual(nn.Sequential(layer, layer))), (1, 4, 8, 8)) == 4 * one
    assert peak_memory(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten()), (3, 4, 8, 8)) == 3 * one
    assert peak_memory(nn.Sequential(nn.Conv2d(4, 64, 1), nn.Conv2d(64, 4, 1)), (1, 4, 8, 8)) == (1 + 16 + 1) * one


def test_the_peak_is_where_the_widest_tensors_meet_not_their_sum() -> None:
    wide = nn.Sequential(nn.Conv2d(4, 32, 1), nn.Conv2d(32, 4, 1))
    once, twice = (peak_memory(nn.Sequential(*[wide] * n), (1, 4, 8, 8)) for n in (1, 2))
    assert twice == once + 4 * 4 * 64  # only the value between them more


@settings(max_examples=15, deadline=None)
@given(space=spaces(), seed=st.integers(0, 1000))
def test_a_supernets_child_has_the_peak_of_the_fixed_network(space: Space, seed: int) -> None:
    supernet = Supernet(space, lambda builder: AnyNetwork(builder, space))
    child = Distribution(space).sample(torch.Generator().manual_seed(seed), uniform=True)
    fixed = AnyNetwork(FixedBuilder(child), space)
    assert PeakMemory(supernet, INPUT_SHAPE).of(child) == peak_memory(fixed, INPUT_SHAPE)


@pytest.mark.parametrize("also", [{}, {"gmacs": 30e-6}])
def test_no_child_over_the_peak_is_drawn_or_proposed_and_none_within_is_left_out(also: dict[str, float]) -> None:
    supernet = Supernet(SMALL_SPACE, lambda builder: AnyNetwork(builder, SMALL_SPACE))
    macs, peak = mac_tables(supernet, INPUT_SHAPE), PeakMemory(supernet, INPUT_SHAPE)
    every = list(SMALL_SPACE.enumerate())
    limit = sorted(peak.of(child) for child in every)[len(every) // 3]
    most = also.get("gmacs", 1.0) * 1e9
    within = {child for child in every if peak.of(child) <= limit and macs.of(child) <= most}
    assert 3 < len(within) < len(every) // 2
    config = from_dict(BudgetConfig, {"peak_mib": limit / MIB, **also}, "test")
    budget = make_budget(config, macs, parameter_tables(supernet), peak)
    distribution = Distribution(SMALL_SPACE)
    assert {child for _, child in budget.most_probable(distribution, len(every))} == within
    assert set(budget.sample(distribution, torch.Generator().manual_seed(0), count=60)) <= within
    assert [budget.allows(child) for child in every] == [child in within for child in every]


def test_a_peak_that_no_child_keeps_is_refused() -> None:
    supernet = Supernet(SMALL_SPACE, lambda builder: AnyNetwork(builder, SMALL_SPACE))
    config = from_dict(BudgetConfig, {"peak_mib": 1e-5}, "test")
    with pytest.raises(UserError, match="peak_mib: expected a limit that some child keeps, got 1e-05; raise it"):
        make_budget(
            config, mac_tables(supernet, INPUT_SHAPE), parameter_tables(supernet), PeakMemory(supernet, INPUT_SHAPE)
        )
