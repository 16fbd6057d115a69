"""Tables of what a search learned: every variable's probabilities over time, learned children beside random ones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .common.atomic import atomic_path
from .space import Space

PROBABILITIES, LEARNT = "probabilities.csv", "learnt.csv"


class History(NamedTuple):
    """One variable over time: its options' names, the steps, probabilities [steps, options]."""

    variable: str
    options: list[str]
    steps: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


def write_probabilities(path: Path, space: Space, history: Sequence[tuple[int, Tensor]]) -> None:
    """One row a step, one column an option: `variable=option`."""
    columns = [f"{variable.name}={option}" for variable in space.variables for option in variable.options]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("step", *columns))
        writer.writerows((step, *(f"{p:.5f}" for p in probabilities.tolist())) for step, probabilities in history)


def read_probabilities(path: Path) -> list[History]:
    """What `write_probabilities` wrote, a variable each; nothing if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(header))
    found: dict[str, list[int]] = {}
    for index, column in enumerate(header[1:], start=1):
        found.setdefault(column.rpartition("=")[0], []).append(index)
    return [
        History(
            name, [header[i].rpartition("=")[2] for i in columns], values[:, 0].astype(np.int64), values[:, columns]
        )
        for name, columns in found.items()
    ]


def write_learnt(path: Path, learnt: Mapping[str, Sequence[float]], metric: str) -> None:
    """One row a child: `learned` or `random`, and the metric."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("from", metric))
        writer.writerows((kind, figure) for kind, figures in learnt.items() for figure in figures)


def learnt_in_words(learnt: Mapping[str, Sequence[float]], metric: str) -> str:
    """`accuracy of 20 learned children 0.612 (deviation 0.011), of 20 random ones 0.584 (0.031)`."""
    learned, random = (np.array(learnt[kind]) for kind in ("learned", "random"))
    return (
        f"{metric} of {len(learned)} learned children {learned.mean():.4g} (deviation {_deviation(learned):.2g}), "
        f"of {len(random)} random ones {random.mean():.4g} ({_deviation(random):.2g})"
    )


def _deviation(values: npt.NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
