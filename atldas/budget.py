"""A hard budget: no child over it is ever drawn or proposed.

Dynamic programming over binned costs. Variables are decided one after the other; what the rest of the network may
still cost is a table over the bins left and over those decided variables that later costs depend on. From these
tables children are drawn from the distribution *within* the budget, and listed by probability, both exactly. Costs
are rounded up to bins, so the sum of bins is never less than the true cost; a child within one bin per cost table of
the limit may be left out.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt

from .common.config import FilePath, config, read_config
from .common.errors import UserError
from .cost_tables import CostTables
from .distribution import Distribution, Factor
from .genotype import Genotype
from .peak_memory import PeakMemory
from .profile_file import LatencyProfile
from .space import Space
from .variables import Choices, Variable, edge_variable

BINS = 4000
KINDS = ("gmacs", "mparameters", "latency_ms", "units")
TRIES = 1000  # for each child drawn, where there is a condition besides the cost
ABSENT = -1  # the option of a variable that does not count
State = tuple[int, ...]
Table = dict[State, npt.NDArray[np.float64]]  # options of the variables that matter later -> [bins + 1]


@config
class BudgetConfig:
    """The most that a child may cost: one of these, and `peak_mib` beside it or alone.

    Attributes:
        gmacs: thousand millions of multiply-adds for one input of the task's size.
        mparameters: millions of trainable values.
        latency_ms: milliseconds for one input, by the file `profile` that `atldas profile` wrote.
        peak_mib: mebibytes of activations alive at once for one input, see `peak_memory`.
        units: with `unit_costs`, operation -> cost of one edge with it; other operations cost nothing.
    """

    gmacs: Annotated[float, Gt(0)] | None = None
    mparameters: Annotated[float, Gt(0)] | None = None
    latency_ms: Annotated[float, Gt(0)] | None = None
    profile: FilePath | None = None
    peak_mib: Annotated[float, Gt(0)] | None = None
    units: Annotated[float, Gt(0)] | None = None
    unit_costs: dict[str, Annotated[float, Ge(0)]] | None = None

    def __post_init__(self) -> None:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) > 1 or not (given or self.peak_mib):
            raise ValueError(f"one of {', '.join(KINDS)}, not {' and '.join(given) or 'none'}")
        if (self.units is None) != (self.unit_costs is None):
            raise ValueError("units and unit_costs together")
        if (self.latency_ms is None) != (self.profile is None):
            raise ValueError("latency_ms and profile together")


def unit_tables(space: Space, costs: Mapping[str, float]) -> CostTables:
    """The cost of a child in units: `costs` of the operations on its edges, added up."""
    factors = []
    for kind, cell in space.cells.items():
        row = torch.tensor([costs.get(operation, 0.0) for operation in cell.operations], dtype=torch.float64)
        factors += [Factor((edge_variable(kind, node, i),), row) for node, i in cell.edges]
    return CostTables(space, 0.0, tuple(factors))


@dataclass(frozen=True)
class _Step:
    """One variable in the order of decisions.

    Attributes:
        before, after: the decided variables that later costs or conditions depend on.
        costs: (variables, binned table) of the factors that are settled by this variable.
    """

    variable: Variable
    before: tuple[str, ...]
    after: tuple[str, ...]
    costs: tuple[tuple[tuple[str, ...], npt.NDArray[np.int64]], ...]

    def options(self, decided: Mapping[str, int]) -> list[int]:
        """The indexes to choose from; only ABSENT where the variable does not count."""
        return list(range(len(self.variable.options))) if self.variable.counts(decided) else [ABSENT]

    def bins(self, decided: Mapping[str, int]) -> int:
        """The bins of the settled costs, with this variable decided too."""
        return sum(
            int(table[tuple(decided[name] for name in names)])
            for names, table in self.costs
            if decided[names[0]] != ABSENT
        )


class Budget:
    """Draws and lists children whose cost is at most `limit`.

    Args:
        keeps: another condition that children must fulfil, which no sum expresses. Those that do not are passed over.

    Raises:
        UserError: not even the cheapest child is within the limit.
    """

    def __init__(self, costs: CostTables, limit: float, what: str = "cost", bins: int = BINS,
        keeps: Callable[[Genotype], bool] = lambda child: True,
    ) -> None:  # fmt: skip
        self.keeps = keeps
        self.space, self.costs, self.limit, self.bins = costs.space, costs, limit, bins
        least = [float(factor.table.min()) if _always(self.space, factor) else 0.0 for factor in costs.factors]
        room = limit - costs.constant - sum(least)
        width = max(room, 0.0) / bins or 1.0
        # 1e-9: what is a whole number of bins but for rounding is not rounded up to the next.
        binned = [
            (f.variables, np.ceil((f.table.double().numpy() - low) / width - 1e-9).astype(np.int64))
            for f, low in zip(costs.factors, least, strict=True)
        ]
        self._steps = _ordered(self.space, binned)
        uniform = {v.name: np.zeros(len(v.options)) for v in self.space.variables}
        if room < 0 or not np.isfinite(self._tables(uniform, best=True)[0][()][bins]):
            raise UserError(f"budget: {what}: expected a limit that some child keeps, got {limit:g}; raise it")

    def allows(self, child: Genotype) -> bool:
        """Whether the child's true cost is within the limit."""
        return self.costs.of(child) <= self.limit * (1 + 1e-12) and self.keeps(child)

    @torch.no_grad()
    def sample(
        self, distribution: Distribution, generator: torch.Generator, uniform: bool = False, count: int = 1
    ) -> list[Genotype]:
        """Children from the distribution, or uniform ones, conditional on the budget."""
        log_p = _log_probabilities(distribution, uniform)
        tables = self._tables(log_p, best=False)
        found: list[Genotype] = []
        for _ in range(TRIES * count):
            child = self.space.genotype(self._drawn(log_p, tables, generator))
            found += [child] if self.keeps(child) else []
            if len(found) == count:
                return found
        raise UserError(f"budget: of {TRIES * count} children {len(found)} keep it all; raise a limit")

    @torch.no_grad()
    def most_probable(self, distribution: Distribution, n: int) -> list[tuple[float, Genotype]]:
        """The n most probable children within the budget with their log-probabilities, best first.

        Best-first search; the tables give the exact log-probability of the best completion, so no step is wasted.
        """
        log_p = _log_probabilities(distribution, uniform=False)
        tables = self._tables(log_p, best=True)
        found: list[tuple[float, Genotype]] = []
        order = itertools.count()
        # Of equally good ones the one that is furthest, else equal children would all be begun before one is done.
        heap = [(-float(tables[0][()][self.bins]), 0, next(order), self.bins, 0.0, Choices())]
        while heap and len(found) < n:
            bound, depth, _, left, total, decided = heapq.heappop(heap)
            number = -depth
            if bound == np.inf:
                break
            if number == len(self._steps):
                child = self.space.genotype(_counted(decided))
                found += [(total, child)] if self.keeps(child) else []
                continue
            for index, state, rest, value in self._branches(number, decided, left, log_p):
                ahead = total + value
                bound = -round(ahead + float(tables[number + 1][state][rest]), 9)  # so that rounding breaks no ties
                now = {**decided, self._steps[number].variable.name: index}
                heapq.heappush(heap, (bound, -number - 1, next(order), rest, ahead, now))
        return found

    def _drawn(
        self, log_p: Mapping[str, npt.NDArray[np.float64]], tables: list[Table], generator: torch.Generator
    ) -> Choices:
        decided: Choices = {}
        left = self.bins
        for number, step in enumerate(self._steps):
            branches = list(self._branches(number, decided, left, log_p))
            weights = [np.exp(value) * tables[number + 1][state][rest] for _, state, rest, value in branches]
            chosen = int(torch.multinomial(torch.tensor(weights, dtype=torch.float64), 1, generator=generator))
            decided[step.variable.name], left = branches[chosen][0], branches[chosen][2]
        return _counted(decided)

    def _branches(
        self, number: int, decided: Choices, left: int, log_p: Mapping[str, npt.NDArray[np.float64]]
    ) -> Iterator[tuple[int, State, int, float]]:
        """(option, state after it, bins left, log-probability) for every option that fits in the bins left."""
        step = self._steps[number]
        for index in step.options(decided):
            now = {**decided, step.variable.name: index}
            rest = left - step.bins(now)
            if rest >= 0:
                value = 0.0 if index == ABSENT else float(log_p[step.variable.name][index])
                yield index, tuple(now[name] for name in step.after), rest, value

    def _tables(self, log_p: Mapping[str, npt.NDArray[np.float64]], best: bool) -> list[Table]:
        """Per step: state -> over the bins left, the mass of all completions, or the best one's log-probability."""
        nothing = -np.inf if best else 0.0
        tables: list[Table] = [{(): np.full(self.bins + 1, 0.0 if best else 1.0)}]
        for step in reversed(self._steps):
            table: Table = {}
            for state in itertools.product(*(_states(self.space.variable(name)) for name in step.before)):
                decided = dict(zip(step.before, state, strict=True))
                total = np.full(self.bins + 1, nothing)
                for index in step.options(decided):
                    now = {**decided, step.variable.name: index}
                    cost = step.bins(now)
                    if cost > self.bins:
                        continue
                    value = 0.0 if index == ABSENT else float(log_p[step.variable.name][index])
                    rest = tables[0][tuple(now[name] for name in step.after)][: self.bins + 1 - cost]
                    if best:
                        np.maximum(total[cost:], rest + value, out=total[cost:])
                    else:
                        total[cost:] += np.exp(value) * rest
                table[state] = total
            tables.insert(0, table)
        return tables


def make_budget(
    settings: BudgetConfig, macs: CostTables, parameters: CostTables, peak: PeakMemory | None = None
) -> Budget:
    """The budget that an experiment asks for.

    Raises:
        UserError: not even the cheapest child is within it, or a profile of another network.
    """
    budget = Budget(*_additive(settings, macs, parameters))
    if settings.peak_mib is None:
        return budget
    assert peak is not None
    known, limit = peak, settings.peak_mib * 2**20
    budget.keeps = lambda child: known.of(child) <= limit
    try:
        budget.sample(Distribution(macs.space), torch.Generator().manual_seed(0), uniform=True)
    except UserError as error:
        raise UserError(
            f"budget: peak_mib: expected a limit that some child keeps, got {settings.peak_mib:g}; raise it"
        ) from error
    return budget


def _additive(settings: BudgetConfig, macs: CostTables, parameters: CostTables) -> tuple[CostTables, float, str]:
    """The tables, the limit in their unit, and its name."""
    if settings.latency_ms is not None:
        assert settings.profile is not None
        profile = read_config(LatencyProfile, settings.profile)
        return profile.tables(macs, settings.profile), settings.latency_ms, "latency_ms (in milliseconds)"
    if settings.gmacs is not None:
        return macs, settings.gmacs * 1e9, "gmacs (in multiply-adds)"
    if settings.mparameters is not None:
        return parameters, settings.mparameters * 1e6, "mparameters (in parameters)"
    if settings.units is not None:
        return unit_tables(macs.space, settings.unit_costs or {}), settings.units, "units"
    return CostTables(macs.space, 0.0, ()), 0.0, "nothing"


def _always(space: Space, factor: Factor) -> bool:
    return space.variable(factor.variables[0]).condition is None


def _states(variable: Variable) -> list[int]:
    return [*range(len(variable.options)), *([] if variable.condition is None else [ABSENT])]


def _counted(decided: Mapping[str, int]) -> Choices:
    return {name: index for name, index in decided.items() if index != ABSENT}


def _log_probabilities(distribution: Distribution, uniform: bool) -> dict[str, npt.NDArray[np.float64]]:
    return {
        variable.name: (c.log_uniform() if uniform else c.log_probabilities()).detach().double().numpy()
        for variable, c in distribution.items()
    }


def _ordered(space: Space, costs: list[tuple[tuple[str, ...], npt.NDArray[np.int64]]]) -> list[_Step]:
    """The variables in an order that keeps few of them in mind at a time; a parent comes before its dependents."""
    links = [set(names) for names, _ in costs]
    links += [{v.name, v.condition.parent} for v in space.variables if v.condition]
    decided: list[str] = []
    left = [variable.name for variable in space.variables]

    def open_after(name: str) -> float:
        """How many combinations are to be kept in mind once `name` is decided."""
        done = {*decided, name}
        kept = {n for link in links if link & done and link - done for n in link & done}
        return float(np.prod([len(_states(space.variable(n))) for n in kept]))

    while left:
        ready = [n for n in left if (c := space.variable(n).condition) is None or c.parent in decided]
        chosen = min(ready, key=open_after)
        decided.append(chosen)
        left.remove(chosen)
    position = {name: number for number, name in enumerate(decided)}

    def kept_before(number: int) -> tuple[str, ...]:
        open_links = [link for link in links if max(position[n] for n in link) >= number]
        return tuple(sorted({n for link in open_links for n in link if position[n] < number}, key=position.__getitem__))

    return [
        _Step(
            space.variable(name),
            kept_before(number),
            kept_before(number + 1),
            tuple((names, table) for names, table in costs if max(position[n] for n in names) == number),
        )
        for number, name in enumerate(decided)
    ]
