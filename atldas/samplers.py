"""Which child to run: training samplers choose whose weights to train, evaluation samplers whom to judge.

A sampler is one function and one line in a dict. All draw with an explicit CPU generator, so that a search is
reproducible and resumable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .cell import Gates
from .distribution import CHILD, CellDistribution, Distribution
from .genotype import CellGenotype, Genotype

# Training: (distribution, share of uniform in 0..1, generator) -> child.


def uniform(distribution: Distribution, uniform_share: float, generator: torch.Generator) -> Genotype:
    """Uniform over what has not been pruned: topology first, then operations, whatever was learned."""
    return _draw(distribution, generator, lambda cell: _log_uniform(cell))


def mixed(distribution: Distribution, uniform_share: float, generator: torch.Generator) -> Genotype:
    """From the distribution, with probability `uniform_share` uniform instead."""
    if torch.rand((), generator=generator) < uniform_share:
        return uniform(distribution, uniform_share, generator)
    return _draw(distribution, generator, lambda cell: (cell.log_operations(), cell.log_topologies()))


TrainingSampler = Callable[[Distribution, float, torch.Generator], Genotype]
TRAINING_SAMPLERS: dict[str, TrainingSampler] = {"uniform": uniform, "mixed": mixed}


class Draw(NamedTuple):
    """A child to judge.

    Attributes:
        child: what to run.
        gates: per kind of cell the gates that carry its gradient, or None if the child runs without a graph.
        surrogate: (the child's loss, a baseline) -> the scalar whose gradient estimates that of the expected loss.
    """

    child: Genotype
    gates: Mapping[str, Gates] | None
    surrogate: Callable[[Tensor, float], Tensor]


# Evaluation: (distribution, temperature, generator) -> Draw.


def straight_through(distribution: Distribution, temperature: float, generator: torch.Generator) -> Draw:
    """Gumbel-max sample whose gates `1 + g - stop_gradient(g)` pass the loss's gradient to every logit drawn from.

    g is the chosen option's relaxed probability softmax((logits + Gumbel noise) / temperature); the forward pass is
    exactly the child (Jang et al., ICLR 2017; Dong and Yang, CVPR 2019, for the single gated path).
    """
    cells, gates = {}, {}
    for kind, cell in distribution.items():
        cells[kind], gates[kind] = _gated_cell(cell, temperature, generator)
    return Draw(Genotype(CHILD, cells), gates, lambda loss, baseline: loss)


def score_function(distribution: Distribution, temperature: float, generator: torch.Generator) -> Draw:
    """REINFORCE with a baseline (Williams, 1992): unbiased, for objectives that need not have a gradient."""
    child = _draw(distribution, generator, lambda cell: (cell.log_operations(), cell.log_topologies()))

    def surrogate(loss: Tensor, baseline: float) -> Tensor:
        return (loss.detach().cpu() - baseline) * distribution.log_prob(child)

    return Draw(child, None, surrogate)


EvaluationSampler = Callable[[Distribution, float, torch.Generator], Draw]
EVALUATION_SAMPLERS: dict[str, EvaluationSampler] = {
    "straight_through": straight_through,
    "score_function": score_function,
}


def _gated_cell(cell: CellDistribution, temperature: float, generator: torch.Generator) -> tuple[CellGenotype, Gates]:
    noisy_operations = cell.log_operations() + gumbel(cell.operation_logits.shape, generator)
    chosen = noisy_operations.argmax(dim=1).tolist()
    relaxed = (noisy_operations / temperature).softmax(dim=1)  # [edges, operations]
    subsets, node_gates, edge_gates = [], {}, {}
    for node, log_subsets in zip(cell.space.node_numbers, cell.log_topologies(), strict=True):
        noisy = log_subsets + gumbel(log_subsets.shape, generator)
        subset = int(noisy.argmax())
        subsets.append(subset)
        node_gates[node] = _gate((noisy / temperature).softmax(dim=0)[subset])
        for i in cell.space.subsets(node)[subset]:
            index = cell.edge_index[node, i]
            edge_gates[node, i] = _gate(relaxed[index, chosen[index]])
    operations = dict(zip(cell.space.edges, chosen, strict=True))
    return cell.cell_from(subsets, operations), Gates(edge_gates, node_gates)


def _gate(g: Tensor) -> Tensor:
    """Exactly 1.0 with the gradient of g: summed as 1 + (g - g), which unlike (1 + g) - g does not round."""
    return 1.0 + (g - g.detach())


def gumbel(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise: the argmax of logits plus it is a sample of their softmax."""
    uniform = torch.rand(shape, generator=generator).clamp(min=torch.finfo(torch.float32).tiny)
    return -torch.log((-torch.log(uniform)).clamp(min=torch.finfo(torch.float32).tiny))


LogProbabilities = tuple[Tensor, list[Tensor]]  # of operations [edges, operations], of each node's subsets


@torch.no_grad()
def _draw(
    distribution: Distribution,
    generator: torch.Generator,
    log_probabilities: Callable[[CellDistribution], LogProbabilities],
) -> Genotype:
    cells = {}
    for kind, cell in distribution.items():
        log_operations, log_topologies = log_probabilities(cell)
        chosen = (log_operations + gumbel(log_operations.shape, generator)).argmax(dim=1).tolist()
        subsets = [int((log_p + gumbel(log_p.shape, generator)).argmax()) for log_p in log_topologies]
        cells[kind] = cell.cell_from(subsets, dict(zip(cell.space.edges, chosen, strict=True)))
    return Genotype(CHILD, cells)


def _log_uniform(cell: CellDistribution) -> LogProbabilities:
    """Equal (unnormalised) log-probabilities for everything that is still allowed."""

    def flat(allowed: Tensor) -> Tensor:
        return torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)

    return flat(cell.operation_allowed), [flat(cell.topology_allowed(k)) for k in range(cell.space.nodes)]
