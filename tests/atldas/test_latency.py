"""The latency model: with a clock that counts multiply-adds it must foretell every network exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from spaces import INPUT_SHAPE, AnyNetwork

from atldas import latency
from atldas.cost_tables import CostTables, _MacMeter, mac_tables
from atldas.distribution import Distribution, Factor
from atldas.latency import Bench, Item, LatencyModel, corrected, in_rounds, medians
from atldas.space import Space
from atldas.supernet import Supernet

CPU = torch.device("cpu")
SPACE = Space.from_dict(
    {
        "schema": 2, "name": "small",
        "cells": {
            "normal": {"inputs": 2, "nodes": 2, "inputs_per_node": 1,
                       "operations": ["skip_connect", "nor_conv_3x3", "sep_conv_3x3"]},
        },
        "choices": {"width": [4, 2, 6], "block": ["nothing", "conv", "cell"], "kernel": [1, 3], "extra": [False, True]},
    },
    "test",
)  # fmt: skip


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(SPACE, lambda builder: AnyNetwork(builder, SPACE)).eval()


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock of one millisecond for every thousand multiply-adds."""
    monkeypatch.setattr(latency, "AT_MOST", 1)
    with torch.no_grad(), _MacMeter() as meter:
        monkeypatch.setattr(latency, "now", lambda device: meter.macs / 1000)
        yield


def model(bench: Bench, slower: float = 1.0, later: float = 0.0) -> LatencyModel:
    """From one timing of everything; whole networks take `slower` times as long, and `later` milliseconds more."""
    rows = []
    for item, measure in bench.items.items():
        for part, ms in measure().items():
            rows.append((item, part, slower * ms + later if item.kind == "network" else ms))
    return bench.model(medians(rows))


@pytest.mark.parametrize(("slower", "later"), [(1.0, 0.0), (1.7, 3.0)])
def test_a_cost_that_adds_up_is_foretold_exactly(
    supernet: Supernet, counting: None, slower: float, later: float
) -> None:
    found = model(Bench(supernet, INPUT_SHAPE, CPU, fitted=20, checked=10, seed=1), slower, later)
    assert found.worst < 1e-6 and found.spearman > 0.99  # rounding decides between equal ones
    macs = mac_tables(supernet, INPUT_SHAPE)
    generator = torch.Generator().manual_seed(5)
    for child in (Distribution(SPACE).sample(generator, uniform=True) for _ in range(50)):
        assert found.tables.of(child) == pytest.approx(slower * macs.of(child) / 1000 + later, rel=1e-6)


def test_a_clock_that_says_nothing_of_the_parts_is_found_out(supernet: Supernet, counting: None) -> None:
    bench = Bench(supernet, INPUT_SHAPE, CPU, fitted=20, checked=10, seed=1)
    noise = np.random.default_rng(0)
    rows = [
        (item, part, float(noise.uniform(1, 2)) if item.kind == "network" else ms)
        for item, measure in bench.items.items()
        for part, ms in measure().items()
    ]
    found = bench.model(medians(rows))
    assert abs(found.spearman) < 0.7 and found.worst > 0.1


def test_the_networks_that_check_are_not_those_that_correct(supernet: Supernet) -> None:
    bench = Bench(supernet, INPUT_SHAPE, CPU, fitted=20, checked=10, seed=1)
    assert len(set(bench.fitted) | set(bench.checked)) == 30
    assert (len(bench.fitted), len(bench.checked)) == (20, 10)


def test_short_runs_are_repeated_and_long_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: list[float] = []  # what every run took
    monkeypatch.setattr(latency, "now", lambda device: sum(clock))
    for cost, times in ((5.0, 2), (0.5, 2 + 5), (0.001, 2 + 50)):
        clock.clear()
        assert latency.milliseconds(lambda cost=cost: clock.append(cost), CPU) == pytest.approx(cost)
        assert len(clock) == times


def test_every_round_has_every_item_once_in_an_order_of_its_own() -> None:
    items = [Item("operation", str(n)) for n in range(20)]
    order = list(in_rounds(items, 3, seed=0))
    assert order == list(in_rounds(items, 3, seed=0))  # a resumed profile goes on with the same
    rounds = [[item for number, item in order if number == n] for n in range(3)]
    assert all(sorted(found) == sorted(items) for found in rounds)
    assert rounds[0] != rounds[1] != rounds[2]


def test_medians_withstand_one_disturbed_round() -> None:
    item = Item("network", "0")
    assert medians([(item, "", 1.0), (item, "", 900.0), (item, "", 1.2)]) == {(item, ""): 1.2}


def test_where_noise_outweighs_the_differences_one_scale_is_left() -> None:
    table = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    space = Space.from_dict({"schema": 2, "name": "s", "choices": {"width": [2, 4, 6]}}, "test")
    sums = CostTables(space, 1.0, (Factor(("width",), table),))
    children = list(space.enumerate())
    truths = np.array([9.0, 6.0, 3.0])  # larger widths are faster: no
    found = corrected(sums, children, truths)
    assert [found.of(child) for child in children] == pytest.approx([6 * c / (10 / 3) for c in (2.0, 3.0, 5.0)])
