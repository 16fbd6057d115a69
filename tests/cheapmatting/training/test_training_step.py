"""One step of training: gradients, precision, optimizers, and what is averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import digests, small_network
from small import training_settings as settings

from atldas.common.device import bfloat16_pays
from atldas.common.errors import UserError
from cheapmatting.data.config import make_source
from cheapmatting.data.sample import collate
from cheapmatting.training.losses import LOSSES
from cheapmatting.training.recipe import OPTIMIZERS
from cheapmatting.training.train import DivergedError, Training, train

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_accumulated_batches_have_the_mean_of_their_gradients() -> None:
    recipe = settings(optimizer={"max_grad_norm": 1e9})
    made = make_source(recipe.data, 7)
    halves = [collate([made[0], made[1]]), collate([made[2], made[3]])]
    accumulated = Training(small_network(), recipe, CPU)
    figures = accumulated.train_step(*halves)
    gradients, losses = [], []
    for half in halves:
        alone = Training(small_network(), recipe, CPU)
        losses.append(alone.train_step(half)["loss"])
        gradients.append([parameter.grad for parameter in alone.network.parameters()])
    assert figures["loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    for parameter, first, second in zip(accumulated.network.parameters(), *gradients, strict=True):
        assert parameter.grad is not None and first is not None and second is not None
        torch.testing.assert_close(parameter.grad, (first + second) / 2, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("steps", "count"), [(7, 16), (6, 64)], ids=["before the end", "at the end"])
def test_averaged_weights_get_batch_norm_statistics_of_their_own(steps: int, count: int) -> None:
    """Of 32 pairs before the end and of 128 at the end, two a batch."""
    calibration = {"pairs": 32, "last": 128}
    recipe = settings(ema=0.9, steps=steps, optimizer={"lr": 0.05, "warm_up": 0}, calibration=calibration)
    training = Training(small_network(), recipe, CPU)
    source = make_source(recipe.data, 0)
    for step in range(6):
        training.train_step(collate([source[2 * step], source[2 * step + 1]]))
        training.step += 1
    weights = digests(dict(training.averaged.module.named_parameters()))
    network = training.result()
    layers = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    # What each sees while the statistics are computed.
    seen: list[list[torch.Tensor]] = [[] for _ in (network, *layers)]
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, found=found: found.append(inputs[0].clone()))
        for module, found in zip((network, *layers), seen, strict=True)
    ]
    training.calibrate()
    for hook in hooks:
        hook.remove()
    assert digests(dict(network.named_parameters())) == weights and training.averaged.module is network
    batches, *inputs = seen
    assert len(batches) == count
    for number, batch in enumerate(batches):
        assert torch.equal(batch, collate([source[2 * number], source[2 * number + 1]]).inputs)
    for layer, found in zip(layers, inputs, strict=True):
        mean, variance = layer.running_mean, layer.running_var
        torch.testing.assert_close(mean, torch.stack([x.mean((0, 2, 3)) for x in found]).mean(0), rtol=1e-4, atol=1e-5)
        own = torch.stack([x.var((0, 2, 3)) for x in found]).mean(0)
        torch.testing.assert_close(variance, own, rtol=1e-3, atol=1e-5)
    raw = training.network.state_dict()
    assert not torch.allclose(raw["stem_eighth.1.running_mean"], layers[0].running_mean, rtol=1e-3)


def test_frozen_statistics_stay_and_the_network_trains_as_it_is_used() -> None:
    recipe = settings(frozen_statistics=True, ema=0.0, optimizer={"lr": 0.05, "warm_up": 0})
    network = small_network()
    for layer in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        layer.running_mean.normal_()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    source = make_source(recipe.data, 0)
    batch = collate([source[0], source[1]])
    with torch.no_grad():
        used = network.eval()(batch.inputs)
    training = Training(network, recipe, CPU)
    with torch.no_grad():
        torch.testing.assert_close(training.network(batch.inputs), used, rtol=1e-4, atol=1e-5)
    training.train_step(batch)
    training.calibrate()
    moved = {name for name, value in training.result().state_dict().items() if not torch.equal(value, before[name])}
    assert {"stem_eighth.1.weight", "stem_eighth.1.bias"} <= moved
    assert not any("running" in name or "num_batches" in name for name in moved)


def test_frozen_statistics_need_weights_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^frozen_statistics: expected weights .*; give them by --from$"):
        train(small_network(), settings(frozen_statistics=True), tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_moves_weights_and_decays_them(tmp_path: Path, name: str) -> None:
    network = small_network()
    training = Training(network, settings(optimizer={"name": name, "lr": 0.01, "warm_up": 0, "weight_decay": 0.1}), CPU)
    before = {key: parameter.clone() for key, parameter in network.named_parameters()}
    figures = training.train_step(collate([make_source(settings().data, 0)[0]]))
    moved = [key for key, parameter in training.network.named_parameters() if not torch.equal(parameter, before[key])]
    assert len(moved) > 0.9 * len(before)
    assert figures["lr"] == 0.01 and figures["gradient_norm"] > 0
    assert all(parameter.isfinite().all() for parameter in training.network.parameters())


def test_gradients_are_clipped(tmp_path: Path) -> None:
    network = small_network()
    before = {key: parameter.clone() for key, parameter in network.named_parameters()}
    recipe = {"name": "sgd", "lr": 1.0, "warm_up": 0, "weight_decay": 0.0, "max_grad_norm": 1e-3}
    training = Training(network, settings(optimizer=recipe), CPU)
    figures = training.train_step(collate([make_source(settings().data, 0)[0]]))
    moved = sum((p - before[key]).square().sum() for key, p in training.network.named_parameters()).sqrt()
    assert figures["gradient_norm"] > 1e-3 and moved.item() == pytest.approx(1e-3, rel=0.01)


def test_bfloat16_runs_and_stays_close(tmp_path: Path) -> None:
    batch = collate([make_source(settings().data, 0)[0]])
    figures = {}
    for precision in ("float32", "bfloat16", "auto"):
        training = Training(small_network(), settings(precision=precision), CPU)
        figures[precision] = training.train_step(batch)
        assert all(parameter.dtype == torch.float32 for parameter in training.network.parameters())
    assert figures["auto"] == figures["bfloat16" if bfloat16_pays(CPU) else "float32"]
    assert figures["bfloat16"]["loss"] != figures["float32"]["loss"]
    assert figures["bfloat16"]["loss"] == pytest.approx(figures["float32"]["loss"], rel=0.05)
    assert train(small_network(), settings(steps=2, precision="bfloat16"), tmp_path, CPU) is not None


def test_an_overflow_in_float16_skips_the_step_and_halves_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    def steep(alpha: torch.Tensor, batch: Any) -> torch.Tensor:
        error = (alpha - batch.alpha).abs().mean()
        return error + (error - error.detach()).sqrt()  # its slope is infinite

    monkeypatch.setitem(LOSSES, "steep", steep)
    training = Training(small_network(), settings(precision="float16", losses={"steep": 1.0}), CPU)
    before, scale = digests(training.network.state_dict()), training.scaler.get_scale()
    batch = collate([make_source(settings().data, 0)[0]])
    training.train_step(batch)
    weights = dict(training.network.named_parameters())
    after = digests(training.network.state_dict())
    assert all(after[name] == before[name] for name in weights)
    assert training.scaler.get_scale() == scale / 2
    with pytest.raises(DivergedError, match="gradient"):  # at scale 1 it is no overflow
        for _ in range(20):
            training.train_step(batch)
    assert all(parameter.isfinite().all() for parameter in training.network.parameters())
