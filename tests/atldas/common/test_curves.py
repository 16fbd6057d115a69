"""Curves of a run: the logged values, losses under their running mean, one panel for each title."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atldas.common.curves import _running_mean, curves_figure, draw_curves
from atldas.common.runfolder import RunLog

ROWS = [
    {"step": "0", "loss": "4.0", "rate": "0.5"},
    {"step": "10", "loss": "", "rate": "0.25"},
    {"step": "20", "loss": "2.0", "rate": "0.125"},
]
PANELS = (("losses", ("loss",)), ("rates", ("rate",)), ("both", ("loss", "rate")))


def test_the_running_mean_is_corrected_for_its_start() -> None:
    assert _running_mean([3.0] * 5) == pytest.approx([3.0] * 5)
    assert _running_mean([1.0, 0.0]) == pytest.approx([1.0, 0.9 / 1.9])
    assert _running_mean([]) == []


def test_panels_hold_the_logged_values() -> None:
    losses, rates, both = curves_figure(ROWS, PANELS).axes  # the fourth place of the grid is empty
    assert [axis.get_title() for axis in (losses, rates, both)] == ["losses", "rates", "both"]
    raw, smooth = losses.lines
    assert raw.get_xydata().tolist() == [[0, 4.0], [20, 2.0]] and raw.get_alpha() == 0.25
    assert np.asarray(smooth.get_ydata()) == pytest.approx([4.0, (0.9 * 4 + 2) / 1.9])
    assert rates.lines[1].get_xydata().tolist() == [[0, 0.5], [10, 0.25], [20, 0.125]]
    assert [text.get_text() for text in both.get_legend().get_texts()] == ["loss", "rate"]
    assert losses.get_legend() is None


def test_a_runs_log_becomes_a_picture(tmp_path: Path) -> None:
    with RunLog(tmp_path, ("loss",), 0) as log:
        for step in range(4):
            log.write(step, {"loss": 1 / (step + 1)})
    draw_curves(tmp_path, PANELS[:1])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))
