"""Cost tables: exact for every child (random spaces: test_any_space.py), their expectation, and the calls they need."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import INPUT_SHAPE, AnyNetwork
from torch import nn
from toy import ToyNetwork, random_distribution, space

from atldas.builder import Builder, FixedBuilder
from atldas.cost import cost
from atldas.cost_tables import CellCall, CostTables, mac_tables, measured_tables, parameter_tables, totals_by_scope
from atldas.distribution import Factor
from atldas.genotype import Genotype
from atldas.space import Space
from atldas.supernet import Supernet

TOY = space(inputs=1, nodes=2, k=1, operations=("skip_connect", "sep_conv_3x3"))
SHAPE = (1, 2, 5, 4)


def toy_network(builder: Builder) -> nn.Module:
    return ToyNetwork(builder, inputs=1)


def true_cost(child: Genotype) -> tuple[int, int]:
    """(parameters, multiply-adds) of the fixed network."""
    found = cost(toy_network(FixedBuilder(child)), SHAPE)
    return found.parameters, found.macs


def test_every_child_of_a_cell_space_costs_what_its_network_does() -> None:
    supernet = Supernet(TOY, toy_network)
    macs, parameters = mac_tables(supernet, SHAPE), parameter_tables(supernet)
    children = list(TOY.enumerate())
    assert len(children) == 8
    for child in children:
        assert (parameters.of(child), macs.of(child)) == true_cost(child)
    assert len({macs.of(child) for child in children}) >= 3


@pytest.mark.parametrize("seed", range(3))
def test_the_expectation_is_the_mean_over_all_children(seed: int) -> None:
    macs = mac_tables(Supernet(TOY, toy_network), SHAPE)
    distribution = random_distribution(TOY, seed)
    expected = macs.expected(distribution)
    mean = sum(distribution.log_prob(child).exp().item() * macs.of(child) for child in TOY.enumerate())
    assert expected.item() == pytest.approx(mean, rel=1e-5)
    (gradient,) = torch.autograd.grad(expected, [distribution["normal.2_from_0"].logits])
    assert gradient.abs().sum() > 0 and float(gradient.sum()) == pytest.approx(0, abs=1e-2)


@settings(max_examples=30, deadline=None)
@given(constant=st.floats(-5, 5), values=st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_a_cost_is_a_constant_and_what_its_factors_say(constant: float, values: list[float]) -> None:
    choices = Space("c", {}, {"a": (1, 2, 3), "b": ("x", "y")})
    table = torch.tensor(values, dtype=torch.float64).reshape(3, 2)
    tables = CostTables(choices, constant, (Factor(("a", "b"), table), Factor(("b",), table[0])))
    for i, a in enumerate((1, 2, 3)):
        for j, b in enumerate("xy"):
            child = Genotype("child", {}, choices={"a": a, "b": b})
            assert tables.of(child) == pytest.approx(constant + values[2 * i + j] + values[j])


def test_without_factors_the_expectation_is_the_constant() -> None:
    assert float(CostTables(TOY, 7.5, ()).expected(random_distribution(TOY, 0))) == 7.5


def test_a_cost_of_an_edge_that_no_child_has_is_left_out() -> None:
    """Each node reads one input: the tables of the other edges do not count."""
    tables = CostTables(TOY, 0.0, (Factor(("normal.2_from_0",), torch.full((2,), 5.0)),))
    assert {tables.of(child) for child in TOY.enumerate()} == {0.0, 5.0}


def test_counts_beyond_the_whole_numbers_of_float32_are_exact() -> None:
    large = 2**24 + 1
    tables = CostTables(TOY, 0.0, (Factor(("normal.node_1",), torch.tensor([large], dtype=torch.float64)),))
    assert tables.of(next(iter(TOY.enumerate()))) == large


def test_measured_tables_need_few_passes_and_note_the_cells_sizes() -> None:
    of = Space("s", {}, {"stem": ("plain", "deep"), "block": ("nothing", "conv")})
    supernet = Supernet(of, partial(AnyNetwork, space=of)).to("meta").eval()
    passes = 0

    def totals(calls: list[CellCall]) -> dict[tuple[str, ...], float]:
        nonlocal passes
        passes += 1
        return totals_by_scope(supernet, torch.empty(INPUT_SHAPE, device="meta"), lambda: 0.0, calls)

    measured_tables(supernet, totals, lambda *_: 0.0)
    assert of.size() == 4 and passes == 3  # the first child, then both options of both choices at once

    toy = Supernet(TOY, toy_network).to("meta").eval()
    calls: list[CellCall] = []
    totals_by_scope(toy, torch.empty(SHAPE, device="meta"), lambda: 0.0, calls)
    assert [(call.cell, call.height, call.width, call.scope) for call in calls] == [
        (toy.cells[0], 5, 4, ()), (toy.cells[1], 5, 4, ()),
    ]  # fmt: skip


def test_making_tables_leaves_the_supernet_where_it_was() -> None:
    supernet = Supernet(TOY, toy_network).train()
    mac_tables(supernet, SHAPE)
    assert supernet.training and all(not p.is_meta for p in supernet.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in supernet.modules())
