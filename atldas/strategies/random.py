"""Random search with shared weights (Li and Talwalkar, UAI 2019): uniform training, uniform proposals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor, nn

from ..common.config import config
from ..evaluate import EvaluationConfig
from ..halving import Candidate
from ..strategy import Context


@config
class RandomOptions:
    """`children`: how many are proposed. Without weight steps, and with a rung of short training: random-k."""

    children: Annotated[int, Ge(1)] = 50


class Random:
    """See the module; fulfils `Strategy`."""

    Options = RandomOptions

    def __init__(self, options: RandomOptions, context: Context) -> None:
        self.options, self.context = options, context

    def select_for_training(self, step: int) -> None:
        self.context.supernet.select(self.context.sample(uniform=True))

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float] | None:
        return None

    def parameters(self) -> list[nn.Parameter]:
        return []

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        return (Candidate(self.context.sample(uniform=True), "random") for _ in range(self.options.children))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
