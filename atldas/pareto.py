"""From one finished search the best child for each of several budgets: `atldas pareto RUN --gmacs 4,6,8,12`."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from .budget import BudgetConfig, make_budget
from .common.atomic import atomic_path
from .common.config import from_dict, read_config
from .common.device import choose as choose_device
from .common.errors import UserError
from .common.runfolder import CHECKPOINT, CONFIG, load_checkpoint
from .cost_tables import parameter_tables
from .experiment import Experiment
from .genotype import Genotype
from .halving import one_line
from .searching import Search

EXAMPLES = """examples:
  atldas pareto runs/first --gmacs 4,6,8
  atldas pareto runs/first --latency-ms 10,20 --profile profiles/darts/profile.yaml --out runs/fast
"""
KINDS = ("gmacs", "mparameters", "latency_ms")
UNITS = {"gmacs": 1e9, "mparameters": 1e6, "latency_ms": 1.0}
NAMES = {"gmacs": "GMACs", "mparameters": "million parameters", "latency_ms": "milliseconds"}


class Point(NamedTuple):
    """The best child found within a limit: its true cost, and the task's metric by the last rung that measured it."""

    limit: float
    cost: float
    figure: float
    child: Genotype


def pareto(running: Search, kind: str, limits: Sequence[float], profile: Path | None = None) -> list[Point]:
    """The best child for each limit, among those that the finished search proposes within it.

    `profile` is a file of `atldas profile`, for limits in milliseconds.

    Raises:
        UserError: no child is within a limit.
    """
    macs, parameters = running.macs, parameter_tables(running.supernet)
    points = []
    for limit in limits:
        running.context.budget = budget = make_budget(_config(kind, limit, profile), macs, parameters)
        best = running.choose()[0]
        figure = list(best.figures.values())[-1]
        points.append(Point(limit, budget.costs.of(best.child) / UNITS[kind], figure, best.child))
    return points


def write_pareto(folder: Path, points: Sequence[Point], kind: str, metric: str) -> None:
    """Write pareto.csv, pareto.png and one genotype a limit."""
    with atomic_path(folder / "pareto.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((f"limit_{kind}", kind, metric, "child"))
        writer.writerows((p.limit, p.cost, p.figure, one_line(p.child)) for p in points)
    for point in points:
        point.child.save(folder / f"genotype_{kind}_{point.limit:g}.yaml")
    with atomic_path(folder / "pareto.png") as temporary:
        pareto_figure(points, kind, metric).savefig(temporary, dpi=110)


def pareto_figure(points: Sequence[Point], kind: str, metric: str) -> Figure:
    """The metric over the true cost, every limit named."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.plot([p.cost for p in points], [p.figure for p in points], "o-", color="#2b6cb0")
    for point in points:
        axis.annotate(f"≤ {point.limit:g}", (point.cost, point.figure), (6, 6), textcoords="offset points", fontsize=8)
    axis.set_xlabel(NAMES[kind])
    axis.set_ylabel(metric)
    axis.grid(alpha=0.25)
    return figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `atldas pareto`."""
    parser.add_argument("run", type=Path, help="the folder of a finished search")
    for kind in KINDS:
        parser.add_argument(f"--{kind.replace('_', '-')}", metavar="A,B,C", help=f"limits in {NAMES[kind]}")
    parser.add_argument("--profile", type=Path, help="the file of atldas profile, for --latency-ms")
    parser.add_argument("--out", type=Path, help="where to write (default: RUN/pareto)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")


def run(options: argparse.Namespace) -> int:
    """Carry out `atldas pareto`."""
    given = [kind for kind in KINDS if getattr(options, kind)]
    if len(given) != 1:
        raise UserError(
            f"expected one of {', '.join('--' + kind.replace('_', '-') for kind in KINDS)}, got {len(given)}"
        )
    if (given[0] == "latency_ms") != (options.profile is not None):
        raise UserError("expected --latency-ms and --profile together")
    limits = _limits(getattr(options, given[0]), given[0])
    running = load_search(options.run, choose_device(options.device))
    points = pareto(running, given[0], limits, options.profile)
    folder = options.out or options.run / "pareto"
    write_pareto(folder, points, given[0], running.task.metric)
    for point in points:
        print(f"at most {point.limit:g} {given[0]}: {running.task.metric} {point.figure:.4g} at {point.cost:.4g}")
    print(f"the genotypes, pareto.csv and pareto.png are in {folder}")
    return 0


def _limits(text: str, kind: str) -> list[float]:
    try:
        limits = [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--{kind}: expected numbers such as 4,6,8, got {text!r}") from None
    if not all(limit > 0 and torch.isfinite(torch.tensor(limit)) for limit in limits):
        raise UserError(f"--{kind}: expected limits above 0, got {text!r}")
    return sorted(limits)


def _config(kind: str, limit: float, profile: Path | None) -> BudgetConfig:
    return from_dict(BudgetConfig, {kind: limit} | ({"profile": str(profile)} if profile else {}), "the command line")


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
