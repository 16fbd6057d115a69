"""From judged children to the gradient of the expected loss: what moves the logits.

Every estimator gives an *objective*: a scalar whose gradient with respect to the logits estimates that of the
expected loss of a child drawn from the distribution.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .distribution import Distribution, Factor
from .space import Space
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
    a batch's own difficulty, and the weights' progress, cancel. The fit is a sum of factors, whose expectation under
    the distribution is exact: the same gradient as the score function's, with far less variance.

    Args:
        space: whose variables are the regressors.
        memory: how many judged children are kept, the last ones.
        ridge: the penalty on main effects, in units of one judged child; pairs are penalised `pair_ridge` times more.
        pairs: whether pairs of variables are regressors too.
    """

    def __init__(self, space: Space, memory: int, ridge: float, pairs: bool, pair_ridge: float = 4.0) -> None:
        self.space = space
        self.ridge, self.pair_ridge = ridge, pair_ridge
        self.groups: deque[tuple[list[Choices], list[float]]] = deque()  # children judged on one batch, and losses
        self._rows: deque[tuple[Tensor, Tensor]] = deque()  # the same centred: [children, effects], [children]
        self.memory = memory
        variables = [variable for variable in space.variables if len(variable.options) > 1]
        self.scopes: list[tuple[str, ...]] = [(variable.name,) for variable in variables]
        if pairs:
            self.scopes += [(a.name, b.name) for a, b in itertools.combinations(variables, 2)]
        self._offsets: dict[tuple[str, ...], int] = {}
        self._shapes = {scope: [len(space.variable(name).options) for name in scope] for scope in self.scopes}
        self.size = 0
        for scope in self.scopes:
            self._offsets[scope] = self.size
            self.size += torch.Size(self._shapes[scope]).numel()

    def __len__(self) -> int:
        return sum(len(losses) for _, losses in self.groups)

    def add(self, children: Sequence[Choices], losses: Sequence[float]) -> None:
        """Remember children judged on one batch; forget the oldest beyond `memory`."""
        self.groups.append((list(children), list(losses)))
        features = torch.stack([self._features(child) for child in children])
        values = torch.tensor(losses, dtype=torch.float64)
        self._rows.append((features - features.mean(dim=0), values - values.mean()))
        while len(self) > self.memory and len(self.groups) > 1:
            self.groups.popleft()
            self._rows.popleft()

    def spread(self) -> float:
        """The standard deviation of losses among children judged on one batch."""
        squares = sum(float(values.square().sum()) for _, values in self._rows)
        return math.sqrt(squares / max(1, len(self) - len(self.groups)))

    def factors(self) -> list[Factor]:
        """The fitted effects as tables: what a child's loss is, up to a constant.

        Solved in the dual form, over judged children, when there are fewer of them than effects.
        """
        x, y = (torch.cat(parts) for parts in zip(*self._rows, strict=True))
        penalty = torch.full((self.size,), self.ridge, dtype=torch.float64)
        for scope in self.scopes:
            if len(scope) == 2:
                start = self._offsets[scope]
                penalty[start : start + torch.Size(self._shapes[scope]).numel()] *= self.pair_ridge
        scaled = x / penalty  # [children, effects]
        if len(x) < self.size:
            gram = scaled @ x.T + torch.eye(len(x), dtype=torch.float64)
            effects = scaled.T @ torch.linalg.solve(gram, y)
        else:
            effects = torch.linalg.solve(x.T @ x + penalty.diag(), x.T @ y)
        return [
            Factor(
                scope,
                effects[self._offsets[scope] :][: torch.Size(self._shapes[scope]).numel()].view(*self._shapes[scope]),
            )
            for scope in self.scopes
        ]

    def _features(self, child: Choices) -> Tensor:
        """One-hot over the effects, float64 [size]; a pair is there if both of its variables count."""
        features = torch.zeros(self.size, dtype=torch.float64)
        for scope in self.scopes:
            if all(name in child for name in scope):
                index = 0
                for name, options in zip(scope, self._shapes[scope], strict=True):
                    index = index * options + child[name]
                features[self._offsets[scope] + index] = 1.0
        return features

    def state_dict(self) -> dict[str, Any]:
        return {"groups": [(children, losses) for children, losses in self.groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.groups.clear()
        self._rows.clear()
        for children, losses in state["groups"]:
            self.add(children, losses)
