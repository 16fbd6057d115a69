"""CheapMatting: the matting network around the searched cells (Liu et al., Displays 80:102541, 2023).

             input [N, 6, H, W]: RGB in 0..1, one-hot trimap (background, unknown, foreground)
stem_half     1/2  ------------------------------------------------.
stem_quarter  1/4  -----------------------------------------.      |
stem_eighth   1/8                                           |      |
cells 0..3    1/8  ----------------------------------.      |      |
cells 4..8    1/16 --------------------------.       |      |      |
cells 9..13   1/32 -> pyramid -> decoder_16 <-' decoder_8 <-' decoder_4 <-' decoder_2 <-' -> head -> alpha
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.cell import Cell, CellFactory, CellPlace, fixed_cells
from atldas.common.config import config, from_dict
from atldas.common.errors import UserError
from atldas.genotype import Genotype

from .hints import HINTS, hints
from .padding import crop, pad

GROUPS = 8  # of the GroupNorm layers


def _multiple(step: int, largest: int, why: str) -> AfterValidator:
    def check(number: int) -> int:
        if number < step or number > largest or number % step:
            raise ValueError(f"a multiple of {step} from {step} to {largest} ({why})")
        return number

    return AfterValidator(check)


# The upper bounds are far over what is of use: a slip of the finger must not ask for all memory.
Width = Annotated[int, Ge(1), Le(4096)]
GroupedWidth = Annotated[int, _multiple(GROUPS, 4096, f"GroupNorm has {GROUPS} groups")]
EvenWidth = Annotated[int, _multiple(2, 1024, "a factorized reduce makes two halves")]
Window = Annotated[int, Ge(2), Le(999)]


@config
class NetworkConfig:
    """The network around the cells; the defaults are the published network.

    All numbers of channels are 1..4096 where nothing else is said.

    Attributes:
        width: channels of a node in the first cells (each reduction cell doubles them), and of the stems at scales 1/4
            and 1/8: an even number, 2..1024.
        cells: the number of cells, 3..100.
        reductions: which two of them, counted from 0, are reduction cells, but not the first.
        stem: channels at scale 1/2.
        stem_mid: channels inside the stem's residual blocks, a multiple of 8.
        pooling_windows: kernels of the pyramid's average pools at scale 1/32, in pixels there: 1 to 16 of them, each
            2..999.
        pooling_width: channels of each pool.
        pyramid: channels that the pyramid passes on.
        decoder: channels at scales 1/16, 1/8, 1/4, 1/2.
        decoder_mid: channels inside their residual blocks, multiples of 8.
        head: channels of the two 3x3 convolutions at full resolution.
        hints: whether the stem and the head also see what the known pixels tell of the others (see hints.py).
    """

    width: EvenWidth = 48
    cells: Annotated[int, Ge(3), Le(100)] = 14
    reductions: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (4, 9)
    stem: Width = 24
    stem_mid: GroupedWidth = 32
    pooling_windows: Annotated[tuple[Window, ...], MinLen(1), MaxLen(16)] = (5, 13, 19, 25)
    pooling_width: Width = 128
    pyramid: Width = 256
    decoder: tuple[Width, Width, Width, Width] = (128, 128, 64, 32)
    decoder_mid: tuple[GroupedWidth, GroupedWidth, GroupedWidth, GroupedWidth] = (64, 64, 32, 24)
    head: tuple[Width, Width] = (24, 16)
    hints: bool = False

    def __post_init__(self) -> None:
        first, second = self.reductions
        if not first < second < self.cells:
            raise ValueError(f"two rising cell numbers under cells ({self.cells}), not reductions {self.reductions}")

    @staticmethod
    def of(genotype: Genotype, source: str = "") -> NetworkConfig:
        """The configuration in a genotype's `network:` section; what it leaves out is as in the published network.

        Raises:
            UserError: unknown key, wrong type or impossible value there.
        """
        return from_dict(NetworkConfig, genotype.network_dict(), source or f"genotype {genotype.name}", at="network")


class GroupNorm(nn.GroupNorm):
    """Group normalisation with exact statistics in every memory order.

    PyTorch's channels-last kernel for the CPU computes the variance as E[x^2] - E[x]^2 in float32. With 2048 x 2048
    pixels its output is wrong by 0.02 where mean and deviation are alike, and useless where the mean is much larger.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous())


class ResidualBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions through `mid` channels, added to the input. [N, C, H, W] -> the same."""

    def __init__(self, channels: int, mid: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, mid, 1), GroupNorm(GROUPS, mid), nn.LeakyReLU(0.1),
            nn.Conv2d(mid, mid, 3, padding=1), GroupNorm(GROUPS, mid), nn.LeakyReLU(0.1),
            nn.Conv2d(mid, channels, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.layers(x), 0.1)


class PyramidPooling(nn.Module):
    """Averages over windows of several sizes, beside the input, merged. [N, C, H, W] -> [N, out, H, W]."""

    def __init__(self, channels: int, windows: tuple[int, ...], branch_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList(nn.AvgPool2d(k, k // 2, k // 2 - 1, count_include_pad=False) for k in windows)
        self.branches = nn.ModuleList(nn.Conv2d(channels, branch_channels, 1) for _ in windows)
        self.merge = nn.Conv2d(channels + len(windows) * branch_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [branch(pool(x)) for pool, branch in zip(self.pools, self.branches, strict=True)]
        resized = [F.interpolate(p, size=x.shape[2:], mode="bilinear", align_corners=False) for p in pooled]
        merged: Tensor = self.merge(torch.cat([x, *resized], dim=1))
        return merged


class CheapMatting(nn.Module):
    """Alpha from an image and a trimap.

    Args:
        genotype: its cells `normal` and `reduce`.
        config: by default the genotype's `network:` section.
        cells: makes the cells; by default fixed ones. A supernet gives its own.
    """

    def __init__(
        self, genotype: Genotype, config: NetworkConfig | None = None, cells: CellFactory | None = None
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.config = c = config or NetworkConfig.of(genotype)
        inputs = 6 + HINTS * c.hints
        self.stem_half = nn.Sequential(
            nn.Conv2d(inputs, c.stem, 3, stride=2, padding=1), nn.PReLU(c.stem),
            nn.Conv2d(c.stem, c.stem, 3, padding=1), nn.PReLU(c.stem),
        )  # fmt: skip
        self.stem_quarter = nn.Sequential(
            nn.Conv2d(c.stem, c.width, 3, stride=2, padding=1),
            ResidualBlock(c.width, c.stem_mid),
            ResidualBlock(c.width, c.stem_mid),
        )
        self.stem_eighth = nn.Sequential(
            nn.Conv2d(c.width, c.width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(c.width)
        )
        self.cells = nn.ModuleList(_make_cells(c, cells or fixed_cells(genotype)))
        # The cells that the decoder reads: the last one before each reduction, and the last of all.
        self.taps = (c.reductions[0] - 1, c.reductions[1] - 1, c.cells - 1)
        eighth, sixteenth, deepest = (_out_channels(self.cells[tap]) for tap in self.taps)
        self.pyramid = PyramidPooling(deepest, c.pooling_windows, c.pooling_width, c.pyramid)
        incoming = (c.pyramid + deepest, c.decoder[0], c.decoder[1], c.decoder[2])
        skips = (sixteenth, eighth, c.width, c.stem)
        self.decoder_16, self.decoder_8, self.decoder_4, self.decoder_2 = (
            nn.Sequential(nn.Conv2d(i + s, out, 1), ResidualBlock(out, mid), ResidualBlock(out, mid))
            for i, s, out, mid in zip(incoming, skips, c.decoder, c.decoder_mid, strict=True)
        )
        self.head = nn.Sequential(
            nn.Conv2d(c.decoder[3] + inputs, c.head[0], 3, padding=1), nn.PReLU(c.head[0]),
            nn.Conv2d(c.head[0], c.head[1], 3, padding=1), nn.PReLU(c.head[1]),
            nn.Conv2d(c.head[1], 1, 1),
        )  # fmt: skip

    def forward(self, image_and_trimap: Tensor) -> Tensor:
        """[N, 6, H, W] of any size -> alpha [N, 1, H, W] in 0..1."""
        x, box = pad(image_and_trimap)  # H and W are multiples of 32 from here on
        if self.config.hints:
            x = torch.cat([x, hints(x)], dim=1)  # [N, 8, H, W]
        half = self.stem_half(x)
        quarter = self.stem_quarter(half)
        before, state = quarter, self.stem_eighth(quarter)
        taps = []
        for index, cell in enumerate(self.cells):
            before, state = state, cell(before, state)
            if index in self.taps:
                taps.append(state)
        eighth, sixteenth, deepest = taps
        y = torch.cat([self.pyramid(deepest), deepest], dim=1)
        y = self.decoder_16(torch.cat([_up(y), sixteenth], dim=1))
        y = self.decoder_8(torch.cat([_up(y), eighth], dim=1))
        y = self.decoder_4(torch.cat([_up(y), quarter], dim=1))
        y = self.decoder_2(torch.cat([_up(y), half], dim=1))
        answer = crop(self.head(torch.cat([_up(y), x], dim=1)), box)
        alpha: Tensor = _ClampWithGradient.apply(answer) if self.training else answer.clamp(0.0, 1.0)
        return alpha


class _ClampWithGradient(torch.autograd.Function):
    """clamp(x, 0, 1) whose gradient is that of the identity: clamp's own is 0 outside the range and stops the learning.

    A prediction of 1.3 for a truth of 0.4 is still trained downwards. For a truth of 1 the loss has no gradient there.
    """

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clamp(0.0, 1.0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient


def _make_cells(c: NetworkConfig, make: CellFactory) -> list[Cell]:
    """The chain of cells; a reduction cell halves the size and doubles the channels of everything after it."""
    cells: list[Cell] = []
    channels, before, last, reduced = c.width, c.width, c.width, True  # stem_eighth halved what stem_quarter gave
    for index in range(c.cells):
        reduce = index in c.reductions
        channels *= 2 if reduce else 1
        kind, stride = ("reduce", 2) if reduce else ("normal", 1)
        cell = make(CellPlace(kind, (before, last), channels, stride, (2 if reduced else 1, 1)))
        cells.append(cell)
        before, last, reduced = last, cell.out_channels, reduce
    return cells


def _out_channels(cell: nn.Module) -> int:
    assert isinstance(cell, Cell)
    return cell.out_channels


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def require_cells(genotype: Genotype, source: str) -> None:
    """Check that a genotype has the cells that the network is made of.

    Raises:
        UserError: it lacks one of them, or one has not two inputs.
    """
    for kind in ("normal", "reduce"):
        if kind not in genotype.cells:
            raise UserError(f"{source}: cells: expected normal and reduce, got {', '.join(genotype.cells)}")
        if genotype.cells[kind].inputs != 2:
            raise UserError(f"{source}: cells.{kind}.inputs: expected 2, got {genotype.cells[kind].inputs}")
