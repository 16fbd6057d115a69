"""The blocks around the cells: shapes, exact statistics, and what the heads compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cheapmatting.model.blocks import (
    BLOCKS,
    FullHead,
    GhostBlock,
    GroupNorm,
    HalfHead,
    PyramidPooling,
    SeparableBlock,
    stem_half,
    stem_quarter,
    up,
)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_keeps_its_input_and_adds_to_it(kind: str) -> None:
    torch.manual_seed(0)
    block = BLOCKS[kind](12, 16)
    x = torch.randn(2, 12, 9, 7)
    assert block(x).shape == x.shape
    last = block.last if isinstance(block, GhostBlock) else block.layers[-1]  # type: ignore[union-attr,index]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    assert torch.equal(block(x), nn.functional.leaky_relu(x, 0.1))


def test_the_cheap_blocks_have_fewer_parameters() -> None:
    residual, separable, ghost = (parameters(BLOCKS[kind](32, 32)) for kind in ("residual", "separable", "ghost"))
    assert residual - separable == 32 * 32 * 9 - 32 * 9  # a depthwise kernel has one input channel
    assert ghost < separable < residual / 3
    assert isinstance(SeparableBlock(8, 8).layers[3], nn.Conv2d)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_group_normalisation_is_exact_in_every_memory_order(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 16, 64, 64) + 1000
    found = GroupNorm(8, 16)(x.contiguous(memory_format=layout))
    groups = x.double().reshape(1, 8, -1)
    true = (groups - groups.mean(dim=2, keepdim=True)) / groups.var(dim=2, correction=0, keepdim=True).sqrt()
    assert (found - true.reshape(x.shape)).abs().max() < 1e-3


def test_pyramid_pooling_sees_the_input_and_its_averages() -> None:
    pooling = PyramidPooling(2, (4, 8), 3, 5)
    assert pooling(torch.randn(1, 2, 16, 12)).shape == (1, 5, 16, 12)
    flat = pooling(torch.full((1, 2, 16, 12), 0.7))  # averages of a constant are that constant, at the edges too
    assert torch.allclose(flat, flat[..., :1, :1].expand_as(flat), atol=1e-6)


def test_stems_halve_and_quarter() -> None:
    x = torch.randn(1, 6, 32, 48)
    half = stem_half(6, 8)(x)
    assert half.shape == (1, 8, 16, 24)
    assert stem_quarter(8, 12, 8)(half).shape == (1, 12, 8, 12)
    assert up(half).shape == (1, 8, 32, 48)


@pytest.mark.parametrize("head", [FullHead, HalfHead])
def test_heads_give_one_plane_at_full_size(head: type[nn.Module]) -> None:
    made = head(4, 6, (8, 8))
    assert made(torch.randn(2, 4, 8, 10), torch.randn(2, 6, 16, 20)).shape == (2, 1, 16, 20)


def test_the_half_head_is_linear_in_the_full_input_where_its_coefficients_are_given() -> None:
    head = HalfHead(4, 3, (8, 8))
    last = head.layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.5, -1.0, 2.0, 0.25]))
    x = torch.randn(1, 3, 8, 8)
    expected = 0.5 * x[:, 0] - x[:, 1] + 2 * x[:, 2] + 0.25
    assert torch.allclose(head(torch.randn(1, 4, 4, 4), x)[:, 0], expected, atol=1e-5)
