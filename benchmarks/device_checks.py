"""The checks of `device.py`: each gives rows of its table."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, distributed, multiprocessing, nn

from atldas.common.config import from_dict
from atldas.common.processes import share_batch_norm
from atldas.experiment import Experiment
from atldas.searching import Search
from cheapmatting.data.config import DataConfig, make_source
from cheapmatting.data.sample import Batch, collate
from cheapmatting.images import read_image
from cheapmatting.inference.engines.choice import ENGINES, fault
from cheapmatting.inference.engines.engine import Engine
from cheapmatting.inference.engines.pytorch import DTYPES, PyTorchEngine, exact_convolutions
from cheapmatting.inference.engines.rewriting import rewritten
from cheapmatting.inference.matte import Matter
from cheapmatting.inference.self_test import Computed, self_test, ways
from cheapmatting.model.lookup import DEFAULT_WEIGHTS
from cheapmatting.model.network import CheapMatting
from cheapmatting.model.variants import variant
from cheapmatting.model.weights import load
from cheapmatting.pipeline import example
from cheapmatting.training.recipe import TrainConfig
from cheapmatting.training.train import Training
from cheapmatting.trimap import read_trimap

CPU = torch.device("cpu")
OK, APPLIES_NOT, FAILS = "ok", "does not apply: ", "FAILS: "
# The published claims, on an RTX 2080 Ti, which has 68 multiprocessors.
FRAMES, BYTES, MULTIPROCESSORS = 26.0, 2 * 2**30, 68
NARROW = {
    "width": 8, "cells": 3, "reductions": [1, 2], "stem": 8, "stem_mid": 8, "pooling_windows": [5, 13],
    "pooling_width": 8, "pyramid": 8, "decoder": [8, 8, 8, 8], "decoder_mid": [8, 8, 8, 8], "head": [8, 8],
}  # fmt: skip


class Place(NamedTuple):
    """Where the checks run, and whether small."""

    device: torch.device
    small: bool

    def network(self) -> CheapMatting:
        """The published network, or a narrow one; its random weights are the same every time."""
        torch.manual_seed(0)
        network = variant("cheapmatting", **(NARROW if self.small else {})).eval()
        network.head[4].bias.data.fill_(0.5)  # alphas in the middle of the range
        return network

    def finished(self) -> None:
        """Wait for what the device was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


class Row(NamedTuple):
    """A line of the table."""

    check: str
    what: str
    result: str
    verdict: str = OK


def judged(check: str, what: str, result: str, good: bool, expected: str) -> Row:
    return Row(check, what, result, OK if good else f"{FAILS}expected {expected}")


def parity(at: Place) -> Iterator[Row]:
    """PyTorch on the device, in each precision, beside the plain network on the CPU."""
    yield from _ways("parity with the CPU", at, ["torch"])


def engines(at: Place) -> Iterator[Row]:
    """The other engines, wherever they compute on this machine."""
    yield from _ways("engine", at, [name for name in ENGINES if name != "torch"])


def _ways(check: str, at: Place, names: list[str]) -> Iterator[Row]:
    here = [way for way in ways(names) if way.engine != "torch" or way.place == at.device.type]
    for name in names:
        if find_spec(ENGINES[name].package) is None:
            yield Row(check, name, "", APPLIES_NOT + fault(name, "cpu", "fp32"))
            continue
        for place, known in ENGINES[name].places.items():
            if name == "torch" and place != at.device.type:
                continue
            for precision in known.precisions:
                if why := fault(name, place, precision):
                    yield Row(check, f"{name}, {place}, {precision}", "", APPLIES_NOT + why)
    network = at.network() if at.small else load(DEFAULT_WEIGHTS).eval()
    image, trimap = read_image(example("astronaut.jpg")), read_trimap(example("astronaut_trimap.png"))
    if at.small:
        image, trimap = image[60:156, 160:256], trimap[60:156, 160:256]
    there = [Computed(way.engine, str(at.device), way.precision) if way.engine == "torch" else way for way in here]
    for way, seconds, mean, largest, wrong in self_test(there, network, image, trimap):
        result = f"{mean:.4f} of 255 on average, {largest:.4f} at most; {seconds:.3f} s" if seconds is not None else ""
        yield Row(check, ", ".join(way), result, FAILS + wrong if wrong else OK)


def published(at: Place) -> Iterator[Row]:
    """Frames a second and memory of the published network, alone and as `Matter` runs it."""
    network, sizes = at.network(), ((1920, 1080), (2048, 2048))
    for precision in ("fp32", "fp16") if at.device.type == "cuda" else ("fp32",):
        engine = PyTorchEngine(network, precision, str(at.device))
        for width, height in ((160, 96), (128, 128)) if at.small else sizes:
            x = _input(height + -height % 32, width).to(at.device)  # padded as a matte is
            _reset_memory(at)
            seconds = _median(at, _forward(engine, x))
            peak, what = _peak_memory(at), f"{width} x {height}, {precision}"
            yield Row(
                "published network, frames a second", what, f"{1 / seconds:.2f}",
                _claim(at, precision == "fp16" and width == 1920, 1 / seconds >= FRAMES, f"{FRAMES:g} or more"),
            )  # fmt: skip
            yield Row(
                "published network, peak memory", what, f"{peak / 2**20:.0f} MiB",
                _claim(at, precision == "fp16", peak <= BYTES, "2 GiB or less"),
            )  # fmt: skip
    matter, (width, height) = Matter(network, at.device), (160, 96) if at.small else sizes[0]
    image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).numpy()
    trimap = torch.full((height, width), 128, dtype=torch.uint8).numpy()
    seconds = _median(at, lambda: matter.matte(image, trimap))
    yield Row("Matter, all unknown, frames a second", f"{width} x {height}", f"{1 / seconds:.2f}")


def _forward(engine: Engine, x: Tensor) -> Callable[[], object]:
    return lambda: engine.head(engine.features(x), x)


def _claim(at: Place, claimed: bool, good: bool, expected: str) -> str:
    if not claimed or at.device.type != "cuda" or at.small:
        return f"{APPLIES_NOT}nothing is claimed for it"
    if torch.cuda.get_device_properties(at.device).multi_processor_count < MULTIPROCESSORS and not good:
        return f"{APPLIES_NOT}the claim, {expected}, is for an RTX 2080 Ti or more"
    return OK if good else f"{FAILS}expected {expected}, as published for an RTX 2080 Ti"


def training(at: Place) -> Iterator[Row]:
    """One training step, beside the same on the CPU, and the speed in the device's own precision."""
    # On pairs of 64 pixels bfloat16 alone moves the norm of the gradient by 16% on AMX, on 96 by 0.5%.
    count, size = (2, 96) if at.small else (4, 256)
    batch = _pairs(count, size)
    truth, _ = _trained(at.network(), batch, CPU, "float32")
    for precision in ("float32", "auto"):
        figures, step = _trained(at.network(), batch, at.device, precision)
        off = max(abs(figures[key] / truth[key] - 1) for key in ("loss", "gradient_norm"))
        most = 0.01 if precision == "float32" else 0.1
        what = f"batch {count} of {size} x {size}, {precision}"
        result = f"loss {figures['loss']:.4f}, loss and gradient {off:.2%} off the CPU's in float32"
        yield judged("training step", what, result, off <= most, f"{most:.0%} or less")
    seconds = _median(at, step)
    yield Row("training, pairs a second", what, f"{count / seconds:.1f}")


def _trained(
    network: CheapMatting, batch: Batch, device: torch.device, precision: str
) -> tuple[dict[str, float], Callable[[], object]]:
    """The figures of a first step, and what does another."""
    settings = from_dict(TrainConfig, {"schema": 1, "steps": 10**6, "precision": precision}, "device.py")
    running, moved = Training(network, settings, device), batch.to(device)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    figures = running.train_step(moved)  # raises if the loss or the gradient is not finite
    running.step += 1
    running.train_step(moved)  # the first one's learning rate is 0
    if all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)):
        raise ArithmeticError("no weight has moved")
    return figures, lambda: running.train_step(moved)


def search(at: Place) -> Iterator[Row]:
    """Weight steps and architecture steps of the strategy `atldas`, beside those on the CPU."""
    size, batch = (32, 2) if at.small else (128, 8)
    network = NARROW if at.small else {**NARROW, "width": 16, "cells": 6, "reductions": [2, 4]}
    pools = {f"{pool}_pairs": batch for pool in ("training", "held_out", "measured")}
    settings = {
        "schema": 2, "name": "device", "space": "matting", "task": "cheapmatting.task:MattingTask",
        "task_options": {"network": network, "data": {"size": size}, "batch": batch, **pools},
        "strategy_options": {"children": 3, "estimator": "leave_one_out"},
        "search": {"steps": 4, "architecture": {"start": 0, "lr": 1.0}},
    }  # fmt: skip
    losses = {}
    for device in (CPU, at.device):
        with tempfile.TemporaryDirectory() as folder:
            running = Search(from_dict(Experiment, settings, "device.py"), Path(folder), device)
            batches, held_out = running.task.training_batches(0), running.task.held_out_batches(0)
            before = running.probabilities()
            start = time.perf_counter()
            first = running.weight_step(next(batches))
            judged_loss = running.architecture_step(held_out)
            at.finished()
            seconds = time.perf_counter() - start
            moved = float((running.probabilities() - before).abs().max())
        losses[device] = (first, judged_loss or float("nan"))
    off = max(abs(a / b - 1) for a, b in zip(losses[at.device], losses[CPU], strict=True))
    result = f"losses {off:.2%} off the CPU's, probabilities moved by up to {moved:.3f}; {seconds:.2f} s"
    good = off <= 0.02 and 0 < moved < 1
    yield judged("search step, atldas", f"{batch} of {size} x {size}", result, good, "losses within 2%, moved")


def compiled(at: Place) -> Iterator[Row]:
    """`torch.compile` of the whole network: one graph, the same alpha, and its speed."""
    backend = "eager" if at.small else "inductor"  # which compiles for minutes on a CPU
    whole, x = _whole(at, "fp32"), _image(at, 1)
    program = torch.compile(whole, fullgraph=True, backend=backend)
    start = time.perf_counter()
    with torch.inference_mode(), exact_convolutions():
        off = float((program(x) - whole(x)).abs().max())
        first = time.perf_counter() - start
        seconds, eager = _median(at, lambda: program(x)), _median(at, lambda: whole(x))
    result = f"{off:.1e} off eager, {eager / seconds:.2f} times as fast; compiled in {first:.0f} s"
    yield judged("torch.compile", f"{_size(x)}, fp32, {backend}", result, off <= 1e-4, "1e-4 or less off")


def cuda_graphs(at: Place) -> Iterator[Row]:
    """The whole network captured as a CUDA graph, replayed on another image."""
    if at.device.type != "cuda":
        yield Row("CUDA graph", "", "", f"{APPLIES_NOT}{at.device.type} has none")
        return
    whole, still, other = _whole(at, "fp16"), _image(at, 1).half(), _image(at, 2).half()
    with torch.inference_mode(), torch.cuda.device(at.device):
        expected, side = whole(other), torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                whole(still)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            alpha = whole(still)
        still.copy_(other)
        graph.replay()
        off = float((alpha - expected).abs().max())
    seconds, eager = _median(at, graph.replay), _median(at, lambda: whole(other))
    result = f"{off:.1e} off eager, {eager / seconds:.2f} times as fast"
    yield judged("CUDA graph", f"{_size(other)}, fp16", result, off <= 1e-2, "1e-2 or less off")


def batch_norm(at: Place) -> Iterator[Row]:
    """BatchNorm over two processes, each with half of a batch, beside one process with all of it."""
    name = {"cpu": "BatchNorm over two processes", "cuda": "SyncBatchNorm"}.get(at.device.type)
    if name is None:
        yield Row("BatchNorm over two processes", "", "", f"{APPLIES_NOT}{at.device.type} exchanges no gradients")
        return
    backend = "nccl" if torch.cuda.device_count() > 1 and at.device.type == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_half_of_a_batch, (folder, at.device.type, backend), nprocs=2)
        halves = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]
    x, layers = _two_layers(at.device)
    y = layers(x)
    y.square().mean().backward()
    joined = {"output": torch.cat([half["output"] for half in halves]), "mean": halves[0]["mean"],
              "gradient": sum(half["gradient"] for half in halves) / 2}  # fmt: skip
    expected = {"output": y, "mean": layers[1].running_mean, "gradient": layers[0].weight.grad}
    off = max(float((joined[key] - expected[key].detach().cpu()).abs().max()) for key in expected)
    yield judged(name, f"2 processes, {backend}", f"{off:.1e} off one process", off <= 1e-4, "1e-4 or less off")


def _two_layers(device: torch.device) -> tuple[Tensor, nn.Sequential]:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to(device)
    return (torch.randn(4, 3, 16, 16) * torch.arange(1.0, 5)[:, None, None, None]).to(device), layers


def _half_of_a_batch(rank: int, folder: str, kind: str, backend: str) -> None:
    device = torch.device(kind, rank % torch.cuda.device_count()) if kind == "cuda" else CPU
    distributed.init_process_group(backend, init_method=f"file://{folder}/store", rank=rank, world_size=2)
    with exact_convolutions():
        x, layers = _two_layers(device)
        share_batch_norm(layers)
        y = layers(x[2 * rank : 2 * rank + 2])
        y.square().mean().backward()
    weight, mean = layers[0].weight.grad, layers[1].running_mean
    state = {"output": y.detach(), "gradient": weight, "mean": mean}
    torch.save({key: value.cpu() for key, value in state.items() if value is not None}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


CHECKS: dict[str, Callable[[Place], Iterator[Row]]] = {
    "parity": parity, "published": published, "training": training, "search": search, "engines": engines,
    "cuda_graphs": cuda_graphs, "batch_norm": batch_norm, "compiled": compiled,
}  # fmt: skip


# --- What they use ---


class _Whole(nn.Module):
    """Features and head as one function."""

    def __init__(self, network: CheapMatting) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.head(self.network.features(x), x)


def _whole(at: Place, precision: str) -> nn.Module:
    lean = rewritten(at.network()).to(at.device, DTYPES[precision], memory_format=torch.channels_last)
    return _Whole(lean).eval()


def _input(height: int, width: int, seed: int = 0) -> Tensor:
    """[1, 6, H, W] of noise, all unknown."""
    torch.manual_seed(seed)
    x = torch.cat([torch.rand(1, 3, height, width), torch.zeros(1, 3, height, width)], dim=1)
    x[:, 4] = 1
    return x.contiguous(memory_format=torch.channels_last)


def _image(at: Place, seed: int) -> Tensor:
    return _input(*((96, 160) if at.small else (1088, 1920)), seed).to(at.device)


def _size(x: Tensor) -> str:
    return f"{x.shape[3]} x {x.shape[2]}"


def _pairs(count: int, size: int) -> Batch:
    source = make_source(DataConfig(size=size), 0)
    return collate([source[index] for index in range(count)])


def _median(at: Place, work: Callable[[], object]) -> float:
    """Seconds, of several runs after one that is not counted."""
    seconds = []
    for _ in range(2 if at.small else 4 if at.device.type == "cpu" else 11):
        start = time.perf_counter()
        work()
        at.finished()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _reset_memory(at: Place) -> None:
    if at.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(at.device)


def _peak_memory(at: Place) -> float:
    """Bytes: taken from CUDA since the reset, of Metal at this moment, or of this whole process so far."""
    if at.device.type == "cuda":
        return torch.cuda.max_memory_reserved(at.device)
    if at.device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
