"""What every strategy is given: the space and its supernet, the task, a generator, costs, and the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from .budget import Budget
from .cost_tables import CostTables
from .distribution import Distribution
from .genotype import Genotype
from .halving import Candidate
from .proxies import Newborns
from .space import Space
from .supernet import Supernet
from .task import Task


@dataclass
class Context:
    """The search as a strategy sees it.

    Attributes:
        distribution: over the children; uniform for a strategy that does not learn it.
        generator: all random choices are drawn from it; it is part of the checkpoint.
        macs: multiply-adds of any child.
        judge_all: (children, repeat, progress) -> the task's metric of each by the first rung's oracle, kept in the
            run's archive. A repeat other than 0 has other initial weights and batches, which needs short training.
        make_task: (changes) -> the same task with other values of some of its options.
        jobs: how many processes may work at a time.
        budget: what no drawn or proposed child is over, if the search has one.
    """

    space: Space
    task: Task
    supernet: Supernet
    distribution: Distribution
    generator: torch.Generator
    macs: CostTables
    steps: int
    device: torch.device
    judge_all: Callable[[Sequence[Genotype], int, Callable[[], object]], list[float]]
    make_task: Callable[[Mapping[str, Any]], Task]
    jobs: int = 1
    budget: Budget | None = None

    def judge(self, child: Genotype) -> float:
        """The task's metric of one child, see `judge_all`."""
        return self.judge_all([child], 0, lambda: None)[0]

    def sample(self, uniform: bool = False) -> Genotype:
        """A child drawn from the distribution, or uniformly; within the budget."""
        return self.samples(1, uniform)[0]

    def samples(self, count: int, uniform: bool = False) -> list[Genotype]:
        """Children drawn independently, within the budget."""
        if self.budget:
            return self.budget.sample(self.distribution, self.generator, uniform, count)
        return [self.distribution.sample(self.generator, uniform) for _ in range(count)]

    def all_or_samples(self, count: int) -> list[Genotype]:
        """All children within the budget, or where the space has more than `count`, so many uniform ones, each once."""
        if self.space.size() <= count:
            return [child for child in self.space.enumerate() if self.allows(child)]
        return list(dict.fromkeys(self.samples(count, uniform=True)))

    def newborns(self, task: Task | None = None, batches: int = 2) -> Newborns:
        """What proxies look at, by this search's task or another, with initial weights of a seed drawn now."""
        seed = int(torch.randint(2**31, (), generator=self.generator))
        return Newborns(task or self.task, self.device, self.macs, seed, batches)

    def most_probable(self, n: int) -> list[Genotype]:
        """The n most probable children within the budget, best first."""
        if not n:
            return []
        found = self.budget.most_probable(self.distribution, n) if self.budget else self.distribution.most_probable(n)
        return [child for _, child in found]

    def allows(self, child: Genotype) -> bool:
        """Whether a child is within the budget and made of options that pruning has left."""
        choices = self.space.choices_of(child)
        if not all(self.distribution[name].allowed[index] for name, index in choices.items()):
            return False
        return self.budget is None or self.budget.allows(child)


class Strategy(Protocol):
    """How a search learns. The loop owns data, the weights' optimizer, checkpoints, the log and the final choice.

    A strategy is one class and one line in `STRATEGIES`, or is named by `package.module:Class` in the experiment.
    It may also have `optimizer`: what moves `parameters()`, `adam` (without it) or `sgd`; and `estimate(child)`, for
    the rung `{oracle: estimate}`: the metric it expects of a proposed child, from all it knows.
    """

    Options: ClassVar[type]  # a `config` class, filled from the experiment's `strategy_options`

    def __init__(self, options: Any, context: Context) -> None: ...

    def select_for_training(self, step: int) -> None:
        """Make the supernet run what this step trains."""
        ...

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float] | None:
        """Judge children on a held-out batch.

        Returns:
            A scalar to be minimised over `parameters()`, and the mean judged loss; None if nothing is learned.
        """
        ...

    def parameters(self) -> list[nn.Parameter]:
        """What the loop's second optimizer moves; none if nothing is learned."""
        ...

    def propose(self, settings: Any) -> Iterator[Candidate]:
        """The children among which the final choice is made, the most promising first."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that `context` does not hold."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
