"""The steps of a search: a weight step of one child, the dense mixture's, and a judged child.

    python benchmarks/search_step.py            # all three, each in a process of its own, and their ratios
    python benchmarks/search_step.py child      # one of them: `child`, `dense` or `judged`

The space is `darts`: 16 channels, 8 cells, batch 32 of [3, 32, 32]. A weight step draws a child, runs it forward and
backward and updates its weights; `dense` does so with the mixture of all operations that strategy `darts` trains;
`judged` is one of several children judged on a held-out batch, forward only, as strategy `atldas` judges them. Time is
the median after warm-up, in seconds of CPU time on one thread: other programs on the machine hardly change that. With
several threads, the time that they wait would count too. Memory is the peak resident set of the process, less the
resident set before the network is made.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from atldas.common.machine import prepare

prepare()

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.builder import Builder
from atldas.classification import ImageClassifier
from atldas.distribution import Distribution
from atldas.judging import judge
from atldas.space import Space
from atldas.strategies.darts import mixture
from atldas.supernet import Supernet
from atldas.training import Sgd, SgdConfig

JUDGED = 4  # children on one batch


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor


class RandomImages:
    """What a step asks of a task, on one batch of noise."""

    def build(self, builder: Builder) -> nn.Module:
        return ImageClassifier(builder, 16, 8, 10)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(network(batch.images), batch.labels)


def measure(kind: str, steps: int, warm_up: int) -> dict[str, float]:
    torch.manual_seed(0)
    task, space = RandomImages(), Space.load("darts")
    batch = Batch(torch.randn(32, 3, 32, 32).to(memory_format=torch.channels_last), torch.randint(0, 10, (32,)))
    Sgd(nn.Linear(1, 1), SgdConfig(), 1)  # PyTorch imports many modules with the first optimizer
    before = resident_bytes()
    supernet = Supernet(space, task.build).to(memory_format=torch.channels_last)
    distribution, generator = Distribution(space), torch.Generator().manual_seed(0)
    sgd = Sgd(supernet, SgdConfig(), warm_up + steps)

    def child_step() -> None:
        supernet.select(distribution.sample(generator, uniform=True))
        sgd.step(task, batch, 0)

    def dense_step() -> None:
        probabilities = {v.name: c.log_probabilities().exp().detach() for v, c in distribution.items()}
        supernet.mix(mixture(space, probabilities))
        sgd.step(task, batch, 0)

    def judge_children() -> None:
        judge(supernet, task, [distribution.sample(generator) for _ in range(JUDGED)], batch)

    run: dict[str, Callable[[], None]] = {"child": child_step, "dense": dense_step, "judged": judge_children}
    seconds = []
    for _ in range(warm_up + steps):
        start = time.process_time()
        run[kind]()
        seconds.append((time.process_time() - start) / (JUDGED if kind == "judged" else 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": statistics.median(seconds[warm_up:]), "bytes": peak - before}


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS: this benchmark needs Linux")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", choices=["child", "dense", "judged"])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.kind:
        steps = max(3, arguments.steps // 3) if arguments.kind == "dense" else arguments.steps
        print(json.dumps(measure(arguments.kind, steps, warm_up=2)))
        return
    found = {}
    for kind in ("child", "dense", "judged"):
        command = [sys.executable, __file__, kind, "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
        found[kind] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"{kind:6} {found[kind]['seconds']:.3f} s, {found[kind]['bytes'] / 2**20:.0f} MiB")
    ratios = [found["dense"][key] / found["child"][key] for key in ("seconds", "bytes")]
    print(
        f"the child's weight step is {ratios[0]:.1f} times faster and {ratios[1]:.1f} times smaller than the dense one"
    )
    print(f"a judged child takes {found['judged']['seconds'] / found['child']['seconds']:.2f} of a weight step")


if __name__ == "__main__":
    main()
