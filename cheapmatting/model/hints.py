"""Hints: the alpha of each pixel by the colours of the known pixels nearby.

A network can learn this itself, but only in a long training and at a fraction of the image's resolution: alpha from two
colours is a division, with other colours at every pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HINTS = 2  # channels
# A squared distance of colours, 0.03 in each channel: alpha tends to 0 where F and B are closer than that.
NOISE = 0.003


class Hinted(nn.Module):
    """The network's input with the hints behind it: [N, 6, H, W] -> [N, 8, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, hints(x)], dim=1)


@torch.no_grad()
def hints(image_and_trimap: Tensor) -> Tensor:
    """Alpha from the known colours nearby, and its error: float [N, 6, H, W] -> float32 [N, 2, H, W] in 0..1.

    For a pixel of colour I and the nearby colours F of the foreground and B of the background, the first channel is
    alpha = (I - B) (F - B) / (|F - B|^2 + noise), the projection of sampling-based matting (Chuang et al., CVPR 2001,
    equation 10). The second is the mean over the colour channels of |I - alpha F - (1 - alpha) B|.
    """
    # Contiguous, because the kernels for channels_last are slow with so few channels.
    image, background, _, foreground = image_and_trimap.float().contiguous().split((3, 1, 1, 1), dim=1)
    # The spread colours are smooth, so that half the size is enough, in a quarter of the time.
    halved = (
        F.avg_pool2d(torch.cat([image * known, known], dim=1), 2, ceil_mode=True) for known in (foreground, background)
    )
    fore, back = map(spread, halved)
    near, far = F.interpolate(torch.cat([fore, back], dim=1), size=image.shape[2:], mode="bilinear").split(3, dim=1)
    # In place: at full resolution, each map of three channels is 12 bytes a pixel.
    line, away = near.sub_(far), image - far
    alpha = (away * line).sum(1, keepdim=True) / (line.square().sum(1, keepdim=True) + NOISE)
    alpha = alpha.clamp_(0, 1)
    off = away.sub_(line.mul_(alpha)).abs_().mean(1, keepdim=True)
    return torch.cat([alpha, off], dim=1)


def spread(known: Tensor) -> Tensor:
    """Colours [N, 3, H, W] of the known pixels nearby; 0 in an image without any known pixel.

    The colours are averaged down a pyramid and filled in on the way up (pull-push, Gortler et al., SIGGRAPH 1996).

    Args:
        known: [N, 4, H, W]: three channels of colours multiplied by the fourth, the known share of each pixel in 0..1.
    """
    levels = [known]
    while max(levels[-1].shape[2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    return filled_in(levels)


def filled_in(levels: list[Tensor]) -> Tensor:
    """The way up of `spread`: colours [N, 3, H, W] from a pyramid of [N, 4, ...], the finest level first."""
    *finer, coarsest = levels
    total, share = coarsest.split((3, 1), dim=1)  # [N, 3, 1, 1], [N, 1, 1, 1]
    filled = total / share.clamp_min(1e-12)
    for level in reversed(finer):
        total, share = level.split((3, 1), dim=1)
        # The fourth root: where a sixteenth of a pixel is known, it counts half. Linearly, far colours would win.
        trust = share.sqrt().sqrt()
        coarse = F.interpolate(filled, size=level.shape[2:], mode="bilinear")
        filled = total * (trust / share.clamp_min(1e-12)) + (1 - trust) * coarse
    return filled
