"""The quick start, everything in it shrunk, so that it takes seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from small import NETWORK, SIZE

SHRUNK = {
    "search.task_options.network": NETWORK,
    "search.task_options.data.size": SIZE,
    "search.task_options.batch": 2,
    "search.task_options.training_pairs": 6,
    "search.task_options.held_out_pairs": 4,
    "search.task_options.measured_pairs": 2,
    "search.search.steps": 4,
    "search.search.architecture.start": 1,
    "search.search.checkpoint_every": 2,
    "search.search.log_every": 1,
    "search.strategy_options": {"children": 2, "memory": 8},
    "search.evaluation": {
        "most_probable": 2,
        "samples": 1,
        "controls": 2,
        "rungs": [{"oracle": "inherited", "calibration_batches": 2}],
    },
    "train.steps": 5,
    "train.batch": 2,
    "train.workers": 0,
    "train.data.size": SIZE,
    "train.calibration": {"pairs": 4, "last": 8},
    "train.precision": "float32",
    "train.log_every": 1,
    "train.checkpoint_every": 2,
    "report.pairs": 3,
    "report.data.size": SIZE,
}


def command(folder: Path, *more: str, **changes: Any) -> list[str]:
    """The words after `cheapmatting`; `changes` replace settings, with two underscores for a dot."""
    settings = {**SHRUNK, **{key.replace("__", "."): value for key, value in changes.items()}}
    sets = [f"--set={key}={json.dumps(value)}"
            for key, value in settings.items()]  # fmt: skip
    return ["run", "quickstart", *sets, "--out", str(folder), "--device", "cpu", *more]
