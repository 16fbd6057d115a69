"""Matting as a task for a search: `task: cheapmatting.task:MattingTask`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.builder import Builder
from atldas.common.config import config, to_dict
from atldas.genotype import Genotype

from .data.config import DataConfig, make_source
from .data.loader import Pool, batches
from .data.sample import Batch
from .model.network import CheapMatting, NetworkConfig
from .training.losses import Losses, weighted_losses
from .training.recipe import BatchSize
from .training.validation import network_sad

SEARCHED = Genotype("searched", {})  # stands in for the genotype while the search runs


@config
class MattingOptions:
    """Options of `MattingTask`.

    Attributes:
        network: the network around the cells.
        data: where pairs come from.
        batch: pairs per batch.
        training_pairs, held_out_pairs, measured_pairs: the sizes of three pools: for weights, for logits, and for the
            final choice. A pair is made when it is first used, and kept.
        losses: the loss weights, as in `TrainConfig`.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    batch: BatchSize = 4
    training_pairs: Annotated[int, Ge(1)] = 2000
    held_out_pairs: Annotated[int, Ge(1)] = 500
    measured_pairs: Annotated[int, Ge(1)] = 50
    losses: Losses = field(default_factory=lambda: {"l1_unknown": 1.0})


class MattingTask:
    """Matting as an `atldas.task.Task`; the metric is SAD in thousands, the mean over held-out pairs."""

    Options = MattingOptions
    metric = "SAD"
    larger_is_better = False
    input_shape: tuple[int, ...] = (1, 6, 256, 256)

    def __init__(self, options: MattingOptions, seed: int, device: torch.device) -> None:
        self.options, self.device = options, device
        size = options.data.size
        self.input_shape = (1, 6, size, size)
        self.training = Pool(make_source(options.data, seed=3 * seed), options.training_pairs)
        self.held_out = Pool(make_source(options.data, seed=3 * seed + 1), options.held_out_pairs)
        self.measured = Pool(make_source(options.data, seed=3 * seed + 2), options.measured_pairs)

    def build(self, builder: Builder) -> nn.Module:
        return CheapMatting(SEARCHED, self.options.network, builder)

    @staticmethod
    def network_of(genotype: Genotype, builder: Builder | None = None) -> nn.Module:
        """The network of a genotype with a `network:` section, without data."""
        return CheapMatting(genotype, builder=builder)

    @staticmethod
    def example_input(shape: Sequence[int]) -> Tensor:
        """Colours at random, and a trimap [N, 6, H, W] with all three levels."""
        N, _, H, W = shape
        levels = F.one_hot(torch.randint(0, 3, (N, H, W)), 3).permute(0, 3, 1, 2)
        return torch.cat([torch.rand(N, 3, H, W), levels.float()], dim=1)

    def network_section(self) -> dict[str, Any]:
        section: dict[str, Any] = to_dict(self.options.network)
        return section

    def training_batches(self, start: int) -> Iterator[Batch]:
        return (batch.to(self.device) for batch in batches(self.training, self.options.batch, start))

    def held_out_batches(self, start: int) -> Iterator[Batch]:
        return (batch.to(self.device) for batch in batches(self.held_out, self.options.batch, start))

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        return weighted_losses(network(batch.inputs), batch, self.options.losses)[0]

    def measure(self, network: nn.Module) -> float:
        pairs = [self.measured[index] for index in range(self.options.measured_pairs)]
        return network_sad(network, pairs, self.device)
