"""Training one network of any task from scratch: SGD with momentum, a cosine, clipped gradients.

`atldas train GENOTYPE EXPERIMENT` trains a found network. EXPERIMENT is a search's file that has a section `training:`
as well, or a file of its own with nothing but

    schema: 2
    task: atldas.classification:ImageFolderTask
    task_options: {folder: cifar10/train, channels: 36, depth: 20, batch: 96}
    training: {steps: 300000, drop_path: 0.2}

Beside a search, `training.task_options` says what differs from the search's: more channels, all of the images.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import nn

from .builder import FixedBuilder
from .cell import Cell
from .common import processes
from .common.atomic import write_text
from .common.config import Seed, Source, config, to_dict
from .common.curves import CURVES, draw_curves
from .common.errors import UserError
from .common.interruption import Interruption
from .common.progress import progress
from .common.runfolder import CHECKPOINT, LOG, RunLog, open_run_together, save_checkpoint
from .common.schedule import linear, warm_up_cosine
from .common.tensor_file import save_tensors
from .cost import cost
from .genotype import Genotype
from .peak_memory import peak_memory
from .task import Task, make_task, measured


@config
class SgdConfig:
    """SGD with momentum; the learning rate follows a cosine from `lr` to `lr_end` after `warm_up` steps."""

    lr: Annotated[float, Gt(0)] = 0.025
    lr_end: Annotated[float, Ge(0)] = 0.001
    warm_up: Annotated[int, Ge(0)] = 0
    momentum: Annotated[float, Ge(0), Le(1)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 3e-4
    nesterov: bool = False
    max_grad_norm: Annotated[float, Gt(0)] = 5.0


MODEL, METRICS = "model.safetensors", "metrics.json"
WRITES = (CHECKPOINT, LOG, CURVES, MODEL, METRICS)
CHANGEABLE = ("training.steps", "training.checkpoint_every")  # when a training is resumed


class Sgd:
    """The optimizer of a network's weights and its schedule.

    Args:
        steps: how many there will be, for the schedule.
        together: whether all processes train this network, each on batches of its own.
    """

    def __init__(self, network: nn.Module, settings: SgdConfig, steps: int, together: bool = False) -> None:
        self.network, self.settings, self.steps, self.together = network, settings, steps, together
        self.saved_step: int | None = None  # of the last checkpoint, for errors
        self.optimizer = torch.optim.SGD(
            network.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
        )  # fmt: skip

    def lr(self, step: int) -> float:
        """The learning rate of a step."""
        return warm_up_cosine(step, self.steps, self.settings.lr, self.settings.lr_end, self.settings.warm_up)

    def step(self, task: Task, batch: Any, step: int) -> float:
        """Move the weights by one batch; returns the loss.

        Raises:
            NotFiniteError: the loss or its gradient is not finite; no weight has moved then.
        """
        self.begin(step)
        loss = self.add(task, batch)
        self.move(step, loss)
        return loss

    def begin(self, step: int) -> None:
        """Begin a step without gradients; None, so that operations that are not drawn are left alone."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step)
        self.optimizer.zero_grad(set_to_none=True)

    def add(self, task: Task, batch: Any, share: float = 1.0) -> float:
        """Add the gradient of `share` times the loss on a batch; returns the loss."""
        loss = task.loss(self.network, batch)
        (loss * share).backward()
        return float(loss.detach())

    def move(self, step: int, loss: float) -> None:
        """Move the weights by the gradients added; all processes together, if they train this network together.

        Raises:
            NotFiniteError: the loss or the gradient is not finite; no weight has moved then.
        """
        if self.together:
            processes.average_gradients(self.network.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.max_grad_norm)
        require_finite(step, self.saved_step, loss=loss, gradient=float(norm))
        self.optimizer.step()


class NotFiniteError(UserError):
    """A loss or a gradient is not a finite number."""


def require_finite(step: int, saved_step: int | None, **values: float) -> None:
    """Before an optimizer's step, so that no weight and no checkpoint is ever spoilt.

    Raises:
        NotFiniteError: one of the values is not finite. `saved_step` is the last checkpoint's step, if there is one.
    """
    kept = "there is no checkpoint yet" if saved_step is None else f"the checkpoint is of step {saved_step}"
    for what, value in values.items():
        if not math.isfinite(value):
            raise NotFiniteError(
                f"expected a finite {what}, got {value} at step {step}; {kept}. "
                "Lower the learning rate or max_grad_norm and begin again"
            )


@config
class TrainingConfig:
    """The section `training:`.

    Attributes:
        steps: how many.
        weights: the optimizer.
        drop_path: the probability of losing an operation's output at the last step, reached straight from 0.
        task_options: what differs from the `task_options` beside this section.
        measure_every: steps between measurements by the task's metric on the way; 0 for none. Nothing is chosen by
            them: the result is the last step's weights.
    """

    steps: Annotated[int, Ge(1)]
    weights: SgdConfig = field(default_factory=lambda: SgdConfig(lr_end=0.0))
    drop_path: Annotated[float, Ge(0), Lt(1)] = 0.0
    task_options: dict[str, Any] = field(default_factory=dict)
    measure_every: Annotated[int, Ge(0)] = 0
    log_every: Annotated[int, Ge(1)] = 10
    checkpoint_every: Annotated[int, Ge(1)] = 200


@config
class TrainingExperiment:
    """What `atldas train` reads; see the module. The fields that a search has too mean the same."""

    schema: Literal[2]
    task: str
    task_options: dict[str, Any] = field(default_factory=dict)
    seed: Seed = 0
    training: TrainingConfig


class Training:
    """What a training holds, and all that its checkpoint keeps.

    Under torchrun every process has one, each on batches of its own, and all stay alike. What is drawn at random in a
    step is a function of the seed, the step and the process, so that no random state needs to be kept.
    """

    def __init__(
        self, genotype: Genotype, experiment: TrainingExperiment, device: torch.device, source: Source | str
    ) -> None:
        self.settings, self.seed, self.device = experiment.training, experiment.seed, device
        given = {**experiment.task_options, **experiment.training.task_options}
        self.task, _ = make_task(experiment.task, given, experiment.seed, device, source)
        torch.manual_seed(experiment.seed)
        network = self.task.build(FixedBuilder(genotype))
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if processes.world_size() > 1:
            processes.share_batch_norm(self.network)
        self.cells = [module for module in self.network.modules() if isinstance(module, Cell)]
        self.weights = Sgd(self.network, self.settings.weights, self.settings.steps, together=True)
        self.step = 0

    def run(self, folder: Path, state: dict[str, Any] | None) -> bool:
        """Train to the last step, from `state` if there is one. False if the user interrupted it."""
        settings = self.settings
        if state:
            try:
                self.load_state_dict(state)
            except (KeyError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"{folder / CHECKPOINT}: does not fit this training: its task has changed since the run was begun; "
                    "put it back, or begin again with another --out"
                ) from error
        writes, stop, batches = processes.rank() == 0, False, self._batches()
        with (
            Interruption() as interruption,
            RunLog(folder, self.columns(), self.step + 1) if writes else nullcontext() as log,
            progress(settings.steps, "train", "step", initial=self.step, shown=writes) as bar,
        ):
            while self.step < settings.steps and not stop:
                figures = self.train_step(next(batches))
                self.step += 1
                if writes and settings.measure_every and self.step % settings.measure_every == 0:
                    figures[self.task.metric] = self.measure()
                if log and (self.step % settings.log_every == 0 or self.task.metric in figures):
                    log.write(self.step, figures)
                    bar.set_postfix(loss=f"{figures['loss']:.4f}", refresh=False)
                bar.update()
                stop = processes.anywhere(interruption.requested, self.device)
                if writes and (stop or self.step % settings.checkpoint_every == 0 or self.step == settings.steps):
                    save_checkpoint(folder / CHECKPOINT, self.state_dict())
                    self.weights.saved_step = self.step
        return self.step == settings.steps

    def columns(self) -> tuple[str, ...]:
        """Those of the log, besides the step."""
        return ("loss", "lr", "drop_path", self.task.metric)

    def train_step(self, batch: Any) -> dict[str, float]:
        """One step on this process's batch; the figures are those of all processes."""
        numbers = [self.seed, self.step, processes.rank()]
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
        drop_path = linear(self.step, 0, self.settings.steps, 0.0, self.settings.drop_path)
        for cell in self.cells:
            cell.drop_path = drop_path
        self.network.train()
        loss = self.weights.step(self.task, batch, self.step)
        mean = float(processes.mean(torch.tensor(loss, device=self.device)))
        return {"loss": mean, "lr": self.weights.lr(self.step), "drop_path": drop_path}

    def measure(self) -> float:
        """The task's metric, on its test data if it has any."""
        return measured(self.task, self.network.eval(), test=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on; data and noise are functions of the step."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.weights.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        self.step = self.weights.saved_step = state["step"]
        self.network.load_state_dict(state["network"])
        self.weights.optimizer.load_state_dict(state["optimizer"])

    def _batches(self) -> Iterator[Any]:
        """Of every round of batches, one for each process, this process's own, from the present step on."""
        count, rank = processes.world_size(), processes.rank()
        if count == 1:
            return self.task.training_batches(self.step)
        return (next(self.task.training_batches(n)) for n in itertools.count(self.step * count + rank, count))


class Trained(NamedTuple):
    """What a training gives: the network in eval mode, its genotype, and figures.

    The figures are the metric, the steps, parameters, MACs, and the most bytes of activations alive at once.
    """

    network: nn.Module
    genotype: Genotype
    figures: dict[str, float]


def train(
    genotype: Genotype, experiment: TrainingExperiment, folder: str | Path, device: torch.device, resume: bool = False,
    source: Source | str = "experiment",
) -> Trained | None:  # fmt: skip
    """Train the network of a genotype in a run folder, or go on with it.

    The folder gets config.yaml, checkpoint.pt, log.csv and tensorboard/ on the way, and at the end model.safetensors
    (genotype, task and options in its metadata), metrics.json and curves.png. Under torchrun all processes train it
    together, each on batches of the task's size: the run is that of one process with so many times the batch.

    Returns:
        The trained network, or None if the user interrupted the run.

    Raises:
        UserError: faulty settings, a genotype that the task cannot build, a folder that cannot be used, or a loss
            that is not finite.
    """
    folder = Path(folder)
    training = Training(genotype, experiment, device, source)
    state = _open(folder, genotype, experiment, resume)
    if not training.run(folder, state):
        return None
    whole = Genotype(
        genotype.name, genotype.cells, training.task.network_section(), genotype.provenance, genotype.choices
    )
    training.network.eval()
    figures: dict[str, float] = {}
    if processes.rank() == 0:
        figures = {training.task.metric: training.measure(), "steps": experiment.training.steps,
                   **cost(training.network, training.task.input_shape)._asdict(),
                   "peak_memory": peak_memory(training.network, training.task.input_shape)}  # fmt: skip
        _save(folder / MODEL, training.network, whole, experiment)
        write_text(folder / METRICS, json.dumps(figures, indent=2) + "\n")
        columns = ("loss", "lr", *((training.task.metric,) if experiment.training.measure_every else ()))
        draw_curves(folder, [(column, (column,)) for column in columns])
    processes.barrier()
    return Trained(training.network, whole, figures)


def _open(folder: Path, genotype: Genotype, experiment: TrainingExperiment, resume: bool) -> dict[str, Any] | None:
    built = Genotype(genotype.name, genotype.cells, choices=genotype.choices).to_json()  # what makes the network
    settings = {**to_dict(experiment), "genotype": built, "processes": processes.world_size()}
    steps = ("training.steps", experiment.training.steps)
    return open_run_together(folder, settings, resume, WRITES, CHANGEABLE, steps)


def _save(path: Path, network: nn.Module, genotype: Genotype, experiment: TrainingExperiment) -> None:
    options = {**experiment.task_options, **experiment.training.task_options}
    header = {"genotype": genotype.to_json(), "task": experiment.task, "task_options": json.dumps(options)}
    save_tensors(path, network.state_dict(), header)
