"""One weight step of a search: the hard-pruned supernet against a dense one that runs every operation on every edge.

    python benchmarks/search_step.py            # both, each in a process of its own, and the two ratios
    python benchmarks/search_step.py child      # one of them: `child` or `dense`

The step is forward, backward and update of the `darts` space: 16 channels, 8 cells, batch 32 of [3, 32, 32]. The dense
supernet holds the same operations in the same memory layout and sums all of them with softmax weights, as DARTS does.
Time is the median of the steps after warm-up. Memory is the peak of the process's resident set over the resident set
before the network was made.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from atldas.common.machine import prepare

prepare()

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.cell import Cell, CellPlace, concatenated
from atldas.classification import ImageClassifier
from atldas.distribution import Distribution
from atldas.samplers import uniform
from atldas.space import Space
from atldas.supernet import Supernet


class DenseCell(Cell):
    """Runs all operations on all edges, weighted, and sums all edges into each node: DARTS's mixed cell."""

    def forward(self, *inputs: Tensor) -> Tensor:
        states = [adapt(x) for adapt, x in zip(self.adapters, inputs, strict=True)]
        for node in range(len(inputs), len(inputs) + len(self.genotype.nodes)):
            total = 0
            for i in range(node):
                operations = self.edges[f"{node}_from_{i}"].values()
                for weight, operation in zip(self.weights[node, i].softmax(0), operations, strict=True):
                    total = total + weight * operation(states[i])
            states.append(total)
        return concatenated([states[node] for node in self.genotype.concat])


def child_supernet(space: Space) -> Supernet:
    return Supernet(space, lambda cells: ImageClassifier(cells, 16, 8, 10))


def dense_supernet(space: Space) -> nn.Module:
    logits = {kind: {edge: torch.zeros(len(s.operations)) for edge in s.edges} for kind, s in space.cells.items()}

    def make(place: CellPlace) -> Cell:
        s = space.cells[place.kind]
        cell = DenseCell(s.first(), place, s.candidates())
        cell.weights = logits[place.kind]
        return cell

    return ImageClassifier(make, 16, 8, 10)


def measure(kind: str, steps: int, warm_up: int) -> dict[str, float]:
    torch.manual_seed(0)
    space = Space.load("darts")
    images = torch.randn(32, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (32,))
    before = resident_bytes()
    network = (child_supernet(space) if kind == "child" else dense_supernet(space)).to(
        memory_format=torch.channels_last
    )
    distribution, generator = Distribution(space), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    seconds = []
    for _ in range(warm_up + steps):
        start = time.perf_counter()
        if isinstance(network, Supernet):
            network.select(uniform(distribution, 1.0, generator))
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": statistics.median(seconds[warm_up:]), "bytes": peak - before}


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS: this benchmark needs Linux")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", choices=["child", "dense"])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.kind:
        steps = arguments.steps if arguments.kind == "child" else max(3, arguments.steps // 3)
        print(json.dumps(measure(arguments.kind, steps, warm_up=2)))
        return
    found = {}
    for kind in ("child", "dense"):
        command = [sys.executable, __file__, kind, "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
        found[kind] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"{kind:6} {found[kind]['seconds']:.3f} s a step, {found[kind]['bytes'] / 2**20:.0f} MiB")
    ratios = [found["dense"][key] / found["child"][key] for key in ("seconds", "bytes")]
    print(f"the child's step is {ratios[0]:.1f} times faster and {ratios[1]:.1f} times smaller")


if __name__ == "__main__":
    main()
