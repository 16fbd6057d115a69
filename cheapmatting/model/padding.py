"""Padding to the sizes that the network computes on, and cropping back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MULTIPLE = 32  # five halvings
SMALLEST = 96  # in a smaller image, the widest pooling window has no pixels


class Box(NamedTuple):
    """Where the original lies in the padded image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def pad(x: Tensor) -> tuple[Tensor, Box]:
    """Pad [N, C, H, W] to the next multiple of 32 and to at least 96 a side, as the published release does.

    Half of the padding (rounded down) comes before the image, the rest after it. The padding is the image mirrored with
    its edge pixel repeated (OpenCV's BORDER_REFLECT), several times where the image is smaller than the padding.
    """
    height, width = x.shape[2:]
    rows, top = _mirrored(height, x.device)
    columns, left = _mirrored(width, x.device)
    box = Box(top, left, height, width)
    if (len(rows), len(columns)) == (height, width):
        return x, box
    return x.index_select(2, rows).index_select(3, columns), box


def crop(x: Tensor, box: Box) -> Tensor:
    """Undo `pad`."""
    return x[:, :, box.top : box.top + box.height, box.left : box.left + box.width]


def padded_size(size: int) -> int:
    """The length in pixels that an axis of `size` pixels is padded to."""
    return max(SMALLEST, -(-size // MULTIPLE) * MULTIPLE)


def _mirrored(size: int, device: torch.device) -> tuple[Tensor, int]:
    """Source index of every padded position, and the padding in front."""
    padded = padded_size(size)
    before = (padded - size) // 2
    return reflected(torch.arange(-before, padded - before, device=device), size), before


def reflected(places: Tensor, size: int) -> Tensor:
    """Places on an axis of `size` that goes on mirrored, its edges repeated, as places on the axis itself."""
    index = places % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)
