"""The supernet: only the child runs, only the child learns, and a fixed network is the same function."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import ToyNetwork, space

from atldas.cell import CellFactory, CellPlace
from atldas.classification import ImageClassifier
from atldas.cost import cost
from atldas.distribution import Distribution
from atldas.genotype import Genotype
from atldas.samplers import straight_through, uniform
from atldas.space import Space
from atldas.supernet import Supernet

DARTS = Space.load("darts")
IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])


def drawn(seed: int, of: Space = DARTS) -> Genotype:
    return uniform(Distribution(of), 1.0, torch.Generator().manual_seed(seed))


def operations(supernet: Supernet) -> dict[str, nn.Module]:
    """`cells.0.edges.2_from_0.skip_connect` -> module, for every candidate of every cell."""
    return {
        name: module
        for name, module in supernet.network.named_modules()
        if ".edges." in name and len(name.split(".")) == 5
    }


def selected(child: Genotype) -> set[str]:
    """The names of the candidates that a child of depth 3 runs: a normal cell, then two reductions."""
    kinds = ("normal", "reduce", "reduce")
    return {
        f"cells.{index}.edges.{node}_from_{edge.input}.{edge.operation}"
        for index, kind in enumerate(kinds)
        for node, edge in child.cells[kind].edges()
    }


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """The DARTS space at depth 3, after a few steps so that weights and statistics are not the initial ones."""
    torch.manual_seed(0)
    made = Supernet(DARTS, lambda cells: ImageClassifier(cells, 4, 3, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(made.parameters(), 0.05, momentum=0.9)
    for seed in range(6):
        made.select(drawn(seed))
        F.cross_entropy(made(IMAGES), LABELS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return made


def test_two_operations_are_called_per_node_and_cell_run(supernet: Supernet) -> None:
    calls: list[str] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: calls.append(name))
        for name, module in operations(supernet).items()
    ]
    assert len(hooks) == 3 * 14 * 7
    for seed in range(3):
        child = drawn(100 + seed)
        supernet.select(child)
        calls.clear()
        supernet(IMAGES)
        assert len(calls) == 2 * 4 * 3
        assert set(calls) == selected(child)
    for hook in hooks:
        hook.remove()


def test_what_is_not_drawn_is_left_alone() -> None:
    torch.manual_seed(0)
    supernet = Supernet(DARTS, lambda cells: ImageClassifier(cells, 4, 3, 3))
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    before = {name: tensor.clone() for name, tensor in supernet.network.state_dict().items()}
    ever: set[str] = set()
    for seed in range(3):
        child = drawn(seed)
        ever |= selected(child)
        supernet.select(child)
        loss = F.cross_entropy(supernet(IMAGES), LABELS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for name, module in operations(supernet).items():
            assert all((p.grad is not None) == (name in selected(child)) for p in module.parameters()), name
    assert {id(p) for p in supernet.selected_parameters()} == {
        id(p) for p in supernet.parameters() if p.grad is not None
    }
    for name, module in operations(supernet).items():
        for key, parameter in module.named_parameters():
            assert (parameter in optimizer.state) == (name in ever)
            assert torch.equal(parameter, before[f"{name}.{key}"]) == (name not in ever)
        for key, buffer in module.named_buffers():
            assert torch.equal(buffer, before[f"{name}.{key}"]) or name in ever


@pytest.mark.parametrize("seed", range(5))
def test_a_fixed_network_gives_exactly_the_childs_output(supernet: Supernet, seed: int) -> None:
    child = drawn(50 + seed)
    supernet.eval().select(child)
    fixed = supernet.fixed(child).eval()
    assert sum(p.numel() for p in fixed.parameters()) == sum(p.numel() for p in supernet.selected_parameters())
    with torch.no_grad():
        for x in (IMAGES, IMAGES.contiguous(memory_format=torch.channels_last), torch.randn(1, 3, 15, 9)):
            assert torch.equal(fixed(x), supernet(x))
    supernet.train()


def test_a_fixed_network_is_a_copy(supernet: Supernet) -> None:
    child = drawn(0)
    before = {name: tensor.clone() for name, tensor in supernet.network.state_dict().items()}
    fixed = supernet.fixed(child).train()
    with torch.no_grad():
        for parameter in fixed.parameters():
            assert parameter.requires_grad and parameter.is_leaf
            parameter.add_(1.0)
    fixed(IMAGES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.network.state_dict().items())


def test_gates_change_no_bit_of_the_output(supernet: Supernet) -> None:
    distribution = Distribution(DARTS)
    generator = torch.Generator().manual_seed(9)
    supernet.eval()
    for temperature in (5.0, 0.3):
        draw = straight_through(distribution, temperature, generator)
        supernet.select(draw.child, draw.gates)
        gated = supernet(IMAGES)
        supernet.select(draw.child)
        assert torch.equal(gated, supernet(IMAGES))
    supernet.train()


def test_every_logit_that_was_drawn_from_gets_a_gradient(supernet: Supernet) -> None:
    distribution = Distribution(DARTS)
    draw = straight_through(distribution, 1.0, torch.Generator().manual_seed(0))
    supernet.select(draw.child, draw.gates)
    F.cross_entropy(supernet(IMAGES), LABELS).backward()
    for kind, cell in distribution.items():
        read = {cell.edge_index[node, edge.input] for node, edge in draw.child.cells[kind].edges()}
        assert cell.operation_logits.grad is not None
        assert {row for row, g in enumerate(cell.operation_logits.grad) if g.any()} == read
        for beta in list(cell.topology_logits)[1:]:  # the first node has one subset only
            assert beta.grad is not None and beta.grad.all()
    supernet.zero_grad()
    supernet.select(draw.child)


@pytest.mark.parametrize("shape", [(1, 3, 12, 12), (1, 3, 15, 9)])
def test_macs_of_a_child_are_those_of_its_fixed_network(supernet: Supernet, shape: tuple[int, ...]) -> None:
    tables, constant = supernet.operation_macs(shape)
    for seed in range(4):
        child = drawn(seed)
        total = constant
        for kind, cell in child.cells.items():
            of = DARTS.cells[kind]
            for node, edge in cell.edges():
                total += int(tables[kind][of.edges.index((node, edge.input)), of.operations.index(edge.operation)])
        assert total == cost(supernet.fixed(child), shape).macs


def test_macs_do_not_depend_on_what_is_selected(supernet: Supernet) -> None:
    tables, constant = supernet.operation_macs((1, 3, 12, 12))
    draw = straight_through(Distribution(DARTS), 1.0, torch.Generator().manual_seed(3))
    supernet.select(draw.child, draw.gates)  # gates belong to a graph and cannot be copied
    again, same = supernet.operation_macs((1, 3, 12, 12))
    assert same == constant and all(torch.equal(tables[kind], again[kind]) for kind in tables)
    assert supernet.training


class Shuffled(nn.Module):
    """Runs its cells in another order than it made them, one of them twice and one never."""

    def __init__(self, make_cell: CellFactory) -> None:
        super().__init__()
        self.wide = make_cell(CellPlace("normal", (4,), 4, 1, (1,)))
        self.idle = make_cell(CellPlace("normal", (4,), 4, 1, (1,)))
        self.first = make_cell(CellPlace("normal", (3,), 4, 1, (1,)))
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.wide(self.wide(self.pool(self.first(x))))
        return y


def test_macs_follow_the_cells_that_run() -> None:
    toy = space(1, 1, 1, ("skip_connect", "nor_conv_3x3"))
    supernet = Supernet(toy, Shuffled)
    tables, constant = supernet.operation_macs((1, 3, 8, 8))
    assert tables["normal"].tolist() == [[0, 4 * 4 * 9 * (64 + 16 + 16)]]
    assert constant == 3 * 4 * 64 + 4 * 4 * (16 + 16)


def test_counting_does_not_copy_what_the_network_is_built_from() -> None:
    class Holder:
        def __init__(self) -> None:
            self.lock = threading.Lock()  # cannot be copied, as an open data set cannot

        def build(self, cells: CellFactory) -> nn.Module:
            return ToyNetwork(cells)

    tables, _ = Supernet(space(), Holder().build).operation_macs((1, 2, 4, 4))
    assert tables["normal"].sum() > 0
