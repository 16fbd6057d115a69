"""Weights between two models of one network: a share of the one, the rest of the other.

    python experiments/recipes/averaged_weights.py runs/seventh/model.safetensors runs/ninth/model.safetensors \\
        --share 0.7 --out light.safetensors

Of weights that were trained further, and of those that they began with, a mean is often better on other data than
either (Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022). BatchNorm's statistics are averaged alike
or, with `--calibrate RECIPE`, computed anew from a training's first pairs (Izmailov et al., UAI 2018, section 3.3).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from atldas.common.errors import UserError, exit_status
from atldas.common.progress import progress
from cheapmatting.data.sample import Batch
from cheapmatting.model import weights
from cheapmatting.model.network import CheapMatting
from cheapmatting.training.recipe import TrainConfig, read_recipe
from cheapmatting.training.stages import Stages

PAIRS = 192  # that BatchNorm's statistics are computed of


def averaged(first: CheapMatting, second: CheapMatting, share: float) -> CheapMatting:
    """`second` with (1 - share) of the weights of `first` and `share` of its own, in place.

    Raises:
        ValueError: networks that differ.
    """
    other, own = first.state_dict(), second.state_dict()
    if {name: tensor.shape for name, tensor in other.items()} != {name: tensor.shape for name, tensor in own.items()}:
        raise ValueError("expected two models of one network, got different networks")
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.lerp_(other[name], 1 - share)
    return second


def calibrated(network: CheapMatting, recipe: TrainConfig) -> CheapMatting:
    """The network in eval mode, with BatchNorm statistics of the first `PAIRS` pairs of a training, in place."""
    count = -(-PAIRS // recipe.stages[-1].batch)
    batches = itertools.islice(Stages(recipe).batches(len(recipe.stages) - 1), count)
    with progress(count, "calibrate", "batch") as bar:
        update_bn(_inputs(batches, bar), network.eval().to(memory_format=torch.channels_last))
    return network


def _inputs(batches: Iterable[Batch], bar: Any) -> Iterator[Tensor]:
    for batch in batches:
        yield batch.to("cpu").inputs
        bar.update()


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="a model's file")
    parser.add_argument("second", type=Path, help="a model's file")
    parser.add_argument("--share", type=float, required=True, help="of the second, 0 to 1")
    parser.add_argument("--calibrate", metavar="RECIPE", help="compute BatchNorm's statistics from its pairs")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, in float16")
    options = parser.parse_args()
    if not 0 <= options.share <= 1:
        raise UserError(f"--share: expected 0 to 1, got {options.share:g}")
    try:
        network = averaged(weights.load(options.first), weights.load(options.second), options.share)
    except ValueError as error:
        raise UserError(str(error)) from error
    if options.calibrate:
        network = calibrated(network, read_recipe(options.calibrate))
    shares = f"{1 - options.share:g} of {options.first.name}, {options.share:g} of {options.second.name}"
    weights.save(network, options.out, half=True, averaged=shares)


if __name__ == "__main__":
    raise SystemExit(exit_status(run))
