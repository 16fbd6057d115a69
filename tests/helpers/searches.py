"""A search of seconds on a folder of striped images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toy import SPACE_FILE, image_folder

from atldas.common.config import from_dict
from atldas.experiment import Experiment

STEPS = 14


def search_data(folder: Path) -> Path:
    """Fill a folder with the images and a small space's file."""
    image_folder(folder / "stripes")
    (folder / "small.yaml").write_text(SPACE_FILE)
    return folder


def experiment(data: Path, strategy: str = "atldas", **settings: Any) -> Experiment:
    options = {"children": 2, "memory": 16, "macs_weight": 0.1} if strategy == "atldas" else {}
    return from_dict(
        Experiment,
        {
            "schema": 2,
            "name": "stripes",
            "space": str(data / "small.yaml"),
            "task": "atldas.classification:ImageFolderTask",
            "task_options": {"folder": str(data / "stripes"), "image_size": 16, "channels": 4, "depth": 3, "batch": 4},
            "seed": 3,
            "strategy": strategy,
            "strategy_options": options,
            "search": {
                "steps": STEPS,
                "architecture": {"lr": 2.0, "start": 2},
                "pruning": {"share": 0.8, "patience": 2, "every": 2},
                "log_every": 1,
                "checkpoint_every": 5,
            },
            "evaluation": {
                "most_probable": 3,
                "samples": 2,
                "controls": 2,
                "rungs": [
                    {"oracle": "inherited", "calibration_batches": 2, "keep": 2},
                    {"oracle": "short_training", "steps": 3},
                ],
            },
            **settings,
        },
        "experiment",
    )
