"""What several searches found and cost, as tables and a picture."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .common.atomic import atomic_path, write_text

RUNS, SUMMARY, MARKDOWN, PICTURE = "runs.csv", "comparison.csv", "comparison.md", "comparison.png"


@dataclass(frozen=True)
class RunRow:
    """One finished search.

    Attributes:
        figure: the task's metric of the choice, by the last oracle that measured it.
        looked_up: the benchmark's figure of the choice, looked up after it was made; None without a table.
        looked_up_in: the table's file and column.
        seconds, cpu_seconds, images_trained, images_judged, peak_mib: see `spent.Spent`.
    """

    strategy: str
    seed: int
    figure: float
    looked_up: float | None
    looked_up_in: str
    seconds: float
    cpu_seconds: float
    images_trained: float
    images_judged: float
    peak_mib: float
    child: str


@dataclass(frozen=True)
class SummaryRow:
    """One strategy over its runs: means, sample standard deviations (NaN with one run), the best, the most memory."""

    strategy: str
    runs: int
    mean: float
    deviation: float
    best: float
    looked_up_mean: float | None
    looked_up_deviation: float | None
    looked_up_best: float | None
    seconds: float
    cpu_seconds: float
    images: float
    peak_mib: float


def summary(rows: Sequence[RunRow], larger_is_better: bool) -> list[SummaryRow]:
    """A row for each strategy, in the order of the rows."""
    return [
        _summary_of(strategy, [row for row in rows if row.strategy == strategy], larger_is_better)
        for strategy in dict.fromkeys(row.strategy for row in rows)
    ]


def _summary_of(strategy: str, rows: Sequence[RunRow], larger_is_better: bool) -> SummaryRow:
    figures, looked_up = [row.figure for row in rows], [row.looked_up for row in rows if row.looked_up is not None]
    whole = len(looked_up) == len(rows)
    return SummaryRow(
        strategy, len(rows), statistics.fmean(figures), _deviation(figures),
        max(figures) if larger_is_better else min(figures),
        statistics.fmean(looked_up) if whole else None, _deviation(looked_up) if whole else None,
        max(looked_up) if whole else None,
        statistics.fmean(row.seconds for row in rows), statistics.fmean(row.cpu_seconds for row in rows),
        statistics.fmean(row.images_trained + row.images_judged for row in rows), max(row.peak_mib for row in rows),
    )  # fmt: skip


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def write_rows(path: Path, kind: type, rows: Sequence[object]) -> None:
    """A CSV file with a column for each field; None is left empty."""
    names = [field.name for field in fields(kind)]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([_plain(getattr(row, name)) for name in names] for row in rows)


def _plain(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def read_runs(path: Path) -> list[dict[str, str]]:
    """The rows of `runs.csv` as text; none without the file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_comparison(
    folder: Path, rows: Sequence[RunRow], metric: str, larger_is_better: bool, notes: Sequence[str]
) -> None:
    """Write runs.csv, comparison.csv, comparison.md and comparison.png; `notes` are lines under the table."""
    summarised = summary(rows, larger_is_better)
    write_rows(folder / RUNS, RunRow, rows)
    write_rows(folder / SUMMARY, SummaryRow, summarised)
    write_text(folder / MARKDOWN, markdown(summarised, metric, notes))
    with atomic_path(folder / PICTURE) as temporary:
        comparison_figure(rows, metric).savefig(temporary, dpi=110)


def markdown(rows: Sequence[SummaryRow], metric: str, notes: Sequence[str]) -> str:
    """The summary as a Markdown table."""
    table = any(row.looked_up_mean is not None for row in rows)
    header = ["strategy", "runs", f"{metric}, mean ± deviation", "best"]
    header += ["looked up, mean ± deviation", "best"] if table else []
    header += ["wall-clock (s)", "CPU (s)", "images", "peak memory (MiB)"]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for row in rows:
        cells = [row.strategy, str(row.runs), _spread(row.mean, row.deviation), f"{row.best:.4g}"]
        if table:
            cells += [_spread(row.looked_up_mean, row.looked_up_deviation), _number(row.looked_up_best)]
        cells += [f"{row.seconds:.0f}", f"{row.cpu_seconds:.0f}", f"{row.images:.0f}", f"{row.peak_mib:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes]) + "\n"


def _spread(mean: float | None, deviation: float | None) -> str:
    shown = "" if deviation is None or math.isnan(deviation) else f" ± {deviation:.2g}"
    return _number(mean) + shown


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def comparison_figure(rows: Sequence[RunRow], metric: str) -> Figure:
    """A column for each strategy: its runs as dots, their mean and standard deviation."""
    panels: list[tuple[str, Mapping[str, list[float]]]] = [(metric, _by_strategy(rows, looked_up=False))]
    if any(row.looked_up is not None for row in rows):
        panels.append(("looked up after the choice", _by_strategy(rows, looked_up=True)))
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(1.5 + 4.5 * len(panels), 3.6), layout="constrained")
        for axis, (title, columns) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for place, values in enumerate(columns.values()):
                axis.plot([place] * len(values), values, "o", color="#2b6cb0", alpha=0.5, markersize=5)
                deviation = _deviation(values) if len(values) > 1 else 0.0
                axis.errorbar(
                    place + 0.18,
                    statistics.fmean(values),
                    deviation,
                    fmt="_",
                    color="#1a202c",
                    capsize=4,
                    markersize=12,
                )
            axis.set_xticks(range(len(columns)), list(columns), rotation=20)
            axis.set_xlim(-0.5, len(columns) - 0.3)
            axis.set_title(title)
            axis.grid(alpha=0.25, axis="y")
    return figure


def _by_strategy(rows: Sequence[RunRow], looked_up: bool) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        value = row.looked_up if looked_up else row.figure
        if value is not None and not math.isnan(value):
            columns.setdefault(row.strategy, []).append(value)
    return columns
