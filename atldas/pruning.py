"""Progressive pruning: an option that stays improbable is removed for good."""

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
from .distribution import Distribution


@config
class PruningConfig:
    """When an option goes; checks begin once the logits have begun to move.

    Attributes:
        share: an option whose probability is under this share of 1 / (options left) ...
        patience: ... at this many checks in a row is removed.
        every: steps between checks.
    """

    share: Annotated[float, Gt(0), Lt(1)] = 0.2
    patience: Annotated[int, Ge(1)] = 3
    every: Annotated[int, Ge(1)] = 100


class Pruner:
    """Counts how long each option has been improbable; `check` is called at each check."""

    def __init__(self, settings: PruningConfig, distribution: Distribution) -> None:
        self.settings = settings
        self.distribution = distribution
        # variable -> checks in a row under the threshold, [options]
        self.counts = {v.name: torch.zeros(len(v.options), dtype=torch.int64) for v, _ in distribution.items()}

    @torch.no_grad()
    def check(self) -> list[str]:
        """Remove what has been improbable for long enough; say what went.

        The most probable option always stays: its probability is at least 1 / (options left).
        """
        gone = []
        for variable, categorical in self.distribution.items():
            p = categorical.log_probabilities().exp()
            limit = self.settings.share / int(categorical.allowed.sum())
            improbable = (p < limit) & categorical.allowed
            counts = self.counts[variable.name] = torch.where(improbable, self.counts[variable.name] + 1, 0)
            for index in (counts >= self.settings.patience).nonzero().flatten().tolist():
                categorical.allowed[index] = False
                gone.append(f"{variable.name}: {variable.options[index]} (probability {float(p[index]):.3f})")
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
