"""The cell: one class for both uses, and the names that weights travel by."""

from __future__ import annotations

import pytest
import torch
from toy import ToyNetwork, space

from atldas.builder import FixedBuilder
from atldas.cell import Cell, CellPlace
from atldas.common.errors import UserError
from atldas.genotype import CellGenotype, Edge, Genotype
from atldas.space import Space
from atldas.supernet import Supernet
from atldas.widths import Selection

NORMAL = CellPlace("normal", (12, 8), 4, 1, (2, 1))
REDUCE = CellPlace("reduce", (8, 8), 4, 2, (1, 1))
GENOTYPE = CellGenotype(
    2, ((Edge("skip_connect", 0), Edge("nor_conv_3x3", 1)), (Edge("nor_conv_1x1", 2), Edge("skip_connect", 1))), (2, 3)
)


def test_parameter_names() -> None:
    assert {name.rpartition(".")[0] for name, _ in Cell(GENOTYPE, NORMAL).named_parameters()} == {
        "adapters.0.even", "adapters.0.odd", "adapters.0.norm", "adapters.1.1", "adapters.1.2",
        "edges.2_from_1.nor_conv_3x3.1", "edges.2_from_1.nor_conv_3x3.2",
        "edges.3_from_2.nor_conv_1x1.1", "edges.3_from_2.nor_conv_1x1.2",
    }  # fmt: skip


def test_a_fixed_cells_names_are_among_a_searched_cells() -> None:
    darts = Space.load("darts").cells["normal"]
    searched = Cell(darts.first(), REDUCE, darts.candidates())
    fixed = Cell(Genotype.load("cheapmatting").cells["reduce"], REDUCE)
    assert type(searched) is type(fixed) is Cell
    names = searched.state_dict()
    for name, tensor in fixed.state_dict().items():
        assert names[name].shape == tensor.shape
    assert len(list(searched.edges)) == 2 + 3 + 4 + 5
    assert all(list(operations) == list(darts.operations) for operations in searched.edges.values())


@pytest.mark.parametrize(("place", "size"), [(NORMAL, (8, 8)), (REDUCE, (4, 4)), (NORMAL, (5, 7)), (REDUCE, (3, 4))])
def test_output_size(place: CellPlace, size: tuple[int, int]) -> None:
    H, W = 8, 8
    if size in ((5, 7), (3, 4)):
        H, W = 5, 7
    cell = Cell(GENOTYPE, place)
    first = (2 * H - 1, 2 * W) if place is NORMAL else (H, W)
    y = cell(torch.randn(2, place.in_channels[0], *first), torch.randn(2, 8, H, W))
    assert y.shape == (2, 8, *size) and cell.out_channels == 8


def test_forward_by_hand() -> None:
    cell = Cell(GENOTYPE, CellPlace("normal", (3, 3), 4, 1, (1, 1))).eval()
    a, b = torch.randn(1, 3, 5, 5), torch.randn(1, 3, 5, 5)
    s0, s1 = cell.adapters[0](a), cell.adapters[1](b)
    s2 = s0 + cell.edges["2_from_1"]["nor_conv_3x3"](s1)
    s3 = cell.edges["3_from_2"]["nor_conv_1x1"](s2) + s1
    assert torch.equal(cell(a, b), torch.cat([s2, s3], dim=1))


def test_a_reduction_halves_only_what_reads_an_input() -> None:
    cell = Cell(GENOTYPE, REDUCE)
    assert cell.operation(2, Edge("nor_conv_3x3", 1))[1].stride == (2, 2)
    assert cell.operation(3, Edge("nor_conv_1x1", 2))[1].stride == (1, 1)
    assert type(cell.operation(3, Edge("skip_connect", 1))).__name__ == "FactorizedReduce"


def test_gates_multiply_edges_and_nodes() -> None:
    selection = Selection()
    cell = Cell(GENOTYPE, CellPlace("normal", (3, 3), 4, 1, (1, 1)), selection=selection).eval()
    x = (torch.randn(1, 3, 5, 5), torch.randn(1, 3, 5, 5))
    s0, s1 = (adapt(state) for adapt, state in zip(cell.adapters, x, strict=True))
    selection.gates = {"normal.2_from_1": torch.tensor(2.0), "normal.node_3": torch.tensor(5.0)}
    s2 = s0 + 2 * cell.edges["2_from_1"]["nor_conv_3x3"](s1)
    s3 = 5 * (cell.edges["3_from_2"]["nor_conv_1x1"](s2) + s1)
    assert torch.equal(cell(*x), torch.cat([s2, s3], dim=1))


def test_a_mixture_runs_every_operation_of_the_mixed_edges() -> None:
    small = space(2, 1, None, ("skip_connect", "nor_conv_1x1")).cells["normal"]
    selection = Selection()
    cell = Cell(
        small.first(), CellPlace("normal", (3, 3), 4, 1, (1, 1)), small.candidates(), selection=selection
    ).eval()
    weights = {"normal.2_from_0": torch.tensor([0.2, 0.8]), "normal.2_from_1": torch.tensor([0.5, 0.1])}
    selection.mixture = weights
    x = (torch.randn(1, 3, 5, 5), torch.randn(1, 3, 5, 5))
    states = [adapt(state) for adapt, state in zip(cell.adapters, x, strict=True)]
    expected = sum(
        weights[f"normal.2_from_{i}"][0] * states[i]
        + weights[f"normal.2_from_{i}"][1] * cell.operation(2, Edge("nor_conv_1x1", i))(states[i])
        for i in (0, 1)
    )
    assert torch.allclose(cell(*x), expected, atol=1e-6)


def test_faults_of_a_genotype_that_does_not_fit_its_network() -> None:
    make = FixedBuilder(Genotype("odd", {"normal": GENOTYPE})).cell
    with pytest.raises(UserError) as error:
        make(REDUCE)
    assert str(error.value) == "genotype odd: expected a cell 'reduce', got normal"
    with pytest.raises(UserError) as error:
        make(CellPlace("normal", (8,), 4, 1, (1,)))
    assert str(error.value) == "the normal cell: expected 1 inputs, as the network gives, got 2"
    with pytest.raises(UserError) as error:
        Supernet(space(), lambda builder: builder.cell(REDUCE))
    assert str(error.value) == "space toy: expected a cell 'reduce', got normal"


def test_a_fixed_network_holds_nothing_but_its_genotypes_operations() -> None:
    network = ToyNetwork(FixedBuilder(Genotype("g", {"normal": GENOTYPE})))
    assert [list(cell.edges) for cell in network.cells] == [["2_from_0", "2_from_1", "3_from_2", "3_from_1"]] * 2
