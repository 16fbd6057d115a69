"""A surrogate: zero-cost proxies of all children, short trainings of a few, a Gaussian process in between.

Proxies such as synflow say what a network could express: they order all children, but not the best ones. A short
training of a deep, narrow network says how well it trains: it tells the best ones apart, and little else. So a pool is
chosen by proxies; in the pool, a Gaussian process learns the metric after a short training from what the children
chose and from their proxies, and says whom to train next (an upper confidence bound, Srinivas et al., ICML 2010).
The metric that the process expects of a child is put together with dearer proxies by the logarithms of their ranks,
as in AZ-NAS (Lee and Ham, CVPR 2024, section 3.4): a child must be good at all of them, and to be outstanding at one is
no recompense for being poor at another. Children that compute the same function are one child, the cheapest of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import field
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from ..common.config import MOST, config
from ..common.progress import progress
from ..cost_tables import parameter_tables
from ..evaluate import EvaluationConfig
from ..gaussian_process import GaussianProcess
from ..genotype import Genotype
from ..halving import Candidate
from ..proxies import Weights, log_ranks, opinions, scores
from ..strategy import Context
from .unlearned import Unlearned


@config
class SurrogateOptions:
    """Options of the strategy.

    Attributes:
        pool_proxies: a name in `proxies.PROXIES` -> the weight of its standard score; they choose the pool.
        pool_task_options: what differs from `task_options` where those are computed: a small network will do.
        scored: how many children; all of a space that has no more, else as many uniform ones.
        pool_share: the share of them, the best by those proxies, that is searched.
        proxies: a name -> the weight of the logarithm of its rank in the pool: they are part of the estimate.
        proxy_seeds: the initial weights over which each of those is averaged.
        initial: how many random children of the pool are trained first.
        rounds, per_round: then how often, and how many at a time, the most promising ones.
        exploration: how many deviations of its estimate a child is given on credit.
        finalists, repeats: how many of the best are trained again and again, each time with other weights and batches.
        weight: of the logarithm of the metric's rank.
    """

    pool_proxies: Weights = field(default_factory=lambda: {"synflow": 1.0, "parameters": 0.5})
    pool_task_options: dict[str, Any] = field(default_factory=dict)
    scored: Annotated[int, Ge(2), MOST] = 20_000
    pool_share: Annotated[float, Gt(0), Le(1)] = 0.25
    proxies: Weights = field(default_factory=lambda: {"naswot_share": 1.0, "parameters": 1.0})
    proxy_seeds: Annotated[int, Ge(1), MOST] = 3
    initial: Annotated[int, Ge(2), MOST] = 64
    rounds: Annotated[int, Ge(0), MOST] = 4
    per_round: Annotated[int, Ge(1), MOST] = 32
    exploration: Annotated[float, Ge(0)] = 1.0
    finalists: Annotated[int, Ge(1), MOST] = 24
    repeats: Annotated[int, Ge(0), MOST] = 4
    weight: Annotated[float, Gt(0)] = 1.0


class Surrogate(Unlearned):
    """See the module; fulfils `Strategy`. Everything follows from the seed and the archive, so it can be resumed."""

    Options = SurrogateOptions

    def __init__(self, options: SurrogateOptions, context: Context) -> None:
        super().__init__(options, context)
        self._sign = 1.0 if context.task.larger_is_better else -1.0
        self._measured: list[tuple[int, int, float]] = []  # (child of the pool, repeat, larger is better)

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        """The finalists; with `estimate` as the last rung, the one that is expected to be best is chosen."""
        options = self.options
        self._make_pool()
        generator, count = self.context.generator, len(self.pool)
        total = options.initial + options.rounds * options.per_round + options.repeats * options.finalists
        with progress(min(total, count * (options.repeats + 1)), "train", "child") as bar:
            self._measure(torch.randperm(count, generator=generator)[: options.initial].tolist(), 0, bar)
            for _ in range(options.rounds):
                known = {child for child, _, _ in self._measured}
                order = self._estimates(options.exploration).argsort(descending=True).tolist()
                self._measure([child for child in order if child not in known][: options.per_round], 0, bar)
            for repeat in range(1, options.repeats + 1):
                self._measure(self._best(), repeat, bar)
        return iter([Candidate(self.pool[child], f"pool of {count}") for child in self._best()])

    def estimate(self, child: Genotype) -> float:
        """What is expected of a child of the pool by metric and proxies, without a unit; better as the metric is."""
        return self._sign * float(self._estimates()[self.pool.index(child)])

    def _best(self) -> list[int]:
        return self._estimates().argsort(descending=True)[: self.options.finalists].tolist()

    def _measure(self, children: list[int], repeat: int, bar: Any) -> None:
        values = self.context.judge_all([self.pool[child] for child in children], repeat, bar.update)
        self._measured += [(child, repeat, self._sign * v) for child, v in zip(children, values, strict=True)]
        self._mean, self._deviation = self._process.fit(*zip(*self._measured, strict=True)).predict()

    def _estimates(self, exploration: float = 0.0) -> Tensor:
        """Of every child of the pool, larger is better; the metric with `exploration` deviations on credit."""
        metric = (self._mean + exploration * self._deviation)[:, None]
        return log_ranks(metric, [self.options.weight]) + self._opinion

    def _make_pool(self) -> None:
        """The children that are searched, the dearer proxies' opinion of them, and the process over them."""
        context, options = self.context, self.options
        children = self._different(context.all_or_samples(options.scored))
        small = context.make_task(options.pool_task_options)
        cheap = scores(context.newborns(small), children, options.pool_proxies, context.jobs)
        best = opinions(cheap, options.pool_proxies.values()).argsort(descending=True)
        best = best[: max(2, round(options.pool_share * len(children)))]
        self.pool = [children[i] for i in best.tolist()]
        dear = [
            scores(context.newborns(), self.pool, options.proxies, context.jobs) for _ in range(options.proxy_seeds)
        ]
        self._opinion = log_ranks(torch.stack(dear).mean(dim=0), options.proxies.values())
        choices = torch.stack([context.distribution.one_hot(child) for child in self.pool])
        features = torch.stack([opinions(cheap[best], options.pool_proxies.values()), self._opinion], dim=1)
        self._process = GaussianProcess(choices, features)

    def _different(self, children: list[Genotype]) -> list[Genotype]:
        """The cheapest child of each function, the first among equals."""
        parameters, context = parameter_tables(self.context.supernet), self.context
        identity = getattr(context.task, "identity", lambda child: child)
        found: dict[Hashable, Genotype] = {}
        for child in sorted(children, key=lambda child: (parameters.of(child), context.macs.of(child))):
            found.setdefault(identity(child), child)
        return list(found.values())
