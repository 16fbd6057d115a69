"""Which parts of an image the network sees: all of it, what is near unknown pixels, or tiles that fit into memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..arrays import Bytes, Floats
from ..trimap import UNKNOWN

REGIONS = ("exact", "near")
CONTEXT = 256  # pixels around the unknown ones that `near` keeps
ALIGNED = 32  # regions begin at multiples of it, where the network's halvings do
OVERLAP = 256  # pixels that neighbouring tiles share
SMALLEST_TILE = 512


class Region(NamedTuple):
    """A rectangle of the image, and the weights along its axes with which its alpha is added up.

    Attributes:
        rows, columns: the rectangle.
        row_weights, column_weights: float32 [H], [W] of the rectangle; over all regions, the products sum to 1.
    """

    rows: slice
    columns: slice
    row_weights: Floats
    column_weights: Floats

    @property
    def box(self) -> tuple[slice, slice]:
        return self.rows, self.columns


def regions(trimap: Bytes, region: str, largest: float) -> list[Region]:
    """The parts that hold unknown pixels.

    Args:
        trimap: uint8 [H, W].
        region: `exact`: the whole image; `near`: the smallest rectangle that holds what is unknown, with `CONTEXT`.
        largest: pixels; a larger rectangle is divided into overlapping tiles, not smaller than `SMALLEST_TILE` a side.
    """
    height, width = trimap.shape
    unknown = trimap == UNKNOWN
    rows, columns = slice(0, height), slice(0, width)
    if region == "near":
        rows, columns = _around(unknown.any(1)), _around(unknown.any(0))
    vertical, horizontal = _tiles(rows, columns, largest)
    return [
        Region(row, column, row_weights, column_weights)
        for row, row_weights in vertical
        for column, column_weights in horizontal
        if unknown[row, column].any()
    ]


def _around(unknown: np.ndarray) -> slice:
    """From the first to the last unknown of an axis, with context, from a multiple of `ALIGNED`."""
    places = np.flatnonzero(unknown)
    start = max(0, int(places[0]) - CONTEXT) // ALIGNED * ALIGNED
    return slice(start, min(len(unknown), -(-(int(places[-1]) + 1 + CONTEXT) // ALIGNED) * ALIGNED))


Axis = list[tuple[slice, Floats]]


def _tiles(rows: slice, columns: slice, largest: float) -> tuple[Axis, Axis]:
    """A grid of overlapping tiles of at most `largest` pixels, as nearly square as the rectangle's sides allow."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    largest = max(largest, SMALLEST_TILE**2)
    if height * width <= largest:
        return _axis(rows, height), _axis(columns, width)
    side = int(largest**0.5) // ALIGNED * ALIGNED
    tall, wide = min(height, side), min(width, side)
    if tall < side:  # a flat image: the tiles are wider
        wide = min(width, int(largest / tall) // ALIGNED * ALIGNED)
    elif wide < side:
        tall = min(height, int(largest / wide) // ALIGNED * ALIGNED)
    return _axis(rows, tall), _axis(columns, wide)


def _axis(whole: slice, length: int) -> Axis:
    """Tiles of `length` over an axis that overlap by `OVERLAP` or more, with weights that sum to 1 at every pixel."""
    size = whole.stop - whole.start
    length = min(length, size)
    count = 1 if size == length else -(-(size - OVERLAP) // (length - OVERLAP))
    starts = [round(i * (size - length) / max(count - 1, 1)) // ALIGNED * ALIGNED for i in range(count - 1)]
    starts.append(size - length)
    place = np.arange(length) + 0.5
    hill = np.minimum(np.minimum(place, length - place), OVERLAP)  # 0 at a tile's ends
    total = np.zeros(size)
    for start in starts:
        total[start : start + length] += hill
    return [
        (
            slice(whole.start + start, whole.start + start + length),
            (hill / total[start : start + length]).astype(np.float32),
        )
        for start in starts
    ]
