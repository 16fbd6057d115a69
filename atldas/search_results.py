"""What a finished search leaves in its folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from . import __version__
from .cell_picture import draw_cells
from .common.curves import CURVES, draw_curves
from .experiment import Experiment
from .genotype import Genotype
from .halving import Candidate, write_candidates
from .probabilities import LEARNT, PROBABILITIES, write_learnt, write_probabilities
from .space import Space
from .task import Task

GENOTYPE, CANDIDATES, CELLS = "genotype.yaml", "candidates.csv", "cells.png"
RESULTS = (GENOTYPE, CANDIDATES, CELLS, CURVES, PROBABILITIES, LEARNT)


def winning_genotype(
    experiment: Experiment, task: Task, space: Space, winner: Candidate, command: str = ""
) -> Genotype:  # fmt: skip
    """The winner under the experiment's name, with the network around it and where it comes from."""
    provenance = {
        "space": space.name,
        "task": experiment.task,
        "strategy": experiment.strategy,
        "seed": experiment.seed,
        "steps": experiment.search.steps,
        "scores": {f"{task.metric}_{oracle}": figure for oracle, figure in winner.figures.items()},
        **({"command": command} if command else {}),
        "versions": {"atldas": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
    }
    return Genotype(experiment.name, winner.child.cells, task.network_section(), provenance, winner.child.choices)


def write_results(
    folder: Path, genotype: Genotype, candidates: Sequence[Candidate], learnt: Mapping[str, list[float]], metric: str,
    space: Space, history: list[tuple[int, Tensor]],
) -> None:  # fmt: skip
    """Write all files; the genotype is the last one: where it is, the search is finished."""
    write_candidates(folder / CANDIDATES, candidates, metric)
    write_probabilities(folder / PROBABILITIES, space, history)
    if genotype.cells:
        draw_cells(genotype, folder / CELLS)
    draw_curves(folder)
    if learnt:
        write_learnt(folder / LEARNT, dict(learnt), metric)
    genotype.save(folder / GENOTYPE)
