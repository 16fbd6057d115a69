"""Training one network of any task from scratch: SGD with momentum, a cosine, clipped gradients."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import nn

from .common.config import config
from .common.errors import UserError
from .common.schedule import warm_up_cosine
from .task import Task


@config
class SgdConfig:
    """SGD with momentum; the learning rate follows a cosine from `lr` to `lr_end` after `warm_up` steps."""

    lr: Annotated[float, Gt(0)] = 0.025
    lr_end: Annotated[float, Ge(0)] = 0.001
    warm_up: Annotated[int, Ge(0)] = 0
    momentum: Annotated[float, Ge(0), Le(1)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 3e-4
    nesterov: bool = False
    max_grad_norm: Annotated[float, Gt(0)] = 5.0


class Sgd:
    """The optimizer of a network's weights and its schedule."""

    def __init__(self, network: nn.Module, settings: SgdConfig, steps: int) -> None:
        self.network, self.settings, self.steps = network, settings, steps
        self.optimizer = torch.optim.SGD(
            network.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
        )  # fmt: skip

    def lr(self, step: int) -> float:
        """The learning rate of a step."""
        return warm_up_cosine(step, self.steps, self.settings.lr, self.settings.lr_end, self.settings.warm_up)

    def step(self, task: Task, batch: Any, step: int) -> float:
        """Move the weights by one batch; returns the loss.

        Raises:
            NotFiniteError: the loss or its gradient is not finite; no weight has moved then.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step)
        loss = task.loss(self.network, batch)
        self.optimizer.zero_grad(set_to_none=True)  # None, so that operations that were not drawn are left alone
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.max_grad_norm)
        require_finite(step, loss=float(loss.detach()), gradient=float(norm))
        self.optimizer.step()
        return float(loss.detach())


class NotFiniteError(UserError):
    """A loss or a gradient is not a finite number."""


def require_finite(step: int, **values: float) -> None:
    """Before an optimizer's step, so that no weight and no checkpoint is ever spoilt.

    Raises:
        NotFiniteError: one of the values is not finite.
    """
    for what, value in values.items():
        if not math.isfinite(value):
            raise NotFiniteError(
                f"the {what} is not finite at step {step}; lower the learning rate or max_grad_norm and begin again"
            )
