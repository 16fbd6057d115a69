"""A network rewritten for inference: the same function in fewer operations and less memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from atldas.operations import FactorizedReduce

from ...model.blocks import Decoder, GroupNorm, up
from ...model.network import DECODERS, CheapMatting


def rewritten(network: CheapMatting) -> CheapMatting:
    """A copy in eval mode with BatchNorm in the convolutions and `SplitDecoder`; for any runtime."""
    lean = replaced(_copied(network).eval(), FactorizedReduce, _folded_reduce)
    for module in lean.modules():
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
    sixteenth = lean.cells[lean.taps[1]].out_channels
    assert isinstance(sixteenth, int)
    below = getattr(lean, DECODERS[0])[0].in_channels - sixteenth
    for name in DECODERS:
        decoder = getattr(lean, name)
        setattr(lean, name, SplitDecoder(decoder, below))
        below = decoder[0].out_channels
    return lean


def _copied(module: nn.Module) -> Any:
    """A deep copy without gradients; a module or a parameter that stands in two places becomes two.

    `copy.deepcopy` takes three times as long: 0.09 seconds for the network that ships.
    """
    made = copy.copy(module)
    vars(made).update({name: value.copy() for name, value in vars(module).items() if isinstance(value, dict)})
    for name, parameter in module._parameters.items():
        if parameter is not None:
            made._parameters[name] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
    for name, buffer in module._buffers.items():
        made._buffers[name] = None if buffer is None else buffer.clone()
    for name, child in module._modules.items():
        made._modules[name] = None if child is None else _copied(child)
    return made


def for_graphs(network: CheapMatting) -> CheapMatting:
    """`rewritten`, in operations that runtimes compute in any memory order, for export."""
    lean = replaced(rewritten(network), GroupNorm, PlainNorm)
    return replaced(lean, nn.PReLU, PlainPReLU)


def replaced(network: CheapMatting, kind: type[nn.Module], make: Callable[..., nn.Module]) -> CheapMatting:
    """`network` with `make(module)` in place of each module of a kind, by `isinstance`."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, kind):
                setattr(parent, name, make(child))
    return network


def _fold_sequence(layers: nn.Sequential) -> None:
    for index in range(len(layers) - 1):
        convolution, norm = layers[index], layers[index + 1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            _fold(norm, convolution)
            layers[index + 1] = nn.Identity()


def _fold(norm: nn.BatchNorm2d, convolution: nn.Conv2d) -> None:
    """Into the convolution itself: PyTorch's `fuse_conv_bn_eval` makes a slow copy."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )


def _folded_reduce(reduce: FactorizedReduce) -> nn.Sequential:
    """The ReLU, and both convolutions with their BatchNorm as one of 2x2 pixels, for even sizes: one reads the first of
    the four pixels, the other the last.
    """
    half, inputs = reduce.even.out_channels, reduce.even.in_channels
    both = nn.Conv2d(inputs, 2 * half, 2, stride=2, bias=False)
    both.weight.data.zero_()
    both.weight.data[:half, :, 0, 0] = reduce.even.weight[..., 0, 0]
    both.weight.data[half:, :, 1, 1] = reduce.odd.weight[..., 0, 0]
    both = both.to(reduce.even.weight.device).requires_grad_(False)
    _fold(reduce.norm, both)
    return nn.Sequential(nn.ReLU(), both)


class SplitDecoder(nn.Module):
    """A `Decoder` whose first convolution is split in two: what comes from below passes it before it is enlarged.

    A 1x1 convolution and a bilinear enlargement, whose weights sum to 1, may change places. So does the convolution a
    quarter of the work, and the concatenated map of the larger size is never made.
    """

    def __init__(self, decoder: Decoder, below: int) -> None:
        super().__init__()
        merge, *others = decoder
        assert isinstance(merge, nn.Conv2d) and merge.kernel_size == (1, 1) and merge.bias is not None
        weight = merge.weight.data  # [out, below + side, 1, 1]
        self.below = nn.Conv2d(below, len(weight), 1).to(weight.device)
        self.side = nn.Conv2d(weight.shape[1] - below, len(weight), 1, bias=False).to(weight.device)
        self.below.load_state_dict({"weight": weight[:, :below], "bias": merge.bias.data})
        self.side.load_state_dict({"weight": weight[:, below:]})
        self.layers = nn.Sequential(*others)

    def forward(self, below: Tensor, side: Tensor) -> Tensor:
        y = up(self.below(below))
        y += self.side(side)
        for layer in self.layers:  # calling the Sequential would hold on to its input until its end
            y = layer(y)
        return y


class PlainNorm(nn.Module):
    """A `GroupNorm` of elementary operations without a reshape, in float32. [N, C, H, W] -> its like."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        channels, self.eps = norm.num_channels, norm.eps
        group = torch.arange(channels) * norm.num_groups // channels
        same = (group[:, None] == group).float()  # [C, C]
        # Plain tensors, which become constants: the exporter confuses buffers of equal values.
        self.average = (same / same.sum(1, keepdim=True))[..., None, None]  # [C, C, 1, 1]: over a group's channels
        self.scale, self.shift = (t.detach().cpu()[:, None, None] for t in (norm.weight, norm.bias))  # [C, 1, 1]

    def forward(self, x: Tensor) -> Tensor:
        exact = x.float()
        centred = exact - self._mean(exact)
        variance = self._mean(centred * centred)
        return (centred * (self.scale * (variance + self.eps).rsqrt()) + self.shift).to(x.dtype)

    def _mean(self, x: Tensor) -> Tensor:
        """Of each channel's group, [N, C, 1, 1]: first along rows, because sums of few numbers are exact in float32."""
        return F.conv2d(x.mean(3, keepdim=True).mean(2, keepdim=True), self.average)


class PlainPReLU(nn.Module):
    """A `PReLU` of elementary operations."""

    def __init__(self, activation: nn.PReLU) -> None:
        super().__init__()
        self.slope = activation.weight.detach().cpu()[:, None, None]  # [C, 1, 1]

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_min(0) + self.slope.to(x.dtype) * x.clamp_max(0)
