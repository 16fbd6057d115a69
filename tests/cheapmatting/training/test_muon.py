"""The Muon optimiser: orthogonal updates, its state, its scale."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cheapmatting.training.muon import Muon, orthogonal


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_orthogonal_brings_singular_values_near_one_and_keeps_the_singular_vectors(
    rows: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.normal(size=(rows, min(rows, columns))))
    v, _ = np.linalg.qr(rng.normal(size=(columns, min(rows, columns))))
    values = rng.uniform(0.1, 1, min(rows, columns))
    found = orthogonal(torch.from_numpy((u * values) @ v.T)[None].float())[0].numpy()
    rotated = u.T @ found @ v
    assert np.diag(rotated).min() > 0.6 and np.diag(rotated).max() < 1.3
    assert np.abs(rotated - np.diag(np.diag(rotated))).max() < 0.1


def test_batches_are_orthogonalised_each_by_itself_and_nothing_stays_nothing() -> None:
    batch = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4, 9))).float()
    batch[1] = 0
    together = orthogonal(batch)
    assert not together[1].any()
    for one, alone in zip(together, batch, strict=True):
        torch.testing.assert_close(one, orthogonal(alone[None])[0], rtol=0, atol=1e-2)


def one_step(layer: nn.Module, gradients: dict[str, torch.Tensor], **settings: float) -> dict[str, torch.Tensor]:
    """How far each parameter moved."""
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = Muon(layer.parameters(), **settings)
    for name, p in layer.named_parameters():
        p.grad = gradients[name].clone()
    optimizer.step()
    return {name: p.detach() - before[name] for name, p in layer.named_parameters()}


def test_a_convolution_moves_along_the_orthogonalised_gradient_and_its_bias_as_by_adam() -> None:
    rng = np.random.default_rng(0)
    layer = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    gradient = torch.from_numpy(rng.normal(size=(8, 3, 3, 3))).float()
    moved = one_step(layer, {"weight": gradient, "bias": torch.full((8,), -0.3)}, lr=0.01, weight_decay=0.0)
    # The first average of Nesterov's momentum is a multiple of the gradient, and multiples do not matter.
    expected = -0.01 * 0.2 * 27**0.5 * orthogonal(gradient.flatten(1)[None])[0].view(8, 3, 3, 3)
    torch.testing.assert_close(moved["weight"], expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(moved["bias"], torch.full((8,), 0.01))  # Adam's first step is the learning rate


def test_weights_decay_in_both_parts() -> None:
    layer = nn.Linear(4, 4)
    nothing = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    moved = one_step(layer, nothing, lr=0.1, weight_decay=0.5)
    for name, value in before.items():
        torch.testing.assert_close(moved[name], -0.05 * value)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(6, 6, 3, groups=6, bias=False), nn.Conv2d(5, 1, 1), nn.BatchNorm2d(4), nn.PReLU(3)]
)
def test_what_is_no_matrix_is_left_to_adam(layer: nn.Module) -> None:
    gradients = {name: torch.full_like(p, 0.2) for name, p in layer.named_parameters()}
    for change in one_step(layer, gradients, lr=0.01, weight_decay=0.0).values():
        torch.testing.assert_close(change, torch.full_like(change, -0.01))


def test_parameters_without_a_gradient_stay() -> None:
    layer = nn.Linear(3, 3)
    before = layer.weight.detach().clone()
    Muon(layer.parameters(), lr=0.1).step()
    assert torch.equal(layer.weight, before)


def test_it_goes_on_from_a_state_dict_to_the_same_weights() -> None:
    def fresh() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1))

    def train(network: nn.Sequential, optimizer: Muon, steps: range) -> None:
        for step in steps:
            x = torch.from_numpy(np.random.default_rng(step).normal(size=(2, 3, 8, 8))).float()
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()

    through = fresh()
    train(through, Muon(through.parameters(), lr=0.01), range(6))
    network = fresh()
    first = Muon(network.parameters(), lr=0.01)
    train(network, first, range(3))
    second = Muon(network.parameters(), lr=0.01)
    second.load_state_dict(first.state_dict())
    train(network, second, range(3, 6))
    for a, b in zip(through.parameters(), network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="no closure"):
        Muon(nn.Linear(2, 2).parameters(), lr=0.1).step(lambda: 0.0)


def test_a_step_after_an_overflow_is_skipped_by_a_grad_scaler() -> None:
    layer = nn.Linear(4, 4)
    before = [p.detach().clone() for p in layer.parameters()]
    optimizer, scaler = Muon(layer.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(layer(torch.full((1, 4), 3e38)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0
    for p, old in zip(layer.parameters(), before, strict=True):
        assert torch.equal(p, old)
