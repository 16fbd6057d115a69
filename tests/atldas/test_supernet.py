"""The supernet: only the child runs, only the child learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy import ToyNetwork

from atldas.builder import FixedBuilder, SupernetBuilder
from atldas.classification import ImageClassifier
from atldas.common.errors import UserError
from atldas.distribution import Distribution
from atldas.genotype import Genotype
from atldas.space import Space
from atldas.supernet import Supernet, child_tensors

pytestmark = pytest.mark.usefixtures("one_thread")
DARTS = Space.load("darts")
IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])


def drawn(seed: int, of: Space = DARTS) -> Genotype:
    return Distribution(of).sample(torch.Generator().manual_seed(seed), uniform=True)


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
    made = Supernet(DARTS, lambda builder: ImageClassifier(builder, 4, 3, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    assert len(hooks) == 3 * 14 * len(DARTS.cells["normal"].operations)
    for seed in range(3):
        child = drawn(100 + seed)
        supernet.select(child)
        assert supernet.child == child
        calls.clear()
        supernet(IMAGES)
        assert len(calls) == 2 * 4 * 3
        assert set(calls) == selected(child)
    for hook in hooks:
        hook.remove()


def test_what_is_not_drawn_is_left_alone() -> None:
    torch.manual_seed(0)
    supernet = Supernet(DARTS, lambda builder: ImageClassifier(builder, 4, 3, 3))
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
    for name, module in operations(supernet).items():
        for key, parameter in module.named_parameters():
            assert (parameter in optimizer.state) == (name in ever)
            assert torch.equal(parameter, before[f"{name}.{key}"]) == (name not in ever)
        for key, buffer in module.named_buffers():
            assert torch.equal(buffer, before[f"{name}.{key}"]) or name in ever


class Chosen(nn.Module):
    """[N, 3, H, W] -> [N, 3]: a choice between two convolutions, in two places."""

    def __init__(self, builder: FixedBuilder | SupernetBuilder) -> None:
        super().__init__()
        offered = {"a": lambda: nn.Conv2d(3, 3, 1), "b": lambda: nn.Conv2d(3, 3, 3, padding=1)}
        self.first, self.second = builder.choice("kind", offered), builder.choice("kind", offered)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.first(x)).mean(dim=(2, 3))
        return y


def test_an_option_that_is_not_chosen_is_neither_run_nor_trained() -> None:
    space = Space("s", {}, {"kind": ("a", "b")})
    supernet = Supernet(space, Chosen)
    supernet.select(Genotype("g", {}, choices={"kind": "b"}))
    supernet(IMAGES).sum().backward()
    told = {name: p.grad is not None for name, p in supernet.network.named_parameters() if name.endswith("weight")}
    assert told == {
        "first.options.option_a.weight": False, "first.options.option_b.weight": True,
        "second.options.option_a.weight": False, "second.options.option_b.weight": True,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_fixed_network_gives_exactly_the_childs_output(supernet: Supernet, seed: int) -> None:
    child = drawn(50 + seed)
    supernet.eval().select(child)
    fixed = supernet.fixed(child).eval()
    assert supernet.child == child
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


def test_the_childs_tensors_are_the_fixed_networks_and_those_of_the_cells_other_operations(supernet: Supernet) -> None:
    child = drawn(4)
    supernet.select(child)
    mine = dict(child_tensors(supernet.network))
    fixed = supernet.fixed(child).state_dict()
    assert fixed.keys() <= mine.keys() and all(".edges." in name for name in mine.keys() - fixed.keys())
    assert all(torch.equal(mine[name], tensor) for name, tensor in fixed.items())


def test_a_space_and_a_network_that_do_not_fit_are_named() -> None:
    with pytest.raises(UserError) as error:
        Supernet(Space("s", {}, {"kind": ("a", "c")}), Chosen)
    assert str(error.value) == "choices.kind: expected one of a, b, got 'c'"
    with pytest.raises(UserError) as error:
        Supernet(Space("s", {}, {"kind": ("a",), "width": (2, 4)}), Chosen)
    assert str(error.value) == "space s: choices: expected those that the network follows (kind), got width"
    with pytest.raises(UserError) as error:
        Supernet(Space("s", {}, {"other": ("a",)}), Chosen)
    assert str(error.value) == "space s: choices: expected kind, got other"
    with pytest.raises(UserError) as error:
        Supernet(Space("s", {}, {"kind": ("a",)}), ToyNetwork)
    assert str(error.value) == "space s: expected a cell 'normal', got none"


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({}, "genotype g: choices: expected kind, got none"),
        ({"kind": "d"}, "choices.kind: expected one of a, b, got 'd'"),
        ({"kind": True}, "choices.kind: expected one of a, b, got True"),
    ],
)
def test_a_genotype_whose_choices_do_not_fit_is_named(choices: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as error:
        Chosen(FixedBuilder(Genotype("g", {}, choices=choices)))
    assert str(error.value) == said


@pytest.mark.parametrize("option", ["8", 0, True, -4])
def test_a_width_is_a_channel_count(option: object) -> None:
    with pytest.raises(UserError, match=r"genotype g: choices\.width: expected a channel count, got"):
        FixedBuilder(Genotype("g", {}, choices={"width": option})).width("width")
    with pytest.raises(UserError, match=r"space s: choices\.width: expected channel counts, got"):
        SupernetBuilder(Space("s", {}, {"width": (option,)})).width("width")  # type: ignore[arg-type]


def test_a_choice_that_is_not_there_takes_its_default() -> None:
    for builder in (FixedBuilder(Genotype("g", {})), SupernetBuilder(Space("s", {}, {}))):
        assert builder.width("width", 6) == 6 and builder.flag("extra", True) == 1
        made = builder.choice("kind", {"a": nn.Identity, "b": nn.ReLU}, default="b")
        assert type(made) is nn.ReLU
