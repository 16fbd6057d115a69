"""How long a child takes on the device at hand: a sum over its parts, corrected and checked on whole networks.

Parts are timed alone, where nothing else fills the caches. A straight line, fitted to the times of whole networks,
corrects the sum. Its error is measured on other networks.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .cost_tables import CellCall, CostTables, Scope, measured_tables, totals_by_scope
from .distribution import Factor
from .genotype import Genotype
from .operations import OPERATIONS
from .supernet import Supernet


class LatencyModel(NamedTuple):
    """Latency tables, and how well they predict whole networks that they were not fitted to.

    Attributes:
        tables: milliseconds.
        spearman: rank correlation of predicted and measured times over `checked` networks.
        worst: the largest relative error among them.
    """

    tables: CostTables
    spearman: float
    worst: float
    checked: int


def latency_model(
    supernet: Supernet,
    input_shape: Sequence[int],
    device: torch.device,
    fitted: Sequence[Genotype],
    checked: Sequence[Genotype],
    repeats: int = 5,
) -> LatencyModel:
    """Time the parts, correct the sum on the networks of `fitted`, check it on those of `checked`.

    Args:
        supernet: in eval mode on `device`.
        input_shape: [1, C, H, W].
        repeats: every figure is the median of so many runs after one that is not counted.
    """
    sums = part_latencies(supernet, input_shape, device, repeats)

    def measured(child: Genotype) -> float:
        return network_latency(supernet.fixed(child).eval(), input_shape, device, repeats)

    times = [measured(child) for child in fitted]
    slope, offset = np.polyfit([sums.of(child) for child in fitted], times, 1)
    if slope <= 0:  # noise is larger than the differences: only the mean ratio is known
        slope, offset = float(np.mean(times)) / float(np.mean([sums.of(child) for child in fitted])), 0.0
    factors = tuple(Factor(f.variables, f.table * float(slope)) for f in sums.factors)
    tables = CostTables(sums.space, float(slope) * sums.constant + float(offset), factors)
    truths = np.array([measured(child) for child in checked])
    predicted = np.array([tables.of(child) for child in checked])
    return LatencyModel(
        tables, rank_correlation(predicted, truths), float(np.max(np.abs(predicted / truths - 1))), len(checked)
    )


@torch.inference_mode()
def part_latencies(supernet: Supernet, input_shape: Sequence[int], device: torch.device, repeats: int) -> CostTables:
    """Milliseconds of every part, timed alone."""
    inputs = torch.randn(tuple(input_shape), device=device).to(memory_format=torch.channels_last)

    def totals(calls: list[CellCall]) -> dict[Scope, float]:
        runs = [
            totals_by_scope(supernet, inputs, lambda: _now(device), calls if n == 0 else []) for n in range(repeats + 1)
        ]
        return {scope: statistics.median(run[scope] for run in runs[1:]) for scope in runs[0]}

    @functools.cache
    def operation(name: str, channels: int, stride: int, height: int, width: int) -> float:
        module = OPERATIONS[name](channels, stride).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        return network_latency(module, (input_shape[0], channels, height, width), device, repeats)

    return measured_tables(supernet, totals, operation)


@torch.inference_mode()
def network_latency(network: nn.Module, input_shape: Sequence[int], device: torch.device, repeats: int) -> float:
    """Milliseconds of one forward pass, the median of `repeats` after one that is not counted."""
    inputs = torch.randn(tuple(input_shape), device=device).to(memory_format=torch.channels_last)
    network(inputs)
    return statistics.median(_timed(lambda: network(inputs), device) for _ in range(repeats))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; equal values share their mean rank."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        return (ends - (counts - 1) / 2)[inverse]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def _timed(run: Callable[[], object], device: torch.device) -> float:
    before = _now(device)
    run()
    return _now(device) - before


def _now(device: torch.device) -> float:
    """Milliseconds; waits for what the device has been given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * time.perf_counter()
