"""How well a supernet ranks NAS-Bench-201's cells: rank correlations of inherited accuracy with the benchmark's table.

A supernet is trained by one of the training samplers, nothing else learns. Then the same cells are measured in each:
random ones, and random ones of the best tenth of the table, with BatchNorm's statistics computed anew for each cell,
and with those that the supernet gathered over all its children. The control is the same with the table's figures dealt
to the wrong cells.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from .common.atomic import atomic_path, write_text
from .common.config import Source, config, key_of, to_dict
from .common.progress import progress
from .common.runfolder import CONFIG, open_run
from .evaluate import EvaluationConfig
from .experiment import Experiment
from .genotype import Genotype
from .halving import Candidate
from .nasbench201 import canonical, cell_of
from .oracles import Inherited, InheritedConfig, Measured
from .ranks import rank_correlation
from .samplers import TRAINING_SAMPLERS
from .searching import CHANGEABLE, WRITES, Search
from .strategies.unlearned import Unlearned
from .strategy import Context
from .task import measured

QUALITY_CSV, QUALITY_MD, CELLS_CSV = "quality.csv", "quality.md", "cells.csv"
RECALIBRATED, AS_TRAINED = "inherited", "inherited_as_trained"


@config
class SampledOptions:
    """`sampler`: one of `samplers.TRAINING_SAMPLERS`; `mixed` is `uniform` here, where nothing is learned."""

    sampler: Annotated[str, key_of(TRAINING_SAMPLERS)] = "uniform"


class Sampled(Unlearned):
    """Trains the children that a sampler gives; fulfils `Strategy`, and proposes nothing."""

    Options = SampledOptions

    def __init__(self, options: SampledOptions, context: Context) -> None:
        super().__init__(options, context)
        self.sampler = TRAINING_SAMPLERS[options.sampler](context.distribution, context.generator)

    def select_for_training(self, step: int) -> None:
        self.context.supernet.select(self.sampler.child(self.context.sample, 1.0))

    def propose(self, settings: EvaluationConfig) -> Iterator[Candidate]:
        return iter(())

    def state_dict(self) -> dict[str, Any]:
        return {"sampler": self.sampler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sampler.load_state_dict(state["sampler"])


class AsTrained:
    """The metric with the supernet's weights and the statistics that it gathered over all its children."""

    name = AS_TRAINED

    def __init__(self, running: Search) -> None:
        self.running = running

    def measure(self, child: Genotype) -> float:
        return measured(self.running.task, self.running.supernet.fixed(child).eval())


class Cells(NamedTuple):
    """What is measured: `groups` is `random` or `best tenth` -> codes; `figures` the table's, by code."""

    groups: dict[str, list[str]]
    figures: Mapping[str, float]


def choose_cells(figures: Mapping[str, float], count: int) -> Cells:
    """`count` random cells that compute different functions, and as many of the best tenth of the table."""
    best = sorted(figures, key=lambda code: -figures[code])[: max(1, len(figures) // 10)]
    random = np.random.default_rng(0)  # the same cells for every supernet
    groups = {"random": sorted(figures), "best tenth": sorted(best)}
    return Cells({name: _different(random.permutation(codes), count) for name, codes in groups.items()}, figures)


def _different(codes: npt.NDArray[np.str_], count: int) -> list[str]:
    first: dict[Any, str] = {}
    for code in map(str, codes):
        first.setdefault(canonical(cell_of(code)), code)
        if len(first) == count:
            break
    return list(first.values())


def measure_supernet(
    experiment: Experiment, sampler: str, cells: Cells, folder: Path, device: torch.device, source: Source | str
) -> dict[str, dict[str, float]] | None:
    """Train a supernet, or go on with it, and measure the cells: oracle -> code -> figure; None if interrupted."""
    sampled = dataclasses.replace(
        experiment, strategy=f"{__name__}:Sampled", strategy_options={"sampler": sampler}, training=None
    )
    running = Search(sampled, folder, device, source)
    state = open_run(folder, to_dict(running.experiment), (folder / CONFIG).exists(), WRITES, CHANGEABLE)
    if not running.run(folder, state):
        return None
    given = Measured(running.task, running.supernet, experiment.seed, device)
    rungs = [rung for rung in experiment.evaluation.rungs if isinstance(rung, InheritedConfig)]
    oracles = (Inherited(rungs[0] if rungs else InheritedConfig(), given), AsTrained(running))
    if state is not None and state["steps"] != experiment.search.steps:  # trained for longer since
        for oracle in oracles:
            running.archive.forget(oracle)
    codes = list(dict.fromkeys(code for group in cells.groups.values() for code in group))
    found: dict[str, dict[str, float]] = {oracle.name: {} for oracle in oracles}
    with progress(len(codes) * len(oracles), "measure", "cell") as bar:
        for code in codes:
            for oracle in oracles:
                child = Genotype(code, {"normal": cell_of(code)})
                found[oracle.name][code] = running.archive.measure(oracle, child)
                bar.update()
    sign = 1.0 if running.task.larger_is_better else -1.0
    return {name: {code: sign * figure for code, figure in by_code.items()} for name, by_code in found.items()}


class Quality(NamedTuple):
    """One row of the result. `shuffled`: the control, whose table is dealt to the wrong cells."""

    sampler: str
    seed: int
    group: str
    cells: int
    statistics: str
    kendall: float
    spearman: float
    kendall_shuffled: float
    spearman_shuffled: float


def qualities(sampler: str, seed: int, cells: Cells, found: Mapping[str, Mapping[str, float]]) -> list[Quality]:
    """The rows of one supernet: both groups of cells, recalibrated and not."""
    rows = []
    for group, codes in cells.groups.items():
        truth = np.array([cells.figures[code] for code in codes])
        shuffled = np.random.default_rng(1).permutation(truth)
        for oracle, words in ((RECALIBRATED, "recalibrated"), (AS_TRAINED, "as trained")):
            values = np.array([found[oracle][code] for code in codes])
            rows.append(
                Quality(
                    sampler, seed, group, len(codes), words, kendall(values, truth), _spearman(values, truth),
                    kendall(values, shuffled), _spearman(values, shuffled),
                )
            )  # fmt: skip
    return rows


def kendall(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Kendall's tau-b, which allows for equal values (Kendall, Biometrika 1945); NaN where all are equal."""
    x, y = (np.sign(values[:, None] - values[None, :]) for values in (a, b))
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale else float("nan")


def _spearman(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return rank_correlation(a, b) if np.ptp(a) and np.ptp(b) else float("nan")


def write_quality(folder: Path, rows: Sequence[Quality], figures: Sequence[Sequence[object]], note: str) -> None:
    """Write quality.csv, quality.md (means over the seeds), and cells.csv with every figure behind them."""
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[object]]]] = {
        QUALITY_CSV: (Quality._fields, rows),
        CELLS_CSV: (("sampler", "seed", "statistics", "code", "inherited", "table"), figures),
    }
    for name, (header, lines) in tables.items():
        with atomic_path(folder / name) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *lines])
    write_text(folder / QUALITY_MD, markdown(rows, note))


def markdown(rows: Sequence[Quality], note: str) -> str:
    """Means over the seeds, with their sample standard deviation."""
    header = ("sampler", "cells", "statistics", "Kendall tau", "Spearman", "shuffled: tau", "shuffled: Spearman")
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for key in dict.fromkeys((row.sampler, row.group, row.statistics) for row in rows):
        alike = [row for row in rows if (row.sampler, row.group, row.statistics) == key]
        columns = ([row.kendall for row in alike], [row.spearman for row in alike],
                   [row.kendall_shuffled for row in alike], [row.spearman_shuffled for row in alike])  # fmt: skip
        words = (key[0], f"{alike[0].cells} of {key[1]}", key[2])
        lines.append("| " + " | ".join([*words, *map(_spread, columns)]) + " |")
    return "\n".join([*lines, "", note]) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")
