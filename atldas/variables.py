"""What a child decides: independent categorical variables, whether an edge's operation, a node's inputs or a width.

A variable may depend on another one for *whether it counts* (an edge's operation counts only if its node reads that
edge), never for its probabilities. So log-probability, entropy and expectations stay exact sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Option = str | int | bool | tuple[int, ...]  # an operation, a width or another named option, a subset of inputs
Choices = dict[str, int]  # variable -> index of the chosen option, for the variables that count


@dataclass(frozen=True)
class Condition:
    """A variable counts only while `parent`, which always counts, has one of the options with these indexes."""

    parent: str
    options: frozenset[int]


@dataclass(frozen=True)
class Variable:
    """A name, the options, and when the variable counts (None: always)."""

    name: str
    options: tuple[Option, ...]
    condition: Condition | None = None

    def counts(self, choices: Mapping[str, int]) -> bool:
        """Whether a child with these choices has this variable; its parent's choice must be among them."""
        return self.condition is None or choices.get(self.condition.parent) in self.condition.options


def node_variable(kind: str, node: int) -> str:
    """The name of the variable that says which inputs a node reads."""
    return f"{kind}.node_{node}"


def edge_variable(kind: str, node: int, input: int) -> str:
    """The name of the variable that says which operation stands on an edge."""
    return f"{kind}.{node}_from_{input}"


class Categorical(nn.Module):
    """The distribution of one variable.

    Attributes:
        logits: [options], all 0 at first: uniform.
        allowed: bool [options], False where pruning removed an option for good.
    """

    allowed: Tensor

    def __init__(self, variable: Variable) -> None:
        super().__init__()
        self.variable = variable
        self.logits = nn.Parameter(torch.zeros(len(variable.options)))
        self.register_buffer("allowed", torch.ones(len(variable.options), dtype=torch.bool))

    def log_probabilities(self) -> Tensor:
        """[options] in nats, with gradient; -inf where an option is not allowed."""
        return self.logits.masked_fill(~self.allowed, -torch.inf).log_softmax(dim=0)

    def log_uniform(self) -> Tensor:
        """[options]: equal shares of what is allowed."""
        return torch.zeros_like(self.logits).masked_fill(~self.allowed, -torch.inf).log_softmax(dim=0)

    def entropy(self) -> Tensor:
        """In nats, a scalar with gradient; options that are not allowed count as nothing."""
        log_p = self.log_probabilities()
        return -(log_p.exp() * log_p.masked_fill(log_p.isneginf(), 0.0)).sum()


def gumbel(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise: the argmax of logits plus it is a sample of their softmax."""
    uniform = torch.rand(shape, generator=generator).clamp(min=torch.finfo(torch.float32).tiny)
    return -torch.log((-torch.log(uniform)).clamp(min=torch.finfo(torch.float32).tiny))
