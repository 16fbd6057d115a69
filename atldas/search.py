"""The search: weight steps and architecture steps in turn, then a measured choice among the likeliest children."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator
from torch import Tensor

from . import __version__
from .cell_picture import draw_cells
from .common.config import RelativeToFile, Source, config, from_dict, load_object, to_dict
from .common.config_errors import suggestion
from .common.curves import CURVES, draw_curves
from .common.errors import UserError
from .common.interruption import Interruption
from .common.progress import progress
from .common.runfolder import CHECKPOINT, LOG, RunLog, open_run, save_checkpoint
from .common.schedule import linear, warm_up_cosine
from .cost import operation_cost
from .distribution import Distribution
from .evaluate import Candidate, EvaluationConfig, best_first, evaluate, propose, write_candidates
from .genotype import Genotype
from .pruning import Pruner, PruningConfig, write_pruned
from .samplers import EVALUATION_SAMPLERS, TRAINING_SAMPLERS, Draw
from .space import CellSpace, Space, shipped_spaces
from .supernet import Supernet
from .task import Task

NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
Decay = Annotated[float, Ge(0), Lt(1)]


def _key_of(known: Mapping[str, Any]) -> AfterValidator:
    """A check against a dict that may still grow: whatever it holds when a configuration is read."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"one of {', '.join(known)}{suggestion(name, list(known))}")
        return name

    return AfterValidator(check)


@config
class WeightsConfig:
    """SGD with momentum on the weights; the learning rate follows a cosine from `lr` to `lr_end`."""

    lr: Positive = 0.025
    lr_end: NonNegative = 0.001
    momentum: Share = 0.9
    weight_decay: NonNegative = 3e-4
    clip: Positive = 5.0


@config
class ArchitectureConfig:
    """Adam on the logits.

    Attributes:
        start: the first step that moves the logits; until then the weights are too young to judge by.
        every: one architecture step follows every so many weight steps.
        sampler: one of `samplers.EVALUATION_SAMPLERS`.
        temperature: of the straight-through gates, straight from the first value to the second over the search.
        macs_weight: how much the objective counts expected MACs, as a multiple of a uniform child's.
    """

    start: Annotated[int, Ge(0)] = 0
    every: Annotated[int, Ge(1)] = 1
    sampler: Annotated[str, _key_of(EVALUATION_SAMPLERS)] = "straight_through"
    lr: Positive = 0.01
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    weight_decay: NonNegative = 0.0
    clip: Positive = 5.0
    temperature: tuple[Positive, Positive] = (5.0, 0.5)
    macs_weight: NonNegative = 0.0


@config
class SamplerConfig:
    """Which child trains its weights.

    Attributes:
        sampler: one of `samplers.TRAINING_SAMPLERS`.
        uniform_steps: steps in which every child is drawn uniformly.
        uniform_share: the share of uniform draws left at the last step, reached straight from 1.
    """

    sampler: Annotated[str, _key_of(TRAINING_SAMPLERS)] = "mixed"
    uniform_steps: Annotated[int, Ge(0)] = 0
    uniform_share: Share = 0.2


@config
class SearchConfig:
    """The loop."""

    steps: Annotated[int, Ge(1)]
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    training: SamplerConfig = field(default_factory=SamplerConfig)
    pruning: PruningConfig | None = None
    log_every: Annotated[int, Ge(1)] = 10
    checkpoint_every: Annotated[int, Ge(1)] = 200


@config
class Experiment:
    """A whole search, as `atldas search` reads it from YAML.

    Attributes:
        name: the name of the genotype that will be found.
        space: a shipped space's name or a file.
        task: `package.module:Class`, see `atldas.task`; `task_options` are that class's own.
    """

    schema: Literal[1]
    name: Annotated[str, MinLen(1)]
    space: Annotated[str, RelativeToFile(shipped_spaces)]
    task: str
    task_options: dict[str, Any] = field(default_factory=dict)
    seed: Annotated[int, Ge(0)] = 0
    search: SearchConfig
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


COLUMNS = ("training_loss", "held_out_loss", "lr", "temperature", "uniform_share", "entropy", "best_probability",
           "weight_free_share", "expected_macs")  # fmt: skip


GENOTYPE, CANDIDATES, CELLS, PRUNED = "genotype.yaml", "candidates.csv", "cells.png", "pruned.csv"
WRITES = (CHECKPOINT, LOG, CURVES, GENOTYPE, CANDIDATES, CELLS, PRUNED)
CHANGEABLE = ("search.steps", "search.checkpoint_every")  # when a search is resumed


class Search:
    """What a search holds while it runs, and all that a checkpoint keeps.

    Args:
        experiment: the settings; `source` names their file in errors.
        device: where networks run. The distribution stays on the CPU: it is tiny and is drawn from with Python.
    """

    def __init__(self, experiment: Experiment, device: torch.device, source: Source | str = "experiment") -> None:
        self.device = device
        make_task = load_object(experiment.task, source, "task")  # first: it may add operations of its own
        if not hasattr(make_task, "Options"):
            raise UserError(f"{source}: task: expected a task, got {experiment.task}, which has no Options")
        options = from_dict(make_task.Options, experiment.task_options, source, at="task_options")
        self.experiment = dataclasses.replace(experiment, task_options=to_dict(options))
        self.space = Space.load(experiment.space)
        torch.manual_seed(experiment.seed)
        self.task: Task = make_task(options, experiment.seed, device)
        self.supernet = Supernet(self.space, self.task.build).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.distribution = Distribution(self.space)
        self.generator = torch.Generator().manual_seed(experiment.seed)
        weights, architecture = experiment.search.weights, experiment.search.architecture
        self.weight_optimizer = torch.optim.SGD(
            self.supernet.parameters(), weights.lr, weights.momentum, weight_decay=weights.weight_decay
        )
        self.architecture_optimizer = torch.optim.Adam(
            self.distribution.parameters(), architecture.lr, architecture.betas, weight_decay=architecture.weight_decay
        )
        self.pruner = Pruner(experiment.search.pruning, self.distribution) if experiment.search.pruning else None
        self.operation_macs, self.constant_macs = self.supernet.operation_macs(self.task.input_shape)
        with torch.no_grad():
            self.uniform_macs = float(self.expected_macs())
        self.weight_free = {kind: _weight_free(cell) for kind, cell in self.space.cells.items()}
        self.pruned: list[tuple[int, str]] = []  # (step, choice) that progressive pruning removed
        self.step = 0
        self.architecture_steps = 0
        self.saved_step: int | None = None  # of the checkpoint in the run's folder
        self.baseline: float | None = None  # running mean of the judged losses, for the score-function estimator

    def run(self, folder: Path, state: dict[str, Any] | None) -> bool:
        """Search until the last step, from `state` if there is one. False if a person interrupted it."""
        settings = self.experiment.search
        if state is not None:
            try:
                self.load_state_dict(state)
            except (KeyError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"{folder / CHECKPOINT}: does not fit this search: its space or its task has changed since the run "
                    "was begun; put them back, or begin again with another --out"
                ) from error
        training = self.task.training_batches(self.step)
        held_out = self.task.held_out_batches(self.architecture_steps)
        with (
            Interruption() as interruption,
            RunLog(folder, COLUMNS, self.step) as log,
            progress(settings.steps, "search", "step", initial=self.step) as bar,
        ):
            while self.step < settings.steps and not interruption.requested:
                training_loss = self.weight_step(next(training))
                held_out_loss = None
                if self.step >= settings.architecture.start and self.step % settings.architecture.every == 0:
                    held_out_loss = self.architecture_step(next(held_out))
                if self.pruner and (self.step + 1) % self.pruner.settings.every == 0:
                    self.pruned += [(self.step, gone) for gone in self.pruner.check()]
                    write_pruned(folder / PRUNED, self.pruned)
                if self.step % settings.log_every == 0:
                    figures = self.figures(training_loss, held_out_loss)
                    log.write(self.step, figures)
                    bar.set_postfix(loss=f"{training_loss:.3f}", entropy=f"{figures['entropy']:.1f}", refresh=False)
                self.step += 1
                bar.update()
                if self.step % settings.checkpoint_every == 0:
                    self._save(folder)
            self._save(folder)
        return self.step == settings.steps and not interruption.requested

    def _save(self, folder: Path) -> None:
        save_checkpoint(folder / CHECKPOINT, self.state_dict())
        self.saved_step = self.step

    def weight_step(self, batch: Any) -> float:
        """Train the weights of one child on a training batch; returns the loss."""
        settings = self.experiment.search
        sampler = TRAINING_SAMPLERS[settings.training.sampler]
        self.supernet.select(sampler(self.distribution, self._uniform_share(), self.generator))
        self.supernet.train()
        for group in self.weight_optimizer.param_groups:
            group["lr"] = self._lr()
        loss = self.task.loss(self.supernet, batch)
        self.weight_optimizer.zero_grad(set_to_none=True)  # None, so that what is not drawn is left alone
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.supernet.selected_parameters(), settings.weights.clip)
        self._require_finite(loss, norm)
        self.weight_optimizer.step()
        return float(loss.detach())

    def architecture_step(self, batch: Any) -> float:
        """Judge one child on a held-out batch and move the logits; returns its loss. Weights stand still."""
        settings = self.experiment.search.architecture
        draw = EVALUATION_SAMPLERS[settings.sampler](self.distribution, self._temperature(), self.generator)
        self.supernet.select(draw.child, draw.gates)
        self.supernet.train()
        with torch.set_grad_enabled(draw.gates is not None):
            loss = self.task.loss(self.supernet, batch)
        objective = self._objective(draw, loss)
        logits = list(self.distribution.parameters())
        # Only the logits' gradients are computed: the weights' would be thrown away.
        for parameter, gradient in zip(logits, torch.autograd.grad(objective, logits, allow_unused=True), strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(logits, settings.clip)
        self._require_finite(loss, norm)
        self.architecture_optimizer.step()
        value = float(loss.detach())
        self.baseline = value if self.baseline is None else 0.9 * self.baseline + 0.1 * value
        self.architecture_steps += 1
        return value

    def _objective(self, draw: Draw, loss: Tensor) -> Tensor:
        objective = draw.surrogate(loss, float(loss.detach()) if self.baseline is None else self.baseline)
        weight = self.experiment.search.architecture.macs_weight
        if weight:
            objective = objective.cpu() + weight * self.expected_macs() / self.uniform_macs
        return objective

    def expected_macs(self) -> Tensor:
        """Expected MACs of the whole network for one input of the task's `input_shape`."""
        return self.distribution.expected(self.operation_macs) + self.constant_macs

    @torch.no_grad()
    def figures(self, training_loss: float, held_out_loss: float | None) -> dict[str, float | None]:
        """One row of the log."""
        edges = {kind: torch.ones_like(table) for kind, table in self.weight_free.items()}
        return {
            "training_loss": training_loss,
            "held_out_loss": held_out_loss,
            "lr": self._lr(),
            "temperature": self._temperature(),
            "uniform_share": self._uniform_share(),
            "entropy": float(self.distribution.entropy()),
            "best_probability": math.exp(self.distribution.most_probable(1)[0][0]),
            "weight_free_share": float(
                self.distribution.expected(self.weight_free) / self.distribution.expected(edges)
            ),
            "expected_macs": float(self.expected_macs()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the search depends on; data is a function of the step counts."""
        return {
            "step": self.step,
            "architecture_steps": self.architecture_steps,
            "baseline": self.baseline,
            "supernet": self.supernet.state_dict(),
            "distribution": self.distribution.state_dict(),
            "weight_optimizer": self.weight_optimizer.state_dict(),
            "architecture_optimizer": self.architecture_optimizer.state_dict(),
            "pruner": self.pruner.state_dict() if self.pruner else {},
            "pruned": self.pruned,
            "torch_rng": torch.get_rng_state(),  # for operations that draw at random, such as dropout
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        self.step, self.architecture_steps = state["step"], state["architecture_steps"]
        self.saved_step = self.step
        self.baseline = state["baseline"]
        self.pruned = [(step, choice) for step, choice in state["pruned"]]
        torch.set_rng_state(state["torch_rng"])
        self.supernet.load_state_dict(state["supernet"])
        self.distribution.load_state_dict(state["distribution"])
        self.weight_optimizer.load_state_dict(state["weight_optimizer"])
        self.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
        if self.pruner:
            self.pruner.load_state_dict(state["pruner"])
        self.generator.set_state(state["generator"])

    def _lr(self) -> float:
        settings = self.experiment.search
        return warm_up_cosine(self.step, settings.steps, settings.weights.lr, settings.weights.lr_end)

    def _temperature(self) -> float:
        settings = self.experiment.search
        return linear(self.step, settings.architecture.start, settings.steps, *settings.architecture.temperature)

    def _uniform_share(self) -> float:
        settings = self.experiment.search
        return linear(self.step, settings.training.uniform_steps, settings.steps, 1.0, settings.training.uniform_share)

    def _require_finite(self, loss: Tensor, gradient_norm: Tensor) -> None:
        """Before an optimizer's step, so that no weight and no checkpoint is ever spoilt."""
        for what, value in (("loss", loss), ("gradient", gradient_norm)):
            if not math.isfinite(value.detach()):
                kept = (
                    "there is no checkpoint yet"
                    if self.saved_step is None
                    else f"the checkpoint is of step {self.saved_step}"
                )
                raise UserError(
                    f"expected a finite {what}, got {value.item()} at step {self.step}; {kept}. "
                    "Lower search.weights.lr or search.weights.clip and begin again"
                )


def search(
    experiment: Experiment, folder: str | Path, device: torch.device, resume: bool = False,
    source: Source | str = "experiment", command: str = "",
) -> Candidate | None:  # fmt: skip
    """Run or resume a search in a run folder and write its results there.

    The folder gets config.yaml, checkpoint.pt, log.csv and tensorboard/ while the search runs, and genotype.yaml,
    candidates.csv, cells.png and curves.png at its end.

    Returns:
        The best candidate, or None if a person interrupted the search.

    Raises:
        UserError: faulty settings, or a folder that cannot be used.
    """
    folder = Path(folder)
    running = Search(experiment, device, source)
    state = open_run(folder, to_dict(running.experiment), resume, WRITES, CHANGEABLE)
    if not running.run(folder, state):
        return None
    candidates = []
    proposals = list(propose(running.distribution, experiment.evaluation, running.generator))
    with progress(len(proposals), "evaluate", "child") as bar:
        for child, origin in proposals:
            candidates.append(
                evaluate(running.supernet, running.task, running.distribution, child, origin, experiment.evaluation)
            )
            bar.update()
    candidates = best_first(candidates, running.task.larger_is_better)
    winner = candidates[0]
    genotype = Genotype(
        experiment.name, winner.child.cells, running.task.network_section(), _provenance(running, winner, command)
    )
    genotype.save(folder / GENOTYPE)
    write_candidates(folder / CANDIDATES, candidates, running.task.metric)
    draw_cells(genotype, folder / CELLS)
    draw_curves(folder)
    return winner._replace(child=genotype)


def _weight_free(space: CellSpace) -> Tensor:
    """1 where an operation holds no weights (at stride 1), [edges, operations]. They must not win by default."""
    row = [float(operation_cost(name, 16, 1, 8, 8).parameters == 0) for name in space.operations]
    return torch.tensor(row).expand(len(space.edges), -1)


def _provenance(running: Search, winner: Candidate, command: str) -> dict[str, Any]:
    experiment = running.experiment
    return {
        "space": running.space.name,
        "task": experiment.task,
        "seed": experiment.seed,
        "steps": experiment.search.steps,
        "scores": {
            running.task.metric: winner.recalibrated,
            f"{running.task.metric}_before_recalibration": winner.inherited,
            "log_probability": winner.log_probability,
        },
        **({"command": command} if command else {}),
        "versions": {"atldas": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
    }
