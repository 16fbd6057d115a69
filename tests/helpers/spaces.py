"""Random spaces with cells, named choices, widths and flags, and a network that follows all of them."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.builder import Builder
from atldas.cell import CellPlace
from atldas.distribution import Distribution
from atldas.operations import conv_bn
from atldas.space import CellSpace, Space

INPUT_SHAPE = (1, 3, 9, 8)
SMALL_SPACE = Space.from_dict(
    {
        "schema": 2, "name": "small",
        "cells": {"normal": {"inputs": 1, "nodes": 2, "inputs_per_node": "all",
                             "operations": ["skip_connect", "nor_conv_3x3"]}},
        "choices": {"width": [4, 2, 6], "extra": [False, True]},
    },
    "test",
)  # fmt: skip
OPERATIONS = ("none", "skip_connect", "nor_conv_3x3", "avg_pool_3x3", "sep_conv_3x3")
CHOICES: dict[str, tuple[Any, ...]] = {
    "stem": ("plain", "deep"),
    "width": (4, 2, 6),
    "middle": (2, 4),  # only of the stem `deep`
    "block": ("nothing", "conv", "cell"),  # in two places
    "kernel": (1, 3),  # only of the block `conv`: a choice inside a choice
    "extra": (False, True),  # two more channels of the stem
}


class AnyNetwork(nn.Module):
    """[N, 3, H, W] -> [N, 3]: a stem, a block, a normal cell, the same block, a reducing cell, a linear layer.

    A cell inside a choice, a choice inside a choice, a width inside a choice; one name in two places; widths as sums.
    """

    def __init__(self, builder: Builder, space: Space) -> None:
        super().__init__()
        self.inputs = {kind: cell.inputs for kind, cell in space.cells.items()}
        width = builder.width("width", 4)
        wide = width + 2 * builder.flag("extra", False)

        def deep() -> nn.Module:
            middle = builder.width("middle", 2)
            return nn.Sequential(builder.sized(conv_bn, 3, middle), builder.sized(conv_bn, middle, wide))

        def stem() -> nn.Module:
            return builder.sized(lambda c: nn.Conv2d(3, c, 3, padding=1), wide)

        def conv() -> nn.Module:
            kernels = {k: lambda k=k: builder.sized(lambda a, b: conv_bn(a, b, k), wide, wide) for k in (1, 3)}
            return builder.choice("kernel", kernels, default=1)

        def cell() -> nn.Module:
            return InnerCell(builder, wide, self.inputs.get("normal", 0))

        def block() -> nn.Module:
            return builder.choice("block", {"nothing": nn.Identity, "conv": conv, "cell": cell}, default="nothing")

        self.stem = builder.choice("stem", {"plain": stem, "deep": deep}, default="plain")
        self.first, self.second = block(), block()
        self.normal = self.reduce = None
        channels = wide
        if "normal" in self.inputs:
            n = self.inputs["normal"]
            self.normal = builder.cell(CellPlace("normal", (wide,) * n, width, 1, (1,) * n))
            self.back = builder.sized(conv_bn, self.normal.out_channels, wide)
        if "reduce" in self.inputs:
            n = self.inputs["reduce"]
            self.reduce = builder.cell(CellPlace("reduce", (wide,) * n, width, 2, (1,) * n))
            channels = self.reduce.out_channels
        self.classifier = builder.sized(lambda c: nn.Linear(c, 3), channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        if self.normal is not None:
            x = self.back(self.normal(*[x] * self.inputs["normal"]))
        x = self.second(x)
        if self.reduce is not None:
            x = self.reduce(*[x] * self.inputs["reduce"])
        logits: Tensor = self.classifier(F.relu(x).mean(dim=(2, 3)))
        return logits


class InnerCell(nn.Module):
    """A normal cell among the options of a choice."""

    def __init__(self, builder: Builder, channels: Any, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.cell = builder.cell(CellPlace("normal", (channels,) * inputs, channels, 1, (1,) * inputs))
        self.merge = builder.sized(conv_bn, self.cell.out_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.merge(self.cell(*[x] * self.inputs))
        return y


@st.composite
def cell_spaces(draw: st.DrawFn, largest_operations: int = 3) -> CellSpace:
    inputs, nodes = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    k = draw(st.sampled_from([None, *range(1, inputs + 1)]))
    operations = draw(st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=largest_operations, unique=True))
    numbers = st.integers(inputs, inputs + nodes - 1)
    concat = draw(st.lists(numbers, min_size=1, unique=True))
    return CellSpace(inputs, nodes, k, tuple(operations), tuple(concat))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """A space that `AnyNetwork` follows."""
    kinds = draw(st.sampled_from([(), ("normal",), ("reduce",), ("normal", "reduce")]))
    cells = {kind: draw(cell_spaces()) for kind in kinds}
    choices: dict[str, tuple[Any, ...]] = {}
    for name in draw(st.permutations(list(CHOICES))):
        options = [o for o in CHOICES[name] if o != "cell" or "normal" in kinds]
        if draw(st.booleans()) or (not cells and name == "width"):
            choices[name] = tuple(draw(st.lists(st.sampled_from(options), min_size=1, unique=True)))
    if "deep" not in choices.get("stem", ()):
        choices.pop("middle", None)  # the network asks for it only inside of `deep`
    if "conv" not in choices.get("block", ()):
        choices.pop("kernel", None)
    return Space("random", cells, choices)


@st.composite
def distributions(draw: st.DrawFn, pruned: bool = True) -> Distribution:
    """Of a small random space, with random logits and, at random, options that pruning removed."""
    kinds = draw(st.sampled_from([(), ("a",), ("a", "b")]))
    cells = {kind: draw(cell_spaces(2)) for kind in kinds}
    names = draw(st.lists(st.sampled_from(["c", "d"]), min_size=0 if kinds else 1, unique=True))
    space = Space("random", cells, {name: tuple(range(1, 2 + draw(st.integers(0, 2)))) for name in names})
    if space.size() > 3000:
        space = Space("random", {}, {"c": (1, 2, 3), "d": (1, 2)})
    distribution = Distribution(space)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    scale = draw(st.sampled_from([0.0, 1.0, 4.0]))
    with torch.no_grad():
        for _, categorical in distribution.items():
            categorical.logits.copy_(scale * torch.randn(categorical.logits.shape, generator=generator))
            if pruned and draw(st.booleans()):
                kept = torch.rand(categorical.logits.shape, generator=generator) < 0.6
                kept[torch.randint(len(kept), (), generator=generator)] = True
                categorical.allowed.copy_(kept)
    return distribution
