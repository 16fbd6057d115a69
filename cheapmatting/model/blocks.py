"""The parts of the matting network that are no cells: stems, decoder blocks, pyramid pooling, heads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.operations import DepthwiseConv2d

GROUPS = 8  # of GroupNorm


class GroupNorm(nn.GroupNorm):
    """Group normalisation with exact statistics in every memory order.

    PyTorch's channels-last kernel for the CPU takes the variance as E[x^2] - E[x]^2, summed up in float32: for 2048 x
    2048 pixels its output is 0.02 off where mean and deviation are alike, and worthless where the mean is far larger.
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


class SeparableBlock(ResidualBlock):
    """A residual block whose 3x3 convolution is depthwise. [N, C, H, W] -> the same."""

    def __init__(self, channels: int, mid: int) -> None:
        super().__init__(channels, mid)
        self.layers[3] = DepthwiseConv2d(mid, mid, 3, padding=1, groups=mid)


class GhostBlock(nn.Module):
    """A residual block half of whose middle is made from the other half by a depthwise convolution.

    Han et al., GhostNet, CVPR 2020. [N, C, H, W] -> the same.
    """

    def __init__(self, channels: int, mid: int) -> None:
        super().__init__()
        half = mid // 2
        self.first = nn.Sequential(nn.Conv2d(channels, half, 1), GroupNorm(GROUPS // 2, half), nn.LeakyReLU(0.1))
        self.second = nn.Sequential(
            DepthwiseConv2d(half, half, 3, padding=1, groups=half), GroupNorm(GROUPS // 2, half), nn.LeakyReLU(0.1)
        )
        self.last = nn.Conv2d(mid, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        middle = torch.cat([first, self.second(first)], dim=1)  # [N, mid, H, W]
        return F.leaky_relu(x + self.last(middle), 0.1)


BLOCKS: dict[str, Callable[..., nn.Module]] = {  # kind -> (channels, mid) -> module
    "residual": ResidualBlock,
    "separable": SeparableBlock,
    "ghost": GhostBlock,
}


class Decoder(nn.Sequential):
    """A 1x1 convolution of what comes from below and from the side, then the other layers.

    ([N, below, H, W], [N, side, 2 H, 2 W]) -> [N, out, 2 H, 2 W].
    """

    def forward(self, below: Tensor, side: Tensor) -> Tensor:  # type: ignore[override]
        y: Tensor = super().forward(torch.cat([up(below), side], dim=1))
        return y


class FullHead(nn.Sequential):
    """Features at half resolution and the input -> alpha, by convolutions at full resolution.

    ([N, features, H / 2, W / 2], [N, inputs, H, W]) -> [N, 1, H, W], not clamped.
    """

    def __init__(self, features: int, inputs: int, widths: tuple[int, int]) -> None:
        super().__init__(
            nn.Conv2d(features + inputs, widths[0], 3, padding=1), nn.PReLU(widths[0]),
            nn.Conv2d(widths[0], widths[1], 3, padding=1), nn.PReLU(widths[1]),
            nn.Conv2d(widths[1], 1, 1),
        )  # fmt: skip

    def forward(self, features: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        alpha: Tensor = super().forward(torch.cat([up(features), x], dim=1))
        return alpha


class HalfHead(nn.Module):
    """As `FullHead`, with convolutions at half resolution: they give a linear function of the input at every pixel.

    The function's coefficients are smooth, so they are enlarged; applied to the full input they follow its edges
    (guided upsampling: He and Sun, Fast Guided Filter, 2015; Wu et al., Deep Guided Filter, CVPR 2018).
    """

    def __init__(self, features: int, inputs: int, widths: tuple[int, int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(features + inputs, widths[0], 3, padding=1), nn.PReLU(widths[0]),
            nn.Conv2d(widths[0], widths[1], 3, padding=1), nn.PReLU(widths[1]),
            nn.Conv2d(widths[1], inputs + 1, 1),
        )  # fmt: skip

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        coefficients = up(self.layers(torch.cat([features, F.avg_pool2d(x, 2)], dim=1)))  # [N, inputs + 1, H, W]
        return (coefficients[:, :-1] * x).sum(dim=1, keepdim=True) + coefficients[:, -1:]


def stem_half(inputs: int, channels: int) -> nn.Sequential:
    """[N, inputs, H, W] -> [N, channels, H / 2, W / 2]."""
    return nn.Sequential(
        nn.Conv2d(inputs, channels, 3, stride=2, padding=1), nn.PReLU(channels),
        nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels),
    )  # fmt: skip


def stem_quarter(in_channels: int, channels: int, mid: int) -> nn.Sequential:
    """[N, in_channels, H / 2, W / 2] -> [N, channels, H / 4, W / 4]."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=2, padding=1),
        ResidualBlock(channels, mid),
        ResidualBlock(channels, mid),
    )


def up(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2 H, 2 W]."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
