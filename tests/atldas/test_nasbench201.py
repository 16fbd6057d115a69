"""NAS-Bench-201's network: the paper's counts of parameters and multiply-adds, codes, twins."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atldas.builder import FixedBuilder
from atldas.common.errors import UserError
from atldas.cost import cost
from atldas.genotype import CellGenotype, Edge, Genotype
from atldas.nasbench201 import (
    CONVOLUTION_UNITS,
    EDGES,
    Nasbench201Network,
    all_codes,
    benchmark_structure,
    canonical,
    cell_of,
    code_of,
    code_of_text,
    convolution_units,
    twins,
    without_twins,
)
from atldas.space import Space

INPUT = (1, 3, 32, 32)
codes = st.text("01234", min_size=6, max_size=6)


def network(code: str, channels: int = 16, depth: int = 5, classes: int = 10) -> Nasbench201Network:
    return Nasbench201Network(FixedBuilder(Genotype(code, {"normal": cell_of(code)})), channels, depth, classes)


def test_six_3x3_convolutions_have_the_papers_size() -> None:
    found = cost(network("333333"), INPUT)
    assert found.parameters == 1_531_546
    assert round(found.macs / 1e6, 2) == 220.12


def test_no_cell_is_smaller_than_none_everywhere() -> None:
    assert round(cost(network("000000"), INPUT).macs / 1e6, 2) == 7.78


@settings(max_examples=10, deadline=None)
@given(codes)
def test_costs_add_up_over_the_convolutions(code: str) -> None:
    """A unit is one weight per channel pair in each of 15 cells: 5 * (16^2 + 32^2 + 64^2) weights."""
    found, least = cost(network(code), INPUT), cost(network("000000"), INPUT)
    units, convolutions = convolution_units(cell_of(code)), sum(digit in "23" for digit in code)
    norms = convolutions * 2 * 5 * (16 + 32 + 64)
    assert found.parameters - least.parameters == units * 5 * (16**2 + 32**2 + 64**2) + norms
    assert found.macs - least.macs == units * 5 * 3 * 16**2 * 32**2  # every stage costs the same
    assert 7.78e6 <= found.macs <= 220.12e6


def test_channels_depth_and_classes_are_free() -> None:
    small = network("333133", channels=4, depth=1, classes=7)
    assert small(torch.zeros(2, 3, 16, 16)).shape == (2, 7)
    assert sum(isinstance(module, nn.Conv2d) for module in small.modules()) == 1 + 3 * 5 + 2 * 3


def test_a_cell_is_the_sum_over_its_edges_and_nothing_else() -> None:
    cell = network("131403", channels=4, depth=1).stages[0][0]
    x = torch.randn(2, 4, 8, 8)
    one = x  # 1 <- 0 is a skip
    conv = cell.operation(2, Edge("nor_conv_3x3", 0))(x)
    two = conv + one
    pool = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    three = pool + 0 * one + cell.operation(3, Edge("nor_conv_3x3", 2))(two)
    assert torch.allclose(cell(x), three, atol=1e-6)


def test_the_shipped_space_holds_exactly_the_coded_cells() -> None:
    space = Space.load("nasbench201").cells["normal"]
    assert {code_of(cell) for cell in space.enumerate()} == set(all_codes())


@given(codes)
def test_codes_and_the_papers_notation_round_trip(code: str) -> None:
    cell = cell_of(code)
    assert code_of(cell) == code
    text = "+".join("|" + "|".join(f"{op}~{i}" for op, i in node) + "|" for node in cell.nodes)
    assert code_of_text(text) == code


def test_a_code_names_operations_edge_by_edge() -> None:
    edges = [(node, edge.input, edge.operation) for node, edge in cell_of("012340").edges()]
    names = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "none"]
    assert edges == [(*edge, name) for edge, name in zip(EDGES, names, strict=True)]


@pytest.mark.parametrize("code", ["", "33333", "3333333", "333335", "33333x", "333333\n"])
def test_what_is_no_code_is_an_error(code: str) -> None:
    with pytest.raises(UserError, match="six digits of"):
        cell_of(code)


@pytest.mark.parametrize("text", ["", "|none~0|", "|none~0|+|none~0|none~1|+|none~0|none~1|sep~2|"])
def test_what_is_not_the_papers_notation_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match="expected a cell as"):
        code_of_text(text)


def test_a_foreign_cell_has_no_code() -> None:
    with pytest.raises(UserError, match="expected a NAS-Bench-201 cell"):
        code_of(CellGenotype(1, ((Edge("none", 0),),), (1,)))
    nodes = cell_of("333333").nodes
    with pytest.raises(UserError, match="got max_pool_3x3"):
        code_of(CellGenotype(1, ((Edge("max_pool_3x3", 0),), *nodes[1:]), (3,)))


def test_the_paper_counts_6466_structures_and_they_compute_4930_functions() -> None:
    cells = [cell_of(code) for code in all_codes()]
    structures = {benchmark_structure(cell): canonical(cell) for cell in cells}
    assert len(structures) == 6466
    assert len({canonical(cell) for cell in cells}) == 4930
    assert all(structures[benchmark_structure(cell)] == canonical(cell) for cell in cells)  # the functions are coarser


def test_twins_read_a_skip_as_what_it_skips() -> None:
    """3 = conv(0) whether straight, behind a skip, or in front of one."""
    assert {"000300", "100030", "010003", "300010", "030001"} <= {code_of(cell) for cell in twins(cell_of("000300"))}
    assert canonical(cell_of("000300")) != canonical(cell_of("000200"))
    assert canonical(cell_of("100110")) != canonical(cell_of("000100"))  # twice the input is not the input
    assert [code_of(cell) for cell in without_twins(map(cell_of, ["000300", "333333", "100030"]))] == [
        "000300",
        "333333",
    ]


@settings(max_examples=30, deadline=None)
@given(codes, st.randoms(use_true_random=False))
def test_twins_with_equal_weights_give_equal_outputs(code: str, random: object) -> None:
    """With one weight per operation, whatever the edge, cells of one function must give one output."""
    choice = random.choice  # type: ignore[attr-defined]
    one, other = cell_of(code), choice(twins(cell_of(code)))
    outputs = []
    for cell in (one, other):
        torch.manual_seed(0)
        built = network(code_of(cell), channels=4, depth=1).stages[0][0].double()
        for module in built.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(module.kernel_size[0]))
        torch.manual_seed(1)
        outputs.append(built(torch.randn(4, 4, 6, 6, dtype=torch.float64)))
    torch.testing.assert_close(*outputs)


def test_convolution_units_are_at_most_54() -> None:
    assert {code: convolution_units(cell_of(code)) for code in ("333333", "222222", "331204", "014014")} == {
        "333333": 54,
        "222222": 6,
        "331204": 19,
        "014014": 0,
    }
    assert CONVOLUTION_UNITS["nor_conv_3x3"] == 9


def test_the_forms_of_all_skips_count_paths() -> None:
    """Node 3 of the cell of skips is 4 times the input: 0-3, 0-1-3, 0-2-3, 0-1-2-3."""
    terms = canonical(cell_of("111111"))
    assert len(terms) == 4
    assert all(a == b for a, b in pairwise(terms))


def test_a_cell_with_two_outputs_has_no_canonical_form() -> None:
    with pytest.raises(UserError, match="output is one node"):
        canonical(CellGenotype(1, ((Edge("none", 0),), (Edge("none", 0),)), (1, 2)))
