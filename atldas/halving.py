"""Successive halving: many children by a cheap oracle, the best of them by a dearer one, until one is left.

Jamieson and Talwalkar, AISTATS 2016. Every figure is kept in an archive, so that an interrupted choice goes on where
it stopped, and nothing is measured twice.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .common import processes
from .common.atomic import atomic_path, write_text
from .common.errors import UserError
from .common.forked import in_processes
from .genotype import Genotype
from .oracles import Oracle


@dataclass
class Candidate:
    """A proposed child, where it comes from, and what each rung measured (NaN: not a number)."""

    child: Genotype
    origin: str
    figures: dict[str, float] = field(default_factory=dict)  # oracle -> the task's metric


@dataclass(frozen=True)
class Rung:
    """An oracle, and how many of the children it measures go on."""

    oracle: Oracle
    keep: int


class Archive:
    """Measured figures by (oracle, child), kept in a file beside the run's checkpoint."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.figures: dict[str, dict[str, float]] = {}
        if path is not None and path.exists():
            try:
                self.figures = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(
                    f"{path}: expected figures of a search, got a damaged file; remove it, and they are measured again"
                ) from error

    def forget(self, oracle: Oracle) -> None:
        """Drop an oracle's figures: what they were measured by has changed."""
        self.figures.pop(oracle.name, None)

    def measure(self, oracle: Oracle, child: Genotype) -> float:
        """The oracle's figure for a child: measured now, or kept from before."""
        return self.measure_all(oracle, [child])[0]

    def measure_all(
        self,
        oracle: Oracle,
        children: Sequence[Genotype],
        jobs: int = 1,
        progress: Callable[[], object] = lambda: None,
    ) -> list[float]:
        """The oracle's figures for children, `jobs` of them measured at a time where the oracle is independent.

        The processes of torchrun share the children among them, a round of one for each; all get all figures.
        """
        kept = self.figures.setdefault(oracle.name, {})
        new = list({one_line(child): child for child in children if one_line(child) not in kept}.items())
        for _ in range(len(children) - len(new)):
            progress()
        jobs = min(jobs, len(new) or 1) if getattr(oracle, "independent", False) else 1
        if processes.world_size() > 1:
            measured = _shared(oracle, [child for _, child in new])
        else:
            measured = in_processes(oracle.measure, [child for _, child in new], jobs)
        for (key, _), figure in zip(new, measured, strict=True):
            kept[key] = figure
            if self.path is not None and processes.rank() == 0:
                write_text(self.path, json.dumps(self.figures))
            progress()
        return [kept[one_line(child)] for child in children]


def _shared(oracle: Oracle, children: Sequence[Genotype]) -> Iterator[float]:
    """Figures in the order of the children: in every round each process measures one."""
    rank, size = processes.rank(), processes.world_size()
    for first in range(0, len(children), size):
        now = children[first : first + size]
        figures = torch.zeros(len(now), dtype=torch.float64)
        if rank < len(now):
            figures[rank] = oracle.measure(now[rank])
        yield from processes.total(figures).tolist()


def halving(
    candidates: Sequence[Candidate],
    rungs: Sequence[Rung],
    larger_is_better: bool,
    archive: Archive,
    progress: Callable[[], object] = lambda: None,
    jobs: int = 1,
) -> list[Candidate]:
    """Measure candidates rung by rung; returns all of them, best first: those that came furthest, by their last rung.

    Candidates keep their place in the order given where figures are equal; one that is not a number comes last.
    """
    left, out = list(candidates), list[Candidate]()
    for number, rung in enumerate(rungs):
        figures = archive.measure_all(rung.oracle, [candidate.child for candidate in left], jobs, progress)
        for candidate, figure in zip(left, figures, strict=True):
            candidate.figures[rung.oracle.name] = figure
        left.sort(key=lambda c: badness(c.figures[rung.oracle.name], larger_is_better))
        keep = rung.keep if number < len(rungs) - 1 else len(left)
        out = left[keep:] + out
        left = left[:keep]
    return left + out


def badness(figure: float, larger_is_better: bool) -> tuple[bool, float]:
    """A key that sorts figures best first, and what is not a number last."""
    return math.isnan(figure), -figure if larger_is_better else figure


def without_twins(
    candidates: Iterable[Candidate], identity: Callable[[Genotype], Hashable] = lambda child: child
) -> list[Candidate]:
    """The candidates that compute different functions, the first of each kind."""
    seen: dict[Hashable, Candidate] = {}
    for candidate in candidates:
        seen.setdefault(identity(candidate.child), candidate)
    return list(seen.values())


def write_candidates(path: Path, candidates: Sequence[Candidate], metric: str) -> None:
    """The table of the measured children, in the order given."""
    oracles = list(dict.fromkeys(name for candidate in candidates for name in candidate.figures))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("rank", "origin", *(f"{metric}_{name}" for name in oracles), "child"))
        for rank, candidate in enumerate(candidates, start=1):
            figures = (candidate.figures.get(name, "") for name in oracles)
            writer.writerow((rank, candidate.origin, *figures, one_line(candidate.child)))


def one_line(child: Genotype) -> str:
    """`normal 2=skip_connect(0)+dil_conv_5x5(1) 3=...; reduce ...; width=24`"""
    cells = (
        kind + "".join(
            f" {node}=" + "+".join(f"{edge.operation}({edge.input})" for edge in edges)
            for node, edges in enumerate(cell.nodes, start=cell.inputs)
        )
        for kind, cell in child.cells.items()
    )  # fmt: skip
    return "; ".join((*cells, *(f"{name}={option}" for name, option in child.choices.items())))
