"""Zero-cost proxies: figures of a child at initialisation that may tell how well it will train; larger is better.

A proxy is one function (newborns, child) -> float and one line in `PROXIES`. `parameters` and `macs` are proxies too,
and hard ones to beat.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import MinLen
from torch import Tensor, nn

from .builder import FixedBuilder
from .common.config import key_of
from .common.forked import in_processes
from .common.progress import progress
from .cost import parameters as count_parameters
from .cost_tables import CostTables
from .genotype import Genotype
from .ranks import ranks
from .task import Task

WEIGHED = (nn.Conv2d, nn.Linear)  # the layers whose weights are looked at; those of BatchNorm are all alike at first


class Newborns:
    """What proxies look at: untrained networks, and the same training batches for all of them.

    Args:
        task: makes the networks and the batches.
        macs: multiply-adds of any child.
        seed: of the initial weights.
        batches: how many.
    """

    def __init__(self, task: Task, device: torch.device, macs: CostTables, seed: int, batches: int = 2) -> None:
        self.task, self.device, self.macs, self.seed, self._count = task, device, macs, seed, batches

    @cached_property
    def batches(self) -> list[Any]:
        """The first training batches."""
        return list(itertools.islice(self.task.training_batches(0), self._count))

    def network(self, child: Genotype) -> nn.Module:
        """A new network in training mode; the same weights at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.task.build(FixedBuilder(child))
        return network.to(self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def parameters(born: Newborns, child: Genotype) -> float:
    """How many there are."""
    with torch.device("meta"):
        return float(count_parameters(born.task.build(FixedBuilder(child))))


def macs(born: Newborns, child: Genotype) -> float:
    """Multiply-adds for one input."""
    return born.macs.of(child)


def grad_norm(born: Newborns, child: Genotype) -> float:
    """The sum of the norms of the layers' gradients on one batch (Abdelfattah et al., ICLR 2021)."""
    network = born.network(child)
    gradients = _gradients(network, born.task.loss(network, born.batches[0]))
    return float(sum(gradient.norm() for _, gradient in gradients))


def snip(born: Newborns, child: Genotype) -> float:
    """The sum of |weight * gradient| on one batch (Lee et al., ICLR 2019, summed up by Abdelfattah et al.)."""
    network = born.network(child)
    gradients = _gradients(network, born.task.loss(network, born.batches[0]))
    return float(sum((weight * gradient).abs().sum() for weight, gradient in gradients))


def synflow(born: Newborns, child: Genotype) -> float:
    """The logarithm of the sum of weight * gradient of the summed output, for |weights|, inputs of ones, no BatchNorm.

    Tanaka et al., NeurIPS 2020, equation 2 with R = the sum of the outputs. In float64: the sum grows with depth, over
    many orders of magnitude, hence the logarithm. -inf where the output depends on no weight.
    """
    network = born.network(child).double()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.abs_()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(lambda module, inputs, output: inputs[0])
    output = network.eval()(torch.ones(born.task.input_shape, dtype=torch.float64, device=born.device))
    flow = float(sum((weight * gradient).sum() for weight, gradient in _gradients(network, output.sum())))
    return math.log(flow) if flow > 0 else -math.inf


def naswot(born: Newborns, child: Genotype) -> float:
    """log |det K|, where K counts for every two images the ReLUs that are on or off in both of them.

    Mellor et al., ICML 2021, section 3. Without a ReLU, or if two images cannot be told apart, it is -inf.
    """
    kernel = _agreeing(born, child)
    return float(torch.linalg.slogdet(kernel).logabsdet) if kernel is not None else -math.inf


def naswot_share(born: Newborns, child: Genotype) -> float:
    """As `naswot`, but K holds shares of all ReLUs: how well a network tells images apart, whatever its size."""
    kernel = _agreeing(born, child)
    return float(torch.linalg.slogdet(kernel / kernel.max()).logabsdet) if kernel is not None else -math.inf


@torch.no_grad()
def _agreeing(born: Newborns, child: Genotype) -> Tensor | None:
    """For every two images of a batch, the ReLUs that are on or off in both, float64 [N, N]; None without a ReLU."""
    network = born.network(child)
    kernel: Tensor | None = None

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal kernel
        on = (output > 0).flatten(1).double()  # [N, units]
        agreeing = on @ on.T + (1 - on) @ (1 - on).T
        kernel = agreeing if kernel is None else kernel + agreeing

    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(count)
    born.task.loss(network, born.batches[0])
    return kernel


def zico(born: Newborns, child: Genotype) -> float:
    """Sum over layers of log(sum over weights of mean |gradient| / deviation of the gradient), over the batches.

    Li et al., ICLR 2023, section 3.3. A weight whose gradient does not vary counts as nothing.
    """
    network = born.network(child)
    each = [[g for _, g in _gradients(network, born.task.loss(network, batch))] for batch in born.batches]
    total = 0.0
    for layer in zip(*each, strict=True):
        gradients = torch.stack(layer).double()  # [batches, ...]
        mean, deviation = gradients.abs().mean(dim=0), gradients.std(dim=0, correction=0)
        ratio = float((mean / deviation)[deviation > 0].sum())
        total += math.log(ratio) if ratio > 0 else 0.0
    return total


def _gradients(network: nn.Module, scalar: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(weight, gradient) of every convolution and linear layer; a gradient of zeros where the output is unaffected."""
    weights = [module.weight for module in network.modules() if isinstance(module, WEIGHED)]
    # A scalar that depends on no weight, as of a network that is `none` all over, has no gradient at all.
    gradients = (
        torch.autograd.grad(scalar, weights, allow_unused=True) if scalar.requires_grad else [None] * len(weights)
    )
    return [
        (weight.detach(), torch.zeros_like(weight) if gradient is None else gradient)
        for weight, gradient in zip(weights, gradients, strict=True)
    ]


def scores(born: Newborns, children: Sequence[Genotype], proxies: Iterable[str], jobs: int = 1) -> Tensor:
    """Every proxy of every child, float64 [children, proxies], `jobs` of them computed at a time."""
    names = list(proxies)
    rows = []
    with progress(len(children), "score", "child") as bar:
        for row in in_processes(lambda child: [PROXIES[name](born, child) for name in names], children, jobs):
            rows.append(row)
            bar.update()
    return torch.tensor(rows, dtype=torch.float64)


def opinions(scores: Tensor, weights: Iterable[float]) -> Tensor:
    """The weighted sum of each child's standard scores, float64 [children]; what is not finite counts as the lowest."""
    lowest = torch.where(scores.isfinite(), scores, torch.inf).amin(dim=0)
    finite = torch.where(scores.isfinite(), scores, lowest)
    standard = (finite - finite.mean(dim=0)) / finite.std(dim=0).clamp(min=1e-9)
    return standard @ torch.tensor(list(weights), dtype=torch.float64)


def log_ranks(scores: Tensor, weights: Iterable[float]) -> Tensor:
    """The weighted sum of log(rank / children) over the scores [children, scores], float64 [children]; at most 0.

    The best child has the rank `children`; equal scores share their mean rank, and what is not a number is the lowest.
    """
    logs = np.log(np.stack([_ranks(column) for column in scores.T.numpy()], axis=1) / len(scores))
    return torch.from_numpy(logs) @ torch.tensor(list(weights), dtype=torch.float64)


def mean_ranks(scores: Sequence[Sequence[float]]) -> list[float]:
    """Each child's rank from 1, the lowest score, averaged over proxies [proxies][children].

    Equal scores share their mean rank; what is not a number counts as the lowest.
    """
    averaged: list[float] = np.mean([_ranks(column) for column in scores], axis=0).tolist()
    return averaged


def _ranks(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Ranks from 1, the lowest; what is not a number counts as the lowest."""
    return ranks(np.nan_to_num(np.asarray(scores, np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf))


PROXIES: dict[str, Callable[[Newborns, Genotype], float]] = {
    "parameters": parameters,
    "macs": macs,
    "grad_norm": grad_norm,
    "snip": snip,
    "synflow": synflow,
    "naswot": naswot,
    "naswot_share": naswot_share,
    "zico": zico,
}
# A configuration's choice of proxies: name -> the weight of its standard score.
Weights = Annotated[dict[Annotated[str, key_of(PROXIES)], float], MinLen(1)]
