"""The chain of cells: places follow from reductions, and the tensors that run through it agree with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atldas.builder import FixedBuilder
from atldas.cell import Cell, CellPlace
from atldas.cell_chain import cell_chain
from atldas.common.errors import UserError
from atldas.genotype import CellGenotype, Edge, Genotype

PAIR = CellGenotype(2, ((Edge("skip_connect", 0), Edge("skip_connect", 1)), (Edge("max_pool_3x3", 1),)), (2, 3))
SINGLE = CellGenotype(1, ((Edge("nor_conv_1x1", 0),),), (1,))


def chain(cell: CellGenotype = PAIR, **arguments: Any) -> list[Cell]:
    builder = FixedBuilder(Genotype("chain", {"normal": cell, "reduce": cell, "other": cell}))
    return cell_chain(builder, **arguments)


def test_places_around_reductions() -> None:
    cells = chain(before=6, last=8, channels=4, depth=5, reductions=(1, 3))
    assert [cell.place for cell in cells] == [
        CellPlace("normal", (6, 8), 4, 1, (1, 1)),
        CellPlace("reduce", (8, 8), 8, 2, (1, 1)),
        CellPlace("normal", (8, 16), 8, 1, (2, 1)),
        CellPlace("reduce", (16, 16), 16, 2, (1, 1)),
        CellPlace("normal", (16, 32), 16, 1, (2, 1)),
    ]
    assert [cell.out_channels for cell in cells] == [8, 16, 16, 32, 32]


def test_two_reductions_in_a_row_and_a_larger_tensor_at_the_start() -> None:
    cells = chain(before=4, last=4, channels=4, depth=3, reductions={0, 1}, before_is_larger=True)
    assert [cell.place.input_strides for cell in cells] == [(2, 1), (2, 1), (2, 1)]
    assert [cell.place.channels for cell in cells] == [8, 16, 16]


def test_cells_of_one_input_and_another_kind_of_reduction() -> None:
    cells = chain(SINGLE, before=3, last=5, channels=4, depth=3, reductions=(1,), inputs=1, reduce_kind="other")
    assert [cell.place for cell in cells] == [
        CellPlace("normal", (5,), 4, 1, (1,)),
        CellPlace("other", (4,), 8, 2, (1,)),
        CellPlace("normal", (8,), 8, 1, (1,)),
    ]


@settings(deadline=None, max_examples=25)
@given(depth=st.integers(1, 6), reductions=st.sets(st.integers(0, 5), max_size=3), larger=st.booleans())
def test_every_chain_runs_and_halves_as_often_as_it_reduces(depth: int, reductions: set[int], larger: bool) -> None:
    cells = chain(before=2, last=2, channels=2, depth=depth, reductions=reductions, before_is_larger=larger)
    side = 32 if larger else 16
    before, last = torch.randn(1, 2, side, side), torch.randn(1, 2, 16, 16)
    for cell in cells:
        before, last = last, cell.eval()(before, last)
    halvings = sum(number < depth for number in reductions)
    assert last.shape == (1, cells[-1].out_channels, 16 >> halvings, 16 >> halvings)
    assert cells[-1].place.channels == 2 << halvings


def test_a_kind_that_the_genotype_lacks_is_named() -> None:
    with pytest.raises(UserError, match="expected a cell 'third', got normal, reduce, other"):
        chain(before=2, last=2, channels=2, depth=2, reductions=(1,), reduce_kind="third")
