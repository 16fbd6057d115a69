"""Training losses: each a function (alpha, batch) -> scalar and one line in `LOSSES`, weighted in the configuration.

A loss's further parameters, each a number over 0 with a default, can be set in the configuration by their names:

    losses: {l1_unknown: 1.0, laplacian: {weight: 0.1, levels: 4}}

`alpha` is the network's output, float [N, 1, H, W]. Sums over pixels are divided by the number of unknown pixels in the
batch, so that a loss does not depend on the size of the unknown regions. Under torchrun that number is the mean over
all processes: the mean of their losses is then the loss of their batches as one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from pydantic import AfterValidator
from torch import Tensor
from torch.nn import functional as F

from atldas.common import processes

from ..data.sample import Batch

Loss = Callable[..., Tensor]


def l1_unknown(alpha: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error over the unknown pixels."""
    return ((alpha - batch.alpha).abs() * batch.counted).sum() / _count(batch.counted)


def l1_known(alpha: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error over the known pixels (ViTMatte's second term, Yao et al., Information Fusion 2024)."""
    known = 1 - batch.unknown
    return ((alpha - batch.alpha).abs() * known).sum() / _count(known)


def charbonnier(alpha: Tensor, batch: Batch, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2) over the unknown pixels: an L1 that is smooth at zero."""
    error = ((alpha - batch.alpha) ** 2 + epsilon**2).sqrt()
    return (error * batch.counted).sum() / _count(batch.counted)


def composition(alpha: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error of the image recomposed with `alpha`, over the unknown pixels (Xu et al., CVPR 2017).

    The reference is the composite of the true alpha, not the network's input, which may be degraded: the difference of
    the two composites is (alpha - truth) (F - B). For a pair whose layers are unknown, F and B are both the image: the
    loss is then 0 and has no gradient.
    """
    difference = (alpha - batch.alpha) * (batch.foreground - batch.background)  # [N, 3, H, W]
    return (difference.abs().mean(dim=1, keepdim=True) * batch.counted).sum() / _count(batch.counted)


def laplacian(alpha: Tensor, batch: Batch, levels: int = 5) -> Tensor:
    """L1 between Laplacian pyramids, level s weighted by 2^s (Hou and Liu, ICCV 2019); known pixels count as correct.

    Level s has a 4^s-th of the pixels, and its sum is divided by a 4^s-th of the unknown ones.
    """
    difference = (alpha - batch.alpha) * batch.counted  # the pyramid is linear: that of the difference is enough
    total = alpha.new_zeros(())
    for level in range(levels):
        if min(difference.shape[2:]) < 2:
            break
        smaller = _blur(difference)[:, :, ::2, ::2]
        total = total + 8**level * (difference - _enlarged(smaller, *difference.shape[2:])).abs().sum()
        difference = smaller
    return total / _count(batch.counted)


def gradient(alpha: Tensor, batch: Batch) -> Tensor:
    """L1 between the image gradients of alpha and truth over the unknown pixels; known pixels count as correct."""
    difference = (alpha - batch.alpha) * batch.counted
    dx = difference[:, :, :, 1:] - difference[:, :, :, :-1]
    dy = difference[:, :, 1:] - difference[:, :, :-1]
    return (dx.abs().sum() + dy.abs().sum()) / _count(batch.counted)


LOSSES: dict[str, Loss] = {
    "l1_unknown": l1_unknown,
    "l1_known": l1_known,
    "charbonnier": charbonnier,
    "composition": composition,
    "laplacian": laplacian,
    "gradient": gradient,
}


def weighted_losses(
    alpha: Tensor, batch: Batch, losses: Mapping[str, float | Mapping[str, float]], evenness: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of losses, and each without its weight; all are taken of the `evened` batch.

    Args:
        alpha: the network's output, float [N, 1, H, W].
        batch: the pairs that it was computed from.
        losses: as in the configuration, see `Losses`.
        evenness: see `evened`.
    """
    alpha, batch = alpha.float(), evened(batch, evenness)
    loss_weights: dict[str, float] = {}
    each: dict[str, Tensor] = {}
    for name, entry in losses.items():
        loss_weights[name], parameters = _weight_and_parameters(entry)
        each[name] = LOSSES[name](alpha, batch, **parameters)
    return torch.stack([weight * each[name] for name, weight in loss_weights.items()]).sum(), each


def evened(batch: Batch, evenness: float) -> Batch:
    """The batch with its unknown pixels weighted: (m / n)^evenness instead of 1 in a pair with n of them, m on average.

    At 0 all unknown pixels count alike: a pair with a wide unknown band may count ten times as much as one with a
    narrow band. At 1 all pairs count alike.
    """
    if evenness == 0:
        return batch
    counts = batch.unknown.sum(dim=(1, 2, 3), keepdim=True)  # [N, 1, 1, 1]
    pair_weights = (processes.mean(counts.mean()) / counts.clamp(min=1)) ** evenness
    return batch._replace(loss_weights=batch.loss_weights * pair_weights)


def _weight_and_parameters(entry: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(entry, Mapping):
        return entry, {}
    return entry.get("weight"), {name: value for name, value in entry.items() if name != "weight"}


def _check_entry(entry: Any) -> Any:
    """A weight as a float, or a mapping with one; the error is worded for the configuration's errors."""
    weight, parameters = _weight_and_parameters(entry)
    weight_fits = _is_number(weight) and weight >= 0
    if not weight_fits or not all(_is_number(value) and value > 0 for value in parameters.values()):
        raise ValueError("a weight of 0 or more, or a mapping of `weight` and parameters over 0")
    return {"weight": float(weight), **parameters} if parameters else float(weight)


def _check_losses(losses: dict[str, Any]) -> dict[str, Any]:
    """Every name is a loss with such parameters, and one weight at least is over 0."""
    if any(name not in LOSSES for name in losses):
        raise ValueError(f"one or more of {', '.join(LOSSES)}")
    of_all = {name: _weight_and_parameters(entry) for name, entry in losses.items()}
    if not any(weight > 0 for weight, _ in of_all.values()):
        raise ValueError(f"one or more of {', '.join(LOSSES)}, at least one with a weight over 0")
    for name, (_, parameters) in of_all.items():
        allowed = _parameters_of(LOSSES[name])
        for key, value in parameters.items():
            if key not in allowed:
                raise ValueError(f"for {name}: {', '.join(['weight', *allowed])}, not {key}")
            if isinstance(allowed[key], int) and not isinstance(value, int):
                raise ValueError(f"for {name}: a whole number of {key}, not {value}")
    return losses


def _parameters_of(loss: Loss) -> dict[str, Any]:
    """A loss's own parameters, all but `alpha` and `batch`, with their defaults."""
    parameters = list(inspect.signature(loss).parameters.values())[2:]
    return {parameter.name: parameter.default for parameter in parameters}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# The type of `losses:` in configuration classes: a weight for each loss, or a mapping of `weight` and parameters.
Losses = Annotated[dict[str, Annotated[Any, AfterValidator(_check_entry)]], AfterValidator(_check_losses)]


def _count(mask: Tensor) -> Tensor:
    return processes.mean(mask.sum()).clamp(min=1)


def _blur(x: Tensor) -> Tensor:
    """The binomial 5 x 5 filter (1, 4, 6, 4, 1) / 16 both ways, edges repeated, on [N, 1, H, W]."""
    row = x.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, row.view(1, 1, 1, 5)), row.view(1, 1, 5, 1))


def _enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `[:, :, ::2, ::2]`: x's pixels at their old places, with means between them."""
    size = (2 * x.shape[2] - 1, 2 * x.shape[3] - 1)
    between = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return F.pad(between, (0, width - size[1], 0, height - size[0]), mode="replicate")
