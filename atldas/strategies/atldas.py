"""ATLDAS: one independent child trains its weights, K others are judged on one held-out batch and move the logits.

Losses are counted in units of their spread among children judged on one batch, and plain SGD moves the logits. Adam
would make every gradient as large as any other: noise that the regression remembers for long would move the logits as
far as knowledge does. With shuffled losses the entropy then falls to half of uniform's and below, with SGD it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from ..common.config import MOST, config, key_of
from ..common.schedule import linear
from ..estimators import Regression, leave_one_out
from ..evaluate import EvaluationConfig, propose
from ..halving import Candidate
from ..judging import judge
from ..proxies import Weights, opinions, scores
from ..samplers import TRAINING_SAMPLERS
from ..strategy import Context

Share = Annotated[float, Ge(0), Le(1)]


@config
class AtldasOptions:
    """Options of the strategy.

    Attributes:
        sampler: whose weights are trained, one of `samplers.TRAINING_SAMPLERS`.
        uniform_steps: steps in which every child is drawn uniformly.
        uniform_share: the share of uniform draws left at the last step, reached straight from 1.
        children: how many are judged on one held-out batch (K).
        estimator: `leave_one_out`, the score function; or `regression` over all children judged of late.
        memory: how many judged children the regression keeps; it is used once it has a quarter of them.
        ridge, pairs: of the regression, see `estimators.Regression`.
        macs_weight: how much the objective counts expected MACs: what a uniform child's are worth, in spreads.
        entropy_floor: while the entropy is under this share of a uniform distribution's, it is pushed up.
        warm_start: how many uniform children zero-cost proxies score at first; what the scores say of options is part
            of the objective, with a weight that falls from 1 to 0. 0: no warm start.
        warm_start_steps: the step at which that weight is 0.
        proxies: a name in `proxies.PROXIES` -> the weight of its standard score, for the warm start.
        shuffle_losses: a control: judged losses are dealt to the wrong children, so that nothing can be learned.
    """

    sampler: Annotated[str, key_of(TRAINING_SAMPLERS)] = "mixed"
    uniform_steps: Annotated[int, Ge(0)] = 0
    uniform_share: Share = 0.2
    children: Annotated[int, Ge(2), MOST] = 4
    estimator: Literal["leave_one_out", "regression"] = "regression"
    memory: Annotated[int, Ge(8), MOST] = 800
    ridge: Annotated[float, Ge(0)] = 1.0
    pairs: bool = False
    macs_weight: Annotated[float, Ge(0)] = 0.0
    entropy_floor: Share = 0.0
    warm_start: Annotated[int, Ge(0), MOST] = 0
    warm_start_steps: Annotated[int, Ge(1)] = 1000
    proxies: Weights = field(default_factory=lambda: {"synflow": 1.0, "naswot_share": 1.0})
    shuffle_losses: bool = False

    def __post_init__(self) -> None:
        if self.warm_start == 1:
            raise ValueError("a warm_start of 0, or of 2 or more children that can be compared")


class Atldas:
    """See the module; fulfils `Strategy`."""

    Options = AtldasOptions
    optimizer = "sgd"

    def __init__(self, options: AtldasOptions, context: Context) -> None:
        self.options, self.context = options, context
        self.sampler = TRAINING_SAMPLERS[options.sampler](context.distribution, context.generator)
        self.regression = Regression(context.distribution, options.memory, options.ridge, options.pairs)
        with torch.no_grad():
            self.uniform_entropy = float(context.distribution.entropy())
            self.uniform_macs = float(context.macs.expected(context.distribution))
        self.prior = Regression(context.distribution, options.warm_start, options.ridge, options.pairs)

    def select_for_training(self, step: int) -> None:
        options = self.options
        if options.warm_start and not len(self.prior):  # not when made: a resumed search has them in its state
            self._score_children()
        share = linear(step, options.uniform_steps, self.context.steps, 1.0, options.uniform_share)
        self.context.supernet.select(self.sampler.child(self.context.sample, share))

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float]:
        context = self.context
        children = context.samples(self.options.children)
        losses = judge(context.supernet, context.task, children, batch)  # [K]
        if self.options.shuffle_losses:
            losses = losses[torch.randperm(len(losses), generator=context.generator)]
        choices = [context.space.choices_of(child) for child in children]
        self.regression.add(choices, losses.tolist())
        spread = max(self.regression.spread(), torch.finfo(torch.float32).tiny)
        if self.options.estimator == "regression" and len(self.regression) >= self.options.memory // 4:
            objective = self.regression.expected()
        else:
            objective = leave_one_out(context.distribution, choices, losses)
        return objective / spread + self._prior(step) + self._penalties(), float(losses.mean())

    def _score_children(self) -> None:
        """The warm start: proxies' opinions, the larger the better, as if they were losses."""
        context, options = self.context, self.options
        born = context.newborns()
        children = context.samples(options.warm_start, uniform=True)
        losses = -opinions(scores(born, children, options.proxies, context.jobs), options.proxies.values())
        self.prior.add([context.space.choices_of(child) for child in children], losses.tolist())

    def _prior(self, step: int) -> Tensor:
        """The expected opinion of the proxies, in spreads, while the warm start lasts."""
        weight = linear(step, 0, self.options.warm_start_steps, 1.0, 0.0)
        if not (len(self.prior) and weight):
            return torch.zeros(())
        return weight * self.prior.expected() / max(self.prior.spread(), torch.finfo(torch.float32).tiny)

    def _penalties(self) -> Tensor:
        total = torch.zeros(())
        if self.options.macs_weight:
            expected = self.context.macs.expected(self.context.distribution)
            total = total + self.options.macs_weight * expected / self.uniform_macs
        if self.options.entropy_floor:
            entropy = self.context.distribution.entropy()
            total = total + (self.options.entropy_floor * self.uniform_entropy - entropy).clamp(min=0.0)
        return total

    def parameters(self) -> list[nn.Parameter]:
        return list(self.context.distribution.parameters())

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        return propose(self.context, settings)

    def state_dict(self) -> dict[str, Any]:
        prior = self.prior.state_dict()
        return {"sampler": self.sampler.state_dict(), "regression": self.regression.state_dict(), "prior": prior}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sampler.load_state_dict(state["sampler"])
        self.regression.load_state_dict(state["regression"])
        self.prior.load_state_dict(state["prior"])
