"""Builders: the fixed one gives what a genotype chose, the supernet's one holds every option and runs the selected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import cell_space

from atldas.builder import Choice, FixedBuilder, SupernetBuilder
from atldas.cell import CellPlace
from atldas.common.errors import UserError
from atldas.genotype import Genotype
from atldas.space import Space
from atldas.widths import Selection, Sliced, Width

SPACE = Space(
    "toy", {"normal": cell_space(1, 1, 1)}, {"scale": ("one", "ten"), "width": (2, 4), "extra": (False, True)}
)
PLACE = CellPlace("normal", (2,), 2, 1, (1,))


class Times(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


SCALES: dict[str | int | bool, Callable[[], nn.Module]] = {
    "one": lambda: Times(1.0), "ten": lambda: Times(10.0), "none": lambda: Times(0.0)
}  # fmt: skip


def genotype(**choices: Any) -> Genotype:
    return Genotype("mine", {"normal": SPACE.cells["normal"].first()}, choices=choices)


def test_a_fixed_builder_gives_what_was_chosen_and_no_more() -> None:
    builder = FixedBuilder(genotype(scale="ten", width=4, extra=True))
    made = builder.choice("scale", SCALES)
    assert isinstance(made, Times) and made.factor == 10
    assert builder.width("width") == 4 and builder.flag("extra") == 1
    assert builder.sized(nn.Conv2d, 3, 4, 1).weight.shape == (4, 3, 1, 1)  # type: ignore[union-attr]
    held = list(builder.cell(PLACE).edges["1_from_0"].named_children())  # type: ignore[union-attr]
    assert [name for name, _ in held] == ["skip_connect"]


def test_defaults_stand_in_for_choices_that_are_not_there() -> None:
    for builder in (FixedBuilder(genotype()), SupernetBuilder(Space("bare", dict(SPACE.cells)))):
        made = builder.choice("scale", SCALES, default="ten")
        assert isinstance(made, Times) and made.factor == 10
        assert builder.width("width", 6) == 6 and builder.flag("extra", True) == 1


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda b: b.choice("scale", SCALES), "genotype mine: choices: expected scale, got width, other, extra"),
        (lambda b: b.choice("other", SCALES), "choices.other: expected one of one, ten, none, got 'two'"),
        (lambda b: b.width("other"), "genotype mine: choices.other: expected a channel count, got 'two'"),
        (lambda b: b.width("width"), "genotype mine: choices.width: expected a channel count, got 0"),
        (lambda b: b.flag("extra"), "genotype mine: choices.extra: expected true or false, got 1"),
        (lambda b: b.cell(PLACE._replace(kind="up")), "genotype mine: expected a cell 'up', got normal"),
    ],
)
def test_faulty_genotypes_are_named(ask: Callable[[FixedBuilder], object], said: str) -> None:
    with pytest.raises(UserError) as error:
        ask(FixedBuilder(genotype(width=0, other="two", extra=1)))
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("choices", "ask", "said"),
    [
        ({}, lambda b: b.choice("scale", SCALES), "space s: choices: expected scale, got none"),
        ({"scale": ("two",)}, lambda b: b.choice("scale", SCALES), "choices.scale: expected one of one, ten, none"),
        ({"scale": (True, 1)}, lambda b: b.choice("scale", {1: SCALES["one"]}), "expected one of 1, got True"),
        ({"width": (2, 0)}, lambda b: b.width("width"), "space s: choices.width: expected channel counts, got 0"),
        ({"width": (True,)}, lambda b: b.width("width"), "choices.width: expected channel counts, got True"),
        ({"extra": (0, 1)}, lambda b: b.flag("extra"), "space s: choices.extra: expected true and false, got 0"),
        ({}, lambda b: b.cell(PLACE), "space s: expected a cell 'normal', got none"),
    ],
)
def test_faulty_spaces_are_named(choices: dict[str, Any], ask: Callable[[SupernetBuilder], object], said: str) -> None:
    with pytest.raises(UserError) as error:
        ask(SupernetBuilder(Space("s", {}, choices)))
    assert said in str(error.value)


def test_a_choice_that_the_network_does_not_follow_is_named() -> None:
    builder = SupernetBuilder(SPACE)
    builder.choice("scale", SCALES)
    builder.width("width")
    with pytest.raises(
        UserError, match=r"choices: expected those that the network follows \(scale, width\), got extra"
    ):
        builder.require_all_asked()
    builder.flag("extra")
    builder.require_all_asked()


def test_a_choice_runs_the_selected_option_with_its_gate_or_the_mixture_of_all() -> None:
    builder = SupernetBuilder(SPACE)
    made, twin = builder.choice("scale", SCALES), builder.choice("scale", SCALES)
    assert isinstance(made, Choice) and builder.places["scale"] == [made, twin]
    assert list(made.options) == ["option_one", "option_ten"]  # those of the space, in its order
    x = torch.ones(3)
    selection = builder.selection
    for chosen, factor in (("one", 1.0), ("ten", 10.0)):
        selection.chosen = {"scale": chosen}
        assert made(x).tolist() == twin(x).tolist() == [factor] * 3
    gate = torch.ones((), requires_grad=True)
    selection.gates = {"scale": gate}
    made(x).sum().backward()
    assert float(gate.grad) == 30  # type: ignore[arg-type]
    selection.mixture = {"scale": torch.tensor([0.25, 0.75])}
    assert made(x).tolist() == [7.75] * 3


def test_a_supernet_holds_every_candidate_and_widths_stay_expressions() -> None:
    builder = SupernetBuilder(SPACE)
    cell = builder.cell(PLACE)
    assert builder.cells == [cell]
    assert set(cell.edges["1_from_0"].keys()) == set(SPACE.cells["normal"].operations)  # type: ignore[operator]
    width = builder.width("width")
    assert width == Width((("width", 1),))
    assert isinstance(builder.sized(nn.Linear, 3, width), Sliced)
    assert isinstance(builder.sized(nn.Linear, 3, 2), nn.Linear)


def test_an_option_may_be_named_like_a_method_of_modules() -> None:
    made = Choice("c", {"half": nn.Identity(), "train": nn.Identity(), True: nn.Identity()}, Selection({"c": "half"}))
    assert made.chosen() is made.options["option_half"]
