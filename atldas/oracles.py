"""Oracles: how good a child is, each at its own fidelity and price.

An oracle is one class with `name` and `measure(child)`, whose result is a function of the child and the seed alone (and
of the supernet's weights, if it inherits them), and a line in the rungs' configuration. It leaves PyTorch's random
state as it was. One that changes nothing else, and has `independent = True`, may measure in several processes.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol

import torch
from annotated_types import Ge
from torch import nn

from .builder import FixedBuilder
from .common.config import MOST, config
from .common.device import bfloat16_pays
from .genotype import Genotype
from .supernet import Supernet
from .task import Task, measured
from .training import NotFiniteError, Sgd, SgdConfig


class Oracle(Protocol):
    """Measures children by the task's metric."""

    name: str

    def measure(self, child: Genotype) -> float: ...


@dataclass(frozen=True)
class Measured:
    """What an oracle may need of a search.

    Attributes:
        supernet: trained; None if there is none.
        estimate: the strategy's own figure for a child, if it has one.
        make_task: (changes) -> the same task with other values of some of its options.
    """

    task: Task
    supernet: Supernet | None
    seed: int
    device: torch.device
    estimate: Callable[[Genotype], float] | None = None
    make_task: Callable[[Mapping[str, Any]], Task] | None = None


@config
class InheritedConfig:
    """The supernet's weights, with BatchNorm's statistics computed for the child.

    Attributes:
        keep: how many of the measured children go on to the next rung.
        calibration_batches: training batches from which the statistics are computed.
    """

    oracle: Literal["inherited"] = "inherited"
    keep: Annotated[int, Ge(1)] = 1
    calibration_batches: Annotated[int, Ge(1), MOST] = 20

    def make(self, given: Measured) -> Inherited:
        return Inherited(self, given)


class Inherited:
    """The metric of the fixed network with the supernet's weights; also before recalibration, for the table."""

    def __init__(self, settings: InheritedConfig, given: Measured) -> None:
        self.name, self.settings, self.given = "inherited", settings, given

    def network(self, child: Genotype) -> nn.Module:
        """The fixed network with inherited weights and recalibrated statistics, in eval mode."""
        assert self.given.supernet is not None, "a search without weight steps has no inherited weights"
        network = self.given.supernet.fixed(child)
        recalibrate(network, self.given.task, self.settings.calibration_batches)
        return network

    def measure(self, child: Genotype) -> float:
        with _random_state(self.given.seed):
            return measured(self.given.task, self.network(child))


@config
class ShortTrainingConfig:
    """Training from scratch for a few steps, then BatchNorm's statistics from fresh batches.

    Attributes:
        keep: how many of the measured children go on to the next rung.
        steps: weight steps.
        weights: the optimizer.
        seeds: trainings from different initial weights, averaged.
        calibration_batches: 0 keeps the running statistics of the training.
        precision: of training and measuring; `auto` is bf16 where the device multiplies it in hardware, else fp32.
        task_options: what differs from the search's: a wider network, or larger images.
    """

    oracle: Literal["short_training"]
    keep: Annotated[int, Ge(1)] = 1
    steps: Annotated[int, Ge(1)]
    weights: SgdConfig = field(default_factory=lambda: SgdConfig(lr=0.1, lr_end=0.0))
    seeds: Annotated[int, Ge(1), MOST] = 1
    calibration_batches: Annotated[int, Ge(0), MOST] = 0
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    task_options: dict[str, Any] = field(default_factory=dict)

    def make(self, given: Measured) -> ShortTraining:
        return ShortTraining(self, given)


class ShortTraining:
    """The metric after a short training from scratch; every child sees the same batches.

    Args:
        repeat: a number other than 0 gives other initial weights and other batches.
    """

    independent = True

    def __init__(self, settings: ShortTrainingConfig, given: Measured, repeat: int = 0) -> None:
        self.name, self.settings, self.given, self.repeat = f"short_training_{settings.steps}", settings, given, repeat
        if settings.seeds > 1:
            self.name += f"_of_{settings.seeds}"
        self.name += "".join(f"_{name}_{value}" for name, value in settings.task_options.items())
        if repeat:
            self.name += f"_repeat_{repeat}"
        self.task = given.task
        if settings.task_options:
            assert given.make_task is not None
            self.task = given.make_task(settings.task_options)
        pays = settings.precision == "auto" and bfloat16_pays(given.device)
        self.bfloat16 = pays or settings.precision == "bf16"

    def again(self, repeat: int) -> ShortTraining:
        """The same with other initial weights and other batches."""
        return ShortTraining(self.settings, self.given, repeat)

    def measure(self, child: Genotype) -> float:
        """NaN, and a warning, where a training diverges: that child is a bad one, and the others are still compared."""
        try:
            return sum(self._one(child, number) for number in range(self.settings.seeds)) / self.settings.seeds
        except NotFiniteError as error:
            logging.warning("%s of a candidate: %s", self.name, error)
            return math.nan

    def _one(self, child: Genotype, number: int) -> float:
        task, settings = self.task, self.settings
        number += self.repeat * settings.seeds
        # Without a cache: it would keep the weights of the first step until the context ends.
        bfloat16 = torch.autocast(self.given.device.type, torch.bfloat16, self.bfloat16, cache_enabled=False)
        with _random_state(1000 * self.given.seed + number), bfloat16:
            network = task.build(FixedBuilder(child)).to(self.given.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            network.train()
            optimizer = Sgd(network, settings.weights, settings.steps)
            first = self.repeat * settings.steps
            for step, batch in enumerate(itertools.islice(task.training_batches(first), settings.steps)):
                optimizer.step(task, batch, step)
            if settings.calibration_batches:
                recalibrate(network, task, settings.calibration_batches)
            return measured(task, network.eval())


@contextmanager
def _random_state(seed: int) -> Iterator[None]:
    """Random numbers of its own, so that a figure kept from before leaves what follows the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@config
class EstimateConfig:
    """What the strategy expects of a child from all it has measured: the last rung of one that combines measurements.

    Attributes:
        keep: how many of the children go on to the next rung.
    """

    oracle: Literal["estimate"]
    keep: Annotated[int, Ge(1)] = 1

    def make(self, given: Measured) -> Estimate:
        return Estimate(given)


class Estimate:
    """The strategy's `estimate`."""

    name = "estimate"

    def __init__(self, given: Measured) -> None:
        self.given = given

    def measure(self, child: Genotype) -> float:
        assert self.given.estimate is not None
        return self.given.estimate(child)


RungConfig = InheritedConfig | ShortTrainingConfig | EstimateConfig


@torch.no_grad()
def recalibrate(network: nn.Module, task: Any, batches: int) -> None:
    """Replace BatchNorm's statistics by plain averages over `batches` training batches; leaves eval mode.

    A child's own statistics differ from the supernet's, which average over all children ever run.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for batch in itertools.islice(task.training_batches(0), batches if norms else 0):
        task.loss(network, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
