"""The network from image and trimap to alpha as one module that exporters can trace for any height and width.

Sizes stay symbols: no branch and no loop depends on them. Padding and hints are written anew in operations that every
format has; `checked` compares them with those of the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference.engines.rewriting import for_graphs
from ..model.hints import NOISE, filled_in
from ..model.network import CheapMatting
from ..model.padding import MULTIPLE, SMALLEST, reflected

TRIMAPS = {"one-hot": 3, "plane": 1}  # kind -> channels
# Of the pyramid of the hints. More of them change nothing: a level of one pixel is that pixel.
LEVELS = 14
LARGEST = 2 ** (LEVELS + 1)  # pixels a side for which the hints are exact


class WholeNetwork(nn.Module):
    """A network with padding, hints and known pixels inside, in eval mode on the CPU.

    Args:
        network: is not changed.
        trimap: `one-hot`: planes of background, unknown, foreground, each 0 or 1; `plane`: one grey plane of 0, 128 and
            255.
        half: convolutions and activations are float16; norms, hints, inputs and alpha stay float32.
    """

    def __init__(self, network: CheapMatting, trimap: str = "one-hot", half: bool = False) -> None:
        super().__init__()
        self.network = for_graphs(network).cpu()
        self.hinted, self.plane = network.config.hints, trimap == "plane"
        self.dtype = torch.float16 if half else torch.float32
        self.network.to(self.dtype)

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        """RGB [N, 3, H, W] in 0..1 and a trimap [N, 3 or 1, H, W], float32 -> alpha [N, 1, H, W] in 0..1.

        Alpha is exactly 1 and 0 where the trimap is known.
        """
        if self.plane:
            one_hot = torch.cat([trimap < 64, (trimap >= 64) & (trimap < 192), trimap >= 192], dim=1).to(image.dtype)
        else:
            one_hot = trimap
        height, width = image.shape[2:]
        rows, top = _mirrored(height)
        columns, left = _mirrored(width)
        x = torch.cat([image, one_hot], dim=1).index_select(2, rows).index_select(3, columns)
        if self.hinted:
            x = torch.cat([x, _hints(x)], dim=1)
        x = x.to(self.dtype)
        padded = self.network.head(self.network.features(x), x).float()
        alpha = padded.index_select(2, torch.arange(height) + top).index_select(3, torch.arange(width) + left)
        _, unknown, foreground = one_hot.split(1, dim=1)
        return alpha.clamp(0, 1) * unknown + foreground


def as_plane(one_hot: Tensor) -> Tensor:
    """One-hot trimaps [N, 3, H, W] as a grey plane [N, 1, H, W] of 0, 128 and 255."""
    return one_hot[:, 1:2] * 128 + one_hot[:, 2:] * 255


def _at_least(size: int, smallest: int) -> int:
    """max(size, smallest) that stays a symbol: a tracer's sizes are tensors, torch.export's are SymInts."""
    if torch.jit.is_tracing():
        return torch.as_tensor(size).clamp_min(smallest)  # type: ignore[return-value]
    return torch.sym_max(size, smallest)


def _mirrored(size: int) -> tuple[Tensor, int]:
    """As `padding.pad`: the source of every padded position, and the padding in front."""
    padded = _at_least((size + MULTIPLE - 1) // MULTIPLE, SMALLEST // MULTIPLE) * MULTIPLE  # short for torch.export
    before = (padded - size) // 2
    return reflected(torch.arange(padded) - before, size), before


def _hints(x: Tensor) -> Tensor:
    """As `hints.hints`: [N, 6, H, W] -> [N, 2, H, W]; H and W are even."""
    image, background, _, foreground = x.split((3, 1, 1, 1), dim=1)
    known = (F.avg_pool2d(torch.cat([image * share, share], dim=1), 2) for share in (foreground, background))
    fore, back = map(_spread, known)
    near, far = F.interpolate(torch.cat([fore, back], dim=1), size=image.shape[2:], mode="bilinear").split(3, dim=1)
    line, away = near - far, image - far
    alpha = (away * line).sum(1, keepdim=True) / (line.square().sum(1, keepdim=True) + NOISE)
    alpha = alpha.clamp(0, 1)
    off = (away - line * alpha).abs().mean(1, keepdim=True)
    return torch.cat([alpha, off], dim=1)


def _spread(known: Tensor) -> Tensor:
    """As `hints.spread`, with a fixed number of levels. [N, 4, H, W] -> [N, 3, H, W]."""
    height, width = known.shape[2:]
    levels = [known]
    for level in range(LEVELS):
        levels.append(_halved(_halved(levels[-1], 2, height, level), 3, width, level))
    return filled_in(levels)


def _halved(x: Tensor, axis: int, size: int, level: int) -> Tensor:
    """Averages of two along an axis, the last of one where there is an odd one: avg_pool2d with ceil_mode.

    An axis of one pixel holds it twice, which interpolates alike: exporters take a size of 1 for another program. Its
    true size comes from that of level 0, so that expressions of sizes do not nest.
    """
    before, after = _level_size(size, level), _level_size(size, level + 1)
    first = torch.arange(_at_least(after, 2)).clamp_max(after - 1) * 2
    return (x.index_select(axis, first) + x.index_select(axis, (first + 1).clamp_max(before - 1))) * 0.5


def _level_size(size: int, level: int) -> int:
    return (size + 2**level - 1) // 2**level
