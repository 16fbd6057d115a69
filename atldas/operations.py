"""The candidate operations of a cell: one plain dict from name to a factory of (channels, stride).

A new operation is one entry, from user code too:

    from atldas.operations import OPERATIONS
    OPERATIONS["conv_1x1"] = lambda channels, stride: conv_bn(channels, channels, kernel=1, stride=stride)

Every operation maps [N, C, H, W] to [N, C, ceil(H / stride), ceil(W / stride)]. The definitions are those of DARTS
(Liu et al., ICLR 2019, appendix), with affine BatchNorm and running statistics. No convolution has a bias.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Factory = Callable[[int, int], nn.Module]


class Zero(nn.Module):
    """`none`: zeros of the output's size."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    """Halves the size without losing every second pixel: two strided 1x1 convolutions, one of them shifted by a pixel.

    [N, Cin, H, W] -> [N, Cout, ceil(H / 2), ceil(W / 2)]; an odd size is padded by zeros for the shifted half.

    Raises:
        ValueError: `out_channels` is odd.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels % 2:
            raise ValueError(f"expected an even number of channels for a factorized reduce, got {out_channels}")
        self.even = nn.Conv2d(in_channels, out_channels // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        shifted = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))  # [N, Cout, H / 2, W / 2]


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that stays in float32 under autocast on a CPU, where bfloat16 makes its backward slow.

    Measured on one core with AMX, kernel 5, [4, 48, 32, 32]: 7.3 ms backward in bfloat16, 1.7 ms in float32.
    Convolutions that are not depthwise are faster in bfloat16.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def conv_bn(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def _depthwise(channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    """ReLU, depthwise convolution, pointwise convolution, BatchNorm."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        DepthwiseConv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def sep_conv(kernel: int) -> Factory:
    """Depthwise separable convolution applied twice, the stride in the first."""
    return lambda channels, stride: nn.Sequential(
        *_depthwise(channels, kernel, stride, dilation=1), *_depthwise(channels, kernel, 1, dilation=1)
    )


def dil_conv(kernel: int) -> Factory:
    """Depthwise separable convolution with dilation 2."""
    return lambda channels, stride: nn.Sequential(*_depthwise(channels, kernel, stride, dilation=2))


def conv_7x1_1x7(channels: int, stride: int) -> nn.Module:
    """A 7x7 convolution factorised into a row and a column."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        nn.BatchNorm2d(channels),
    )


OPERATIONS: dict[str, Factory] = {
    "none": lambda channels, stride: Zero(stride),
    "avg_pool_3x3": lambda channels, stride: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
    "max_pool_3x3": lambda channels, stride: nn.MaxPool2d(3, stride, 1),
    "skip_connect": lambda channels, stride: nn.Identity() if stride == 1 else FactorizedReduce(channels, channels),
    "sep_conv_3x3": sep_conv(3),
    "sep_conv_5x5": sep_conv(5),
    "sep_conv_7x7": sep_conv(7),
    "dil_conv_3x3": dil_conv(3),
    "dil_conv_5x5": dil_conv(5),
    "conv_7x1_1x7": conv_7x1_1x7,
    # NAS-Bench-201's two convolutions (Dong and Yang, ICLR 2020).
    "nor_conv_1x1": lambda channels, stride: conv_bn(channels, channels, 1, stride),
    "nor_conv_3x3": lambda channels, stride: conv_bn(channels, channels, 3, stride),
}
