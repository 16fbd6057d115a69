"""Which child trains its weights in a step. A sampler is one class and one line in a dict.

All draw with an explicit CPU generator and keep their state in `state_dict`, so that a search is reproducible and
resumable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from .distribution import Distribution
from .genotype import Genotype
from .variables import Choices

Draw = Callable[[bool], Genotype]  # (uniform) -> a child, within the budget if the search has one


class TrainingSampler(Protocol):
    """What a strategy asks for the child of a weight step."""

    def child(self, draw: Draw, uniform_share: float) -> Genotype:
        """The child to train; `uniform_share` in 0..1 decays as the search goes on."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Uniform:
    """Every allowed option equally often, whatever was learned."""

    def __init__(self, distribution: Distribution, generator: torch.Generator) -> None:
        self.distribution, self.generator = distribution, generator

    def child(self, draw: Draw, uniform_share: float) -> Genotype:
        return draw(True)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Mixed(Uniform):
    """From the distribution, with probability `uniform_share` uniform instead."""

    def child(self, draw: Draw, uniform_share: float) -> Genotype:
        return draw(bool(torch.rand((), generator=self.generator) < uniform_share))


class StrictFairness(Uniform):
    """Each option of a variable once per round, in random order (Chu et al., FairNAS, ICCV 2021).

    A round of a variable has as many steps as options are left to it: what pruning removed has no turn. A variable that
    does not count in a step keeps its place in its round. A budget plays no part: fairness would be lost.
    """

    def __init__(self, distribution: Distribution, generator: torch.Generator) -> None:
        super().__init__(distribution, generator)
        self.left: dict[str, list[int]] = {}  # variable -> the options still to come in its round

    def child(self, draw: Draw, uniform_share: float) -> Genotype:
        choices: Choices = {}
        for variable, categorical in self.distribution.items():
            if variable.counts(choices):
                allowed = categorical.allowed.nonzero().flatten()  # indexes of the options left
                left = [index for index in self.left.get(variable.name, []) if categorical.allowed[index]]
                left = left or allowed[torch.randperm(len(allowed), generator=self.generator)].tolist()
                choices[variable.name] = left.pop()
                self.left[variable.name] = left
        return self.distribution.space.genotype(choices)

    def state_dict(self) -> dict[str, Any]:
        return {"left": {name: list(options) for name, options in self.left.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.left = {name: list(options) for name, options in state["left"].items()}


TRAINING_SAMPLERS: dict[str, Callable[[Distribution, torch.Generator], TrainingSampler]] = {
    "uniform": Uniform,
    "mixed": Mixed,
    "strict_fairness": StrictFairness,
}
