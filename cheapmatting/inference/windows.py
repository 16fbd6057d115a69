"""The head on windows of the image that hold unknown pixels: what it says elsewhere, nobody reads.

The head is local, so that windows with a halo give exactly what the whole image gives, and the concatenated map at full
resolution never exists.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .engines.engine import Engine

WINDOW = 256  # pixels a side: small windows follow the unknown region, large ones have less halo
# Pixels: two 3x3 convolutions reach 2 at full resolution, or 4 at half of it, and enlarging reaches 2 more.
HALO = 8
CELL = WINDOW - 2 * HALO  # what a window answers for


def alpha_in_windows(engine: Engine, features: Tensor, x: Tensor, unknown: Tensor) -> Tensor:
    """The head's alpha where it is unknown, and anything in 0..1 elsewhere.

    Args:
        features: [1, C, H / 2, W / 2], of `engine.features`.
        x: [1, 6 or 8, H, W], padded and hinted.
        unknown: bool [H, W].

    Returns:
        [1, 1, H, W] in 0..1.
    """
    height, width = unknown.shape
    alpha = torch.zeros(1, 1, height, width)
    for top, start_row, rows in spans(height):
        for left, start_column, columns in spans(width):
            inner = slice(top, top + CELL), slice(left, left + CELL)
            if not unknown[inner].any():
                continue
            outer = slice(start_row, start_row + rows), slice(start_column, start_column + columns)
            half = [slice(axis.start // 2, axis.stop // 2) for axis in outer]
            answer = engine.head(features[:, :, half[0], half[1]], x[:, :, outer[0], outer[1]])
            alpha[0, 0][inner] = answer[0, 0, top - start_row :, left - start_column :][:CELL, :CELL]
    return alpha.clamp_(0, 1)


def spans(size: int) -> list[tuple[int, int, int]]:
    """For each cell along an axis of `size` (even): its start, the start of its window and the window's length.

    All windows of an axis are equally long, so that runtimes compile one shape: at the image's ends they are moved
    inwards, where the end of the window is the end of the image, as it is for the whole image.
    """
    length = min(WINDOW, size)
    return [(start, min(max(start - HALO, 0), size - length), length) for start in range(0, size, CELL)]
