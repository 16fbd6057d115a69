"""Regularised evolution (Real et al., AAAI 2019): the oldest of a population dies, the best of a sample has a child.

Weights, if there are weight steps, are trained without a preference; evolution begins when they are done and judges
by the first rung's oracle. What was judged is kept in the run's archive: an interrupted evolution repeats its own
steps from there, to the same children.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from ..common.config import MOST, config
from ..common.progress import progress
from ..evaluate import EvaluationConfig
from ..genotype import Genotype
from ..halving import Candidate, badness
from ..samplers import TRAINING_SAMPLERS
from ..strategy import Context


@config
class EvolutionOptions:
    """Options of the strategy.

    Attributes:
        sampler: whose weights are trained.
        population: how many are alive; the first ones are uniform.
        sample: how many of them compete for having a child.
        cycles: how many children are born.
    """

    sampler: Literal["uniform", "strict_fairness"] = "uniform"
    population: Annotated[int, Ge(2), MOST] = 25
    sample: Annotated[int, Ge(1), MOST] = 5
    cycles: Annotated[int, Ge(0), MOST] = 75


class Evolution:
    """See the module; fulfils `Strategy`."""

    Options = EvolutionOptions

    def __init__(self, options: EvolutionOptions, context: Context) -> None:
        self.options, self.context = options, context
        self.sampler = TRAINING_SAMPLERS[options.sampler](context.distribution, context.generator)

    def select_for_training(self, step: int) -> None:
        self.context.supernet.select(self.sampler.child(self.context.sample, 1.0))

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float] | None:
        return None

    def parameters(self) -> list[nn.Parameter]:
        return []

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        """All children that ever lived, the best first."""
        options, larger = self.options, self.context.task.larger_is_better
        population: deque[tuple[float, Candidate]] = deque(maxlen=options.population)  # the oldest leave by themselves
        history: list[tuple[float, Candidate]] = []
        total = options.population + options.cycles
        with progress(total, "evolve", "child") as bar:
            for number in range(total):
                if number < options.population:
                    candidate = Candidate(self.context.sample(uniform=True), "first population")
                else:
                    chosen = self._random(options.population, options.sample)
                    _, parent = min((population[i] for i in chosen), key=lambda lived: badness(lived[0], larger))
                    candidate = Candidate(self.mutant(parent.child), f"cycle {number - options.population + 1}")
                lived = (self.context.judge(candidate.child), candidate)
                population.append(lived)
                history.append(lived)
                bar.update()
        history.sort(key=lambda lived: badness(lived[0], larger))
        return (candidate for _, candidate in history)

    def mutant(self, parent: Genotype) -> Genotype:
        """A random child that differs in one choice and is within the budget; without one, the parent."""
        neighbours = list(self.context.space.neighbours(parent))
        order = torch.randperm(len(neighbours), generator=self.context.generator).tolist()
        return next((neighbours[i] for i in order if self.context.allows(neighbours[i])), parent)

    def _random(self, below: int, count: int) -> list[int]:
        indexes: list[int] = torch.randint(below, (count,), generator=self.context.generator).tolist()
        return indexes

    def state_dict(self) -> dict[str, Any]:
        return {"sampler": self.sampler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sampler.load_state_dict(state["sampler"])
