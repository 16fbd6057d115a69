"""A matting network, data and settings so small that the tests of matting run in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cheapmatting.data import DataConfig, make_source
from cheapmatting.network import CheapMatting, variant
from cheapmatting.sample import Sample

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
