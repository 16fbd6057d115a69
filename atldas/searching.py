"""The search: weight steps and architecture steps in turn, then a measured choice among the proposed children."""

from __future__ import annotations

import dataclasses
import logging
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import __version__
from .budget import Budget, make_budget
from .cell_picture import draw_cells
from .common.config import Source, from_dict, load_object, read_config, to_dict
from .common.curves import CURVES, draw_curves
from .common.errors import UserError
from .common.interruption import Interruption
from .common.progress import progress
from .common.runfolder import CHECKPOINT, CONFIG, LOG, RunLog, load_checkpoint, open_run, save_checkpoint
from .cost import operation_cost
from .cost_tables import mac_tables, parameter_tables
from .distribution import Distribution, Factor
from .evaluate import choose, learnt
from .experiment import Experiment
from .genotype import Genotype
from .halving import Archive, Candidate, Rung, write_candidates
from .oracles import Estimate, Inherited, Measured, ShortTraining, recalibrate
from .probabilities import LEARNT, PROBABILITIES, write_learnt, write_probabilities
from .pruning import Pruner, write_pruned
from .space import Space
from .strategies import STRATEGIES
from .strategy import Context, Strategy
from .supernet import Supernet
from .task import Task, make_task, measured, with_options
from .training import Sgd, require_finite
from .variables import edge_variable

HISTORY = 200  # how often in a search the distribution is written down
COLLAPSED = 0.5  # an expected share of weight-free operations over which the user is warned
COLUMNS = ("training_loss", "held_out_loss", "lr", "entropy", "best_probability", "weight_free_share",
           "expected_macs")  # fmt: skip


GENOTYPE, CANDIDATES, CELLS, PRUNED = "genotype.yaml", "candidates.csv", "cells.png", "pruned.csv"
MEASURED = "measured.json"
WRITES = (CHECKPOINT, LOG, CURVES, GENOTYPE, CANDIDATES, CELLS, PRUNED, MEASURED, PROBABILITIES, LEARNT)
CHANGEABLE = ("search.steps", "search.checkpoint_every")  # when a search is resumed


class Search:
    """What a search holds while it runs, and all that a checkpoint keeps.

    Args:
        experiment: the settings; `source` names their file in errors.
        folder: of the run.
        device: where networks run. The distribution stays on the CPU: it is tiny and is drawn from with Python.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, device: torch.device, source: Source | str = "experiment"
    ) -> None:
        self.device = device
        torch.manual_seed(experiment.seed)
        # Before the space: the task's module may add operations of its own.
        self.task, options = make_task(experiment.task, experiment.task_options, experiment.seed, device, source)
        self.experiment = dataclasses.replace(experiment, task_options=to_dict(options))
        self.space = Space.load(experiment.space)
        self.supernet = Supernet(self.space, self.task.build).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.distribution = Distribution(self.space)
        self.generator = torch.Generator().manual_seed(experiment.seed)
        self.macs = mac_tables(self.supernet, self.task.input_shape)
        self.budget: Budget | None = None
        if experiment.budget:
            self.budget = make_budget(experiment.budget, self.macs, parameter_tables(self.supernet))
        self.weights = Sgd(self.supernet, experiment.search.weights, experiment.search.steps)
        self.archive = Archive(folder / MEASURED)
        supernet = self.supernet if experiment.search.steps else None
        given = Measured(self.task, supernet, experiment.seed, device, lambda child: self.strategy.estimate(child))  # type: ignore[attr-defined]
        self.rungs = [Rung(rung.make(given), rung.keep) for rung in experiment.evaluation.rungs]
        names = [rung.oracle.name for rung in self.rungs]
        if len(set(names)) < len(names):  # the archive would take the one's figures for the other's
            raise UserError(f"{source}: evaluation.rungs: expected oracles that differ, got {', '.join(names)}")
        self.strategy = self._make_strategy(source)
        self.architecture_optimizer = self._make_optimizer()
        self.pruner = Pruner(experiment.search.pruning, self.distribution) if experiment.search.pruning else None
        self.weight_free = _weight_free(self.space)
        self.pruned: list[tuple[int, str]] = []  # (step, choice) that progressive pruning removed
        self.history: list[tuple[int, Tensor]] = []  # (step, every variable's probabilities, one after the other)
        self.history_every = max(1, experiment.search.steps // HISTORY)
        self.step = 0
        self.architecture_steps = 0
        self.warned = False

    def _make_strategy(self, source: Source | str) -> Strategy:
        name = self.experiment.strategy
        make = with_options(
            load_object(name, source, "strategy") if ":" in name else STRATEGIES[name], source, "strategy"
        )
        options = from_dict(make.Options, self.experiment.strategy_options, source, at="strategy_options")
        experiment = self.experiment

        def other_task(changes: Mapping[str, Any]) -> Task:
            changed = {**experiment.task_options, **changes}
            return make_task(experiment.task, changed, experiment.seed, self.device, source)[0]

        self.context = Context(
            self.space, self.task, self.supernet, self.distribution, self.generator, self.macs,
            experiment.search.steps, self.device, self._judged, other_task, experiment.evaluation.jobs, self.budget,
        )  # fmt: skip
        made: Strategy = make(options, self.context)
        if any(isinstance(rung.oracle, Estimate) for rung in self.rungs) and not hasattr(made, "estimate"):
            raise UserError(f"{source}: evaluation.rungs: the strategy {name} has no estimate; leave that rung out")
        return made

    def _judged(self, children: Sequence[Genotype], repeat: int) -> list[float]:
        oracle = self.rungs[0].oracle
        if repeat:
            if not isinstance(oracle, ShortTraining):
                raise UserError("expected short_training as the first of evaluation.rungs, so that it can be repeated")
            oracle = oracle.again(repeat)
        return self.archive.measure_all(oracle, children, self.experiment.evaluation.jobs)

    def _make_optimizer(self) -> torch.optim.Optimizer | None:
        settings, learned = self.experiment.search.architecture, self.strategy.parameters()
        if not learned:
            return None
        if getattr(self.strategy, "optimizer", "adam") == "sgd":
            return torch.optim.SGD(learned, settings.lr, weight_decay=settings.weight_decay)
        return torch.optim.Adam(learned, settings.lr, settings.betas, weight_decay=settings.weight_decay)

    def check_metric(self) -> None:
        """Measure an untrained child once: a task whose metric is no number must not be found out after the search.

        Raises:
            UserError: the task's `measure` does not return a number.
        """
        with torch.random.fork_rng(devices=[]):  # a measurement that draws random numbers changes no search
            measured(self.task, self.supernet.fixed(self.supernet.child).eval())

    def run(self, folder: Path, state: dict[str, Any] | None) -> bool:
        """Search until the last step, from `state` if there is one. False if the user interrupted it."""
        settings = self.experiment.search
        if state is not None:
            try:
                self.load_state_dict(state)
            except (KeyError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"{folder / CHECKPOINT}: does not fit this search: its space or its task has changed since the run "
                    "was begun; put them back, or begin again with another --out"
                ) from error
            if self.step > settings.steps:
                raise UserError(f"search.steps: expected at least {self.step}, the steps done, got {settings.steps}")
            if state["steps"] != settings.steps:  # a longer search: its weights will be others
                for rung in self.rungs:
                    if isinstance(rung.oracle, Inherited):
                        self.archive.forget(rung.oracle)
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
                    held_out_loss = self.architecture_step(held_out)
                if self.pruner and self.architecture_steps and (self.step + 1) % self.pruner.settings.every == 0:
                    self.pruned += [(self.step, gone) for gone in self.pruner.check()]
                    write_pruned(folder / PRUNED, self.pruned)
                if self.step % self.history_every == 0:
                    self.history.append((self.step, self.probabilities()))
                if self.step % settings.log_every == 0:
                    figures = self.figures(training_loss, held_out_loss)
                    log.write(self.step, figures)
                    bar.set_postfix(loss=f"{training_loss:.3f}", entropy=f"{figures['entropy']:.1f}", refresh=False)
                    self._warn_of_collapse(figures)
                self.step += 1
                bar.update()
                if self.step % settings.checkpoint_every == 0:
                    self._save(folder)
            self._save(folder)
        return self.step == settings.steps and not interruption.requested

    def _save(self, folder: Path) -> None:
        save_checkpoint(folder / CHECKPOINT, self.state_dict())
        self.weights.saved_step = self.step

    def weight_step(self, batch: Any) -> float:
        """Train the weights of what the strategy selects on a training batch; returns the loss."""
        self.strategy.select_for_training(self.step)
        self.supernet.train()
        return self.weights.step(self.task, batch, self.step)

    def architecture_step(self, held_out: Any) -> float | None:
        """Let the strategy judge children on a held-out batch and move what it learns. Weights stand still."""
        if self.architecture_optimizer is None:
            return None
        settings = self.experiment.search.architecture
        judged = self.strategy.objective(next(held_out), self.step)
        self.architecture_steps += 1  # batches taken, whether or not they were used
        if judged is None:
            return None
        objective, value = judged
        learned = self.strategy.parameters()
        # Only the learned parameters' gradients are computed: the weights' would be thrown away.
        gradients = torch.autograd.grad(objective, learned, allow_unused=True)
        for parameter, gradient in zip(learned, gradients, strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(learned, settings.max_grad_norm)
        require_finite(self.step, self.weights.saved_step, loss=value, gradient=float(norm))
        self.architecture_optimizer.step()
        return value

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """Every variable's probabilities, one after the other."""
        return torch.cat([c.log_probabilities().exp() for _, c in self.distribution.items()])

    @torch.no_grad()
    def figures(self, training_loss: float, held_out_loss: float | None) -> dict[str, float | None]:
        """One row of the log."""
        edges = [Factor(factor.variables, torch.ones_like(factor.table)) for factor in self.weight_free]
        share = (
            float(self.distribution.expected(self.weight_free) / self.distribution.expected(edges)) if edges else 0.0
        )
        return {
            "training_loss": training_loss,
            "held_out_loss": held_out_loss,
            "lr": self.weights.lr(self.step),
            "entropy": float(self.distribution.entropy()),
            "best_probability": math.exp(self.distribution.most_probable(1)[0][0]),
            "weight_free_share": share,
            "expected_macs": float(self.macs.expected(self.distribution)),
        }

    def _warn_of_collapse(self, figures: Mapping[str, float | None]) -> None:
        share = figures["weight_free_share"] or 0.0
        uniform = _uniform_share(self.weight_free)
        if not self.warned and share > max(COLLAPSED, (1 + uniform) / 2):
            self.warned = True
            logging.warning(
                "step %d: operations without weights have %.0f%% of the probability (%.0f%% at first); "
                "the search may be collapsing to cells that compute little. More uniform_steps, or a later "
                "architecture.start, may help",
                self.step, 100 * share, 100 * uniform,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the search depends on; data is a function of the step counts."""
        optimizer = self.architecture_optimizer
        return {
            "step": self.step,
            "steps": self.experiment.search.steps,
            "architecture_steps": self.architecture_steps,
            "warned": self.warned,
            "supernet": self.supernet.state_dict(),
            "distribution": self.distribution.state_dict(),
            "strategy": self.strategy.state_dict(),
            "weight_optimizer": self.weights.optimizer.state_dict(),
            "architecture_optimizer": optimizer.state_dict() if optimizer else {},
            "pruner": self.pruner.state_dict() if self.pruner else {},
            "pruned": self.pruned,
            "history": self.history,
            "generator": self.generator.get_state(),
            # For operations that draw at random, such as dropout.
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        self.step, self.architecture_steps = state["step"], state["architecture_steps"]
        self.warned = state["warned"]
        self.weights.saved_step = self.step
        self.pruned = [(step, choice) for step, choice in state["pruned"]]
        self.history = [(step, probabilities) for step, probabilities in state["history"]]
        self.supernet.load_state_dict(state["supernet"])
        self.distribution.load_state_dict(state["distribution"])
        self.strategy.load_state_dict(state["strategy"])
        self.weights.optimizer.load_state_dict(state["weight_optimizer"])
        if self.architecture_optimizer:
            self.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
        if self.pruner:
            self.pruner.load_state_dict(state["pruner"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_rng"])
        if self.device.type == "cuda" and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])

    def choose(self) -> list[Candidate]:
        """Measure what the strategy proposes, rung by rung; all candidates, best first."""
        proposed = self.strategy.propose(self.experiment.evaluation)
        return choose(proposed, self.rungs, self.task, self.archive, self.experiment.evaluation.jobs)

    def learnt(self) -> dict[str, list[float]]:
        """The metric of learned and of random children, see `evaluate.learnt`."""
        rung, count = self.rungs[0], self.experiment.evaluation.controls
        return learnt(self.distribution, self.generator, count, rung.oracle, self.archive)

    def inherited(self, child: Genotype) -> nn.Module:
        """The fixed network of a child with the supernet's weights and recalibrated statistics, in eval mode."""
        network = self.supernet.fixed(child)
        recalibrate(network, self.task, 20)
        return network


class Found(NamedTuple):
    """What a search gives.

    Attributes:
        genotype: the winner, named and with its provenance.
        candidates: every measured child, best first.
        learnt: the metric of learned and of random children, see `Search.learnt`; empty without controls.
        search: the finished search, for instance for `inherited` weights.
    """

    genotype: Genotype
    candidates: list[Candidate]
    learnt: dict[str, list[float]]
    search: Search


def search(
    experiment: Experiment, folder: str | Path, device: torch.device, resume: bool = False,
    source: Source | str = "experiment", command: str = "",
) -> Found | None:  # fmt: skip
    """Run or resume a search in a run folder and write its results there.

    The folder gets config.yaml, checkpoint.pt, log.csv, tensorboard/ and measured.json while the search runs, and
    genotype.yaml, candidates.csv, probabilities.csv, cells.png, curves.png and, with controls, learnt.csv at its end.

    Returns:
        What was found, or None if the user interrupted the search.

    Raises:
        UserError: faulty settings, or a folder that cannot be used.
    """
    folder = Path(folder)
    running = Search(experiment, folder, device, source)
    running.check_metric()
    settings = to_dict(dataclasses.replace(running.experiment, training=None))
    state = open_run(folder, settings, resume, WRITES, CHANGEABLE)
    if not running.run(folder, state):
        return None
    candidates = running.choose()
    winner = candidates[0]
    genotype = Genotype(
        experiment.name, winner.child.cells, running.task.network_section(), _provenance(running, winner, command),
        winner.child.choices,
    )  # fmt: skip
    genotype.save(folder / GENOTYPE)
    write_candidates(folder / CANDIDATES, candidates, running.task.metric)
    write_probabilities(folder / PROBABILITIES, running.space, running.history)
    if genotype.cells:
        draw_cells(genotype, folder / CELLS)
    draw_curves(folder)
    learnt = running.learnt() if experiment.evaluation.controls else {}
    if learnt:
        write_learnt(folder / LEARNT, learnt, running.task.metric)
    return Found(genotype, candidates, learnt, running)


def load_search(folder: Path, device: torch.device) -> Search:
    """A finished search, from its run folder.

    Raises:
        UserError: no run is there, or it is not finished.
    """
    experiment = read_config(Experiment, folder / CONFIG)
    running = Search(experiment, folder, device, str(folder / CONFIG))
    if experiment.search.steps:
        if not (folder / CHECKPOINT).exists():
            raise UserError(f"{folder}: expected a finished search, got no {CHECKPOINT}; finish it with --resume")
        running.load_state_dict(load_checkpoint(folder / CHECKPOINT))
    if running.step < experiment.search.steps:
        raise UserError(
            f"{folder}: expected a finished search, got one at step {running.step} of {experiment.search.steps}; "
            "finish it with --resume"
        )
    return running


def _weight_free(space: Space) -> list[Factor]:
    """1 where an operation on an edge holds no weights (at stride 1). They must not win by default."""
    factors = []
    for kind, cell in space.cells.items():
        row = torch.tensor([float(operation_cost(name, 16, 1, 8, 8).parameters == 0) for name in cell.operations])
        factors += [Factor((edge_variable(kind, node, i),), row) for node, i in cell.edges]
    return factors


def _uniform_share(weight_free: list[Factor]) -> float:
    return float(torch.stack([factor.table.mean() for factor in weight_free]).mean()) if weight_free else 0.0


def _provenance(running: Search, winner: Candidate, command: str) -> dict[str, Any]:
    experiment = running.experiment
    return {
        "space": running.space.name,
        "task": experiment.task,
        "strategy": experiment.strategy,
        "seed": experiment.seed,
        "steps": experiment.search.steps,
        "scores": {f"{running.task.metric}_{oracle}": figure for oracle, figure in winner.figures.items()},
        **({"command": command} if command else {}),
        "versions": {"atldas": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
    }
