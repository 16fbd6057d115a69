"""The recipe of a training run, as `cheapmatting train --config` reads it from YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator

from atldas.common.config import MOST, FilePath, Seed, assigned, config, from_dict
from atldas.common.shipped import names_in, read_named

from ..data.config import DataConfig, PairSize
from .losses import Losses
from .muon import Muon

NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Count = Annotated[int, Ge(1)]
BatchSize = Annotated[int, Ge(1), Le(65536)]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda parameters, lr, weight_decay: torch.optim.AdamW(
        parameters, lr, weight_decay=weight_decay, fused=True
    ),
    "muon": Muon,
    "radam": lambda parameters, lr, weight_decay: torch.optim.RAdam(
        parameters, lr, weight_decay=weight_decay, decoupled_weight_decay=True
    ),
    "sgd": lambda parameters, lr, weight_decay: torch.optim.SGD(
        parameters, lr, momentum=0.9, weight_decay=weight_decay, fused=True
    ),
}


def _optimizer_name(name: str) -> str:
    if name not in OPTIMIZERS:
        raise ValueError(f"one of {', '.join(OPTIMIZERS)}")
    return name


@config
class OptimizerConfig:
    """How weights move.

    Attributes:
        name: one of `OPTIMIZERS`.
        lr, lr_end, warm_up: the learning rate rises to `lr` in `warm_up` steps, then falls along a cosine to `lr_end`.
        weight_decay: as AdamW has it, decoupled from the gradient; SGD adds it to the gradient.
        max_grad_norm: gradients with a larger L2 norm, over all parameters, are scaled down to it.
    """

    name: Annotated[str, AfterValidator(_optimizer_name)] = "adamw"
    lr: Positive = 1e-3
    lr_end: NonNegative = 0.0
    warm_up: Annotated[int, Ge(0)] = 100
    weight_decay: NonNegative = 0.01
    max_grad_norm: Positive = 1.0


@config
class PhotographsConfig:
    """Photographs with a true alpha, for judging only: files of one name in three folders or more.

    Attributes:
        images, truths: folders.
        trimaps: a folder for each width of trimap, such as narrow and wide. Each is measured and logged by itself.
    """

    images: FilePath
    truths: FilePath
    trimaps: Annotated[tuple[FilePath, ...], MinLen(1)]

    def __post_init__(self) -> None:
        names = [Path(folder).name for folder in self.trimaps]
        if len(set(names)) < len(names):
            raise ValueError(f"folders of trimaps whose names differ, as the log's columns do, not {', '.join(names)}")


@config
class ValidationConfig:
    """Every `every` steps the averaged weights are measured on `pairs` held-out pairs; the best are kept.

    Where there are photographs, the best are those of the lowest mean over all their trimaps.
    """

    every: Count = 1000
    pairs: Annotated[int, Ge(1), MOST] = 50
    seed: Seed = 1_000_003
    data: DataConfig | None = None  # None: as for training, with another seed
    photographs: PhotographsConfig | None = None


@config
class CalibrationConfig:
    """How many of a stage's first pairs the averaged weights get their BatchNorm statistics from.

    Few give noisy statistics: SAD on 80 held-out pairs varies by 1% between sets of 64; with 192 it is within 0.2% of
    that with 800. With 32, photographs were 3% worse than with 96.

    Attributes:
        pairs: before each validation.
        last: at the end of the run.
    """

    pairs: Annotated[int, Ge(1), MOST] = 64
    last: Annotated[int, Ge(1), MOST] = 256

    def __post_init__(self) -> None:
        if self.last < self.pairs:
            raise ValueError(f"last to be at least pairs, {self.pairs}")


@config
class StageConfig:
    """A further stretch of training on pairs of another size."""

    steps: Count
    batch: BatchSize
    size: PairSize


@config
class TrainConfig:
    """A training run, as `cheapmatting train --config` reads it from YAML.

    Attributes:
        steps, batch: the number of steps, and of pairs of `data.size` in each of them. Under torchrun every process has
            a batch of its own.
        further_stages: stages that follow, with pairs of another size. The learning rate's schedule spans all stages.
        gradient_accumulation: how many batches a step averages the gradients of: a larger batch in no more memory.
            BatchNorm still sees each batch by itself.
        seed: of the data and the initial weights.
        workers: processes that make pairs; with 0 they are made between the steps. The pairs are the same. On a CPU
            each worker takes a core from the network, and another number of threads rounds the last bits differently.
        losses: the loss weights, and the losses' own parameters where they differ from the defaults (see losses.py).
        evenness: at 0 all unknown pixels of a batch count alike; at 1 all its pairs do, however narrow their trimaps
            (see `losses.evened`).
        ema: decay of the averaged weights, which are the result of the run.
        calibration: what their BatchNorm statistics are computed of.
        frozen_statistics: BatchNorm keeps the statistics of the weights that the run begins with (`--from`), in
            training as in use. Otherwise it trains with those of each batch, which say much about the images of a small
            one, and which nobody has who mattes a single image.
        precision: `bfloat16` computes convolutions in that type (autocast); `auto` does so where the device gains from
            it. `float16` does so with a scaled loss, for GPUs without bfloat16.
        validation: no validation where it is left out.
        log_every, checkpoint_every: in steps.
    """

    schema: Literal[1]
    steps: Count
    batch: BatchSize = 4
    further_stages: tuple[StageConfig, ...] = ()
    gradient_accumulation: BatchSize = 1
    seed: Seed = 0
    workers: Annotated[int, Ge(0), Le(1024)] = 1
    data: DataConfig = field(default_factory=DataConfig)
    losses: Losses = field(default_factory=lambda: {"l1_unknown": 1.0, "composition": 1.0, "laplacian": 0.5})
    evenness: Annotated[float, Ge(0), Le(1)] = 0.0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema: Annotated[float, Ge(0), Le(0.99999)] = 0.999
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    frozen_statistics: bool = False
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    validation: ValidationConfig | None = None
    log_every: Count = 10
    checkpoint_every: Count = 200

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """All stages, in order."""
        return (StageConfig(steps=self.steps, batch=self.batch, size=self.data.size), *self.further_stages)

    @property
    def all_steps(self) -> int:
        """The steps of all stages."""
        return sum(stage.steps for stage in self.stages)


def read_recipe(source: str | Path, assignments: Sequence[str] = ()) -> TrainConfig:
    """The recipe of a file, or a shipped one by its name, after `key.path=value` assignments.

    Raises:
        UserError: no such file or name, or a fault in it.
    """
    shipped = resources.files("cheapmatting.experiments") / "recipes"
    hint = f"a shipped recipe ({', '.join(names_in(shipped))})"
    return from_dict(TrainConfig, *assigned(*read_named(source, shipped, hint), assignments))
