"""A chain of cells, each reading the last one or two outputs: which widths and strides they have."""

from __future__ import annotations

from collections.abc import Container

from .builder import Builder
from .cell import Cell, CellPlace
from .widths import Channels


def cell_chain(
    builder: Builder,
    before: Channels,
    last: Channels,
    channels: Channels,
    depth: int,
    reductions: Container[int],
    inputs: int = 2,
    reduce_kind: str = "reduce",
    before_is_larger: bool = False,
) -> list[Cell]:
    """Cells that read the outputs of the last two (or of the last one), the first of them what stands before the chain.

    A reduction cell halves the size and doubles the channels of everything after it. The cell behind it reads one
    output of before the halving, which is halved on entry.

    Args:
        builder: makes the cells.
        before, last: channels of the two tensors that stand before the chain.
        channels: channels of a node in the first cells.
        depth: how many cells.
        reductions: the numbers of the reduction cells, from 0.
        inputs: how many outputs each cell reads, 1 or 2.
        reduce_kind: the kind of the reduction cells; the others are of the kind `normal`.
        before_is_larger: whether the first of the two tensors is twice as large as the second.
    """
    cells: list[Cell] = []
    larger = before_is_larger
    for index in range(depth):
        reduce = index in reductions
        channels = channels * 2 if reduce else channels
        kind, stride = (reduce_kind, 2) if reduce else ("normal", 1)
        place = CellPlace(kind, (before, last)[-inputs:], channels, stride, (2 if larger else 1, 1)[-inputs:])
        cell = builder.cell(place)
        cells.append(cell)
        before, last, larger = last, cell.out_channels, reduce
    return cells
