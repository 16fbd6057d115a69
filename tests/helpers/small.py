"""A matting network, data and settings so small that the tests of matting run in seconds."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atldas.common.checksum import sha256_of_arrays
from atldas.common.config import from_dict
from atldas.genotype import Genotype
from cheapmatting.data.config import DataConfig, make_source
from cheapmatting.data.sample import Sample
from cheapmatting.model.network import CheapMatting
from cheapmatting.model.variants import variant
from cheapmatting.training.recipe import TrainConfig
from cheapmatting.training.train import Training

NETWORK: dict[str, Any] = {
    "width": 8, "cells": 3, "reductions": [1, 2], "stem": 8, "stem_mid": 8, "pooling_windows": [5, 13],
    "pooling_width": 8, "pyramid": 8, "decoder": [8, 8, 8, 8], "decoder_mid": [8, 8, 8, 8], "head": [8, 8],
}  # fmt: skip
SIZE = 64


def small_network(seed: int = 0, **changes: Any) -> CheapMatting:
    """An untrained network of the published cells."""
    torch.manual_seed(seed)
    return variant("cheapmatting", **{**NETWORK, **changes})


def samples(count: int, size: int = SIZE, seed: int = 0) -> list[Sample]:
    """Synthetic pairs."""
    source = make_source(DataConfig(size=size), seed)
    return [source[index] for index in range(count)]


def photograph(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 [H, W, 3] of noise and a trimap uint8 [H, W] with all three levels where there is room."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), (height, width))
    trimap[0, 0] = 128
    return image, trimap


def training_settings(**changes: Any) -> TrainConfig:
    """A training of seconds."""
    plain: dict[str, Any] = {
        "schema": 1, "steps": 8, "batch": 2, "workers": 0, "data": {"size": SIZE}, "losses": {"l1_unknown": 1.0},
        "optimizer": {"lr": 0.003, "warm_up": 2}, "ema": 0.5, "log_every": 1, "checkpoint_every": 3,
        "calibration": {"pairs": 8, "last": 16},
        "precision": "float32",  # not auto, which is another thing on another machine
        "validation": {"every": 4, "pairs": 2},
    }  # fmt: skip
    return from_dict(TrainConfig, {**plain, **changes}, "settings")


def digests(state: dict[str, torch.Tensor]) -> dict[str, str]:
    """A short stand-in for the bits of every tensor: pytest takes minutes to describe how long texts differ."""
    return {name: sha256_of_arrays(tensor.detach().numpy()) for name, tensor in state.items()}


def edited(folder: Path, network: str, name: str = "mine") -> Path:
    """The published genotype's file with another `network:` section."""
    published = Genotype.load("cheapmatting")
    path = folder / f"{name}.yaml"
    text = Genotype(name, published.cells).to_yaml()
    path.write_text(f"{text}network:\n  {network}\n")
    return path


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int, number: int = signal.SIGINT) -> None:
    """Let the next run get a signal, as from Ctrl-C, during step number `steps`."""
    original, count = Training.train_step, 0

    def step(self: Training, batch: Any) -> dict[str, float]:
        nonlocal count
        count += 1
        if count == steps:
            os.kill(os.getpid(), number)
        return original(self, batch)

    monkeypatch.setattr(Training, "train_step", step)
