"""DrNAS (Chen et al., ICLR 2021): DARTS whose mixture's weights are drawn from learned Dirichlet distributions.

As in the paper, the concentration is elu(beta) + 1, the draw passes its gradient on to beta (Figurnov et al., NeurIPS
2018), and beta is held near the symmetric Dirichlet. Without the paper's progressive growing of partial channels: it
saves memory and is no part of the estimator.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from ..common.config import config
from .darts import Darts


@config
class DrnasOptions:
    """`distance`: the weight of the KL divergence from Dirichlet(1, ..., 1), lambda in the paper."""

    distance: Annotated[float, Ge(0)] = 1e-3


class Drnas(Darts):
    """See the module. The logits are beta: children are proposed by softmax(beta), in the order of the means."""

    Options = DrnasOptions

    def probabilities(self) -> dict[str, Tensor]:
        """Drawn with torch's random state, which is part of the checkpoint."""
        return {name: _drawn(concentration, allowed) for name, (concentration, allowed) in self._concentrations()}

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float]:
        objective, loss = super().objective(batch, step)
        return objective + self.options.distance * self.distance(), loss

    def distance(self) -> Tensor:
        """The KL divergence of all variables' distributions from symmetric ones, a scalar with gradient."""
        return torch.stack(
            [
                kl_divergence(Dirichlet(concentration[allowed]), Dirichlet(torch.ones(int(allowed.sum()))))
                for _, (concentration, allowed) in self._concentrations()
            ]
        ).sum()

    def _concentrations(self) -> list[tuple[str, tuple[Tensor, Tensor]]]:
        return [(v.name, (F.elu(c.logits) + 1, c.allowed)) for v, c in self.context.distribution.items()]


def _drawn(concentration: Tensor, allowed: Tensor) -> Tensor:
    """A draw over the allowed options, [options]; the others get 0."""
    drawn = Dirichlet(concentration[allowed]).rsample()
    return torch.zeros_like(concentration).masked_scatter(allowed, drawn)
