"""Training of a matting network: one loop for every device, which can be interrupted and resumed."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from atldas.common import processes
from atldas.common.checksum import sha256_of_file
from atldas.common.config import to_dict
from atldas.common.curves import CURVES, draw_curves
from atldas.common.device import bfloat16_pays
from atldas.common.errors import UserError
from atldas.common.interruption import Interruption
from atldas.common.progress import progress
from atldas.common.runfolder import CHECKPOINT, LOG, RunLog, open_run_together, save_checkpoint
from atldas.common.schedule import warm_up_cosine
from atldas.genotype import Genotype

from ..data.sample import Batch, Sample
from ..model import weights
from ..model.lookup import MODEL, find_weights
from ..model.network import CheapMatting
from . import validation
from .losses import weighted_losses
from .recipe import OPTIMIZERS, TrainConfig
from .stages import Stages

BEST, DIVERGED = "best.safetensors", "diverged_batch{}.pt"
WRITES = (CHECKPOINT, LOG, CURVES, MODEL, BEST)
CHANGEABLE = ("steps", "workers", "checkpoint_every", "from.path")  # when a run is resumed
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class DivergedError(Exception):
    """A loss or a gradient that is not finite."""


class Training:
    """The state of a training run, which its checkpoint holds.

    Under torchrun every process has its own pairs and an equal network: DistributedDataParallel averages the gradients,
    and BatchNorm's statistics and the losses' counts of pixels are those of all processes. Only rank 0 writes files.
    """

    def __init__(self, network: CheapMatting, settings: TrainConfig, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.stages = Stages(settings)
        self.network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.replica: nn.Module = self.network  # what runs forward and backward
        if settings.frozen_statistics:
            for layer in self.network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        if processes.world_size() > 1:
            processes.share_batch_norm(self.network)
            # Otherwise it waits for the gradients of nodes that nothing reads, which never come.
            unread = any(cell.unread() for cell in network.genotype.cells.values())
            self.replica = DistributedDataParallel(self.network, find_unused_parameters=unread)
        self.averaged = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
        recipe = settings.optimizer
        self.optimizer = OPTIMIZERS[recipe.name](self.network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
        self.dtype = _dtype(settings.precision, device)
        # Small gradients are 0 in float16: the loss is scaled up before the backward pass, the gradients down after.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self._calibrating: dict[int, list[Tensor]] = {}  # inputs of the present stage, by its number
        self.step = 0
        self.best: float | None = None  # the lowest SAD so far

    def run(self, folder: Path, state: dict[str, Any] | None) -> bool:
        """Train to the last step, from `state` if there is one. False if the user interrupted it."""
        settings = self.settings
        if state:
            try:
                self.load_state_dict(state)
            except (KeyError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"{folder / CHECKPOINT}: does not fit this training: it is of another program, or the network has "
                    "changed since the run began; restore it, or begin again with another --out"
                ) from error
        columns = ("loss", *settings.losses, "lr", "gradient_norm", *validation.columns(settings))
        writes, stop = processes.rank() == 0, False
        held_out = validation.held_out(settings) if writes else {}
        batches = self.stages.from_step(self.step)
        with (
            Interruption() as interruption,
            RunLog(folder, columns, self.step + 1)
            if writes
            else nullcontext() as log,  # keeps the rows of the steps done
            progress(settings.all_steps, "train", "step", initial=self.step, shown=writes) as bar,
        ):
            while self.step < settings.all_steps and not stop:
                coming = [next(batches).to(self.device) for _ in range(settings.gradient_accumulation)]
                try:
                    figures = self.train_step(*coming)
                except DivergedError as fault:
                    kept = folder / DIVERGED.format(f"_{processes.rank()}" if processes.rank() else "")
                    save_checkpoint(kept, {str(n): batch._asdict() for n, batch in enumerate(coming)})
                    before = (
                        "the last checkpoint is from before" if (folder / CHECKPOINT).exists() else "no checkpoint yet"
                    )
                    raise UserError(
                        f"{fault}; {before}. Lower optimizer.lr or optimizer.max_grad_norm and begin again. The pairs "
                        f"of this step are in {kept}"
                    ) from fault
                self.step += 1
                if settings.validation and self._due(settings.validation.every):
                    self.calibrate()
                    if writes:
                        figures |= self.validate(held_out, folder)
                if log and (self.step % settings.log_every == 0 or validation.PAIRS in figures):
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
            DivergedError: the loss or the gradient is not finite. The weights are then unchanged.
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
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), recipe.max_grad_norm))
        self._require_finite(figures["loss"], norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.network)
        return {"lr": lr, **figures, "gradient_norm": norm}

    def calibrate(self) -> None:
        """Compute BatchNorm statistics for the averaged weights, from the stage's first batches.

        Neither the network's own statistics nor their moving average fit the averaged weights: early in a training the
        error per unknown pixel was 0.38 with those and 0.28 with these (Izmailov et al., UAI 2018, section 3.3).
        """
        if self.settings.frozen_statistics:  # those of every weight are the first ones
            return
        number, _ = self.stages.at(self.step)
        batch = self.settings.stages[number].batch * processes.world_size()
        wanted = self.settings.calibration
        some, all_of_them = -(-wanted.pairs // batch), -(-wanted.last // batch)  # batches
        if number not in self._calibrating:  # made once, used by every validation
            self._calibrating = {number: list(self._inputs(number, 0, some))}
        coming = iter(self._calibrating[number])
        if self.step == self.settings.all_steps:  # used once, so not kept
            coming = itertools.chain(coming, self._inputs(number, some, all_of_them))
        with self._autocast():
            update_bn(coming, self.averaged)

    def validate(self, held_out: Mapping[str, list[Sample]], folder: Path) -> dict[str, float]:
        """SAD of the averaged weights on each set; the best weights so far become best.safetensors."""
        figures = {
            name: validation.network_sad(self.averaged, samples, self.device) for name, samples in held_out.items()
        }
        value = validation.judged(figures)
        if self.best is None or value < self.best:
            self.best = value
            weights.save(self.result(), folder / BEST, step=str(self.step), SAD=repr(value))
        return figures

    def result(self) -> CheapMatting:
        """The network with the averaged weights."""
        network = self.averaged.module
        assert isinstance(network, CheapMatting)
        return network

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on; the data are a function of the step."""
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

    def _inputs(self, number: int, first: int, last: int) -> Iterator[Tensor]:
        """What the network sees of this process's batches `first` to `last` of a stage, the last one left out."""
        coming = itertools.islice(self.stages.batches(number, first), last - first)
        return (batch.to(self.device).inputs for batch in coming)

    def _require_finite(self, loss: float, gradient_norm: float) -> None:
        """Called before the optimizer's step, so that weights and checkpoints stay finite."""
        # An overflow in float16 is no divergence: the scaler skips the step and halves its scale, down to 1.
        overflow = self.scaler.is_enabled() and self.scaler.get_scale() > 1
        for what, value in (("loss", loss), ("gradient", 0.0 if overflow else gradient_norm)):
            if not math.isfinite(value):
                raise DivergedError(f"the {what} is {value} at step {self.step}")

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.all_steps

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _gradients_averaged(self, now: bool) -> AbstractContextManager[None]:
        """The coming backward pass ends with the mean over all processes only if `now`: once a step is enough."""
        if now or not isinstance(self.replica, DistributedDataParallel):
            return nullcontext()
        return self.replica.no_sync()


def train(
    network: CheapMatting,
    settings: TrainConfig,
    folder: str | Path,
    device: torch.device,
    resume: bool = False,
    start: str | Path | None = None,
) -> CheapMatting | None:
    """Train `network` in a run folder; the averaged weights are its model.safetensors.

    The folder also gets config.yaml, checkpoint.pt, log.csv, tensorboard/, curves.png and, with validation,
    best.safetensors. Under torchrun (see `atldas.common.processes`) all processes train it together, each on batches of
    `settings.batch`. That is the run of one process with a batch so many times as large, and either may resume the
    other's.

    Args:
        network: on any device; it is trained in place.
        settings: the recipe.
        folder: the run's folder.
        device: where the network runs.
        resume: whether the folder's run goes on.
        start: weights to begin with (see `lookup.find_weights`), of the same network, or of one without the hints that
            `network` has. The file's path and SHA-256 are kept in config.yaml, and a run is resumed with the same.

    Returns:
        The trained network in eval mode, or None if the user interrupted the run.

    Raises:
        UserError: faulty settings, a folder that cannot be used, weights of another network, or a loss that is not
            finite.
    """
    folder = Path(folder)
    if start is not None:
        _begin_with(network, start)
    elif settings.frozen_statistics:
        raise UserError("frozen_statistics: expected weights whose statistics BatchNorm keeps; give them by --from")
    state = _open(folder, network, settings, resume, start)
    training = Training(network, settings, device)
    with _a_core_for_each_worker(settings.workers):
        finished = training.run(folder, state)
    if not finished:
        return None
    trained = training.result().eval()
    if processes.rank() == 0:
        weights.save(trained, folder / MODEL, steps=str(settings.all_steps))
        panels = [(name.replace("_", " "), (name,)) for name in ("loss", *settings.losses)]
        draw_curves(folder, [*panels, *([("SAD", tuple(validation.columns(settings)))] if settings.validation else [])])
    return trained


def _begin_with(network: CheapMatting, start: str | Path) -> None:
    try:
        weights.take_weights(network, weights.load(start))
    except ValueError as error:
        raise UserError(f"--from {start}: expected the network of {network.genotype.name}, got another") from error


def _open(
    folder: Path, network: CheapMatting, settings: TrainConfig, resume: bool, start: str | Path | None
) -> dict[str, Any] | None:
    """The run's folder, made or opened by rank 0, and its checkpoint, if there is one, for every rank."""
    cells = Genotype(network.genotype.name, network.genotype.cells)  # without its provenance, which changes no weight
    variant = {"genotype": cells.to_json(), "network": to_dict(network.config)}
    count = processes.world_size()
    stages = tuple(replace(stage, batch=stage.batch * count) for stage in settings.further_stages)
    of_all = replace(settings, batch=settings.batch * count, further_stages=stages)
    recorded = {**to_dict(of_all), "variant": variant, **_recorded(start)}
    steps = ("steps of all stages", settings.all_steps)
    return open_run_together(folder, recorded, resume, WRITES, CHANGEABLE, steps)


def _recorded(start: str | Path | None) -> dict[str, Any]:
    """The weights that a run begins with, for its config.yaml."""
    return {} if start is None else {"from": {"path": str(start), "sha256": sha256_of_file(find_weights(start))}}


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type that convolutions are computed in."""
    if precision == "auto":
        return torch.bfloat16 if bfloat16_pays(device) else torch.float32
    return DTYPES[precision]


@contextmanager
def _a_core_for_each_worker(workers: int) -> Iterator[None]:
    """Leave each data worker a core: threads that wait for a busy core slow down all others.

    The quick start's training runs 5.4 steps a second on two cores with one thread and one worker, and 4.3 with two
    threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) // processes.local_world_size() - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
