"""Measuring a network on fixed pairs: SAD."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from ..arrays import Floats
from ..data.sample import Sample, collate
from ..evaluation.metrics import sad
from ..trimap import known_pixels_kept


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
