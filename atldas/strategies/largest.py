"""A control, largest-k: the k children of most parameters. What a method must beat to have found more than size."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Annotated

import torch
from annotated_types import Ge

from ..common.config import MOST, config
from ..cost_tables import parameter_tables
from ..evaluate import EvaluationConfig
from ..genotype import Genotype
from ..halving import Candidate
from ..strategy import Context
from .unlearned import Unlearned

ENUMERATED = 100_000  # spaces up to this size are gone through


@config
class LargestOptions:
    """`children`: how many are proposed."""

    children: Annotated[int, Ge(1), MOST] = 25


class Largest(Unlearned):
    """See the module; fulfils `Strategy`. Weight steps, if any, train uniform children."""

    Options = LargestOptions

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        """Within the budget; among equals, random ones."""
        parameters = parameter_tables(self.context.supernet).of

        def size(child: Genotype) -> tuple[float, float]:
            return parameters(child), float(torch.rand((), generator=self.context.generator))

        space, count = self.context.space, self.options.children
        if space.size() <= ENUMERATED:
            largest = heapq.nlargest(count, filter(self.context.allows, space.enumerate()), key=size)
        else:
            falling = filter(self.context.allows, _falling(self.context, size))
            largest = list(itertools.islice(falling, count))
        return (Candidate(child, "largest") for child in largest)


def _falling(context: Context, size: Callable[[Genotype], tuple[float, float]]) -> Iterator[Genotype]:
    """All children of a space by falling size.

    The largest child is found by climbing from neighbour to neighbour; then, of all neighbours of what was given so
    far, the largest comes next. That is exact where one choice at a time leads to the largest child without a loss,
    as it does for sums over choices and for products of widths.
    """
    top = context.sample(uniform=True)
    while size(higher := max((top, *context.space.neighbours(top)), key=lambda c: size(c)[0]))[0] > size(top)[0]:
        top = higher
    seen, numbers = {top}, itertools.count()
    heap = [(0.0, 0.0, next(numbers), top)]
    while heap:
        *_, child = heapq.heappop(heap)
        yield child
        for other in context.space.neighbours(child):
            if other not in seen:
                seen.add(other)
                parameters, tie = size(other)
                heapq.heappush(heap, (-parameters, tie, next(numbers), other))
