"""The cost of variants: parameters and GMACs of each part, several variants side by side."""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import nn

from atldas.common.errors import UserError
from atldas.cost import cost, macs_by_part, parameters
from atldas.genotype import Genotype

from .network import CheapMatting
from .padding import padded_size
from .published import UNUSED_PARAMETERS
from .variants import variant

PUBLISHED_PARAMETERS = 6_023_025  # of a published checkpoint, with the unused ones


class Info(NamedTuple):
    """One variant's figures; `parts` maps each part to (parameters, MACs), `dead` are lines on edges without effect."""

    name: str
    parameters: int
    macs: int
    parts: dict[str, tuple[int, int]]
    dead: list[str]


def inspect(source: str, height: int, width: int) -> Info:
    """Figures of a variant for one image of height x width, both multiples of 32.

    `source` is a genotype's file, a model's file, a run's folder, or a shipped name.

    Raises:
        UserError: a faulty file.
    """
    with torch.device("meta"):
        network = variant(source)
    shape = (1, 6, height, width)
    part_macs = macs_by_part(network, shape)
    parts = {name: (parameters(part), part_macs[name]) for name, part in _parts(network).items()}
    return Info(network.genotype.name, *cost(network, shape), parts, _dead(network.genotype))


def _dead(genotype: Genotype) -> list[str]:
    """A line for each node that nothing reads, with its edges."""
    lines = []
    for kind, cell in genotype.cells.items():
        for node in cell.unread():
            edges = ", ".join(f"{edge.operation}({edge.input})" for edge in cell.nodes[node - cell.inputs])
            lines.append(f"{genotype.name}: {kind} cell: nothing reads node {node}; without effect: {edges}")
    return lines


def _parts(network: CheapMatting) -> dict[str, nn.Module]:
    """The parts that hold parameters."""
    return {name: part for name, part in network.named_children() if parameters(part)}


def table(infos: list[Info], height: int, width: int) -> str:
    """The figures as text, with a column for each variant."""
    names = [info.name for info in infos]
    widths = [max(len(name), len("1,234,567 par. 123.45 GMACs")) for name in names]
    lines = ["".join(["".ljust(16), *(name.rjust(w + 2) for name, w in zip(names, widths, strict=True))])]

    def row(title: str, cells: list[str]) -> None:
        lines.append("".join([title.ljust(16), *(c.rjust(w + 2) for c, w in zip(cells, widths, strict=True))]))

    for part in infos[0].parts:
        row(part, [f"{info.parts[part][0]:,} par. {info.parts[part][1] / 1e9:6.2f} GMACs" for info in infos])
    row("parameters", [f"{info.parameters:,}" for info in infos])
    row(f"at {width}x{height}", [f"{info.macs / 1e9:.2f} GMACs" for info in infos])
    if any(info.parameters + UNUSED_PARAMETERS == PUBLISHED_PARAMETERS for info in infos):
        lines.append(
            f"(published checkpoints hold {UNUSED_PARAMETERS:,} more, of a branch never used: {PUBLISHED_PARAMETERS:,})"
        )
    return "\n".join(lines + [line for info in infos for line in info.dead])


def parse_size(text: str) -> tuple[int, int]:
    """`1024` or `1920x1080` (width x height) as (height, width), rounded up to a size that the network computes on.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", text.lower())
    if not found:
        raise UserError(
            "--size: expected a side or WIDTHxHEIGHT in pixels, each 1..99999, such as 1024 or 1920x1080, "
            f"got {text[:20]}"
        )
    width, height = found[1], found[2] or found[1]
    return padded_size(int(height)), padded_size(int(width))
