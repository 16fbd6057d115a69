"""GDAS (Dong and Yang, CVPR 2019): one child a step by Gumbel-max, judged through straight-through gates.

A baseline: behind BatchNorm the gates' gradient is biased, since it asks what *scaling* an operation's output would do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Gt
from torch import Tensor, nn

from ..common.config import config
from ..common.schedule import linear
from ..evaluate import EvaluationConfig, propose
from ..genotype import Genotype
from ..halving import Candidate
from ..judging import still_statistics
from ..strategy import Context
from ..variables import Choices, gumbel

Positive = Annotated[float, Gt(0)]


@config
class GdasOptions:
    """`temperature` of the gates goes straight from the first value to the second over the search."""

    temperature: tuple[Positive, Positive] = (10.0, 0.1)


class Gdas:
    """See the module; fulfils `Strategy`."""

    Options = GdasOptions

    def __init__(self, options: GdasOptions, context: Context) -> None:
        self.options, self.context = options, context

    def select_for_training(self, step: int) -> None:
        self.context.supernet.select(self.context.sample())

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float]:
        temperature = linear(step, 0, self.context.steps, *self.options.temperature)
        child, gates = self.draw(temperature)
        supernet = self.context.supernet
        supernet.select(child, {name: gate.to(self.context.device) for name, gate in gates.items()})
        supernet.train()
        with still_statistics(supernet):
            loss = self.context.task.loss(supernet, batch)
        return loss, float(loss.detach())

    def draw(self, temperature: float) -> tuple[Genotype, dict[str, Tensor]]:
        """A Gumbel-max sample with gates of value 1 that pass a gradient to every logit drawn from.

        A gate is `1 + (g - stop_gradient(g))`, with g the chosen option's softmax((log p + Gumbel noise) / temperature)
        (Jang et al., ICLR 2017).
        """
        choices: Choices = {}
        gates: dict[str, Tensor] = {}
        for variable, categorical in self.context.distribution.items():
            noisy = categorical.log_probabilities() + gumbel(categorical.logits.shape, self.context.generator)
            index = int(noisy.argmax())
            if variable.counts(choices):
                choices[variable.name] = index
                g = (noisy / temperature).softmax(dim=0)[index]
                gates[variable.name] = 1.0 + (g - g.detach())  # exactly 1.0, unlike (1 + g) - g
        return self.context.space.genotype(choices), gates

    def parameters(self) -> list[nn.Parameter]:
        return list(self.context.distribution.parameters())

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        return propose(self.context, settings)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
