"""The distribution over children: a product of independent categorical variables.

    p(child) = product of softmax(logits_v)[option of v], over the variables v that count in this child

Log-probability, entropy, the most probable children and the expectation of any cost that is a sum over variables, or
over tuples of variables, are exact and cheap. All quantities are in nats.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .genotype import Genotype
from .space import Space
from .variables import Categorical, Choices, Variable, gumbel


class Factor(NamedTuple):
    """A part of a cost: a table over one or more variables, counted while the first of them counts.

    Attributes:
        variables: their names; all but the first always count.
        table: [options of the first, options of the second, ...].
    """

    variables: tuple[str, ...]
    table: Tensor


class Distribution(nn.Module):
    """The distribution over the children of a space; cells of one kind share their variables.

    Everything is computed for all variables at once: option o of variable v stands in row v, column o of a table
    [variables, most options], or at `start[v's name] + o` of a vector [all options].
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        variables = space.variables
        self.categoricals = nn.ModuleList(Categorical(variable) for variable in variables)
        self._row = {variable.name: row for row, variable in enumerate(variables)}
        sizes = [len(variable.options) for variable in variables]
        self.start = dict(zip(self._row, itertools.accumulate([0, *sizes]), strict=False))
        self.size = sum(sizes)
        pairs = [(row, column) for row, size in enumerate(sizes) for column in range(size)]
        self._rows, self._columns = torch.tensor(pairs, dtype=torch.int64).unbind(1)  # of every option
        self._positions = torch.full((len(variables), max(sizes)), self.size)  # where there is no option: past the end
        self._positions[self._rows, self._columns] = torch.arange(self.size)
        # A variable counts while its parent has one of the options that are True in its row.
        self._parents = torch.arange(len(variables))
        self._reading = torch.ones(len(variables), max(sizes), dtype=torch.bool)
        for row, variable in enumerate(variables):
            if variable.condition:
                assert space.variable(variable.condition.parent).condition is None, "conditions are not nested"
                self._parents[row] = self._row[variable.condition.parent]
                self._reading[row] = False
                self._reading[row, sorted(variable.condition.options)] = True
        self._conditional = self._parents != torch.arange(len(variables))

    def __getitem__(self, name: str) -> Categorical:
        found = self.categoricals[self._row[name]]
        assert isinstance(found, Categorical)
        return found

    def items(self) -> list[tuple[Variable, Categorical]]:
        """Every variable with its distribution; a parent stands before what depends on it."""
        return [(variable, self[variable.name]) for variable in self.space.variables]

    def log_probabilities(self) -> Tensor:
        """[variables, most options] in nats, with gradient; -inf where an option was pruned or there is none."""
        return self._masked_logits()[self._positions].log_softmax(dim=1)

    def counting(self) -> Tensor:
        """[variables]: the probability that each counts in a child, with gradient."""
        return self._counting(self.log_probabilities().exp())

    def probability_of_counting(self, name: str) -> Tensor:
        """The probability that a variable counts in a child, a scalar with gradient."""
        return self.counting()[self._row[name]]

    def one_hot(self, child: Genotype | Choices) -> Tensor:
        """Float64 [all options], 1 at what the child chooses; a variable without a choice counts for nothing."""
        choices = self.space.choices_of(child) if isinstance(child, Genotype) else child
        chosen = torch.zeros(self.size, dtype=torch.float64)
        names = (name for name in choices if len(self.space.variable(name).options) > 1)
        chosen[[self.start[name] + choices[name] for name in names]] = 1.0
        return chosen

    def log_prob(self, child: Genotype | Choices) -> Tensor:
        """log p(child), a scalar with gradient."""
        choices = self.space.choices_of(child) if isinstance(child, Genotype) else child
        rows = torch.tensor([self._row[name] for name in choices])
        return self.log_probabilities()[rows, torch.tensor(list(choices.values()))].sum()

    def entropy(self) -> Tensor:
        """Each variable's entropy times the probability that it counts, summed; a scalar with gradient."""
        log_p = self.log_probabilities()
        p = log_p.exp()
        return -(self._counting(p) * (p * log_p.masked_fill(log_p.isneginf(), 0.0)).sum(dim=1)).sum()

    def expected(self, factors: Sequence[Factor]) -> Tensor:
        """The expectation of a sum of factors, a scalar with gradient; exact, since variables are independent."""
        p = self.log_probabilities().exp()
        counting = self._counting(p)
        total = torch.zeros(())
        for order in {len(factor.variables) for factor in factors}:
            alike = [factor for factor in factors if len(factor.variables) == order]
            rows = torch.tensor([[self._row[name] for name in factor.variables] for factor in alike])  # [F, order]
            value = torch.stack([_padded(factor.table, p.shape[1]) for factor in alike])  # [F, options, ...]
            for number in reversed(range(order)):
                weights = p[rows[:, number]].to(value.dtype)  # [F, options]
                value = (value * weights.view(len(alike), *[1] * number, -1)).sum(dim=-1)  # contracts the last one
            total = total + (value * counting[rows[:, 0]]).sum()
        return total

    def marginals(self) -> tuple[Tensor, Tensor]:
        """The probability that a child has an option, and that it has two: float64 [all options] and their square.

        With gradient. Pairs of options of one variable are meaningless there.
        """
        p = self.log_probabilities().exp().double()
        reading = self._reading.double()
        counting = self._counting(p)
        alone = p[self._rows, self._columns]  # [all options], of a variable that counts
        both = counting[:, None] * counting  # [variables, variables]: the probability that both count
        siblings = (self._parents[:, None] == self._parents) & self._conditional[:, None] & self._conditional
        both = torch.where(siblings, (p[self._parents] * reading) @ reading.T, both)
        both = both[self._rows][:, self._rows]
        # A variable with its own parent: the parent's option says whether it counts.
        child_of = (self._parents[self._rows][:, None] == self._rows) & self._conditional[self._rows][:, None]
        counted = reading[self._rows][:, self._columns]  # [i, j]: whether i's variable counts by its parent's option j
        both = torch.where(child_of, counted, torch.where(child_of.T, counted.T, both))
        return counting[self._rows] * alone, both * alone[:, None] * alone

    def _masked_logits(self) -> Tensor:
        """[all options + 1]: -inf where an option was pruned, and at the end."""
        categoricals = [categorical for _, categorical in self.items()]
        allowed = torch.cat([categorical.allowed for categorical in categoricals])
        flat = torch.cat([categorical.logits for categorical in categoricals]).masked_fill(~allowed, -torch.inf)
        return torch.cat([flat, flat.new_full((1,), -torch.inf)])

    def _counting(self, p: Tensor) -> Tensor:
        share = (p[self._parents] * self._reading).sum(dim=1)
        return torch.where(self._conditional, share, 1.0)

    @torch.no_grad()
    def sample(self, generator: torch.Generator, uniform: bool = False) -> Genotype:
        """Draw a child; `uniform`: every allowed option equally often, whatever was learned."""
        logits = self._masked_logits()[:-1]
        if uniform:
            logits = torch.where(logits.isneginf(), logits, 0.0)
        noisy: list[float] = (logits + gumbel(logits.shape, generator)).tolist()
        choices: Choices = {}
        for variable in self.space.variables:
            if variable.counts(choices):
                start = self.start[variable.name]
                own = noisy[start : start + len(variable.options)]
                choices[variable.name] = own.index(max(own))
        return self.space.genotype(choices)

    @torch.no_grad()
    def most_probable(self, n: int) -> list[tuple[float, Genotype]]:
        """The n most probable children with their log-probabilities, best first (fewer if the space is smaller)."""
        table = self.log_probabilities().tolist()
        log_p = {v.name: row[: len(v.options)] for v, row in zip(self.space.variables, table, strict=True)}
        best: list[tuple[float, Choices]] = [(0.0, {})]
        for variable in self.space.variables:
            if variable.condition is None:
                best = _best_pairs(best, self._best_of(variable, log_p, n), n)
        return [(total, self.space.genotype(choices)) for total, choices in best]

    def _best_of(self, variable: Variable, log_p: Mapping[str, list[float]], n: int) -> list[tuple[float, Choices]]:
        """The n best ways to choose a variable and all that depends on it."""
        found: list[tuple[float, Choices]] = []
        for index, value in enumerate(log_p[variable.name]):
            partial: list[tuple[float, Choices]] = [(value, {variable.name: index})]
            for dependent in self.space.dependents(variable.name):
                if dependent.condition and index in dependent.condition.options:
                    partial = _best_pairs(partial, self._best_of(dependent, log_p, n), n)
            found += partial
        return heapq.nlargest(n, [pair for pair in found if pair[0] != -torch.inf], key=lambda pair: pair[0])


def _best_pairs(
    left: list[tuple[float, Choices]], right: list[tuple[float, Choices]], n: int
) -> list[tuple[float, Choices]]:
    """The n best of all pairs of two independent choices."""
    pairs = ((a + b, first, second) for a, first in left for b, second in right if a + b != -torch.inf)
    return [(total, {**first, **second}) for total, first, second in heapq.nlargest(n, pairs, key=lambda pair: pair[0])]


def _padded(table: Tensor, size: int) -> Tensor:
    """A table [options, ...] with zeros up to `size` in every dimension."""
    return F.pad(table, [n for length in reversed(table.shape) for n in (0, size - length)])
