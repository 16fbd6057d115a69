"""Training a matting network: one loop, resumable, the same on every device."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from atldas.config import config, plain
from atldas.curves import draw_curves
from atldas.device import bfloat16_pays
from atldas.errors import UserError
from atldas.genotype import Genotype
from atldas.interruption import Interruption
from atldas.progress import progress
from atldas.runfolder import CHECKPOINT, RunLog, open_run, save_checkpoint
from atldas.schedule import warm_up_cosine

from .data import DataConfig, batches, make_source
from .losses import Weights, weighted_losses
from .network import CheapMatting
from .sample import Batch, Sample
from .validation import network_sad

NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Count = Annotated[int, Ge(1)]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda parameters, lr, weight_decay: torch.optim.AdamW(
        parameters, lr, weight_decay=weight_decay, fused=True
    ),
    "radam": lambda parameters, lr, weight_decay: torch.optim.RAdam(
        parameters, lr, weight_decay=weight_decay, decoupled_weight_decay=True
    ),
    "sgd": lambda parameters, lr, weight_decay: torch.optim.SGD(
        parameters, lr, momentum=0.9, weight_decay=weight_decay, fused=True
    ),
}


def _optimizer_name(name: str) -> str:
    if name not in OPTIMIZERS:
        raise ValueError(f"one of {', '.join(OPTIMIZERS)}")
    return name


DIVERGED = "diverged_batch.pt"


@config
class OptimizerConfig:
    """How weights move. The learning rate warms up over `warm_up` steps and falls by a cosine to `lr_end`."""

    name: Annotated[str, AfterValidator(_optimizer_name)] = "adamw"
    lr: Positive = 1e-3
    lr_end: NonNegative = 0.0
    warm_up: Annotated[int, Ge(0)] = 100
    weight_decay: NonNegative = 0.01
    clip: Positive = 1.0


@config
class ValidationConfig:
    """Every `every` steps the averaged weights are measured on `pairs` held-out pairs; the best are kept."""

    every: Count = 1000
    pairs: Count = 50
    seed: Annotated[int, Ge(0)] = 1_000_003
    data: DataConfig | None = None  # None: as for training, with another seed


@config
class StageConfig:
    """A further stretch of training on pairs of another size."""

    steps: Count
    batch: Count
    size: Annotated[int, Ge(32)]


@config
class TrainConfig:
    """A training run, as `cheapmatting train --config` reads it from YAML.

    Attributes:
        steps, batch: how many steps of how many pairs of `data.size`.
        then: stages that follow, with other sizes: small pairs are quick, large ones are what photographs are like.
            The learning rate's schedule spans them all.
        accumulate: a step averages the gradients of so many batches: a larger batch in no more memory. BatchNorm still
            sees each of them by itself.
        seed: of the data and the initial weights.
        workers: processes that make pairs; 0 makes them in between steps. The pairs are the same, but on a CPU each
            worker takes a core from the network, and another number of threads rounds the last bits otherwise.
        losses: weights of `losses.LOSSES`.
        ema: decay of the averaged weights, which are what a run is for.
        precision: `bfloat16` computes convolutions in it (autocast); `auto` does so where the device gains from it.
    """

    schema: Literal[1]
    steps: Count
    batch: Count = 4
    then: tuple[StageConfig, ...] = ()
    accumulate: Count = 1
    seed: Annotated[int, Ge(0)] = 0
    workers: Annotated[int, Ge(0)] = 1
    data: DataConfig = field(default_factory=DataConfig)
    losses: Weights = field(default_factory=lambda: {"l1_unknown": 1.0, "composition": 1.0, "laplacian": 0.5})
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema: Annotated[float, Ge(0), Le(0.99999)] = 0.999
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validation: ValidationConfig | None = None
    log_every: Count = 10
    checkpoint_every: Count = 200

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """All stages, in order."""
        return (StageConfig(steps=self.steps, batch=self.batch, size=self.data.size), *self.then)

    @property
    def all_steps(self) -> int:
        """The steps of all stages."""
        return sum(stage.steps for stage in self.stages)


class DivergedError(Exception):
    """A loss or a gradient that is not finite."""


class Training:
    """What a training run holds, and all that its checkpoint keeps."""

    def __init__(self, network: CheapMatting, settings: TrainConfig, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.averaged = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        recipe = settings.optimizer
        self.optimizer = OPTIMIZERS[recipe.name](self.network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
        self.step = 0
        self.best: float | None = None  # the lowest SAD so far

    def run(self, folder: Path, state: dict[str, Any] | None) -> bool:
        """Train to the last step, from `state` if there is one. False if a person interrupted it."""
        settings = self.settings
        if state:
            try:
                self.load_state_dict(state)
            except (KeyError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"{folder / CHECKPOINT}: does not fit this training: it is another program's, or the network has "
                    "changed since the run was begun; put it back, or begin again with another --out"
                ) from error
        columns = ("loss", *settings.losses, "lr", "gradient_norm", "SAD")
        held_out = self._held_out()
        pairs = self._pairs()
        with (
            Interruption() as interruption,
            RunLog(folder, columns, self.step + 1) as log,  # keeps the rows up to this step
            progress(settings.all_steps, "train", "step", initial=self.step) as bar,
        ):
            while self.step < settings.all_steps and not interruption.requested:
                coming = [next(pairs).to(self.device) for _ in range(settings.accumulate)]
                try:
                    figures = self.train_step(*coming)
                except DivergedError as fault:
                    save_checkpoint(folder / DIVERGED, {str(n): batch._asdict() for n, batch in enumerate(coming)})
                    raise UserError(f"{fault}. The pairs of this step are in {folder / DIVERGED}") from fault
                self.step += 1
                if held_out and self._due(settings.validation.every):  # type: ignore[union-attr]
                    figures["SAD"] = self.validate(held_out, folder)
                if self.step % settings.log_every == 0 or "SAD" in figures:
                    log.write(self.step, figures)
                    bar.set_postfix(loss=f"{figures['loss']:.4f}", refresh=False)
                bar.update()
                if self._due(settings.checkpoint_every):
                    save_checkpoint(folder / CHECKPOINT, self.state_dict())
            save_checkpoint(folder / CHECKPOINT, self.state_dict())
        return self.step == settings.all_steps

    def train_step(self, *coming: Batch) -> dict[str, float]:
        """One step on one batch, or on several whose gradients are averaged; returns the figures for the log.

        Raises:
            DivergedError: the loss or the gradient is not finite; nothing was changed.
        """
        recipe = self.settings.optimizer
        lr = warm_up_cosine(self.step, self.settings.all_steps, recipe.lr, recipe.lr_end, recipe.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        figures: dict[str, float] = dict.fromkeys(("loss", *self.settings.losses), 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        for batch in coming:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast()):
                alpha = self.network(batch.inputs)
            loss, each = weighted_losses(alpha, batch, self.settings.losses)
            (loss / len(coming)).backward()
            for name, value in {"loss": loss, **each}.items():
                figures[name] += float(value.detach()) / len(coming)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip))
        self._require_finite(figures["loss"], norm)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        return {"lr": lr, **figures, "gradient_norm": norm}

    def validate(self, held_out: list[Sample], folder: Path) -> float:
        """SAD of the averaged weights on held-out pairs; the best weights so far are kept as best.safetensors."""
        value = network_sad(self.averaged, held_out, self.device)
        if self.best is None or value < self.best:
            self.best = value
            self.result().save(folder / "best.safetensors", step=str(self.step), SAD=repr(value))
        return value

    def result(self) -> CheapMatting:
        """The network with the averaged weights."""
        network = self.averaged.module
        assert isinstance(network, CheapMatting)
        return network

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on; the data are a function of the step."""
        return {
            "step": self.step,
            "best": self.best,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        self.step, self.best = state["step"], state["best"]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _pairs(self) -> Iterator[Batch]:
        """The batches that are still to come, stage by stage."""
        first = 0  # the step that the stage begins with
        for number, stage in enumerate(self.settings.stages):
            done = max(0, self.step - first)
            if done < stage.steps:
                source = make_source(replace(self.settings.data, size=stage.size), self.settings.seed + number)
                times = self.settings.accumulate
                coming = batches(source, stage.batch, done * times, self.settings.workers)
                yield from itertools.islice(coming, (stage.steps - done) * times)
            first += stage.steps

    def _held_out(self) -> list[Sample]:
        validation = self.settings.validation
        if validation is None:
            return []
        source = make_source(validation.data or self.settings.data, validation.seed)
        return [source[index] for index in range(validation.pairs)]

    def _require_finite(self, loss: float, gradient_norm: float) -> None:
        """Before the optimizer's step, so that no weight and no checkpoint is ever spoilt."""
        for what, value in (("loss", loss), ("gradient", gradient_norm)):
            if not math.isfinite(value):
                raise DivergedError(
                    f"the {what} is {value} at step {self.step}; the last checkpoint is from before. "
                    "Lower optimizer.lr or optimizer.clip and begin again"
                )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.all_steps

    def _autocast(self) -> bool:
        precision = self.settings.precision
        return precision == "bfloat16" or (precision == "auto" and bfloat16_pays(self.device))


def train(
    network: CheapMatting, settings: TrainConfig, folder: str | Path, device: torch.device, resume: bool = False
) -> CheapMatting | None:
    """Train `network` in a run folder; the averaged weights are its model.safetensors.

    The folder also gets config.yaml, checkpoint.pt, log.csv, tensorboard/, curves.png and, with validation,
    best.safetensors.

    Returns:
        The trained network in eval mode, or None if a person interrupted the run.

    Raises:
        UserError: faulty settings, a folder that cannot be used, or a loss that is not finite.
    """
    folder = Path(folder)
    cells = Genotype(network.genotype.name, network.genotype.cells)  # not its provenance: that changes no weight
    variant = {"genotype": cells.to_json(), "network": plain(network.config)}
    state = open_run(folder, {**plain(settings), "variant": variant}, resume)
    training = Training(network, settings, device)
    with _a_core_for_each_worker(settings.workers):
        finished = training.run(folder, state)
    if not finished:
        return None
    trained = training.result().eval()
    trained.save(folder / "model.safetensors", steps=str(settings.all_steps))
    panels = [(name.replace("_", " "), (name,)) for name in ("loss", *settings.losses)]
    draw_curves(folder, [*panels, *([("SAD on held-out pairs", ("SAD",))] if settings.validation else [])])
    return trained


@contextmanager
def _a_core_for_each_worker(workers: int) -> Iterator[None]:
    """Leave the data workers their cores: threads that wait for a busy core slow down everything.

    The quick start's training took 5.4 steps a second on two cores so, 4.3 with two threads beside the worker.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
