"""From judged children to the gradient of the expected loss: what moves the logits.

Every estimator gives an *objective*: a scalar whose gradient with respect to the logits estimates that of the
expected loss of a child drawn from the distribution.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .distribution import Distribution
from .variables import Choices


def leave_one_out(distribution: Distribution, children: Sequence[Choices], losses: Tensor) -> Tensor:
    """The score function, each child judged against the mean of the others (Kool et al., ICLR 2019 workshop).

    Unbiased for children drawn from the distribution, or from it within a budget: the weights add up to 0, so the
    gradient of the budget's normalising constant cancels.

    Args:
        children: K of them, judged on the same batch; K is 2 or more.
        losses: float [K], without gradient.
    """
    advantage = (losses - losses.mean()) * len(losses) / (len(losses) - 1)  # [K], against the mean of the other K - 1
    log_p = torch.stack([distribution.log_prob(child) for child in children])
    return (advantage.detach() * log_p).mean()


class Regression:
    """A ridge regression of judged losses on what the children chose: main effects, then pairs.

    Children judged on the same batch are compared with each other alone: both sides are centred within the batch, so
    a batch's own difficulty, and the weights' progress, cancel. The expectation of the fit under the distribution is
    exact: the same gradient as the score function's, with far less variance.

    Args:
        distribution: whose variables are the regressors.
        memory: how many judged children are kept, the last ones.
        ridge: the penalty on main effects, in units of one judged child; pairs are penalised `pair_ridge` times more.
        pairs: whether pairs of options of different variables are regressors too.
    """

    def __init__(
        self, distribution: Distribution, memory: int, ridge: float, pairs: bool, pair_ridge: float = 4.0
    ) -> None:
        self.distribution = distribution
        self.memory, self.ridge, self.pairs, self.pair_ridge = memory, ridge, pairs, pair_ridge
        self.groups: deque[tuple[list[Choices], list[float]]] = deque()  # children judged on one batch, and losses
        self._features: deque[Tensor] = deque()  # of each group, float64 [children, all options]

    def __len__(self) -> int:
        return sum(len(losses) for _, losses in self.groups)

    def add(self, children: Sequence[Choices], losses: Sequence[float]) -> None:
        """Remember children judged on one batch; forget the oldest beyond `memory`."""
        self.groups.append((list(children), list(losses)))
        self._features.append(torch.stack([self.distribution.one_hot(child) for child in children]))
        while len(self) > self.memory and len(self.groups) > 1:
            self.groups.popleft()
            self._features.popleft()

    def spread(self) -> float:
        """The standard deviation of losses among children judged on one batch."""
        squares = sum((loss - sum(losses) / len(losses)) ** 2 for _, losses in self.groups for loss in losses)
        return math.sqrt(squares / max(1, len(self) - len(self.groups)))

    def expected(self) -> Tensor:
        """The expectation of the fitted loss under the distribution, up to a constant; a scalar with gradient."""
        main, pairs = self.effects()
        one, two = self.distribution.marginals()
        return main @ one if pairs is None else main @ one + (pairs * two).sum() / 2

    def effects(self) -> tuple[Tensor, Tensor | None]:
        """The fitted effects of options, float64 [all options], and of pairs, [all options, all options], symmetric.

        Main effects alone are solved for as such. With pairs, which may be tens of thousands, the dual form over the
        judged children is solved: two children that agree in s options agree in s (s - 1) / 2 pairs.
        """
        x = torch.cat(list(self._features))  # [children, all options]
        y = torch.tensor([loss for _, losses in self.groups for loss in losses], dtype=torch.float64)
        sizes = [len(losses) for _, losses in self.groups]
        y = _centred(y, sizes)
        if not self.pairs:
            x = _centred(x, sizes)
            gram = x.T @ x + self.ridge * torch.eye(x.shape[1], dtype=torch.float64)
            return torch.linalg.solve(gram, x.T @ y), None
        agreeing = x @ x.T
        gram = agreeing / self.ridge + agreeing * (agreeing - 1) / (2 * self.ridge * self.pair_ridge)
        gram = _centred(_centred(gram, sizes).T.contiguous(), sizes) + torch.eye(len(x), dtype=torch.float64)
        weights = _centred(torch.cholesky_solve(y[:, None], torch.linalg.cholesky(gram))[:, 0], sizes)  # [children]
        pairs = (x * weights[:, None]).T @ x / (self.ridge * self.pair_ridge)
        return x.T @ weights / self.ridge, pairs.masked_fill(self._same_variable(), 0.0)

    def _same_variable(self) -> Tensor:
        """bool [all options, all options]."""
        sizes = torch.tensor([len(variable.options) for variable in self.distribution.space.variables])
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)
        return owner[:, None] == owner

    def state_dict(self) -> dict[str, Any]:
        return {"groups": [(children, losses) for children, losses in self.groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.groups.clear()
        self._features.clear()
        for children, losses in state["groups"]:
            self.add(children, losses)


def _centred(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Values [children, ...] less their mean within each group; groups of these sizes follow each other."""
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))  # [children]
    sums = values.new_zeros(len(sizes), *values.shape[1:]).index_add(0, group, values)
    means = sums / values.new_tensor(sizes).view(-1, *[1] * (values.dim() - 1))
    return values - means[group]
