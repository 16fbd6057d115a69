"""The oracles: a figure is a function of the child and the seed, and nothing else moves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from texture import TextureTask, wired_space
from torch import Tensor, nn
from trained_texture import CPU, children, of, snapshot, task, trained_supernet, unchanged

from atldas.builder import FixedBuilder
from atldas.oracles import Inherited, InheritedConfig, Measured, ShortTraining, ShortTrainingConfig, recalibrate
from atldas.supernet import Supernet
from atldas.training import SgdConfig

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def supernet() -> Supernet:
    return trained_supernet()


class Fixed:
    """A task whose training batches are known."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches

    def training_batches(self, start: int) -> Iterator[Any]:
        while True:
            yield from self.batches[start:]

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        y: Tensor = network(batch).sum()
        return y


def test_recalibration_takes_plain_averages() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(5, 2, 3, 3) * (1 + k) + k for k in range(3)]
    norm = nn.BatchNorm2d(2, momentum=0.3)
    with torch.no_grad():
        norm(torch.randn(4, 2, 3, 3) + 50)  # statistics to be forgotten
    network = nn.Sequential(norm, nn.Dropout(0.5))
    recalibrate(network, Fixed(batches), 3)
    mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in batches]).mean(0)
    variance = torch.stack([x.var(dim=(0, 2, 3)) for x in batches]).mean(0)
    assert norm.running_mean is not None and norm.running_var is not None
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    assert torch.allclose(norm.running_var, variance, atol=1e-4)
    assert norm.momentum == 0.3 and not any(module.training for module in network.modules())


def test_recalibration_of_a_network_without_normalisation_does_nothing() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    before = [p.clone() for p in network.parameters()]
    recalibrate(network, Fixed([]), 3)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_inherited_is_the_recalibrated_fixed_network_and_leaves_the_supernet_alone(supernet: Supernet) -> None:
    oracle = Inherited(InheritedConfig(calibration_batches=4), Measured(task(), supernet, 0, CPU))
    before, selected, random = snapshot(supernet), supernet.child, torch.get_rng_state()
    for child in children(wired_space(), 3):
        network = supernet.fixed(child)
        recalibrate(network, task(), 4)
        torch.set_rng_state(random)
        assert oracle.measure(child) == task().measure(network)
    assert unchanged(supernet, before) and supernet.child == selected
    assert torch.equal(torch.get_rng_state(), random)


def short(seed: int = 0, **settings: Any) -> ShortTraining:
    config = ShortTrainingConfig(**{"oracle": "short_training", "steps": 12, **settings})
    return ShortTraining(config, Measured(task(), None, seed, CPU))


def test_short_training_is_a_function_of_child_and_seed_alone() -> None:
    first, second = of("nor_conv_3x3"), of("nor_conv_1x1")
    figures = []
    for state in (0, 1):
        torch.manual_seed(state)
        oracle = short()
        before = torch.get_rng_state()
        if state:
            oracle.measure(second)  # whatever was measured before
        figures.append(oracle.measure(first))
        assert torch.equal(torch.get_rng_state(), before)
    assert figures[0] == figures[1]


def test_seeds_are_other_initial_weights_and_their_figures_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    child = of("nor_conv_3x3")
    born: list[float] = []
    original = TextureTask.build

    def build(self: TextureTask, builder: FixedBuilder) -> nn.Module:
        network = original(self, builder)
        born.append(float(next(network.parameters()).detach().sum()))
        return network

    monkeypatch.setattr(TextureTask, "build", build)
    measured = iter([0.25, 0.75, 0.5])
    monkeypatch.setattr(TextureTask, "measure", lambda self, network: next(measured))
    oracle = short(seeds=3, steps=1)
    assert oracle.measure(child) == 0.5 and len(set(born)) == 3
    assert oracle.name == "short_training_1_of_3" and short(steps=1).name == "short_training_1"


def test_short_training_learns_what_can_be_learnt() -> None:
    oracle = short(steps=60, calibration_batches=5)
    assert oracle.measure(of("nor_conv_3x3")) > 0.9 > 0.7 > oracle.measure(of("skip_connect"))


def test_in_bfloat16_the_weights_of_every_step_are_used() -> None:
    """Autocast keeps casts of weights while its context lasts: a training inside one context would learn nothing."""
    oracle = short(steps=60, calibration_batches=5, precision="bf16")
    assert oracle.measure(of("nor_conv_3x3")) > 0.9


def test_a_repeat_has_other_weights_and_other_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []
    original = TextureTask.loss

    def loss(self: TextureTask, network: nn.Module, batch: Any) -> Tensor:
        seen.append((float(next(network.parameters()).detach().sum()), float(batch[0].sum())))
        return original(self, network, batch)

    monkeypatch.setattr(TextureTask, "loss", loss)
    oracle = short(steps=2)
    for repeat in (oracle, oracle.again(1), oracle.again(2)):
        repeat.measure(of("nor_conv_3x3"))
    weights, batches = zip(*seen, strict=True)
    assert len(set(weights[::2])) == 3 and len(set(batches)) == 6
    assert [oracle.again(number).name for number in (0, 1)] == ["short_training_2", "short_training_2_repeat_1"]


def test_a_training_that_diverges_is_not_a_number_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    oracle = short(steps=30, weights=SgdConfig(lr=1e30, max_grad_norm=1e30))
    assert math.isnan(oracle.measure(of("nor_conv_3x3")))
    assert "short_training_30 of a candidate: expected a finite loss, got" in caplog.text


def test_all_children_see_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    original = TextureTask.loss

    def loss(self: TextureTask, network: nn.Module, batch: Any) -> Tensor:
        seen.append(float(batch[0].sum()))
        return original(self, network, batch)

    monkeypatch.setattr(TextureTask, "loss", loss)
    for child in (of("nor_conv_3x3"), of("skip_connect")):
        short(steps=3).measure(child)
    assert len(seen) == 6 and seen[:3] == seen[3:] and len(set(seen)) == 3


def test_a_rung_may_have_other_task_options_than_the_search() -> None:
    wide: list[dict[str, Any]] = []

    def other(changes: Mapping[str, Any]) -> TextureTask:
        wide.append(dict(changes))
        return task()

    given = Measured(task(), None, 0, CPU, make_task=other)
    settings = ShortTrainingConfig(oracle="short_training", steps=2, task_options={"channels": 16})
    oracle = settings.make(given)
    assert wide == [{"channels": 16}] and oracle.task is not given.task
    assert oracle.name == "short_training_2_channels_16"
