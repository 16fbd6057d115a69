"""Dense mixtures: their weights, their function, and their gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stripes import choice_context
from torch import Tensor
from toy import random_distribution, space

from atldas.strategies.darts import Darts, DartsOptions, mixture
from atldas.strategies.drnas import Drnas, DrnasOptions


@given(st.integers(0, 100), st.integers(1, 3), st.sampled_from([None, 1, 2]))
def test_weights_of_a_node_add_up_to_how_many_inputs_it_reads(seed: int, nodes: int, k: int | None) -> None:
    of = space(inputs=2, nodes=nodes, k=k)
    distribution = random_distribution(of, seed)
    weights = mixture(of, {v.name: c.log_probabilities().exp() for v, c in distribution.items()})
    for node in range(2, 2 + nodes):
        total = sum(float(weights[f"normal.{node}_from_{i}"].sum().detach()) for i in range(node))
        assert total == pytest.approx(k or node, rel=1e-5)
    assert len(weights) == sum(range(2, 2 + nodes))


def test_a_weight_is_the_probability_that_a_child_runs_the_operation() -> None:
    of = space(inputs=2, nodes=2, k=1)
    distribution = random_distribution(of, 3)
    weights = mixture(of, {v.name: c.log_probabilities().exp() for v, c in distribution.items()})
    expected: dict[tuple[str, int], float] = {}
    for child in of.enumerate():
        for name, index in of.choices_of(child).items():
            key = (name, index)
            expected[key] = expected.get(key, 0.0) + float(distribution.log_prob(child).exp().detach())
    for name, row in weights.items():
        for index, weight in enumerate(row.tolist()):
            assert weight == pytest.approx(expected[name, index], abs=1e-5)


@pytest.mark.parametrize("index", [0, 17, 53])
def test_a_mixture_of_one_child_is_that_child(index: int) -> None:
    given = choice_context()
    child = list(given.space.enumerate())[index]
    with torch.no_grad():
        for name, option in given.space.choices_of(child).items():
            given.distribution[name].logits[option] = 200.0
    Darts(DartsOptions(), given).select_for_training(0)
    given.supernet.eval()
    x = torch.randn(4, 1, 8, 8)
    mixed = given.supernet(x)
    given.supernet.select(child)
    assert torch.allclose(mixed, given.supernet(x), atol=1e-6)
    assert given.supernet.selection.mixture == {}


def test_the_objective_has_the_gradient_of_finite_differences() -> None:
    given = choice_context()
    given.supernet.double()
    given.distribution.double()
    with torch.no_grad():
        for parameter in given.distribution.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    x, y = next(given.task.held_out_batches(0))
    strategy, batch = Darts(DartsOptions(), given), (x.double(), y)
    gradients = torch.autograd.grad(strategy.objective(batch, 0)[0], strategy.parameters(), allow_unused=True)
    for parameter, gradient in zip(strategy.parameters(), gradients, strict=True):
        for index in range(len(parameter)):
            expected = difference(strategy, batch, parameter, index)
            found = 0.0 if gradient is None else float(gradient[index])
            assert found == pytest.approx(expected, abs=1e-7, rel=1e-4)
    assert max(float(g.abs().max()) for g in gradients if g is not None) > 1e-3


def difference(strategy: Darts, batch: Any, parameter: Tensor, index: int, step: float = 1e-5) -> float:
    """The central difference of the objective by one logit."""
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            parameter[index] += sign * step
            values.append(float(strategy.objective(batch, 0)[0]))
            parameter[index] -= sign * step
    return (values[0] - values[1]) / (2 * step)


def test_weight_steps_leave_the_logits_and_architecture_steps_the_statistics_alone() -> None:
    given = choice_context()
    strategy = Darts(DartsOptions(), given)
    batch = next(given.task.training_batches(0))
    strategy.select_for_training(0)
    given.supernet.train()
    given.task.loss(given.supernet, batch).backward()
    assert all(parameter.grad is None for parameter in given.distribution.parameters())
    assert all(parameter.grad is not None for parameter in given.supernet.cells[0].edges.parameters())
    before = {name: buffer.clone() for name, buffer in given.supernet.named_buffers()}
    strategy.objective(batch, 0)
    assert all(torch.equal(buffer, before[name]) for name, buffer in given.supernet.named_buffers())


def test_drawn_weights_have_the_dirichlets_mean_and_its_gradient() -> None:
    """The mean of a draw is concentration / its sum, so the gradient of <w, draw> is known in expectation."""
    given = choice_context()
    name, w = "normal.2_from_1", torch.tensor([1.0, -2.0, 0.5])
    beta = given.distribution[name].logits
    with torch.no_grad():
        beta.copy_(torch.tensor([-0.7, 0.4, 1.3]))
    strategy = Drnas(DrnasOptions(), given)
    torch.manual_seed(0)
    draws = [strategy.probabilities()[name] for _ in range(4000)]
    (found,) = torch.autograd.grad(torch.stack(draws).mean(dim=0) @ w, beta)
    concentration = torch.nn.functional.elu(beta) + 1
    mean = concentration / concentration.sum()
    (expected,) = torch.autograd.grad(mean @ w, beta)
    assert torch.allclose(torch.stack(draws).mean(dim=0), mean, atol=0.02)
    assert torch.allclose(found, expected, atol=0.03)
    assert float(expected.abs().max()) > 0.15


def test_the_distance_is_least_at_the_symmetric_dirichlet() -> None:
    given = choice_context()
    strategy = Drnas(DrnasOptions(), given)
    assert float(strategy.distance().detach()) == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        given.distribution["shutter"].logits += torch.tensor([1.0, -0.5])
    assert float(strategy.distance().detach()) > 0.1
    batch = next(given.task.held_out_batches(0))
    objectives = []
    for options in (DrnasOptions(distance=0.0), DrnasOptions(distance=2.0)):
        torch.manual_seed(0)  # the same draw
        objectives.append(float(Drnas(options, given).objective(batch, 0)[0].detach()))
    assert objectives[1] - objectives[0] == pytest.approx(2 * float(strategy.distance().detach()), rel=1e-4)


def test_a_pruned_option_is_never_drawn() -> None:
    given = choice_context()
    given.distribution["normal.2_from_1"].allowed[1] = False
    for strategy in (Darts(DartsOptions(), given), Drnas(DrnasOptions(), given)):
        p = strategy.probabilities()["normal.2_from_1"]
        assert float(p[1].detach()) == 0.0 and float(p.sum().detach()) == pytest.approx(1.0)
