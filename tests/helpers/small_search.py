"""Searches of a few steps: one on images of stripes, and ways to stop it, and a smaller one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from toy import SPACE_FILE, image_folder

from atldas.classification import ImageFolderTask
from atldas.common.config import from_dict
from atldas.experiment import Experiment
from atldas.searching import search

CPU = torch.device("cpu")
STEPS = 14


def data_folder(folder: Path) -> Path:
    """A folder of images and a small space's file."""
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


def tiny_search(folder: Path) -> Path:
    """The run's folder of a finished search of 12 steps over 6 children."""
    (folder / "space.yaml").write_text(
        "schema: 1\nname: tiny\ncells:\n  normal:\n    inputs: 2\n    nodes: 1\n    inputs_per_node: 1\n"
        "    operations: [skip_connect, nor_conv_1x1, nor_conv_3x3]\n"
    )
    experiment = from_dict(Experiment, {
        "schema": 2, "name": "tiny", "space": str(folder / "space.yaml"), "task": "toy:BrightnessTask",
        "strategy_options": {"children": 2, "memory": 8},
        "search": {"steps": 12, "log_every": 2, "architecture": {"lr": 0.5}},
        "evaluation": {"most_probable": 3, "samples": 1, "controls": 3},
    }, "test")  # fmt: skip
    assert search(experiment, folder / "run", CPU, command="atldas search tiny") is not None
    return folder / "run"


def at_call(number: int, act: Callable[[], object]) -> Callable[..., Tensor]:
    """`ImageFolderTask.loss`, doing `act` at its call of that number."""
    calls = 0
    original = ImageFolderTask.loss

    def loss(self: ImageFolderTask, network: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        return original(self, network, batch)

    return loss


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
