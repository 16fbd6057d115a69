"""Choosing the result: candidates are measured as fixed networks with the supernet's weights."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge
from torch import nn

from .common.atomic import atomic_path
from .common.config import config
from .distribution import Distribution
from .genotype import Genotype
from .samplers import mixed
from .supernet import Supernet
from .task import Task


@config
class EvaluationConfig:
    """What is measured at the end of a search.

    Attributes:
        most_probable: how many of the most probable children.
        samples: how many children drawn from the distribution beside them.
        calibration_batches: training batches from which BatchNorm statistics are recomputed.
    """

    most_probable: Annotated[int, Ge(1)] = 8
    samples: Annotated[int, Ge(0)] = 4
    calibration_batches: Annotated[int, Ge(1)] = 20


class Candidate(NamedTuple):
    """A measured child.

    Attributes:
        child: the genotype.
        origin: `probable` or `sampled`.
        log_probability: in nats.
        inherited: the metric with the supernet's weights and BatchNorm statistics as they are.
        recalibrated: the metric after the statistics were recomputed: what candidates are compared by.
        network: the fixed network, with inherited weights and recomputed statistics.
    """

    child: Genotype
    origin: str
    log_probability: float
    inherited: float
    recalibrated: float
    network: nn.Module


def propose(
    distribution: Distribution, settings: EvaluationConfig, generator: torch.Generator
) -> Iterator[tuple[Genotype, str]]:
    """The most probable children, then samples that are not among them."""
    seen = set()
    probable = ((child, "probable") for _, child in distribution.most_probable(settings.most_probable))
    sampled = ((mixed(distribution, 0.0, generator), "sampled") for _ in range(settings.samples))
    for child, origin in itertools.chain(probable, sampled):
        if child not in seen:
            seen.add(child)
            yield child, origin


def evaluate(supernet: Supernet, task: Task, distribution: Distribution, child: Genotype, origin: str,
             settings: EvaluationConfig) -> Candidate:  # fmt: skip
    """Measure one child before and after its BatchNorm statistics are recomputed on training batches."""
    network = supernet.fixed(child).eval()
    inherited = task.measure(network)
    recalibrate(network, task, settings.calibration_batches)
    with torch.no_grad():
        log_probability = float(distribution.log_prob(child))
    return Candidate(child, origin, log_probability, inherited, task.measure(network), network)


@torch.no_grad()
def recalibrate(network: nn.Module, task: Any, batches: int) -> None:
    """Replace the BatchNorm statistics by the plain averages over `batches` training batches; leaves eval mode.

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


def best_first(candidates: list[Candidate], larger_is_better: bool) -> list[Candidate]:
    """Candidates by their recalibrated metric; one that is not a number comes last."""

    def badness(candidate: Candidate) -> tuple[bool, float]:
        metric = candidate.recalibrated
        return math.isnan(metric), -metric if larger_is_better else metric

    return sorted(candidates, key=badness)


def write_candidates(path: Path, candidates: list[Candidate], metric: str) -> None:
    """The table of the measured children, in the order given."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("rank", "origin", "log_probability", f"{metric}_inherited", f"{metric}_recalibrated", "cells"))
        for rank, candidate in enumerate(candidates, start=1):
            figures = (candidate.log_probability, candidate.inherited, candidate.recalibrated)
            writer.writerow((rank, candidate.origin, *figures, _one_line(candidate.child)))


def _one_line(child: Genotype) -> str:
    """`normal 2=skip_connect(0)+dil_conv_5x5(1) 3=...; reduce ...`"""
    return "; ".join(
        kind + "".join(
            f" {node}=" + "+".join(f"{edge.operation}({edge.input})" for edge in edges)
            for node, edges in enumerate(cell.nodes, start=cell.inputs)
        )
        for kind, cell in child.cells.items()
    )  # fmt: skip
