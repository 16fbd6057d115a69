"""Progressive pruning: a choice that stays improbable is removed for good."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from .common.atomic import atomic_path
from .common.config import config
from .distribution import CellDistribution, Distribution


@config
class PruningConfig:
    """When a choice goes.

    Attributes:
        threshold: a choice under this probability ...
        patience: ... at this many checks in a row is removed.
        every: steps between checks.
    """

    threshold: Annotated[float, Gt(0), Lt(1)] = 0.02
    patience: Annotated[int, Ge(1)] = 3
    every: Annotated[int, Ge(1)] = 100


class Pruner:
    """Counts how long each choice has been improbable; `check` is called at each check."""

    def __init__(self, settings: PruningConfig, distribution: Distribution) -> None:
        self.settings = settings
        self.distribution = distribution
        # kind.variable -> checks in a row under the threshold, the shape of the variable's logits
        self.counts = {
            name: torch.zeros(allowed.shape, dtype=torch.int64)
            for kind, cell in distribution.items()
            for name, (_, allowed) in _variables(kind, cell).items()
        }

    def check(self) -> list[str]:
        """Remove what has been improbable for long enough, never the last choice; say what went."""
        gone = []
        for kind, cell in self.distribution.items():
            for name, (log_p, allowed) in _variables(kind, cell).items():
                improbable = (log_p.detach().exp() < self.settings.threshold) & allowed
                self.counts[name] = torch.where(improbable, self.counts[name] + 1, 0)
                gone += self._remove(kind, cell, name, log_p, allowed)
        return gone

    def _remove(self, kind: str, cell: CellDistribution, name: str, log_p: Tensor, allowed: Tensor) -> list[str]:
        gone = []
        p = log_p.detach().exp()
        places = (self.counts[name] >= self.settings.patience).nonzero().tolist()
        for place in sorted(places, key=lambda place: float(p[tuple(place)])):
            row = place[0] if p.dim() == 2 else slice(None)  # the choices that this one competes with
            share = float(p[tuple(place)] / p[row][allowed[row]].sum())  # what went just now left its share to the rest
            if int(allowed[row].sum()) > 1 and share < self.settings.threshold:
                allowed[tuple(place)] = False
                gone.append(f"{kind} {_words(cell, name, place)} (probability {share:.3f})")
        return gone

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.counts)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.counts = dict(state)


def write_pruned(path: Path, pruned: Sequence[tuple[int, str]]) -> None:
    """Write what went and when as a table; the whole of it, so that a resumed run repeats nothing."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "choice"))
        writer.writerows(pruned)


def _variables(kind: str, cell: CellDistribution) -> dict[str, tuple[Tensor, Tensor]]:
    """Each random variable's (log-probabilities, allowed mask)."""
    found = {f"{kind}.operations": (cell.log_operations(), cell.operation_allowed)}
    for k, log_subsets in enumerate(cell.log_topologies()):
        found[f"{kind}.topology.{k}"] = (log_subsets, cell.topology_allowed(k))
    return found


def _words(cell: CellDistribution, name: str, place: list[int]) -> str:
    if name.endswith("operations"):
        node, i = cell.space.edges[place[0]]
        return f"node {node}: {cell.space.operations[place[1]]} on input {i}"
    node = cell.space.node_numbers[int(name.rpartition(".")[2])]
    return f"node {node}: inputs {cell.space.subsets(node)[place[0]]}"
