"""Random search with shared weights (Li and Talwalkar, UAI 2019): uniform training, uniform proposals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge

from ..common.config import MOST, config
from ..evaluate import EvaluationConfig
from ..halving import Candidate
from .unlearned import Unlearned


@config
class RandomOptions:
    """`children`: how many are proposed. Without weight steps, and with a rung of short training: random-k."""

    children: Annotated[int, Ge(1), MOST] = 50


class Random(Unlearned):
    """See the module; fulfils `Strategy`."""

    Options = RandomOptions

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        return (Candidate(self.context.sample(uniform=True), "random") for _ in range(self.options.children))
