"""The search: weight steps and architecture steps in turn, then a measured choice among the proposed children."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from .budget import Budget, make_budget
from .collapse import Collapse
from .common import processes
from .common.config import Source, from_dict, load_object, to_dict
from .common.errors import UserError
from .common.interruption import Interruption
from .common.progress import progress
from .common.runfolder import CHECKPOINT, LOG, RunLog, open_run_together, save_checkpoint
from .cost_tables import mac_tables, parameter_tables
from .distribution import Distribution
from .evaluate import choose, learnt
from .experiment import Experiment
from .genotype import Genotype
from .halving import Archive, Candidate, Rung
from .oracles import Estimate, Inherited, Measured, ShortTraining, recalibrate
from .peak_memory import PeakMemory
from .pruning import Pruner, write_pruned
from .search_results import RESULTS, winning_genotype, write_results
from .space import Space
from .spent import SPENT, Spent
from .strategies import STRATEGIES
from .strategy import Context, Strategy
from .supernet import Supernet
from .task import Task, make_task, measured, with_options
from .training import Sgd, require_finite

HISTORY = 200  # how often in a search the distribution is written down
COLUMNS = ("training_loss", "held_out_loss", "lr", "entropy", "best_probability", "weight_free_share",
           "expected_macs")  # fmt: skip
PRUNED, MEASURED = "pruned.csv", "measured.json"
WRITES = (CHECKPOINT, LOG, PRUNED, MEASURED, SPENT, *RESULTS)
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
        self.spent = Spent(folder / SPENT)
        torch.manual_seed(experiment.seed)
        # Before the space: the task's module may add operations of its own.
        self.task, options = make_task(experiment.task, experiment.task_options, experiment.seed, device, source)
        self.spent.watch(self.task)
        self.experiment = dataclasses.replace(experiment, task_options=to_dict(options))
        self.space = Space.load(experiment.space)
        self.supernet = Supernet(self.space, self.task.build).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.distribution = Distribution(self.space)
        self.generator = torch.Generator().manual_seed(experiment.seed)
        self.macs = mac_tables(self.supernet, self.task.input_shape)
        self.budget: Budget | None = None
        if experiment.budget:
            peak = PeakMemory(self.supernet, self.task.input_shape)
            self.budget = make_budget(experiment.budget, self.macs, parameter_tables(self.supernet), peak)
        self.weights = Sgd(self.supernet, experiment.search.weights, experiment.search.steps, together=True)
        self.own = self._own_children()
        self.archive = Archive(folder / MEASURED)
        supernet = self.supernet if experiment.search.steps else None
        given = Measured(self.task, supernet, experiment.seed, device, self._estimate, self._other_task)
        self.rungs = [Rung(rung.make(given), rung.keep) for rung in experiment.evaluation.rungs]
        names = [rung.oracle.name for rung in self.rungs]
        if len(set(names)) < len(names):  # the archive would take the one's figures for the other's
            raise UserError(f"{source}: evaluation.rungs: expected oracles that differ, got {', '.join(names)}")
        self.strategy = self._make_strategy(source)
        self.architecture_optimizer = self._make_optimizer()
        self.pruner = Pruner(experiment.search.pruning, self.distribution) if experiment.search.pruning else None
        self.collapse = Collapse(self.space)
        self.pruned: list[tuple[int, str]] = []  # (step, choice) that progressive pruning removed
        self.history: list[tuple[int, Tensor]] = []  # (step, every variable's probabilities, one after the other)
        self.history_every = max(1, experiment.search.steps // HISTORY)
        self.step = 0
        self.architecture_steps = 0

    def _own_children(self) -> range:
        """The numbers of a step's children that this process trains."""
        count, size = self.experiment.search.children_per_step, processes.world_size()
        if count % size:
            raise UserError(
                f"search.children_per_step: expected a multiple of the {size} processes, got {count}; "
                f"such as --set search.children_per_step={size}"
            )
        return range(processes.rank(), count, size)

    def _make_strategy(self, source: Source | str) -> Strategy:
        name = self.experiment.strategy
        make = with_options(
            load_object(name, source, "strategy") if ":" in name else STRATEGIES[name], source, "strategy"
        )
        options = from_dict(make.Options, self.experiment.strategy_options, source, at="strategy_options")
        self.context = Context(
            self.space, self.task, self.supernet, self.distribution, self.generator, self.macs,
            self.experiment.search.steps, self.device, self._judged, self._other_task, self.experiment.evaluation.jobs,
            self.budget,
        )  # fmt: skip
        made: Strategy = make(options, self.context)
        if any(isinstance(rung.oracle, Estimate) for rung in self.rungs) and not hasattr(made, "estimate"):
            raise UserError(f"{source}: evaluation.rungs: the strategy {name} has no estimate; leave that rung out")
        return made

    def _other_task(self, changes: Mapping[str, Any]) -> Task:
        options = {**self.experiment.task_options, **changes}
        task = make_task(self.experiment.task, options, self.experiment.seed, self.device, "task_options")[0]
        self.spent.watch(task)
        return task

    def _estimate(self, child: Genotype) -> float:
        return float(cast(Any, self.strategy).estimate(child))

    def _judged(self, children: Sequence[Genotype], repeat: int, progress: Callable[[], object]) -> list[float]:
        oracle = self.rungs[0].oracle
        if repeat:
            if not isinstance(oracle, ShortTraining):
                raise UserError("expected short_training as the first of evaluation.rungs, so that it can be repeated")
            oracle = oracle.again(repeat)
        return self.archive.measure_all(oracle, children, self.experiment.evaluation.jobs, progress)

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
            if state["steps"] != settings.steps:  # a longer search: its weights will be others
                for rung in self.rungs:
                    if isinstance(rung.oracle, Inherited):
                        self.archive.forget(rung.oracle)
        training, writes = self._training_batches(), processes.rank() == 0
        held_out = self.task.held_out_batches(self.architecture_steps)
        with (
            Interruption() as interruption,
            RunLog(folder, COLUMNS, self.step) if writes else nullcontext() as log,
            progress(settings.steps, "search", "step", initial=self.step, shown=writes) as bar,
        ):
            while self.step < settings.steps and not processes.anywhere(interruption.requested, self.device):
                training_loss = self.weight_step(*next(training))
                held_out_loss = None
                if self.step >= settings.architecture.start and self.step % settings.architecture.every == 0:
                    held_out_loss = self.architecture_step(held_out)
                if self.pruner and self.architecture_steps and (self.step + 1) % self.pruner.settings.every == 0:
                    self.pruned += [(self.step, gone) for gone in self.pruner.check()]
                    if writes:
                        write_pruned(folder / PRUNED, self.pruned)
                if self.step % self.history_every == 0:
                    self.history.append((self.step, self.probabilities()))
                if log and self.step % settings.log_every == 0:
                    figures = self.figures(training_loss, held_out_loss)
                    log.write(self.step, figures)
                    bar.set_postfix(loss=f"{training_loss:.3f}", entropy=f"{figures['entropy']:.1f}", refresh=False)
                    self.collapse.check(self.step, figures["weight_free_share"] or 0.0)
                self.step += 1
                bar.update()
                if self.step % settings.checkpoint_every == 0:
                    self._save(folder)
            self._save(folder)
            stopped = processes.anywhere(interruption.requested, self.device)
        return self.step == settings.steps and not stopped

    def _training_batches(self) -> Iterator[tuple[Any, ...]]:
        """Of every step's batches, one for each child, those of this process's children, from the present step on."""
        count = self.experiment.search.children_per_step
        if processes.world_size() == 1:
            batches = self.task.training_batches(self.step * count)
            while True:
                yield tuple(itertools.islice(batches, count))
        for step in itertools.count(self.step):
            yield tuple(next(self.task.training_batches(step * count + number)) for number in self.own)

    def _save(self, folder: Path) -> None:
        processes.average_statistics(self.supernet)
        if processes.rank() == 0:
            save_checkpoint(folder / CHECKPOINT, self.state_dict())
        self.weights.saved_step = self.step
        self.spent.write()

    def weight_step(self, *batches: Any) -> float:
        """Train the weights of what the strategy selects, a child for each training batch; returns the mean loss.

        Under torchrun every process draws all children, and trains its own ones on the `batches` given to it.
        """
        self.supernet.train()
        self.weights.begin(self.step)
        losses: list[float] = []
        for number in range(self.experiment.search.children_per_step):
            self.strategy.select_for_training(self.step)
            if number in self.own:
                losses.append(self.weights.add(self.task, batches[len(losses)], 1 / len(self.own)))
        mean = sum(losses) / len(losses)
        if processes.world_size() > 1:  # Apple's GPUs, which have no float64, are alone
            mean = float(processes.mean(torch.tensor(mean, dtype=torch.float64, device=self.device)))
        self.weights.move(self.step, mean)
        return mean

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
            # All processes find the same; should their machines differ in the last bits, they go on alike.
            parameter.grad = None if gradient is None else processes.total(gradient) / processes.world_size()
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
        return {
            "training_loss": training_loss,
            "held_out_loss": held_out_loss,
            "lr": self.weights.lr(self.step),
            "entropy": float(self.distribution.entropy()),
            "best_probability": math.exp(self.distribution.most_probable(1)[0][0]),
            "weight_free_share": self.collapse.share(self.distribution),
            "expected_macs": float(self.macs.expected(self.distribution)),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the search depends on; data is a function of the step counts."""
        optimizer = self.architecture_optimizer
        return {
            "step": self.step,
            "steps": self.experiment.search.steps,
            "architecture_steps": self.architecture_steps,
            "warned": self.collapse.warned,
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
        self.collapse.warned = state["warned"]
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

    The folder gets config.yaml, checkpoint.pt, log.csv, tensorboard/, measured.json and spent.json while the search
    runs, and genotype.yaml, candidates.csv, probabilities.csv, cells.png, curves.png and, with controls, learnt.csv at
    its end.

    Returns:
        What was found, or None if the user interrupted the search.

    Raises:
        UserError: faulty settings, or a folder that cannot be used.
    """
    folder = Path(folder)
    running = Search(experiment, folder, device, source)
    running.check_metric()
    settings = to_dict(dataclasses.replace(running.experiment, training=None))
    steps = ("search.steps", running.experiment.search.steps)
    state = open_run_together(folder, settings, resume, WRITES, CHANGEABLE, steps)
    if not running.run(folder, state):
        return None
    candidates = running.choose()
    learnt = running.learnt() if experiment.evaluation.controls else {}
    genotype = winning_genotype(running.experiment, running.task, running.space, candidates[0], command)
    running.spent.write()
    if processes.rank() == 0:
        write_results(folder, genotype, candidates, learnt, running.task.metric, running.space, running.history)
    processes.barrier()
    return Found(genotype, candidates, learnt, running)
