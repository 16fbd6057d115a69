"""Small spaces, networks, tasks and data that the tests of the search share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from labelled import LabelledTask
from torch import Tensor, nn

from atldas.builder import Builder
from atldas.cell import CellPlace
from atldas.common.config import config
from atldas.distribution import Distribution
from atldas.space import CellSpace, Space

OPERATIONS = ("skip_connect", "nor_conv_1x1", "avg_pool_3x3")


def cell_space(inputs: int, nodes: int, k: int | None, operations: tuple[str, ...] = OPERATIONS) -> CellSpace:
    """A cell space whose output concatenates every node."""
    return CellSpace(inputs, nodes, k, operations, tuple(range(inputs, inputs + nodes)))


def space(inputs: int = 2, nodes: int = 2, k: int | None = 1, operations: tuple[str, ...] = OPERATIONS[:2]) -> Space:
    """A space of one kind of cell; as given, of (2 * 2) * (3 * 2) = 24 children."""
    return Space("toy", {"normal": cell_space(inputs, nodes, k, operations)})


def random_distribution(of: Space, seed: int, scale: float = 1.0) -> Distribution:
    """A distribution with normal logits."""
    distribution = Distribution(of)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in distribution.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return distribution


class ToyNetwork(nn.Module):
    """[N, 2, H, W] -> [N, 3]: two cells of the kind `normal`, each reading the input only."""

    def __init__(self, builder: Builder, inputs: int = 2, channels: int = 2) -> None:
        super().__init__()
        self.inputs = inputs
        first = builder.cell(CellPlace("normal", (2,) * inputs, channels, 1, (1,) * inputs))
        second = builder.cell(CellPlace("normal", (first.out_channels,) * inputs, channels, 1, (1,) * inputs))
        self.cells = nn.ModuleList([first, second])
        self.classifier = nn.Linear(second.out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        for cell in self.cells:
            x = cell(*[x] * self.inputs)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


@config
class BrightnessOptions:
    """Options of `BrightnessTask`."""

    batch: int = 16


class BrightnessTask(LabelledTask):
    """Tell which of three kinds of texture an image has; needs an operation that passes its input on."""

    Options = BrightnessOptions
    input_shape = (1, 2, 8, 8)

    def build(self, builder: Builder) -> nn.Module:
        return ToyNetwork(builder)

    def _batches(self, start: int, stream: int) -> Iterator[Any]:
        number = start
        while True:
            rng = np.random.default_rng([self.seed, stream, number])
            labels = rng.integers(0, 3, self.options.batch)
            images = rng.normal(0, 0.3, (self.options.batch, 2, 8, 8)) + (labels - 1)[:, None, None, None]
            yield torch.from_numpy(images.astype(np.float32)).to(self.device), torch.from_numpy(labels).to(self.device)
            number += 1


def image_folder(folder: Path, size: int = 16, per_class: int = 12) -> Path:
    """Two classes of images: upright and level stripes."""
    rng = np.random.default_rng(0)
    for name in ("level", "upright"):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            image = np.zeros((size, size, 3))
            image[(np.arange(size) + number) % 4 < 2] = rng.uniform(120, 255, 3)
            image += rng.uniform(0, 30, image.shape)
            image = image.swapaxes(0, 1) if name == "upright" else image
            encoded = cv2.imencode(".png", image.clip(0, 255).astype(np.uint8))[1]
            (folder / name / f"{number}.png").write_bytes(encoded.tobytes())
    return folder


SPACE_FILE = """
schema: 1
name: small
cells:
  normal: &cell
    inputs: 2
    nodes: 2
    inputs_per_node: 1
    operations: [skip_connect, max_pool_3x3, nor_conv_1x1]
  reduce: *cell
"""
