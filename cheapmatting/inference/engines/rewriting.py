"""A network rewritten for inference: the same function in fewer operations and less memory."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atldas.operations import FactorizedReduce

from ...model.blocks import Decoder, GroupNorm, ResidualBlock, up
from ...model.network import CheapMatting

TINY = 1e-12
PIECE = 16384  # pixels whose statistics are taken at once: few enough for float32 sums, and for a core's cache


def rewritten(network: CheapMatting) -> CheapMatting:
    """A copy in eval mode with BatchNorm in the convolutions and `SplitDecoder`; for any runtime."""
    lean = copy.deepcopy(network).eval().requires_grad_(False)
    for module in lean.modules():
        if isinstance(module, FactorizedReduce):
            _fold_reduce(module)
        elif isinstance(module, nn.Sequential):
            _fold_sequence(module)
    return _replaced(lean, Decoder, SplitDecoder)


def for_pytorch(network: CheapMatting) -> CheapMatting:
    """`rewritten`, and its residual blocks compute in place, in channels_last."""
    lean = rewritten(network)
    for module in lean.modules():
        if isinstance(module, nn.Sequential):
            for layer in list(module)[1:]:  # the first one's input belongs to others
                if isinstance(layer, nn.ReLU | nn.LeakyReLU):
                    layer.inplace = True
    lean = _replaced(lean, ResidualBlock, LeanResidualBlock)
    return _replaced(lean, GroupNorm, PieceNorm)


def for_graphs(network: CheapMatting) -> CheapMatting:
    """`rewritten`, in operations that runtimes compute in any memory order, for export."""
    lean = _replaced(rewritten(network), GroupNorm, PlainNorm)
    return _replaced(lean, nn.PReLU, PlainPReLU)


def _replaced(network: CheapMatting, kind: type[nn.Module], make: Callable[..., nn.Module]) -> CheapMatting:
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
            layers[index], layers[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()


def _fold_reduce(reduce: FactorizedReduce) -> None:
    """Each of the two convolutions takes its half of the BatchNorm."""
    half = reduce.even.out_channels
    for name, part in (("even", slice(None, half)), ("odd", slice(half, None))):
        norm = nn.BatchNorm2d(half, reduce.norm.eps).eval()
        norm.load_state_dict({k: v[part] if v.ndim else v for k, v in reduce.norm.state_dict().items()})
        setattr(reduce, name, fuse_conv_bn_eval(getattr(reduce, name), norm))
    reduce.norm = nn.Identity()  # type: ignore[assignment]


class SplitDecoder(nn.Module):
    """A `Decoder` whose first convolution is split in two: what comes from below passes it before it is enlarged.

    A 1x1 convolution and a bilinear enlargement, whose weights sum to 1, may change places. So does the convolution a
    quarter of the work, and the concatenated map of the larger size is never made.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        merge, *others = decoder
        assert isinstance(merge, nn.Conv2d) and merge.kernel_size == (1, 1)
        self.merge = merge
        self.layers = nn.Sequential(*others)

    def forward(self, below: Tensor, side: Tensor) -> Tensor:
        weight = self.merge.weight  # [out, below + side, 1, 1]
        y = up(F.conv2d(below, weight[:, : below.shape[1]], self.merge.bias))
        y += F.conv2d(side, weight[:, below.shape[1] :])
        for layer in self.layers:  # calling the Sequential would hold on to its input until its end
            y = layer(y)
        return y


class LeanResidualBlock(nn.Module):
    """A `ResidualBlock`, or one of its kinds, that adds and activates in place."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.layers = block.layers

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(self.layers(x).add_(x), 0.1)


class PieceNorm(nn.Module):
    """A `GroupNorm` that overwrites its input, in channels_last, without copies to the usual memory order and back.

    Mean and variance are taken over pieces of rows by BatchNorm's kernel, which is exact for a few thousand pixels, and
    joined in float64. [N, C, H, W] -> the same, also in bfloat16.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        # Plain tensors: they stay in float32 when the network becomes bfloat16.
        self.scale, self.shift = norm.weight.detach().float(), norm.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        for image in x.split(1):
            self._normalise(image)
        return x

    def _normalise(self, x: Tensor) -> None:
        pieces = x.split(max(1, PIECE // x.shape[3]), dim=2)
        shares = torch.tensor([piece.shape[2] / x.shape[2] for piece in pieces], dtype=torch.float64)
        moments = torch.stack([self._moments(piece) for piece in pieces], dim=-1) @ shares  # [2, C]: of x, of x^2
        mean, square = moments.reshape(2, self.groups, -1).mean(2)
        variance = square - mean * mean  # [groups]
        each = x.shape[1] // self.groups
        means, variances = (t.float().repeat_interleave(each) for t in (mean, variance))  # [C]
        for piece in pieces:
            piece.copy_(F.batch_norm(piece, means, variances, self.scale, self.shift, eps=self.eps))

    def _moments(self, x: Tensor) -> Tensor:
        """Means of x and of x^2, float64 [2, C]."""
        _, mean, inverse = torch.native_batch_norm(x, self.scale, self.shift, None, None, True, 0.0, TINY)
        mean, deviation = mean.double(), 1 / inverse.double()
        return torch.stack([mean, deviation.square() + mean.square()])


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
