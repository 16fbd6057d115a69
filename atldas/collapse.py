"""Whether a search collapses to cells that compute little: the share of operations without weights, and a warning."""

from __future__ import annotations

import logging

import torch

from .cost import operation_cost
from .distribution import Distribution, Factor
from .space import Space
from .variables import edge_variable

COLLAPSED = 0.5  # an expected share of weight-free operations over which the user is warned


class Collapse:
    """Watches the expected share of operations that hold no weights (at stride 1). They must not win by default."""

    def __init__(self, space: Space) -> None:
        self.warned = False
        self._weight_free: list[Factor] = []  # 1 where an operation on an edge holds no weights
        for kind, cell in space.cells.items():
            row = torch.tensor([float(operation_cost(name, 16, 1, 8, 8).parameters == 0) for name in cell.operations])
            self._weight_free += [Factor((edge_variable(kind, node, i),), row) for node, i in cell.edges]
        self._edges = [Factor(factor.variables, torch.ones_like(factor.table)) for factor in self._weight_free]

    def share(self, distribution: Distribution) -> float:
        """The expected share among all operations of a child; 0 in a space without cells."""
        if not self._edges:
            return 0.0
        return float(distribution.expected(self._weight_free) / distribution.expected(self._edges))

    def uniform_share(self) -> float:
        """The share before anything was learned."""
        tables = [factor.table.mean() for factor in self._weight_free]
        return float(torch.stack(tables).mean()) if tables else 0.0

    def check(self, step: int, share: float) -> None:
        """Warn, once in a search."""
        uniform = self.uniform_share()
        if not self.warned and share > max(COLLAPSED, (1 + uniform) / 2):
            self.warned = True
            logging.warning(
                "step %d: operations without weights have %.0f%% of the probability (%.0f%% at first); "
                "the search may be collapsing to cells that compute little. More uniform_steps, or a later "
                "architecture.start, may help",
                step, 100 * share, 100 * uniform,
            )  # fmt: skip
