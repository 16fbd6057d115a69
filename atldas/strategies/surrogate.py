"""A surrogate: zero-cost proxies of all children, short trainings of a few, a Gaussian process in between.

Proxies such as synflow say what a network could express: they order all children, but not the best ones. A short
training of a deep, narrow network says how well it trains: it tells the best ones apart, and little else. So a pool is
chosen by proxies; in the pool, a Gaussian process learns the metric after a short training from what the children
chose and from their proxies, and says whom to train next (an upper confidence bound, Srinivas et al., ICML 2010). A
child's estimate is the metric that the process expects of it, less the proxies' opinion in units of that metric's
spread. Children that compute the same function are one child, the cheapest of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le, MinLen
from torch import Tensor

from ..common.config import config, key_of
from ..common.forked import in_processes
from ..common.progress import progress
from ..cost_tables import parameter_tables
from ..evaluate import EvaluationConfig
from ..gaussian_process import GaussianProcess
from ..genotype import Genotype
from ..halving import Candidate
from ..proxies import PROXIES, Newborns
from ..strategy import Context
from .unlearned import Unlearned


@config
class SurrogateOptions:
    """Options of the strategy.

    Attributes:
        proxies: a name in `proxies.PROXIES` -> the weight of its standard score.
        proxy_task_options: what differs from `task_options` where proxies are computed: a small network will do.
        scored: how many children; all of a space that has no more, else as many uniform ones.
        pool_share: the share of them, the best by proxies, that is searched.
        initial: how many random children of the pool are trained first.
        rounds, per_round: then how often, and how many at a time, the most promising ones.
        exploration: how many deviations of its estimate a child is given on credit.
        finalists, repeats: how many of the best are trained again and again, each time with other weights and batches.
        weight: of the metric against the proxies.
    """

    proxies: Annotated[dict[Annotated[str, key_of(PROXIES)], float], MinLen(1)]
    proxy_task_options: dict[str, Any]
    scored: Annotated[int, Ge(2)] = 20_000
    pool_share: Annotated[float, Gt(0), Le(1)] = 0.25
    initial: Annotated[int, Ge(2)] = 64
    rounds: Annotated[int, Ge(0)] = 4
    per_round: Annotated[int, Ge(1)] = 32
    exploration: Annotated[float, Ge(0)] = 1.0
    finalists: Annotated[int, Ge(1)] = 24
    repeats: Annotated[int, Ge(0)] = 4
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
            self._spread = float(torch.tensor([value for _, _, value in self._measured]).std().clamp(min=1e-9))
            for _ in range(options.rounds):
                known = {child for child, _, _ in self._measured}
                estimate, deviation = self._estimates()
                order = (estimate + options.exploration * deviation).argsort(descending=True).tolist()
                self._measure([child for child in order if child not in known][: options.per_round], 0, bar)
            for repeat in range(1, options.repeats + 1):
                self._measure(self._best(), repeat, bar)
        return iter([Candidate(self.pool[child], f"pool of {count}") for child in self._best()])

    def estimate(self, child: Genotype) -> float:
        """The metric that is expected of a child of the pool, less what the proxies think of it."""
        return self._sign * float(self._estimates()[0][self.pool.index(child)])

    def _best(self) -> list[int]:
        return self._estimates()[0].argsort(descending=True)[: self.options.finalists].tolist()

    def _measure(self, children: list[int], repeat: int, bar: Any) -> None:
        values = self.context.judge_all([self.pool[child] for child in children], repeat)
        self._measured += [(child, repeat, self._sign * v) for child, v in zip(children, values, strict=True)]
        self._fitted = self._process.fit(*zip(*self._measured, strict=True))
        bar.update(len(children))

    def _estimates(self) -> tuple[Tensor, Tensor]:
        """(mean, deviation) of every child of the pool, larger is better."""
        mean, deviation = self._process.predict()
        return mean + self._opinion * self._spread / self.options.weight, deviation

    def _make_pool(self) -> None:
        """The children that are searched, their proxies' opinion, and the process over them."""
        children = self._different(self._to_score())
        scores = self._scores(children)
        best = self._opinions(scores).argsort(descending=True)[: max(2, round(self.options.pool_share * len(children)))]
        self.pool, scores = [children[i] for i in best.tolist()], scores[best]
        self._opinion = self._opinions(scores)
        choices = torch.stack([self.context.distribution.one_hot(child) for child in self.pool])
        self._process = GaussianProcess(choices, scores)

    def _scores(self, children: list[Genotype]) -> Tensor:
        """Every proxy of every child, float64 [children, proxies]; what is not finite counts as the lowest that is."""
        context, names = self.context, list(self.options.proxies)
        seed = int(torch.randint(2**31, (), generator=context.generator))
        born = Newborns(context.make_task(self.options.proxy_task_options), context.device, context.macs, seed)

        def all_proxies(child: Genotype) -> list[float]:
            return [PROXIES[name](born, child) for name in names]

        rows = []
        with progress(len(children), "score", "child") as bar:
            for row in in_processes(all_proxies, children, context.jobs):
                rows.append(row)
                bar.update()
        scores = torch.tensor(rows, dtype=torch.float64)
        lowest = torch.where(scores.isfinite(), scores, torch.inf).amin(dim=0)
        return torch.where(scores.isfinite(), scores, lowest)

    def _opinions(self, scores: Tensor) -> Tensor:
        standard = (scores - scores.mean(dim=0)) / scores.std(dim=0).clamp(min=1e-9)
        return standard @ torch.tensor(list(self.options.proxies.values()), dtype=torch.float64)

    def _different(self, children: list[Genotype]) -> list[Genotype]:
        """The cheapest child of each function, the first among equals."""
        parameters, context = parameter_tables(self.context.supernet), self.context
        identity = getattr(context.task, "identity", lambda child: child)
        found: dict[Hashable, Genotype] = {}
        for child in sorted(children, key=lambda child: (parameters.of(child), context.macs.of(child))):
            found.setdefault(identity(child), child)
        return list(found.values())

    def _to_score(self) -> list[Genotype]:
        context, count = self.context, self.options.scored
        if context.space.size() <= count:
            return [child for child in context.space.enumerate() if context.allows(child)]
        return list(dict.fromkeys(context.samples(count, uniform=True)))
