"""Convolutions on a CPU whose weights lie as oneDNN wants them: PyTorch's own call orders them so every time."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class After(NamedTuple):
    """What happens to a convolution's result before it is written: the name is oneDNN's, `slope` is LeakyReLU's."""

    name: str = "none"
    slope: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        return x if self.name == "none" else F.leaky_relu(x, self.slope)


def can_pack() -> bool:
    """Whether this build of PyTorch has oneDNN and its operators for packed weights."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class PackedConv2d(nn.Module):
    """A convolution, and an activation that needs no pass over memory of its own.

    [N, Cin, H, W] -> [N, Cout, ...], both in channels_last. Weights keep their type and device.
    """

    def __init__(self, convolution: nn.Conv2d, after: After = After()) -> None:  # noqa: B008
        super().__init__()
        c = convolution
        self.after, self.packs = after, can_pack()
        self.geometry: tuple[Any, ...] = (list(c.padding), list(c.stride), list(c.dilation), c.groups)
        self._take(c.weight.detach(), None if c.bias is None else c.bias.detach())

    def _take(self, weight: Tensor, bias: Tensor | None) -> None:
        self.plain, self.weight, self.bias = weight, weight, bias
        if self.packs:
            self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(weight.contiguous().to_mkldnn(), *self.geometry)

    def scaled(self, scale: Tensor, shift: Tensor, after: After) -> PackedConv2d:
        """The convolution whose results are these times `scale` plus `shift`, both float32 [Cout]."""
        scaled, bias = copy.copy(self), 0 if self.bias is None else self.bias.float()
        weight = self.plain.float() * scale[:, None, None, None]
        scaled.after = after
        scaled._take(weight.to(self.plain.dtype), (bias * scale + shift).to(self.plain.dtype))
        return scaled

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """The result; or `onto`, [N, Cout, ...] in channels_last, to which it is added in place, before the activation.

        Only a ReLU may follow an addition.
        """
        if not self.packs:
            padding, stride, dilation, groups = self.geometry
            y = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
            return self.after(y) if onto is None else onto.copy_(self.after(onto + y))
        operators, name = torch.ops.mkldnn, self.after.name
        arguments = (x, self.weight, self.bias, *self.geometry)
        if onto is None:
            slopes = [self.after.slope] if name == "leaky_relu" else []
            made: Tensor = operators._convolution_pointwise(*arguments, name, slopes, "")
            return made
        unary = None if name == "none" else name
        added: Tensor = operators._convolution_pointwise_.binary(onto, *arguments, "add", 1.0, unary, [], "")
        return added


def packed(layers: nn.Sequential) -> nn.Sequential:
    """The layers with packed convolutions, each with the ReLU or LeakyReLU behind it; identities are left out."""
    found: list[nn.Module] = []
    for layer in layers:
        last = found[-1] if found else None
        free = isinstance(last, PackedConv2d) and last.after.name == "none"
        if isinstance(layer, nn.Conv2d):
            found.append(PackedConv2d(layer))
        elif free and isinstance(layer, nn.ReLU):
            last.after = After("relu")  # type: ignore[union-attr]
        elif free and isinstance(layer, nn.LeakyReLU):
            last.after = After("leaky_relu", layer.negative_slope)  # type: ignore[union-attr]
        elif not isinstance(layer, nn.Identity):
            found.append(layer)
    return nn.Sequential(*found)
