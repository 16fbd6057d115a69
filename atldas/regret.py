"""Curves of the best so far over the queries: as CSV, Markdown and a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .common.atomic import atomic_path, write_text

CURVES_CSV, CURVES_MD, CURVES_PNG = "regret.csv", "regret.md", "regret.png"
Curves = Mapping[str, npt.NDArray[np.float64]]  # strategy -> the reported figure [seeds, queries]


def stacked(curves: Sequence[Sequence[float]], queries: int) -> npt.NDArray[np.float64]:
    """Curves of several seeds, [seeds, queries]; one that ended early stays at its last value."""
    return np.array([[*curve, *[curve[-1]] * (queries - len(curve))] for curve in curves])


def write_regret(folder: Path, curves: Curves, seeds: Sequence[int], optimum: float, notes: Sequence[str]) -> None:
    """Write regret.csv (a row a query), regret.md (mean and deviation at some queries) and regret.png."""
    path = folder / CURVES_CSV
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("strategy", "seed", "queries", "best_so_far", "regret"))
        for strategy, values in curves.items():
            for seed, row in zip(seeds, values.tolist(), strict=True):
                writer.writerows((strategy, seed, n, v, round(optimum - v, 6)) for n, v in enumerate(row, start=1))
    write_text(folder / CURVES_MD, markdown(curves, optimum, notes))
    with atomic_path(folder / CURVES_PNG) as temporary:
        regret_figure(curves, optimum).savefig(temporary, dpi=110)


def markdown(curves: Curves, optimum: float, notes: Sequence[str]) -> str:
    """Mean ± sample standard deviation over the seeds, at numbers of queries that grow."""
    queries = next(iter(curves.values())).shape[1]
    shown = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if n < queries] + [queries]
    lines = ["| strategy | " + " | ".join(f"{n} queries" for n in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for strategy, values in curves.items():
        cells = [_spread(values[:, n - 1]) for n in shown]
        lines.append(f"| {strategy} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"The best there is: {optimum:.2f}.", *notes]) + "\n"


def _spread(values: npt.NDArray[np.float64]) -> str:
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def regret_figure(curves: Curves, optimum: float) -> Figure:
    """The regret, a line for each strategy: its mean and, pale, one standard deviation to both sides."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axis = figure.subplots()
        for strategy, values in curves.items():
            regret = optimum - values
            mean, deviation = regret.mean(axis=0), regret.std(axis=0, ddof=1) if len(regret) > 1 else 0.0
            numbers = np.arange(1, len(mean) + 1)
            (line,) = axis.plot(numbers, mean, label=strategy)
            axis.fill_between(numbers, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.15)
        axis.set_xscale("log")
        axis.set_yscale("symlog", linthresh=0.1)  # down to 0, which a logarithm has no place for
        axis.set_ylim(0.0, 1.2 * max(float((optimum - values).mean(axis=0).max()) for values in curves.values()) + 0.1)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("queries")
        axis.set_ylabel("regret (best there is, less the best so far)")
        axis.legend(frameon=False)
        axis.grid(alpha=0.25)
    return figure
