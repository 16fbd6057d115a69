"""curves.png: the curves of a run, drawn from its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .atomic import atomic_path
from .runfolder import logged, read_log

CURVES = "curves.png"
SEARCH_PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("losses", ("training_loss", "held_out_loss")),
    ("entropy of the distribution (nats)", ("entropy",)),
    ("expected share of weight-free operations", ("weight_free_share",)),
    ("expected MACs", ("expected_macs",)),
)


def draw_curves(folder: Path, panels: Sequence[tuple[str, tuple[str, ...]]] = SEARCH_PANELS) -> None:
    """Draw `folder`/log.csv as `folder`/curves.png, one panel per (title, columns)."""
    figure = curves_figure(read_log(folder), panels)
    with atomic_path(folder / CURVES) as temporary:
        figure.savefig(temporary, dpi=110)


def curves_figure(rows: Sequence[Mapping[str, str]], panels: Sequence[tuple[str, tuple[str, ...]]]) -> Figure:
    """One panel per (title, columns), over the steps. Columns with `loss` in their name are drawn pale, with their
    running mean on top."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 2.7 * ((len(panels) + 1) // 2)), layout="constrained")
        axes = figure.subplots((len(panels) + 1) // 2, 2, squeeze=False).ravel()
        for axis in axes[len(panels) :]:
            axis.remove()
        for axis, (title, columns) in zip(axes, panels, strict=False):
            axis.set_title(title)
            axis.set_xlabel("step")
            for column in columns:
                steps, values = logged(rows, column)
                noisy = "loss" in column
                (line,) = axis.plot(steps, values, linewidth=0.8, alpha=0.25 if noisy else 1.0)
                smooth = _running_mean(values) if noisy else values
                axis.plot(steps, smooth, color=line.get_color(), linewidth=1.6, label=column.replace("_", " "))
            if len(columns) > 1:
                axis.legend(frameon=False)
            axis.grid(alpha=0.25)
    return figure


def _running_mean(values: list[float], memory: float = 0.9) -> list[float]:
    """Exponential running mean without the bias of its start (Kingma and Ba, ICLR 2015, section 3)."""
    smooth, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = memory * total + value, memory * weight + 1.0
        smooth.append(total / weight)
    return smooth
