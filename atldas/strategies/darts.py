"""DARTS, first order (Liu et al., ICLR 2019): all options run at once, mixed by softmax weights.

A baseline. Every step costs the time and the memory of all options: `benchmarks/search_step.py` measures both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ..common.config import config
from ..common.errors import UserError
from ..evaluate import EvaluationConfig, propose
from ..halving import Candidate
from ..judging import still_statistics
from ..space import Space
from ..strategy import Context
from ..widths import Sliced


@config
class DartsOptions:
    """None: learning rates and weight decay stand in `search.architecture`."""


class Darts:
    """See the module; fulfils `Strategy`."""

    Options: type = DartsOptions

    def __init__(self, options: Any, context: Context) -> None:
        self.options, self.context = options, context
        if any(isinstance(module, Sliced) for module in context.supernet.modules()):
            raise UserError(
                f"space {context.space.name}: dense strategies cannot mix widths; leave the widths out of the space, "
                "or take a strategy that runs one child, such as atldas"
            )

    def probabilities(self) -> dict[str, Tensor]:
        """Variable -> what the mixture's weights are made of, [options], with gradient."""
        return {v.name: c.log_probabilities().exp() for v, c in self.context.distribution.items()}

    def select_for_training(self, step: int) -> None:
        weights = mixture(self.context.space, self.probabilities())
        self.context.supernet.mix({name: w.detach().to(self.context.device) for name, w in weights.items()})

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float]:
        supernet = self.context.supernet
        weights = mixture(self.context.space, self.probabilities())
        supernet.mix({name: w.to(self.context.device) for name, w in weights.items()})
        supernet.train()
        with still_statistics(supernet):
            loss = self.context.task.loss(supernet, batch)
        return loss, float(loss.detach())

    def parameters(self) -> list[nn.Parameter]:
        return list(self.context.distribution.parameters())

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        return propose(self.context, settings)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def mixture(space: Space, probabilities: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a dense mixture: edge or named choice -> [options].

    An edge's operations are weighted by their probabilities times the probability that the node reads the edge, so
    that a node's weights add up to how many inputs it reads.
    """
    weights: dict[str, Tensor] = {}
    for variable in space.variables:
        if isinstance(variable.options[0], tuple):
            continue  # which inputs a node reads: the share of its edges
        p = probabilities[variable.name]
        if variable.condition:
            p = p * probabilities[variable.condition.parent][sorted(variable.condition.options)].sum()
        weights[variable.name] = p
    return weights
