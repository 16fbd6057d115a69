"""Widths: sums and multiples that agree with plain numbers, and modules that run with their leading channels."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from atldas.operations import conv_bn
from atldas.widths import Channels, Selection, Sliced, Width, value_of

A, B = Width((("a", 1),)), Width((("b", 1),))
OPTIONS = {"a": (2, 4), "b": (3, 6)}
NUMBERS = st.integers(0, 50)


@given(a=NUMBERS, b=NUMBERS, factor=NUMBERS, constant=NUMBERS)
def test_arithmetic_is_that_of_the_numbers(a: int, b: int, factor: int, constant: int) -> None:
    values = {"a": a, "b": b}
    assert (factor * A + B + constant).value(values) == factor * a + b + constant
    assert (constant + A * factor + A).value(values) == constant + a * factor + a
    assert sum([A, B, A], start=0).value(values) == 2 * a + b  # type: ignore[union-attr]
    assert value_of(constant, values) == constant and value_of(A + B, values) == a + b


def test_equal_sums_are_equal_whatever_their_order() -> None:
    assert A + B + 1 == 1 + (B + A) and hash(A + B) == hash(B + A)
    assert A + A == 2 * A != A + B


def test_true_and_false_count_as_channels() -> None:
    selection = Selection({"a": 4, "flag": True, "stem": "deep", "off": False})
    assert selection.widths() == {"a": 4, "flag": 1, "off": 0}


def sliced(*channels: Channels, selection: Selection) -> Sliced:
    torch.manual_seed(0)
    return Sliced(partial(conv_bn, kernel=3), channels, OPTIONS, selection)


@pytest.mark.parametrize("chosen", [{"a": 2, "b": 3}, {"a": 4, "b": 3}, {"a": 2, "b": 6}, {"a": 4, "b": 6}])
def test_a_slice_computes_what_a_module_of_that_size_does(chosen: dict[str, int]) -> None:
    made = sliced(A + 1, 2 * B, selection=Selection(dict(chosen))).eval()
    fixed = conv_bn(chosen["a"] + 1, 2 * chosen["b"], kernel=3).eval()
    state = dict(made.tensors())
    assert set(state) == set(fixed.state_dict())
    fixed.load_state_dict(state)
    x = torch.randn(2, chosen["a"] + 1, 5, 5)
    assert torch.equal(made(x), fixed(x))
    assert made.sizes()[chosen["a"], chosen["b"]] == sum(p.numel() for p in fixed.parameters())


def test_only_the_leading_channels_learn() -> None:
    made = sliced(A, B, selection=Selection({"a": 2, "b": 3}))
    made(torch.randn(2, 2, 5, 5)).square().sum().backward()
    convolution = made.largest[1]
    assert isinstance(convolution, nn.Conv2d) and convolution.weight.shape == (6, 4, 3, 3)
    gradient = convolution.weight.grad
    assert gradient is not None and (gradient[:3, :2] != 0).all()
    assert not gradient[3:].any() and not gradient[:, 2:].any()


def test_statistics_are_kept_for_every_combination() -> None:
    selection = Selection({"a": 2, "b": 3})
    made = sliced(A, B, selection=selection).train()
    made(torch.randn(2, 2, 5, 5) + 3)
    seen = dict(made.tensors())["2.running_mean"].clone()
    assert seen.any()
    selection.chosen["b"] = 6
    assert not dict(made.tensors())["2.running_mean"].any()
    selection.chosen["b"] = 3
    assert torch.equal(dict(made.tensors())["2.running_mean"], seen)


def test_the_parameters_are_those_of_the_largest_module_once() -> None:
    made = sliced(A, B, selection=Selection({"a": 2, "b": 3}))
    assert sum(p.numel() for p in made.parameters()) == max(made.sizes().values()) == 4 * 6 * 9 + 2 * 6
