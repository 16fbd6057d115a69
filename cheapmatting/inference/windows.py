"""The head on windows of the image that hold unknown pixels: what it says elsewhere, nobody reads.

The head is local, so that windows with a halo give exactly what the whole image gives, and the concatenated map at full
resolution never exists.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .engines.engine import Engine

WINDOW = 64  # pixels a side: small windows follow the unknown region, large ones have less halo
# Pixels: two 3x3 convolutions reach 2 at full resolution, or 4 at half of it, and enlarging reaches 2 more.
HALO = 6
CELL = WINDOW - 2 * HALO  # what a window answers for
BATCH = 16  # windows at once: few enough for the processor's caches


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
    found = [(row, column) for row in spans(height) for column in spans(width) if unknown[row.cell, column.cell].any()]
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH]
        near = torch.cat([features[:, :, row.half, column.half] for row, column in batch])
        answers = engine.head(near, torch.cat([x[:, :, row.window, column.window] for row, column in batch]))
        for (row, column), answer in zip(batch, answers, strict=True):
            alpha[0, 0, row.cell, column.cell] = answer[0, row.inside, column.inside]
    return alpha.clamp_(0, 1)


class Span(NamedTuple):
    """A cell along an axis, and the window around it, in pixels."""

    cell: slice
    window: slice

    @property
    def half(self) -> slice:
        """The window at half resolution."""
        return slice(self.window.start // 2, self.window.stop // 2)

    @property
    def inside(self) -> slice:
        """The cell within the window."""
        return slice(self.cell.start - self.window.start, self.cell.stop - self.window.start)


def spans(size: int) -> list[Span]:
    """The cells along an axis of `size` (even).

    All windows of an axis are equally long, so that they make a batch: at the image's ends they are moved inwards,
    where the end of the window is the end of the image, as it is for the whole image.
    """
    length = min(WINDOW, size)
    found = []
    for start in range(0, size, CELL):
        first = min(max(start - HALO, 0), size - length)
        found.append(Span(slice(start, min(start + CELL, size)), slice(first, first + length)))
    return found
