"""The distribution over children: operation logits per candidate edge, topology logits per node.

    p(child) = prod_j softmax(beta_j)[T_j] * prod_{i in T_j} softmax(alpha_ij)[o_ij]

Node j reads the subset T_j of its earlier nodes and applies operation o_ij to input i. Nodes are independent, so
log-probability, entropy, the most probable children and the expectation of any cost that adds up over (edge,
operation) are exact and cheap. All quantities are in nats.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .genotype import CellGenotype, Edge, Genotype
from .space import CellSpace, Space

CHILD = "child"  # the name of a genotype that was drawn and not yet chosen


class CellDistribution(nn.Module):
    """The distribution over one kind of cell.

    Attributes:
        operation_logits: alpha, [edges, operations].
        topology_logits: beta, per node [subsets].
        operation_allowed, topology_allowed: same shapes, False where pruning removed a choice for good.
    """

    operation_allowed: Tensor

    def __init__(self, space: CellSpace) -> None:
        super().__init__()
        self.space = space
        self.edge_index = {edge: index for index, edge in enumerate(space.edges)}
        self.operation_logits = nn.Parameter(torch.zeros(len(space.edges), len(space.operations)))
        self.topology_logits = nn.ParameterList(torch.zeros(len(space.subsets(node))) for node in space.node_numbers)
        self.register_buffer("operation_allowed", torch.ones_like(self.operation_logits, dtype=torch.bool))
        for k, beta in enumerate(self.topology_logits):
            self.register_buffer(f"topology_allowed_{k}", torch.ones_like(beta, dtype=torch.bool))

    def topology_allowed(self, k: int) -> Tensor:
        """[subsets]: the subsets of the k-th node that have not been pruned."""
        allowed: Tensor = getattr(self, f"topology_allowed_{k}")
        return allowed

    def log_operations(self) -> Tensor:
        """log p(operation | edge), [edges, operations]; -inf where pruned."""
        return self.operation_logits.masked_fill(~self.operation_allowed, -torch.inf).log_softmax(dim=1)

    def log_topologies(self) -> list[Tensor]:
        """log p(subset) of each node, [subsets] each; -inf where pruned."""
        return [
            beta.masked_fill(~self.topology_allowed(k), -torch.inf).log_softmax(dim=0)
            for k, beta in enumerate(self.topology_logits)
        ]

    def edge_probabilities(self) -> Tensor:
        """q: the probability that each candidate edge is in the child, [edges]."""
        q = []
        for node, log_subsets in zip(self.space.node_numbers, self.log_topologies(), strict=True):
            member = torch.tensor(
                [[float(i in subset) for i in range(node)] for subset in self.space.subsets(node)],
                device=log_subsets.device,
            )  # [subsets, earlier nodes]
            q.append(log_subsets.exp() @ member)
        return torch.cat(q)

    def log_prob(self, cell: CellGenotype) -> Tensor:
        """log p(cell), a scalar with gradient."""
        log_operations, log_topologies = self.log_operations(), self.log_topologies()
        terms = []
        for k, (node, edges) in enumerate(zip(self.space.node_numbers, cell.nodes, strict=True)):
            terms.append(log_topologies[k][self.space.subsets(node).index(tuple(sorted(edge.input for edge in edges)))])
            for operation, i in edges:
                terms.append(log_operations[self.edge_index[node, i], self.space.operations.index(operation)])
        return torch.stack(terms).sum()

    def entropy(self) -> Tensor:
        """Sum over nodes of H(beta_j) plus sum over edges of q_ij H(alpha_ij), a scalar."""
        topologies = torch.stack([_entropy(log_subsets) for log_subsets in self.log_topologies()]).sum()
        return topologies + (self.edge_probabilities() * _entropy(self.log_operations())).sum()

    def expected(self, costs: Tensor) -> Tensor:
        """Expectation of the sum of `costs` [edges, operations] over the child's (edge, operation) pairs."""
        return (self.edge_probabilities() * (self.log_operations().exp() * costs).sum(dim=1)).sum()

    def cell_from(self, subsets: list[int], operations: Mapping[tuple[int, int], int]) -> CellGenotype:
        """The cell of the chosen subset index per node and operation index per (node, input)."""
        nodes = tuple(
            tuple(Edge(self.space.operations[operations[node, i]], i) for i in self.space.subsets(node)[subset])
            for node, subset in zip(self.space.node_numbers, subsets, strict=True)
        )
        return CellGenotype(self.space.inputs, nodes, self.space.concat)

    @torch.no_grad()
    def most_probable(self, n: int) -> list[tuple[float, CellGenotype]]:
        """The n most probable cells with their log-probabilities, best first (fewer if the space is smaller)."""
        log_operations = self.log_operations().tolist()
        best: list[tuple[float, tuple[tuple[Edge, ...], ...]]] = [(0.0, ())]
        for node, log_subsets in zip(self.space.node_numbers, self.log_topologies(), strict=True):
            wirings: list[tuple[float, tuple[Edge, ...]]] = []
            for subset, log_subset in zip(self.space.subsets(node), log_subsets.tolist(), strict=True):
                partial: list[tuple[float, tuple[Edge, ...]]] = [(log_subset, ())]
                for i in subset:
                    row = log_operations[self.edge_index[node, i]]
                    choices = [(log_p, Edge(name, i)) for log_p, name in zip(row, self.space.operations, strict=True)]
                    partial = _best_pairs(partial, choices, n)
                wirings += partial
            best = _best_pairs(best, wirings, n)
        return [(log_p, CellGenotype(self.space.inputs, nodes, self.space.concat)) for log_p, nodes in best]


class Distribution(nn.Module):
    """The distribution over the children of a space; cells of one kind share one `CellDistribution`."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.cells = nn.ModuleDict({kind: CellDistribution(cell) for kind, cell in space.cells.items()})

    def cell(self, kind: str) -> CellDistribution:
        """The distribution of one kind of cell."""
        found = self.cells[kind]
        assert isinstance(found, CellDistribution)
        return found

    def items(self) -> list[tuple[str, CellDistribution]]:
        """(kind, distribution) pairs."""
        return [(kind, self.cell(kind)) for kind in self.cells]

    def log_prob(self, child: Genotype) -> Tensor:
        """log p(child), a scalar with gradient."""
        return torch.stack([cell.log_prob(child.cells[kind]) for kind, cell in self.items()]).sum()

    def entropy(self) -> Tensor:
        """Entropy in nats, a scalar with gradient."""
        return torch.stack([cell.entropy() for _, cell in self.items()]).sum()

    def expected(self, costs: Mapping[str, Tensor]) -> Tensor:
        """Expectation of an additive cost; `costs[kind]` is [edges, operations]."""
        return torch.stack([cell.expected(costs[kind]) for kind, cell in self.items()]).sum()

    def most_probable(self, n: int) -> list[tuple[float, Genotype]]:
        """The n most probable children with their log-probabilities, best first."""
        best: list[tuple[float, tuple[CellGenotype, ...]]] = [(0.0, ())]
        for _, cell in self.items():
            best = _best_pairs(best, cell.most_probable(n), n)
        return [(log_p, Genotype(CHILD, dict(zip(self.cells, cells, strict=True)))) for log_p, cells in best]


def _entropy(log_p: Tensor) -> Tensor:
    """Entropy over the last dimension; pruned choices (-inf) count as nothing and give no gradient."""
    return -(log_p.exp() * log_p.masked_fill(log_p.isneginf(), 0.0)).sum(dim=-1)


def _best_pairs(left: list[Any], right: list[Any], n: int) -> list[Any]:
    """The n best of all pairs of two independent choices, each a (log-probability, item); left items are tuples."""
    pairs = ((a + b, items, item) for a, items in left for b, item in right if a + b != -torch.inf)
    return [(s, (*items, item)) for s, items, item in heapq.nlargest(n, pairs, key=lambda pair: pair[0])]
