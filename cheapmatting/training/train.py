"""Training a matting network: one loop, resumable, the same on every device."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from atldas.common import processes
from atldas.common.config import to_dict
from atldas.common.curves import CURVES, draw_curves
from atldas.common.device import bfloat16_pays
from atldas.common.errors import UserError
from atldas.common.interruption import Interruption
from atldas.common.progress import progress
from atldas.common.runfolder import CHECKPOINT, CONFIG, LOG, RunLog, load_checkpoint, open_run, save_checkpoint
from atldas.common.schedule import warm_up_cosine
from atldas.genotype import Genotype

from ..data.config import make_source
from ..data.loader import batches
from ..data.sample import Batch, Sample
from ..data.sources import Source
from ..model.network import CheapMatting
from .losses import weighted_losses
from .recipe import OPTIMIZERS, StageConfig, TrainConfig
from .validation import network_sad

MODEL, BEST, DIVERGED = "model.safetensors", "best.safetensors", "diverged_batch{}.pt"
WRITES = (CHECKPOINT, LOG, CURVES, MODEL, BEST)
CHANGEABLE = ("steps", "workers", "checkpoint_every")  # when a run is resumed
# Batches from which the averaged weights get BatchNorm's statistics: before a validation, and at the end. Few are
# noisy: one 16 or another are 1% of SAD apart (80 held-out pairs); 48 come within 0.2% of 200.
CALIBRATING, CALIBRATING_LAST = 16, 64
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class DivergedError(Exception):
    """A loss or a gradient that is not finite."""


class Training:
    """What a training run holds, and all that its checkpoint keeps.

    Under torchrun every process has one, each on pairs of its own, and all stay alike: DistributedDataParallel averages
    their gradients, BatchNorm's statistics and the losses' counts of pixels are everybody's. Files are written by
    process 0 alone.
    """

    def __init__(self, network: CheapMatting, settings: TrainConfig, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.replica: nn.Module = self.network  # what computes
        if processes.count() > 1:
            processes.share_batch_norm(self.network)
            self.replica = DistributedDataParallel(self.network)
        self.averaged = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
        recipe = settings.optimizer
        self.optimizer = OPTIMIZERS[recipe.name](self.network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
        self.dtype = _dtype(settings.precision, device)
        # float16 has no small numbers: the loss is scaled up before its gradients are computed, and they down again.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self._calibrating: dict[int, list[Tensor]] = {}  # by stage, of the present one alone
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
        writes, stop = processes.rank() == 0, False
        held_out = self._held_out() if writes else []
        pairs = self._pairs()
        with (
            Interruption() as interruption,
            RunLog(folder, columns, self.step + 1) if writes else nullcontext() as log,  # keeps the rows up to here
            progress(settings.all_steps, "train", "step", initial=self.step, shown=writes) as bar,
        ):
            while self.step < settings.all_steps and not stop:
                coming = [next(pairs).to(self.device) for _ in range(settings.accumulate)]
                try:
                    figures = self.train_step(*coming)
                except DivergedError as fault:
                    kept = folder / DIVERGED.format(f"_{processes.rank()}" if processes.rank() else "")
                    save_checkpoint(kept, {str(n): batch._asdict() for n, batch in enumerate(coming)})
                    raise UserError(f"{fault}. The pairs of this step are in {kept}") from fault
                self.step += 1
                if settings.validation and self._due(settings.validation.every):
                    self.calibrate()
                    if writes:
                        figures["SAD"] = self.validate(held_out, folder)
                if log and (self.step % settings.log_every == 0 or "SAD" in figures):
                    log.write(self.step, figures)
                    bar.set_postfix(loss=f"{figures['loss']:.4f}", refresh=False)
                bar.update()
                stop = processes.anywhere(interruption.requested, self.device)
                if writes and (stop or self._due(settings.checkpoint_every)):
                    save_checkpoint(folder / CHECKPOINT, self.state_dict())
        finished = self.step == settings.all_steps
        if finished and not settings.validation:
            self.calibrate()
        return finished

    def train_step(self, *coming: Batch) -> dict[str, float]:
        """One step on one batch, or on several whose gradients are averaged; returns the figures for the log.

        Raises:
            DivergedError: the loss or the gradient is not finite; nothing was changed.
        """
        recipe = self.settings.optimizer
        lr = warm_up_cosine(self.step, self.settings.all_steps, recipe.lr, recipe.lr_end, recipe.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        total = torch.zeros(1 + len(self.settings.losses), device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        for number, batch in enumerate(coming, 1):
            with self._gradients_averaged(number == len(coming)):
                with self._autocast():
                    alpha = self.replica(batch.inputs)
                loss, each = weighted_losses(alpha, batch, self.settings.losses, self.settings.evenness)
                self.scaler.scale(loss / len(coming)).backward()
            total += torch.stack([loss, *each.values()]).detach() / len(coming)
        loss, *each_mean = processes.mean(total).tolist()
        figures = {"loss": loss, **dict(zip(self.settings.losses, each_mean, strict=True))}
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip))
        self._require_finite(figures["loss"], norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.network)
        return {"lr": lr, **figures, "gradient_norm": norm}

    def calibrate(self) -> None:
        """Give the averaged weights BatchNorm statistics of their own, from the stage's first batches.

        Neither the raw network's statistics nor their moving average fit them: an error of 0.28 per unknown pixel was
        0.38 with those, early in a training (Izmailov et al., UAI 2018, section 3.3, on averaged weights).
        """
        number, stage, _ = self._stage()
        if number not in self._calibrating:  # made once: every validation needs them
            self._calibrating = {number: list(self._inputs(number, stage, 0, CALIBRATING))}
        coming = iter(self._calibrating[number])
        if self.step == self.settings.all_steps:  # the rest is needed once, and not kept
            coming = itertools.chain(coming, self._inputs(number, stage, CALIBRATING, CALIBRATING_LAST))
        with self._autocast():
            update_bn(coming, self.averaged)

    def validate(self, held_out: list[Sample], folder: Path) -> float:
        """SAD of the averaged weights on held-out pairs; the best weights so far are kept as best.safetensors."""
        value = network_sad(self.averaged, held_out, self.device)
        if self.best is None or value < self.best:
            self.best = value
            self.result().save(folder / BEST, step=str(self.step), SAD=repr(value))
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
            **({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        self.step, self.best = state["step"], state["best"]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def _pairs(self) -> Iterator[Batch]:
        """The batches that are still to come, stage by stage."""
        present, _, done = self._stage()
        for number, stage in list(enumerate(self.settings.stages))[present:]:
            times = self.settings.accumulate
            coming = self._batches(number, stage, done * times, self.settings.workers)
            yield from itertools.islice(coming, (stage.steps - done) * times)
            done = 0

    def _batches(self, number: int, stage: StageConfig, first: int, workers: int = 0) -> Iterator[Batch]:
        """Those of a stage's batches that are this process's, without the `first` of them."""
        # Of every round of batches, one for each process, this process takes its own.
        start = first * processes.count() + processes.rank()
        return batches(self._source(number, stage), stage.batch, start, workers, processes.count())

    def _inputs(self, number: int, stage: StageConfig, first: int, last: int) -> Iterator[Tensor]:
        """What the network sees of this process's batches `first` to `last` of a stage, the last one left out."""
        coming = itertools.islice(self._batches(number, stage, first), last - first)
        return (batch.to(self.device).inputs for batch in coming)

    def _stage(self) -> tuple[int, StageConfig, int]:
        """The number of the stage that the next step belongs to, the stage, and how many of its steps are done."""
        *before, last = self.settings.stages
        first = 0
        for number, stage in enumerate(before):
            if self.step < first + stage.steps:
                return number, stage, self.step - first
            first += stage.steps
        return len(before), last, self.step - first

    def _source(self, number: int, stage: StageConfig) -> Source:
        return make_source(replace(self.settings.data, size=stage.size), self.settings.seed + number)

    def _held_out(self) -> list[Sample]:
        validation = self.settings.validation
        if validation is None:
            return []
        source = make_source(validation.data or self.settings.data, validation.seed)
        return [source[index] for index in range(validation.pairs)]

    def _require_finite(self, loss: float, gradient_norm: float) -> None:
        """Before the optimizer's step, so that no weight and no checkpoint is ever spoilt."""
        # An overflow in float16 is none of that: the scaler skips the step and halves its scale, down to 1.
        overflow = self.scaler.is_enabled() and self.scaler.get_scale() > 1
        for what, value in (("loss", loss), ("gradient", 0.0 if overflow else gradient_norm)):
            if not math.isfinite(value):
                raise DivergedError(
                    f"the {what} is {value} at step {self.step}; the last checkpoint is from before. "
                    "Lower optimizer.lr or optimizer.clip and begin again"
                )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.all_steps

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _gradients_averaged(self, now: bool) -> AbstractContextManager[None]:
        """Whether the coming backward pass ends with the mean over all processes: once a step is enough."""
        if now or not isinstance(self.replica, DistributedDataParallel):
            return nullcontext()
        return self.replica.no_sync()


def train(
    network: CheapMatting, settings: TrainConfig, folder: str | Path, device: torch.device, resume: bool = False
) -> CheapMatting | None:
    """Train `network` in a run folder; the averaged weights are its model.safetensors.

    The folder also gets config.yaml, checkpoint.pt, log.csv, tensorboard/, curves.png and, with validation,
    best.safetensors. Under torchrun (see `atldas.common.processes`) all processes train it together, each on batches of
    `settings.batch`; the run is that of one process with so many times the batch, and either may resume the other's.

    Returns:
        The trained network in eval mode, or None if a person interrupted the run.

    Raises:
        UserError: faulty settings, a folder that cannot be used, or a loss that is not finite.
    """
    folder = Path(folder)
    state = _open(folder, network, settings, resume)
    training = Training(network, settings, device)
    with _a_core_for_each_worker(settings.workers):
        finished = training.run(folder, state)
    if not finished:
        return None
    trained = training.result().eval()
    if processes.rank() == 0:
        trained.save(folder / MODEL, steps=str(settings.all_steps))
        panels = [(name.replace("_", " "), (name,)) for name in ("loss", *settings.losses)]
        draw_curves(folder, [*panels, *([("SAD on held-out pairs", ("SAD",))] if settings.validation else [])])
    return trained


def _open(folder: Path, network: CheapMatting, settings: TrainConfig, resume: bool) -> dict[str, Any] | None:
    """The run's folder, made or opened by process 0, and its checkpoint, if there is one, for every process."""
    state = None
    if processes.rank() == 0:
        cells = Genotype(network.genotype.name, network.genotype.cells)  # not its provenance: that changes no weight
        variant = {"genotype": cells.to_json(), "network": to_dict(network.config)}
        of_all = replace(
            settings,
            batch=settings.batch * processes.count(),
            then=tuple(replace(stage, batch=stage.batch * processes.count()) for stage in settings.then),
        )
        # torchrun starts the same command again after a process has died.
        resume = resume or (processes.restarted() and (folder / CONFIG).exists())
        state = open_run(folder, {**to_dict(of_all), "variant": variant}, resume, WRITES, CHANGEABLE)
    processes.wait_for_all()
    if processes.rank() > 0 and (folder / CHECKPOINT).exists():
        state = load_checkpoint(folder / CHECKPOINT)
    return state


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    """What convolutions are computed in."""
    if precision == "auto":
        return torch.bfloat16 if bfloat16_pays(device) else torch.float32
    return DTYPES[precision]


@contextmanager
def _a_core_for_each_worker(workers: int) -> Iterator[None]:
    """Leave the data workers their cores: threads that wait for a busy core slow down everything.

    The quick start's training took 5.4 steps a second on two cores so, 4.3 with two threads beside the worker.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) // processes.count_here() - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
