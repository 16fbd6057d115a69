"""GroupNorm and residual blocks over bands of rows that fit into a core's cache, in channels_last."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...model.blocks import ResidualBlock
from .packed import After, PackedConv2d

TINY = 1e-12
PIECE = 16384  # pixels of a band: few enough for float32 sums, and for a core's cache
SLOPE = 0.1  # of the blocks' LeakyReLU


def bands(height: int, width: int) -> Iterator[slice]:
    """Rows of about `PIECE` pixels."""
    rows = max(1, PIECE // width)
    return (slice(start, min(start + rows, height)) for start in range(0, height, rows))


class PieceNorm(nn.Module):
    """A `GroupNorm` that overwrites its input, in channels_last, without copies to the usual memory order and back.

    Mean and variance are taken over bands by BatchNorm's kernel, which is exact for a few thousand pixels, and joined
    in float64. [N, C, H, W] -> the same, also in bfloat16.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        # Plain tensors: they stay in float32 when the network becomes bfloat16.
        self.scale, self.shift = norm.weight.detach().float(), norm.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        for image in x.split(1):
            pieces = [image[:, :, rows] for rows in bands(*x.shape[2:])]
            statistics = self.statistics([self.moments(piece) for piece in pieces], [p.shape[2] for p in pieces])
            for piece in pieces:
                piece.copy_(self.normalised(piece, *statistics))
        return x

    def moments(self, band: Tensor) -> Tensor:
        """Means of x and of x^2, float64 [2, C]."""
        _, mean, inverse = torch.native_batch_norm(band, self.scale, self.shift, None, None, True, 0.0, TINY)
        mean, deviation = mean.double(), 1 / inverse.double()
        return torch.stack([mean, deviation.square() + mean.square()])

    def statistics(self, moments: list[Tensor], rows: list[int]) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel's group, float32 [C], from the moments of bands of so many rows."""
        shares = torch.tensor(rows, dtype=torch.float64) / sum(rows)
        joined = torch.stack(moments, dim=-1) @ shares  # [2, C]: of x, of x^2
        mean, square = joined.reshape(2, self.groups, -1).mean(2)
        each = joined.shape[1] // self.groups
        means, variances = (t.float().repeat_interleave(each) for t in (mean, square - mean * mean))
        return means, variances

    def normalised(self, band: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """A band, [1, C, rows, W], with those statistics of the whole."""
        return F.batch_norm(band, mean, variance, self.scale, self.shift, eps=self.eps)

    def as_scale(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The same as a factor and a summand, float32 [C] each."""
        scale = self.scale / (variance + self.eps).sqrt()
        return scale, self.shift - mean * scale


class BandedBlock(nn.Module):
    """A `ResidualBlock`, or one with another middle convolution, that overwrites its input. [N, C, H, W] -> the same.

    Both norms need statistics of the whole, so that the bands are passed three times: for the statistics of the first
    convolution, which is then made again with its norm inside; for the second one and its statistics; and for the rest.
    Of the maps between, only the second one is kept.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        first, norm, _, second, other, _, last = block.layers
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and isinstance(last, nn.Conv2d)
        assert isinstance(norm, nn.GroupNorm) and isinstance(other, nn.GroupNorm)
        self.first = PackedConv2d(first)
        self.norm, self.other = PieceNorm(norm), PieceNorm(other)
        self.halo = int(second.padding[0])
        second.padding = (0, int(second.padding[1]))  # bands bring their rows along
        self.second, self.last = PackedConv2d(second), PackedConv2d(last)

    def forward(self, x: Tensor) -> Tensor:
        for image in x.split(1):
            self._overwrite(image)
        return x

    def _overwrite(self, x: Tensor) -> None:
        rows = list(bands(*x.shape[2:]))
        heights = [band.stop - band.start for band in rows]
        statistics = self.norm.statistics([self.norm.moments(self.first(x[:, :, band])) for band in rows], heights)
        first = self.first.scaled(*self.norm.as_scale(*statistics), After("leaky_relu", SLOPE))
        middle, moments = [], []
        for band in rows:
            middle.append(self.second(self._with_halo(x, band, first)))
            moments.append(self.other.moments(middle[-1]))
        statistics = self.other.statistics(moments, heights)
        for band in rows:
            activated = F.leaky_relu_(self.other.normalised(middle.pop(0), *statistics), SLOPE)
            F.leaky_relu_(self.last(activated, onto=x[:, :, band]), SLOPE)

    def _with_halo(self, x: Tensor, band: slice, first: PackedConv2d) -> Tensor:
        """The first convolution of a band and of the rows around it; beyond the image they are 0."""
        start, stop = band.start - self.halo, band.stop + self.halo
        inside = slice(max(start, 0), min(stop, x.shape[2]))
        return _padded(first(x[:, :, inside]), inside.start - start, stop - inside.stop)


class BandedStem(nn.Module):
    """The stem at half resolution in bands, so that of its maps only the result is ever whole.

    [N, C, H, W] -> [N, out, H / 2, W / 2], H and W even.
    """

    def __init__(self, stem: nn.Sequential) -> None:
        super().__init__()
        first, self.activation, second, self.last = stem
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
        assert first.kernel_size == second.kernel_size == (3, 3) and first.stride == (2, 2)
        for convolution in (first, second):
            convolution.padding = (0, 1)  # bands bring their rows along
        self.first, self.second = PackedConv2d(first), PackedConv2d(second)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._of(image) for image in x.split(1)]) if len(x) > 1 else self._of(x)

    def _of(self, x: Tensor) -> Tensor:
        height, width = x.shape[2] // 2, x.shape[3] // 2
        made = x.new_empty(1, len(self.second.plain), height, width).contiguous(memory_format=torch.channels_last)
        for band in bands(height, width):
            start, stop = max(band.start - 1, 0), min(band.stop + 1, height)  # of the first convolution's result
            above, below = start - band.start + 1, band.stop + 1 - stop  # rows of it beyond the image
            seen = _padded(x[:, :, max(2 * start - 1, 0) : 2 * stop], int(start == 0), 0)
            y = _padded(self.activation(self.first(seen)), above, below)
            made[:, :, band] = self.last(self.second(y))
        return made


def _padded(x: Tensor, above: int, below: int) -> Tensor:
    """With so many rows of zeros."""
    return F.pad(x, (0, 0, above, below)) if above or below else x
