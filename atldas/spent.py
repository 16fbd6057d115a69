"""What a search has cost so far, over all its attempts: spent.json beside its checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .builder import Builder
from .common import processes
from .common.atomic import write_text
from .common.errors import UserError
from .task import Task

SPENT = "spent.json"


class Spent:
    """Counts from its making on. What earlier attempts wrote is added; what they did after their last writing is lost.

    Processes that a search forks count too. Under torchrun everything but `seconds` is summed over the processes.

    - `seconds`, `cpu_seconds`: by the clock, and of all threads of this process and of those that it forked.
    - `images_trained`, `images_judged`: images given to networks of the task, with gradient and without.
    - `peak_mib`: the most memory that this process, or one that it forked, held, MiB; `peak_gpu_mib`: of a GPU's, by
      tensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started, self._cpu = time.perf_counter(), _cpu_seconds()
        self._before = read_spent(path)
        # Whether with gradient -> how many; in memory that forked processes share.
        self._images = {gradient: multiprocessing.Value("q") for gradient in (True, False)}

    def __deepcopy__(self, memo: Any) -> Spent:
        return self  # a copied network is still counted here

    def watch(self, task: Task) -> None:
        """Count the images that networks built from now on are given."""
        build = task.build

        def counted(builder: Builder) -> nn.Module:
            network = build(builder)
            network.register_forward_pre_hook(self._count)
            return network

        task.build = counted  # type: ignore[method-assign]

    def _count(self, network: nn.Module, inputs: Any) -> None:
        if inputs[0].is_meta:  # nothing is computed: somebody counts costs
            return
        count = self._images[torch.is_grad_enabled()]
        with count.get_lock():
            count.value += len(inputs[0])

    def figures(self) -> dict[str, float]:
        """Everything spent until now."""
        own = {
            "cpu_seconds": _cpu_seconds() - self._cpu,
            "images_trained": float(self._images[True].value),
            "images_judged": float(self._images[False].value),
            "peak_mib": _peak_mib(),
            "peak_gpu_mib": _peak_gpu_mib(),
        }
        together = processes.total(torch.tensor(list(own.values()), dtype=torch.float64)).tolist()
        now = {"seconds": time.perf_counter() - self._started, **dict(zip(own, together, strict=True))}
        found = {}
        for name, value in now.items():
            before = self._before.get(name, 0.0)
            found[name] = round(max(value, before) if name.startswith("peak") else value + before, 3)
        return found

    def write(self) -> None:
        """Write the file, by process 0; all processes must call this."""
        figures = self.figures()
        if processes.rank() == 0:
            write_text(self.path, json.dumps(figures, indent=2) + "\n")


def read_spent(path: Path) -> dict[str, float]:
    """What the file says; nothing if there is none.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        return {str(name): float(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is damaged; remove it, and what was spent is counted anew") from error


def _cpu_seconds() -> float:
    """Of this process, and of those that it forked and that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _peak_mib() -> float:
    """0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most / 2**20 if sys.platform == "darwin" else most / 2**10  # bytes on macOS, KiB elsewhere


def _peak_gpu_mib() -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
