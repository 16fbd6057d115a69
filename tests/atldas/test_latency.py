"""Latencies with a clock of the test's own: every operation takes a time that is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from toy import ToyNetwork, space

from atldas import latency
from atldas.builder import Builder
from atldas.genotype import Genotype
from atldas.latency import latency_model, network_latency, part_latencies, rank_correlation
from atldas.operations import OPERATIONS
from atldas.space import Space
from atldas.supernet import Supernet

CPU = torch.device("cpu")
SHAPE = (1, 2, 4, 4)
MILLISECONDS = {"slow": 7.0, "quick": 1.0}


class Clock:
    """Goes on only when it is told to."""

    now = 0.0


class Takes(nn.Module):
    """An operation that takes a known time."""

    def __init__(self, clock: Clock, milliseconds: float) -> None:
        super().__init__()
        self.clock, self.milliseconds = clock, milliseconds

    def forward(self, x: Tensor) -> Tensor:
        self.clock.now += self.milliseconds
        return x


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(latency, "_now", lambda device: made.now)
    for name, milliseconds in MILLISECONDS.items():
        monkeypatch.setitem(OPERATIONS, name, lambda channels, stride, ms=milliseconds: Takes(made, ms))
    yield made


def toy() -> Space:
    return space(inputs=1, nodes=2, k=1, operations=tuple(MILLISECONDS))


def network(builder: Builder) -> nn.Module:
    return ToyNetwork(builder, inputs=1)


def truth(child: Genotype) -> float:
    """Two cells alike."""
    return 2 * sum(MILLISECONDS[edge.operation] for _, edge in child.cells["normal"].edges())


def test_a_latency_is_the_median_without_the_first_run(clock: Clock) -> None:
    times = iter([1000.0, 3.0, 9.0, 5.0, 4.0, 800.0])

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape == SHAPE
            clock.now += next(times)
            return x

    assert network_latency(Network(), SHAPE, CPU, repeats=5) == 5.0


def test_parts_add_up_to_the_whole(clock: Clock) -> None:
    tables = part_latencies(Supernet(toy(), network).eval(), SHAPE, CPU, repeats=2)
    for child in toy().enumerate():
        assert tables.of(child) == truth(child)


def test_a_model_corrects_the_sum_of_the_parts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    children = list(toy().enumerate())
    alone = network_latency

    def whole(module: nn.Module, *arguments: object) -> float:
        """Whole networks take three times as long as their parts, and 10 ms."""
        found = alone(module, *arguments)  # type: ignore[arg-type]
        return 3 * found + 10 if isinstance(module, ToyNetwork) else found

    monkeypatch.setattr(latency, "network_latency", whole)
    model = latency_model(Supernet(toy(), network).eval(), SHAPE, CPU, children[::2], children[1::2], repeats=1)
    assert model.checked == len(children) // 2
    assert model.spearman == pytest.approx(1) and model.worst == pytest.approx(0, abs=1e-6)
    for child in children:
        assert model.tables.of(child) == pytest.approx(3 * truth(child) + 10)


def test_where_times_fall_with_the_sum_the_mean_ratio_is_taken(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    children = list(toy().enumerate())
    alone = network_latency

    def backwards(module: nn.Module, *arguments: object) -> float:
        found = alone(module, *arguments)  # type: ignore[arg-type]
        return 100 - found if isinstance(module, ToyNetwork) else found

    monkeypatch.setattr(latency, "network_latency", backwards)
    model = latency_model(Supernet(toy(), network).eval(), SHAPE, CPU, children, children, repeats=1)
    ratio = sum(100 - truth(child) for child in children) / sum(truth(child) for child in children)
    assert model.tables.of(children[0]) == pytest.approx(ratio * truth(children[0]))
    assert model.spearman < 0 < model.worst


def test_ties_share_their_rank() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4.
    expected = np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1]
    assert rank_correlation(np.array([10, 20, 20, 30]), np.array([1, 5, 6, 9])) == pytest.approx(expected)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True))
def test_ranks_see_nothing_but_the_order(values: list[int]) -> None:
    a = np.array(values, np.float64)
    assert rank_correlation(a, a**3 + 2 * a) == pytest.approx(1)
    assert rank_correlation(a, -np.exp(a / 1000)) == pytest.approx(-1)
    b = np.roll(a, 1)
    assert rank_correlation(a, b) == pytest.approx(rank_correlation(b, a))
    assert -1.000001 <= rank_correlation(a, b) <= 1.000001
