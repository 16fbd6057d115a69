"""The distribution's exact figures against brute force over every child."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import ToyNetwork, cell_space, children, random_distribution, space

from atldas.cost import cost
from atldas.distribution import Distribution
from atldas.genotype import CellGenotype, Genotype
from atldas.space import CellSpace, Space
from atldas.supernet import Supernet

TOYS = {
    "one of two": space(2, 2, 1),
    "two of two": Space("toy", {"normal": cell_space(2, 2, 2, ("skip_connect", "nor_conv_1x1"))}),
    "all of one": Space("toy", {"normal": CellSpace(1, 2, None, ("none", "skip_connect", "nor_conv_1x1"), (2,))}),
    "two kinds": Space("toy", {"a": cell_space(1, 2, 1), "b": cell_space(2, 1, 1)}),
}


def every_child(of: Space) -> list[Genotype]:
    kinds = list(of.cells)
    return [
        Genotype("child", dict(zip(kinds, cells, strict=True)))
        for cells in itertools.product(*(cell.enumerate() for cell in of.cells.values()))
    ]


def prune_some(distribution: Distribution) -> None:
    """One operation off every second edge, one subset off the last node of each kind where there are several."""
    for _, cell in distribution.items():
        cell.operation_allowed[::2, 0] = False
        last = cell.topology_allowed(cell.space.nodes - 1)
        if len(last) > 1:
            last[1] = False


@pytest.fixture(params=itertools.product(TOYS, [False, True]), ids=lambda p: f"{p[0]}{' pruned' if p[1] else ''}")
def distribution(request: pytest.FixtureRequest) -> Distribution:
    name, pruned = request.param
    made = random_distribution(TOYS[name], seed=len(name), scale=1.5)
    if pruned:
        prune_some(made)
    return made


@torch.no_grad()
def log_probabilities(distribution: Distribution) -> torch.Tensor:
    """log p of every child, float64."""
    return torch.stack([distribution.log_prob(child) for child in every_child(distribution.space)]).double()


def test_probabilities_of_all_children_sum_to_one(distribution: Distribution) -> None:
    log_p = log_probabilities(distribution)
    assert len(log_p) == distribution.space.size()
    assert float(log_p.logsumexp(0)) == pytest.approx(0, abs=1e-5)


def test_log_prob_is_the_definition() -> None:
    distribution = random_distribution(TOYS["two of two"], 3)
    cell = distribution.cell("normal")
    child = CellGenotype(2, ((("skip_connect", 0), ("nor_conv_1x1", 1)), (("skip_connect", 0), ("skip_connect", 2))),  # type: ignore[arg-type]
                         (2, 3))  # fmt: skip
    alpha = cell.operation_logits.detach().softmax(1)
    beta = [b.detach().softmax(0) for b in cell.topology_logits]
    # Edges are 2<-0, 2<-1, 3<-0, 3<-1, 3<-2; node 3's subsets are (0, 1), (0, 2), (1, 2).
    p = beta[0][0] * alpha[0, 0] * alpha[1, 1] * beta[1][1] * alpha[2, 0] * alpha[4, 0]
    assert cell.log_prob(child).detach().item() == pytest.approx(math.log(p.item()), abs=1e-5)
    swapped = CellGenotype(2, (child.nodes[0][::-1], child.nodes[1]), (2, 3))
    assert torch.allclose(cell.log_prob(swapped), cell.log_prob(child), atol=1e-6)


def test_entropy_is_the_brute_force_one(distribution: Distribution) -> None:
    log_p = log_probabilities(distribution)
    log_p = log_p[log_p.isfinite()]
    assert float(distribution.entropy().detach()) == pytest.approx(float(-(log_p.exp() * log_p).sum()), abs=1e-4)


@pytest.mark.parametrize("n", [1, 5, 10**6])
def test_most_probable_is_the_sorted_top(distribution: Distribution, n: int) -> None:
    log_p = log_probabilities(distribution)
    expected = sorted(log_p[log_p.isfinite()].tolist(), reverse=True)[:n]
    found = distribution.most_probable(n)
    assert [score for score, _ in found] == pytest.approx(expected, abs=1e-5)
    assert len({child for _, child in found}) == len(found)
    for score, child in found[:20]:
        assert float(distribution.log_prob(child).detach()) == pytest.approx(score, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=14, max_size=14), st.integers(0, 3))
def test_hypothesis_agrees_with_brute_force(values: list[float], pruned: int) -> None:
    made = Distribution(TOYS["one of two"])  # 5 edges of 2 operations, 2 + 3 subsets: 15 logits
    with torch.no_grad():
        flat = torch.tensor([*values, 0.0])
        for parameter in made.parameters():
            parameter.copy_(flat[: parameter.numel()].reshape(parameter.shape))
            flat = flat[parameter.numel() :]
    cell = made.cell("normal")
    cell.operation_allowed[pruned, pruned % 2] = False
    cell.topology_allowed(1)[min(pruned, 2)] = False
    log_p = log_probabilities(made)
    assert float(log_p.logsumexp(0)) == pytest.approx(0, abs=1e-5)
    finite = log_p[log_p.isfinite()]
    assert float(made.entropy().detach()) == pytest.approx(float(-(finite.exp() * finite).sum()), abs=1e-3)
    scores = [score for score, _ in made.most_probable(7)]
    assert scores == pytest.approx(sorted(finite.tolist(), reverse=True)[:7], abs=1e-4)


@pytest.mark.parametrize("pruned", [False, True])
def test_expected_macs_is_the_mean_over_measured_fixed_networks(pruned: bool) -> None:
    toy = TOYS["one of two"]
    supernet = Supernet(toy, lambda cells: ToyNetwork(cells, inputs=2, channels=3 - 1))
    tables, constant = supernet.operation_macs((1, 2, 6, 5))
    distribution = random_distribution(toy, 7)
    if pruned:
        prune_some(distribution)
    measured = torch.tensor([cost(supernet.fixed(child), (1, 2, 6, 5)).macs for child in children(toy)])
    exact = float((log_probabilities(distribution).exp() * measured).sum())
    assert float(distribution.expected(tables).detach()) + constant == pytest.approx(exact, rel=1e-6)
    assert len(set(measured.tolist())) > 2


def test_edge_probabilities_sum_to_the_inputs_read(distribution: Distribution) -> None:
    for _, cell in distribution.items():
        q = dict(zip(cell.space.edges, cell.edge_probabilities().tolist(), strict=True))
        for node in cell.space.node_numbers:
            read = cell.space.inputs_per_node or node
            assert sum(q[node, i] for i in range(node)) == pytest.approx(read, abs=1e-5)


def test_gradients_are_finite_after_pruning(distribution: Distribution) -> None:
    costs = {kind: torch.rand(cell.operation_logits.shape) for kind, cell in distribution.items()}
    _, child = distribution.most_probable(1)[0]
    (distribution.entropy() + distribution.expected(costs) + distribution.log_prob(child)).backward()
    for _, cell in distribution.items():
        assert cell.operation_logits.grad is not None
        assert not cell.operation_logits.grad[~cell.operation_allowed].any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in distribution.parameters())


def test_the_gradient_of_the_entropy_is_the_brute_force_one() -> None:
    made = random_distribution(TOYS["one of two"], 5)
    made.entropy().backward()
    exact = random_distribution(TOYS["one of two"], 5)
    log_p = torch.stack([exact.log_prob(child) for child in children(made.space)])
    (-(log_p.exp() * log_p).sum()).backward()
    for a, b in zip(made.parameters(), exact.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_a_new_distribution_is_uniform() -> None:
    darts = Space.load("darts")
    entropy = float(Distribution(darts).entropy().detach())
    assert entropy == pytest.approx(math.log(darts.size()), abs=1e-3)
    score, _ = Distribution(darts).most_probable(3)[0]
    assert score == pytest.approx(-math.log(darts.size()), abs=1e-3)
