"""What the known pixels tell of an unknown one: the alpha that the colours nearby would give it.

A network finds this out by itself, but only after long training, and at a fraction of the picture's resolution: alpha
from two colours is a division, and each pixel has its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HINTS = 2  # channels
# Foreground and background closer than this (squared) give an alpha pulled towards 0: 0.03 in each channel.
NOISE = 0.003


class Hinted(nn.Module):
    """The network's input with the hints behind it: [N, 6, H, W] -> [N, 8, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, hints(x)], dim=1)


@torch.no_grad()
def hints(image_and_trimap: Tensor) -> Tensor:
    """Alpha from the known colours nearby, and how far off they are: float [N, 6, H, W] -> float32 [N, 2, H, W], 0..1.

    Of a pixel of colour I between the foreground's F and the background's B: alpha = (I - B) (F - B) / (|F - B|^2 +
    noise), the projection that sampling-based matting starts from (Chuang et al., CVPR 2001, equation 10), and the mean
    over the channels of |I - alpha F - (1 - alpha) B|.
    """
    # In planes: the kernels for channels_last are slow on so few channels.
    image, background, _, foreground = image_and_trimap.float().contiguous().split((3, 1, 1, 1), dim=1)
    # What is spread is smooth: half the size will do, in a quarter of the time.
    halved = (
        F.avg_pool2d(torch.cat([image * known, known], dim=1), 2, ceil_mode=True) for known in (foreground, background)
    )
    fore, back = map(spread, halved)
    near, far = F.interpolate(torch.cat([fore, back], dim=1), size=image.shape[2:], mode="bilinear").split(3, dim=1)
    line = near - far
    alpha = ((image - far) * line).sum(1, keepdim=True) / (line.square().sum(1, keepdim=True) + NOISE)
    alpha = alpha.clamp(0, 1)
    off = (image - far - alpha * line).abs().mean(1, keepdim=True)
    return torch.cat([alpha, off], dim=1)


def spread(known: Tensor) -> Tensor:
    """Colours [N, 3, H, W] of the known pixels nearby, 0 where nothing is known at all.

    Averaged down a pyramid and filled in on the way up (the pull-push of Gortler et al., SIGGRAPH 1996).

    Args:
        known: [N, 4, H, W]: how much of each pixel is known, in 0..1, after the colours multiplied by it.
    """
    levels = [known]
    while max(levels[-1].shape[2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    total, share = levels.pop().split((3, 1), dim=1)  # [N, 3, 1, 1], [N, 1, 1, 1]
    filled = total / share.clamp_min(1e-12)
    for level in reversed(levels):
        total, share = level.split((3, 1), dim=1)
        # The fourth root: a sixteenth of a level's pixel being known is trusted by half, or far ones would win.
        trust = share.sqrt().sqrt()
        coarse = F.interpolate(filled, size=level.shape[2:], mode="bilinear")
        filled = total * (trust / share.clamp_min(1e-12)) + (1 - trust) * coarse
    return filled
