"""The distribution over children: a product of independent categorical variables.

    p(child) = product of softmax(logits_v)[option of v], over the variables v that count in this child

Log-probability, entropy, the most probable children and the expectation of any cost that is a sum over variables, or
over tuples of variables, are exact and cheap. All quantities are in nats.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .genotype import Genotype
from .space import Space
from .variables import Categorical, Choices, Variable, gumbel


class Factor(NamedTuple):
    """A part of a cost: a table over one or more variables, counted while all of them count.

    Attributes:
        variables: their names.
        table: [options of the first, options of the second, ...].
    """

    variables: tuple[str, ...]
    table: Tensor


class Distribution(nn.Module):
    """The distribution over the children of a space; cells of one kind share their variables."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.categoricals = nn.ModuleList(Categorical(variable) for variable in space.variables)
        self._by_name = {variable.name: index for index, variable in enumerate(space.variables)}

    def __getitem__(self, name: str) -> Categorical:
        found = self.categoricals[self._by_name[name]]
        assert isinstance(found, Categorical)
        return found

    def items(self) -> list[tuple[Variable, Categorical]]:
        """Every variable with its distribution; a parent stands before what depends on it."""
        return [(variable, self[variable.name]) for variable in self.space.variables]

    def probability_of_counting(self, name: str) -> Tensor:
        """The probability that a variable counts in a child, a scalar with gradient."""
        condition = self.space.variable(name).condition
        if condition is None:
            return torch.ones(())
        parent = self[condition.parent].log_probabilities().exp()
        share = parent[sorted(condition.options)].sum()
        return share * self.probability_of_counting(condition.parent)

    def log_prob(self, child: Genotype | Choices) -> Tensor:
        """log p(child), a scalar with gradient."""
        choices = self.space.choices_of(child) if isinstance(child, Genotype) else child
        return torch.stack([self[name].log_probabilities()[index] for name, index in choices.items()]).sum()

    def entropy(self) -> Tensor:
        """Each variable's entropy times the probability that it counts, summed; a scalar with gradient."""
        return torch.stack([self.probability_of_counting(v.name) * c.entropy() for v, c in self.items()]).sum()

    def expected(self, factors: list[Factor]) -> Tensor:
        """The expectation of a sum of factors, a scalar with gradient; exact, since variables are independent."""
        return torch.stack([self._expected_factor(factor) for factor in factors]).sum()

    def _expected_factor(self, factor: Factor) -> Tensor:
        needed: dict[str, frozenset[int]] = {}  # parent -> its options under which all variables count
        for name in factor.variables:
            if condition := self.space.variable(name).condition:
                needed[condition.parent] = needed.get(condition.parent, condition.options) & condition.options
        value = factor.table
        for name in reversed(factor.variables):
            value = value @ self._shares(name, needed.pop(name, None)).to(value.dtype)  # contracts the last dimension
        for parent, options in needed.items():
            value = value * self._shares(parent, options).sum()
        return value

    def _shares(self, name: str, counted: frozenset[int] | None) -> Tensor:
        """[options]: the probabilities of a variable; 0 for options that are not counted (None: all are)."""
        p = self[name].log_probabilities().exp()
        if counted is None:
            return p
        return p * torch.tensor([float(index in counted) for index in range(len(p))])

    @torch.no_grad()
    def sample(self, generator: torch.Generator, uniform: bool = False) -> Genotype:
        """Draw a child; `uniform`: every allowed option equally often, whatever was learned."""
        choices: Choices = {}
        for variable, categorical in self.items():
            log_p = categorical.log_uniform() if uniform else categorical.log_probabilities()
            index = int((log_p + gumbel(log_p.shape, generator)).argmax())
            if variable.counts(choices):
                choices[variable.name] = index
        return self.space.genotype(choices)

    @torch.no_grad()
    def most_probable(self, n: int) -> list[tuple[float, Genotype]]:
        """The n most probable children with their log-probabilities, best first (fewer if the space is smaller)."""
        log_p = {variable.name: c.log_probabilities().tolist() for variable, c in self.items()}
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
