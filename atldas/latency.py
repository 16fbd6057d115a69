"""How long a child takes on the device at hand: a sum over its parts, corrected and checked on whole networks.

Parts are timed alone, where nothing else fills the caches; a linear fit to whole networks' times mends what that
leaves out. Its quality is measured on networks that neither saw.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .cost_tables import CellCall, CostTables, Scope, measured_tables, totals_by_scope
from .distribution import Distribution, Factor
from .genotype import Genotype
from .operations import OPERATIONS
from .ranks import rank_correlation
from .supernet import Supernet

AT_LEAST = 2.0  # milliseconds: what takes less is run several times and divided
AT_MOST = 50  # times


class Item(NamedTuple):
    """Something to time.

    Attributes:
        kind: `operation` (of a cell, alone), `parts` (of a child, see `cost_tables`) or `network` (a whole one).
        name: which one.
    """

    kind: str
    name: str


Measure = Callable[[], dict[str, float]]  # runs an item once; part -> milliseconds
Times = Mapping[tuple[Item, str], float]  # (item, part) -> milliseconds


class LatencyModel(NamedTuple):
    """Latency tables, and how well they foretell whole networks that they were not fitted to.

    Attributes:
        tables: milliseconds.
        spearman: rank correlation of foretold and measured times over the networks it is checked on.
        worst: the largest relative error among them.
    """

    tables: CostTables
    spearman: float
    worst: float


class Bench:
    """All that is timed to make the latency model of a space.

    Args:
        supernet: on `device`, in eval mode.
        input_shape: [1, C, H, W].
        fitted, checked: how many whole networks correct the model, and how many others check it.
        seed: of these networks.

    Attributes:
        items: what is to be timed, each with the function that does it.
    """

    def __init__(
        self, supernet: Supernet, input_shape: Sequence[int], device: torch.device, fitted: int, checked: int, seed: int
    ) -> None:
        self.supernet, self.device = supernet, device
        self.inputs = torch.randn(tuple(input_shape), device=device).to(memory_format=torch.channels_last)
        self._meta = supernet.on_meta()
        self.covering: list[Genotype] = []
        self.items: dict[Item, Measure] = {}
        measured_tables(self._meta, self._covered, self._needed)
        for number, child in enumerate(self.covering):
            self.items[Item("parts", str(number))] = self._parts_of(child)
        children = list(_different(supernet, fitted + checked, seed))
        self.fitted, self.checked = children[: -checked or None], children[-checked:]
        for number, child in enumerate(children):
            self.items[Item("network", str(number))] = self._whole(self._network(child), self.inputs)

    def model(self, times: Times) -> LatencyModel:
        """The model of measured times."""

        def totals(calls: list[CellCall]) -> dict[Scope, float]:
            item = Item("parts", str(next(numbers)))
            scopes = totals_by_scope(self._meta, self.inputs.to("meta"), lambda: 0.0, calls)
            return {scope: times[item, _part(scope)] for scope in scopes}

        numbers = iter(range(len(self.covering)))
        sums = measured_tables(self._meta, totals, lambda *key: times[Item("operation", _name(*key)), ""])
        measured = np.array([times[Item("network", str(n)), ""] for n in range(len(self.fitted) + len(self.checked))])
        truths, others = measured[: len(self.fitted)], measured[len(self.fitted) :]
        tables = corrected(sums, self.fitted, truths)
        foretold = np.array([tables.of(child) for child in self.checked])
        return LatencyModel(tables, rank_correlation(foretold, others), float(np.max(np.abs(foretold / others - 1))))

    def _covered(self, calls: list[CellCall]) -> dict[Scope, float]:
        self.covering.append(self._meta.child)
        return totals_by_scope(self._meta, self.inputs.to("meta"), lambda: 0.0, calls)

    def _needed(self, name: str, channels: int, stride: int, height: int, width: int) -> float:
        item = Item("operation", _name(name, channels, stride, height, width))
        if item not in self.items:
            module = OPERATIONS[name](channels, stride).to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            shape = (len(self.inputs), channels, height, width)
            inputs = torch.randn(shape, device=self.device).to(memory_format=torch.channels_last)
            self.items[item] = self._whole(module, inputs)
        return 0.0

    def _network(self, child: Genotype) -> nn.Module:
        return self.supernet.fixed(child).to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def _whole(self, module: nn.Module, inputs: torch.Tensor) -> Measure:
        return lambda: {"": milliseconds(lambda: module(inputs), self.device)}

    def _parts_of(self, child: Genotype) -> Measure:
        def measure() -> dict[str, float]:
            self.supernet.select(child)
            for _ in range(2):  # the first warms up
                found = totals_by_scope(self.supernet, self.inputs, lambda: now(self.device), [])
            return {_part(scope): ms for scope, ms in found.items()}

        return measure


def milliseconds(run: Callable[[], object], device: torch.device) -> float:
    """Of one run, after one that is not counted."""
    run()
    begun = now(device)
    run()
    once = now(device) - begun
    if once >= AT_LEAST:
        return once
    count = min(AT_MOST, int(AT_LEAST / max(once, 1e-6)) + 1)
    begun = now(device)
    for _ in range(count):
        run()
    return (now(device) - begun) / count


def now(device: torch.device) -> float:
    """Milliseconds; waits for what the device has been given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return 1000 * time.perf_counter()


def in_rounds(items: Sequence[Item], rounds: int, seed: int) -> Iterator[tuple[int, Item]]:
    """Every item once a round, in a random order: what disturbs the machine for a while disturbs all alike."""
    for number in range(rounds):
        yield from ((number, item) for item in random.Random(f"{seed} {number}").sample(items, len(items)))


def medians(timings: Sequence[tuple[Item, str, float]]) -> dict[tuple[Item, str], float]:
    """The median over the rounds."""
    found: dict[tuple[Item, str], list[float]] = {}
    for item, part, ms in timings:
        found.setdefault((item, part), []).append(ms)
    return {key: statistics.median(values) for key, values in found.items()}


def corrected(sums: CostTables, fitted: Sequence[Genotype], truths: npt.NDArray[np.float64]) -> CostTables:
    """The tables in which operations and the other parts are scaled, and a constant added, to fit whole networks.

    The fit is by least squares of the relative errors. Where noise outweighs the differences, so that a scale would not
    be positive, one scale for everything is all that can be said.
    """
    kinds = [factor.variables[0].partition(".")[0] in sums.space.cells for factor in sums.factors]  # on an edge?
    groups = [CostTables(sums.space, 0.0, tuple(f for f, k in zip(sums.factors, kinds, strict=True) if k == kind))
              for kind in (True, False)]  # fmt: skip
    features = np.array([[group.of(child) for group in groups] for child in fitted])
    varying = np.ptp(features, axis=0) > 0
    rows = np.column_stack([features[:, varying], np.ones(len(fitted))]) / truths[:, None]
    found, _, rank, _ = np.linalg.lstsq(rows, np.ones(len(fitted)), rcond=None)
    if rank == rows.shape[1] and (found[:-1] > 0).all():
        scales = np.ones(2)
        scales[varying] = found[:-1]
        constant = float(found[-1] - (~varying * features[0]).sum())
    else:
        scales = np.full(2, truths.mean() / (features.sum(axis=1) + sums.constant).mean())
        constant = float(scales[0]) * sums.constant
    factors = tuple(
        Factor(f.variables, f.table * float(scales[0 if kind else 1]))
        for f, kind in zip(sums.factors, kinds, strict=True)
    )
    return CostTables(sums.space, constant, factors)


def _different(supernet: Supernet, count: int, seed: int) -> Iterator[Genotype]:
    """Random children, each once."""
    distribution, generator = Distribution(supernet.space), torch.Generator().manual_seed(seed)
    seen: set[Genotype] = set()
    while len(seen) < count:
        child = distribution.sample(generator, uniform=True)
        if child not in seen:
            seen.add(child)
            yield child


def _name(name: str, channels: int, stride: int, height: int, width: int) -> str:
    return f"{name} {channels} channels stride {stride} at {height}x{width}"


def _part(scope: Scope) -> str:
    return "+".join(scope) or "rest"
