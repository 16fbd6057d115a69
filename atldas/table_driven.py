"""Strategies driven by a benchmark's table: what training would say is looked up, and a search takes a second.

A strategy is the same class that a search runs. It is given a context in which judging a child, by `judge` or by the
task's loss, is a look-up. What it sees is one column (validation accuracy after few epochs), what is reported another
(test accuracy after many). An architecture counts as one *query*, however often it is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .budget import Budget, unit_tables
from .builder import Builder, Factory, Named
from .common.config import from_dict
from .distribution import Distribution
from .evaluate import EvaluationConfig
from .genotype import Genotype
from .nasbench201 import CONVOLUTION_UNITS, Nasbench201Network
from .space import Space
from .strategies import STRATEGIES
from .strategy import Context, Strategy
from .supernet import Supernet
from .tables import MACRO_LAYERS, MACRO_OPTIONS, Table, table_code
from .task import Task

CPU = torch.device("cpu")


class Driven(NamedTuple):
    """How a strategy is driven: its options for so many queries, and SGD's learning rate for what it learns.

    The rate of `atldas` is the best of 0.3, 1 and 3 on NAS-Bench-201, seeds 100 to 103; nothing else is tuned.
    """

    options: Callable[[int], dict[str, Any]]
    lr: float = 0.0


# Those that need images, or gradients through the loss, cannot be driven by a table.
DRIVEN: dict[str, Driven] = {
    "random": Driven(lambda queries: {"children": 20 * queries}),
    "evolution": Driven(lambda queries: {"cycles": 20 * queries}),
    "largest": Driven(lambda queries: {"children": queries}),
    "atldas": Driven(lambda queries: {"children": 4, "memory": 800}, lr=1.0),
}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark whose table is known.

    Attributes:
        space: its name among the shipped spaces.
        judged, reported: the columns that a strategy sees, and that the curves show, if no others are named.
        build: the network around the choices.
        strategies: those that can be driven by it.
    """

    space: str
    judged: str
    reported: str
    build: Callable[[Builder], nn.Module]
    strategies: tuple[str, ...]


class MacroChoices(nn.Module):
    """Only asks for NAS-Bench-Macro's choices: its networks are not built, its table speaks for them."""

    def __init__(self, builder: Builder) -> None:
        super().__init__()
        options: dict[Named, Factory] = dict.fromkeys(MACRO_OPTIONS, nn.Identity)
        self.layers = nn.ModuleList(builder.choice(layer, options) for layer in MACRO_LAYERS)


BENCHMARKS: dict[str, Benchmark] = {
    "nasbench201": Benchmark("nasbench201", "c10_val12", "c10_test200", Nasbench201Network, tuple(DRIVEN)),
    # Nothing is known here of a child's size.
    "nasbench_macro": Benchmark(
        "nasbench_macro", "test_acc_0", "mean_acc", MacroChoices, tuple(name for name in DRIVEN if name != "largest")
    ),
}


class OutOfQueriesError(Exception):
    """The strategy asked for one more architecture than it may."""


class TableOracle:
    """Answers from a table, up to a number of architectures.

    Attributes:
        asked: code -> the judged figure, in the order of the queries.
    """

    def __init__(self, table: Table, queries: int, purpose: str) -> None:
        self.table, self.queries, self.purpose = table, queries, purpose
        self.asked: dict[str, float] = {}

    def judge(self, child: Genotype) -> float:
        """The judged figure of a child.

        Raises:
            OutOfQueriesError: there is no query left.
        """
        code = table_code(child)
        if code not in self.asked:
            if len(self.asked) == self.queries:
                raise OutOfQueriesError
            self.asked[code] = self.table.look_up(code, self.purpose)
        return self.asked[code]

    def judge_all(
        self, children: Sequence[Genotype], repeat: int, progress: Callable[[], object] = lambda: None
    ) -> list[float]:
        """As `judge`, for many; a table says the same at every repeat, and at once."""
        return [self.judge(child) for child in children]

    def best_so_far(self) -> list[str]:
        """After every query, the code with the highest judged figure."""
        best: list[str] = []
        for code, figure in self.asked.items():
            best.append(code if not best or figure > self.asked[best[-1]] else best[-1])
        return best


class TableTask:
    """What a strategy needs of a task: the loss of the supernet's child is 100 less its judged figure."""

    metric = "accuracy"
    larger_is_better = True
    input_shape = (1, 3, 32, 32)

    def __init__(self, oracle: TableOracle) -> None:
        self.oracle = oracle

    def loss(self, network: Supernet, batch: Any) -> Tensor:
        return torch.tensor(100.0 - self.oracle.judge(network.child))


class Driver:
    """Drives strategies on one benchmark; the supernet, whose weights play no part, is made once.

    Args:
        units: the most convolution units (3x3 = 9, 1x1 = 1) of a child; None: any. For NAS-Bench-201.
    """

    def __init__(self, benchmark: Benchmark, units: float | None = None) -> None:
        self.benchmark, self.space = benchmark, Space.load(benchmark.space)
        self.supernet = Supernet(self.space, benchmark.build)
        self.costs = unit_tables(self.space, CONVOLUTION_UNITS)
        self.budget = Budget(self.costs, units, "units") if units is not None else None

    def allowed(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Of a table's figures those of children within the budget."""
        if self.budget is None:
            return dict(figures)
        codes = {table_code(child) for child in filter(self.budget.allows, self.space.enumerate())}
        return {code: figure for code, figure in figures.items() if code in codes}

    def drive(self, name: str, oracle: TableOracle, seed: int) -> None:
        """Let a strategy ask until its queries are spent, or it has no more to ask."""
        driven = DRIVEN[name]
        torch.manual_seed(seed)
        context = Context(
            self.space, TableTask(oracle), self.supernet, Distribution(self.space),  # type: ignore[arg-type]
            torch.Generator().manual_seed(seed), self.costs, oracle.queries, CPU, oracle.judge_all, _no_other_task,
            budget=self.budget,
        )  # fmt: skip
        made: Any = STRATEGIES[name]
        strategy: Strategy = made(from_dict(made.Options, driven.options(oracle.queries), name), context)
        try:
            if strategy.parameters():
                _learn(strategy, driven.lr, oracle)
            for candidate in strategy.propose(EvaluationConfig(most_probable=oracle.queries, samples=0)):
                oracle.judge(candidate.child)
        except OutOfQueriesError:
            pass


def _no_other_task(changes: Mapping[str, Any]) -> Task:
    raise NotImplementedError("a table knows one task")


def _learn(strategy: Strategy, lr: float, oracle: TableOracle) -> None:
    """As a search's architecture steps. A distribution that has settled asks nothing new: the steps are limited."""
    optimizer = torch.optim.SGD(strategy.parameters(), lr)
    for step in range(oracle.queries):
        judged = strategy.objective(None, step)
        if judged is not None:
            optimizer.zero_grad()
            judged[0].backward()
            optimizer.step()
