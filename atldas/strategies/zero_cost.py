"""Zero-cost proxies: children are scored at initialisation, by the mean of their ranks under several proxies.

Abdelfattah et al., ICLR 2021. Nothing is learned. With weight steps, which train uniform children, the best scored
ones can be judged with inherited weights; without, by short training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import AfterValidator

from ..common.config import MOST, config
from ..common.config_errors import suggestion
from ..evaluate import EvaluationConfig
from ..halving import Candidate
from ..proxies import PROXIES, mean_ranks, scores
from .unlearned import Unlearned


def _proxy(name: str) -> str:
    if name not in PROXIES:
        raise ValueError(f"one of {', '.join(PROXIES)}{suggestion(name, list(PROXIES))}")
    return name


@config
class ZeroCostOptions:
    """Options of the strategy.

    Attributes:
        proxies: names in `proxies.PROXIES`.
        scored: how many children; all of a space that has no more, else as many uniform ones.
        children: how many of them are proposed.
        batches: training batches for the proxies that look at data; `zico` needs two.
    """

    proxies: Annotated[tuple[Annotated[str, AfterValidator(_proxy)], ...], MinLen(1)] = ("synflow", "naswot")
    scored: Annotated[int, Ge(1), MOST] = 1000
    children: Annotated[int, Ge(1), MOST] = 10
    batches: Annotated[int, Ge(2), MOST] = 2


class ZeroCost(Unlearned):
    """See the module; fulfils `Strategy`."""

    Options = ZeroCostOptions

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        """The best scored children; an interrupted scoring is repeated, to the same bits."""
        children = self.context.all_or_samples(self.options.scored)
        born = self.context.newborns(batches=self.options.batches)
        found = scores(born, children, self.options.proxies, self.context.jobs)
        ranks = mean_ranks(found.T.tolist())
        best = sorted(range(len(children)), key=lambda i: -ranks[i])[: self.options.children]
        return (Candidate(children[i], f"proxies' mean rank {ranks[i]:.1f} of {len(children)}") for i in best)
