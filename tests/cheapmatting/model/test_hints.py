"""Hints: alpha from the known colours nearby, and the network that is told them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import small_network
from torch import Tensor
from torch.nn import functional as F

from cheapmatting.model.hints import HINTS, NOISE, hints, spread
from cheapmatting.model.network import CheapMatting
from cheapmatting.model.weights import take_weights

FORE, BACK = torch.tensor([0.9, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])


def inputs(image: Tensor, trimap: Tensor) -> Tensor:
    """[3, H, W] and [H, W] of 0, 128 and 255 -> [1, 6, H, W]."""
    planes = torch.stack([trimap == 0, trimap == 128, trimap == 255]).float()
    return torch.cat([image, planes])[None]


def two_colours(alpha: Tensor) -> Tensor:
    """The mixture [3, H, W] of the two colours."""
    return alpha * FORE[:, None, None] + (1 - alpha) * BACK[:, None, None]


def ramp(size: int = 64) -> tuple[Tensor, Tensor]:
    """Alpha [H, W] that rises from 0 over a third of the width to 1, and its trimap."""
    alpha = torch.linspace(-1, 2, size).clamp(0, 1).expand(size, size)
    trimap = torch.full((size, size), 128)
    trimap[alpha == 0], trimap[alpha == 1] = 0, 255
    return alpha, trimap


def test_between_two_flat_colours_alpha_is_right_up_to_the_noise() -> None:
    alpha, trimap = ramp()
    found = hints(inputs(two_colours(alpha), trimap))
    distance = float((FORE - BACK).square().sum())
    torch.testing.assert_close(found[0, 0], alpha * distance / (distance + NOISE), rtol=0, atol=1e-5)
    assert found[0, 1].max() < 0.003  # what alpha misses by the noise


def test_a_colour_off_the_line_between_the_two_is_told() -> None:
    alpha, trimap = ramp()
    image = two_colours(alpha)
    image[:, 10, 30] = torch.tensor([0.5, 0.9, 0.35])  # far greener than any mixture
    found = hints(inputs(image, trimap))
    assert found[0, 1, 10, 30] > 0.2
    assert found[0, 1].flatten().topk(2).values[1] < 0.003


def test_equal_colours_tell_nothing() -> None:
    _, trimap = ramp()
    found = hints(inputs(torch.full((3, 64, 64), 0.4), trimap))
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_trimap_of_one_level_gives_finite_hints(level: int) -> None:
    image = torch.rand(3, 20, 33, generator=torch.Generator().manual_seed(0))
    found = hints(inputs(image, torch.full((20, 33), level)))
    assert torch.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_hints_lie_within_0_and_1_for_pictures_of_any_size_in_any_memory_order(
    height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    trimap = torch.from_numpy(rng.choice([0, 128, 255], (height, width)))
    x = inputs(torch.from_numpy(rng.random((3, height, width), np.float32)), trimap)
    found = hints(x)
    assert found.shape == (1, HINTS, height, width) and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1
    torch.testing.assert_close(hints(x.contiguous(memory_format=torch.channels_last)), found)


def test_unknown_colours_are_not_spread_and_near_ones_win() -> None:
    """Red is known at the left, blue at the right; what is unknown between them is green."""
    known = torch.zeros(1, 1, 32, 32)
    known[..., :4], known[..., -4:] = 1, 1
    colours = torch.zeros(1, 3, 32, 32)
    colours[:, 1] = 1
    colours[..., :16] = torch.where(known[..., :16] > 0, torch.tensor([1.0, 0, 0])[:, None, None], colours[..., :16])
    colours[..., 16:] = torch.where(known[..., 16:] > 0, torch.tensor([0, 0, 1.0])[:, None, None], colours[..., 16:])
    red, green, blue = spread(torch.cat([colours * known, known], dim=1))[0]
    assert green.max() == 0
    torch.testing.assert_close(red + blue, torch.ones(32, 32))
    assert red[:, 6].min() > 0.8 and blue[:, 25].min() > 0.8
    torch.testing.assert_close(red, blue.flip(1), rtol=0, atol=1e-5)  # the picture is its own mirror image


def test_spread_leaves_known_colours_and_fills_a_flat_colour_flat() -> None:
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(1, 3, 24, 40, generator=generator)
    known = (torch.rand(1, 1, 24, 40, generator=generator) > 0.7).float()
    found = spread(torch.cat([colours * known, known], dim=1))
    everywhere = (known > 0).expand_as(colours)
    torch.testing.assert_close(found[everywhere], colours[everywhere])
    flat = torch.full_like(colours, 0.3)
    torch.testing.assert_close(spread(torch.cat([flat * known, known], dim=1)), flat)


def test_a_network_with_hints_begins_with_the_answers_of_one_without() -> None:
    plain, told = small_network().eval(), small_network(seed=1, hints=True).eval()
    take_weights(told, plain)
    alpha, trimap = ramp()
    x = inputs(two_colours(alpha), trimap)
    with torch.no_grad():
        torch.testing.assert_close(told(x), plain(x))
    assert told.stem_half[0].in_channels == told.head[0].in_channels - told.config.decoder[3] == 6 + HINTS


def test_what_a_network_is_told_reaches_its_answer() -> None:
    network = small_network(hints=True).eval()
    alpha, trimap = ramp()
    x = inputs(two_colours(alpha), trimap)
    untold = F.pad(x, (0, 0, 0, 0, 0, HINTS))

    def answer(of: CheapMatting) -> Tensor:
        half = of.stem_half(torch.cat([x, hints(x)], dim=1))
        return half - of.stem_half(untold)

    with torch.no_grad():
        assert answer(network).abs().max() > 0.01
        assert network(x[:, :, :1, :1]).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("changes", [{"width": 16}, {"hints": False}])
def test_weights_of_another_network_are_not_taken(changes: dict[str, int]) -> None:
    start = small_network(hints=True)
    with pytest.raises(ValueError, match="differ in more than hints"):
        take_weights(small_network(**{"hints": True, **changes}), start)
