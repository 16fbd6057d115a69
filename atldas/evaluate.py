"""The choice at the end of a search: which children are proposed, and by which oracles one of them is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Annotated

import torch
from annotated_types import Ge, Le, MinLen

from .common.config import MOST, config
from .common.errors import UserError
from .common.progress import progress
from .distribution import Distribution
from .halving import Archive, Candidate, Rung, halving, without_twins
from .oracles import InheritedConfig, Oracle, RungConfig
from .strategy import Context
from .task import Task

Count = Annotated[int, Ge(0), MOST]


@config
class EvaluationConfig:
    """What is measured at the end of a search.

    Attributes:
        most_probable: how many of the most probable children are proposed.
        neighbours: of how many of them all children that differ in one choice are proposed as well.
        samples: how many children are drawn from the distribution beside them.
        controls: how many learned and how many random children are measured beside, to say what was learned.
        rungs: oracles of rising fidelity; each measures what the one before kept.
        jobs: how many children are trained at a time, each in a process with one thread; 1 on a GPU.
    """

    most_probable: Count = 8
    neighbours: Count = 0
    samples: Count = 4
    controls: Count = 0
    rungs: Annotated[tuple[RungConfig, ...], MinLen(1)] = field(default_factory=lambda: (InheritedConfig(),))
    jobs: Annotated[int, Ge(1), Le(1024)] = 1


def propose(context: Context, settings: EvaluationConfig) -> Iterator[Candidate]:
    """The most probable children, their neighbours, then samples; within the budget, with repetitions."""
    probable = context.most_probable(settings.most_probable)
    for child in probable:
        yield Candidate(child, "probable")
    for number, child in enumerate(probable[: settings.neighbours], start=1):
        for other in context.space.neighbours(child):
            if context.allows(other):
                yield Candidate(other, f"neighbour of {number}")
    for _ in range(settings.samples):
        yield Candidate(context.sample(), "sampled")


def choose(
    proposed: Iterable[Candidate], rungs: list[Rung], task: Task, archive: Archive, jobs: int = 1
) -> list[Candidate]:
    """Measure proposed children rung by rung, without twins where the task tells them; all, best first.

    Raises:
        UserError: nothing was proposed.
    """
    identity = getattr(task, "identity", lambda child: child)
    candidates = without_twins(proposed, identity)
    if not candidates:
        raise UserError(
            "evaluation: expected one or more children from the strategy, got none; raise most_probable or samples"
        )
    total, left = 0, len(candidates)
    for rung in rungs:
        total, left = total + left, min(left, rung.keep)
    with progress(total, "evaluate", "child") as bar:
        return halving(candidates, rungs, task.larger_is_better, archive, bar.update, jobs)


def learnt(
    distribution: Distribution, generator: torch.Generator, count: int, oracle: Oracle, archive: Archive
) -> dict[str, list[float]]:
    """The metric of `count` children from the learned distribution, and of as many uniform ones.

    Neither is selected, so the two can be compared. A winner cannot: it is the best of many.
    """
    figures: dict[str, list[float]] = {"learned": [], "random": []}
    with progress(2 * count, "compare", "child") as bar:
        for kind, found in figures.items():
            children = [distribution.sample(generator, uniform=kind == "random") for _ in range(count)]
            found += archive.measure_all(oracle, children, progress=bar.update)
    return figures
