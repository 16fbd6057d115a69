"""Measuring a network on fixed pairs and on photographs: SAD."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..arrays import Bytes, Floats
from ..data.config import make_source
from ..data.sample import Sample, collate
from ..evaluation.metrics import sad
from ..evaluation.pairing import pair_files
from ..images import read_alpha, read_image, require_same_size
from ..trimap import known_pixels_kept, read_trimap
from .recipe import PhotographsConfig, TrainConfig

PAIRS = "SAD"
log = logging.getLogger(__name__)


def held_out(settings: TrainConfig) -> dict[str, list[Sample]]:
    """What the weights are measured on: `SAD` for held-out pairs, and such as `SAD narrow` for each folder of trimaps.

    Raises:
        UserError: a folder or an image of the photographs is missing, or sizes differ.
    """
    validation = settings.validation
    if validation is None:
        return {}
    source = make_source(validation.data or settings.data, validation.seed)
    sets = {PAIRS: [source[index] for index in range(validation.pairs)]}
    if validation.photographs:
        sets |= {name: list(samples.values()) for name, samples in photographs(validation.photographs).items()}
    return sets


def columns(settings: TrainConfig) -> list[str]:
    """The names of `held_out`, without making it."""
    validation = settings.validation
    folders = validation.photographs.trimaps if validation and validation.photographs else ()
    return [PAIRS, *map(_column, folders)]


def _column(folder: str) -> str:
    return f"{PAIRS} {Path(folder).name}"


def photographs(folders: PhotographsConfig) -> dict[str, dict[str, Sample]]:
    """For each folder of trimaps, the photographs by name.

    Raises:
        UserError: a folder or an image is missing, or sizes differ.
    """
    sets = {}
    for folder in folders.trimaps:
        samples = {}
        pairing = pair_files(Path(folders.truths), Path(folder), images=Path(folders.images))
        for message in pairing.messages():
            log.warning("%s", message)
        for entry in pairing.entries:
            assert entry.image is not None  # they were paired by the images
            image, alpha, trimap = read_image(entry.image), read_alpha(entry.truth), read_trimap(entry.trimap)
            require_same_size(entry.truth, alpha, entry.image, image)
            require_same_size(entry.trimap, trimap, entry.image, image)
            samples[entry.name] = Sample.of_image(_in_0_to_1(image), _in_0_to_1(alpha), trimap)
        sets[_column(folder)] = samples
    return sets


def _in_0_to_1(levels: Bytes) -> Floats:
    return np.asarray(levels / np.float32(255), np.float32)


def judged(figures: Mapping[str, float]) -> float:
    """By what the best weights are kept: the mean over the photographs' sets or, without any, the pairs' SAD."""
    of_photographs = [value for name, value in figures.items() if name != PAIRS]
    return float(np.mean(of_photographs or list(figures.values())))


@torch.no_grad()
def predict(network: nn.Module, sample: Sample, device: torch.device) -> Floats:
    """The network's alpha [H, W] for a sample, known pixels kept."""
    inputs = collate([sample]).to(device).inputs
    alpha = network(inputs)[0, 0].float().cpu().numpy()
    return known_pixels_kept(alpha, sample.trimap)


def mean_sad(answer: Callable[[Sample], Floats], samples: Sequence[Sample]) -> float:
    """SAD in thousands, the mean over samples, of a function that gives an alpha for a sample."""
    return float(np.mean([sad(answer(sample), sample.alpha, sample.trimap) for sample in samples]))


def network_sad(network: nn.Module, samples: Sequence[Sample], device: torch.device) -> float:
    """`mean_sad` of a network in eval mode; afterwards it is in the mode that it was in."""
    training = network.training
    network.eval()
    value = mean_sad(lambda sample: predict(network, sample, device), samples)
    network.train(training)
    return value


def half_everywhere(sample: Sample) -> Floats:
    """The alpha that is 0.5 wherever the trimap is unknown: what any method must be better than."""
    return known_pixels_kept(np.full(sample.alpha.shape, 0.5, np.float32), sample.trimap)
