"""Work in several processes, started by `torchrun`, PyTorch's elastic launcher.

    torchrun --nproc-per-node=2 --no-python cheapmatting train ...

Every process does the same work on its own data. Without torchrun there is one process, and the functions here change
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from .errors import UserError

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes that torchrun started, if it did; gives the device of this one.

    On a machine with several GPUs each process gets one of its own.

    Raises:
        UserError: a kind of device on which processes cannot exchange gradients.
    """
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        yield device
        return
    if device.type not in BACKENDS:
        raise UserError(f"--device: expected {' or '.join(BACKENDS)} under torchrun, got {device}")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    store, number, total = next(distributed.rendezvous("env://"))
    # torchrun keeps its store when it restarts processes: it would give the addresses of those that ended.
    store = distributed.PrefixStore(f"attempt_{_restarts()}", store)
    distributed.init_process_group(BACKENDS[device.type], store=store, rank=number, world_size=total)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """The number of this process: 0 to world size - 1."""
    return distributed.get_rank() if _several() else 0


def world_size() -> int:
    """The number of processes."""
    return distributed.get_world_size() if _several() else 1


def local_world_size() -> int:
    """The number of processes on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _several() else 1


def restarted() -> bool:
    """Whether torchrun started this process again after one of them had died."""
    return _restarts() > 0


def barrier() -> None:
    """Wait until every process has called this."""
    if _several():
        distributed.barrier()


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor that each process has its own of, without gradient."""
    if not _several():
        return values
    total = values.detach().clone()
    distributed.all_reduce(total)
    return total / world_size()


def total(values: Tensor) -> Tensor:
    """The sum of a tensor that each process has its own of, without gradient, on the tensor's device."""
    if not _several():
        return values
    # NCCL exchanges what is on GPUs alone.
    summed = values.detach().to("cuda" if distributed.get_backend() == "nccl" else values.device, copy=True)
    distributed.all_reduce(summed)
    return summed.to(values.device)


def average_statistics(network: nn.Module) -> None:
    """Give every BatchNorm's running statistics the mean of those of all processes."""
    if not _several():
        return
    found = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    if not found:
        return
    flat = total(torch.cat([buffer.reshape(-1) for buffer in found])) / world_size()
    for buffer, part in zip(found, flat.split([buffer.numel() for buffer in found]), strict=True):
        buffer.copy_(part.view_as(buffer))


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every parameter the mean of its gradients in all processes; where it has none, that counts as zeros.

    A parameter that has a gradient in no process is left without one.
    """
    if not _several():
        return
    all_parameters = list(parameters)
    counts = torch.tensor([float(p.grad is not None) for p in all_parameters], device=all_parameters[0].device)
    distributed.all_reduce(counts)
    found = [p for p, times in zip(all_parameters, counts.tolist(), strict=True) if times]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in found])
    distributed.all_reduce(flat)
    for p, part in zip(found, (flat / world_size()).split([p.numel() for p in found]), strict=True):
        p.grad = part.view_as(p)


def anywhere(flag: bool, device: torch.device) -> bool:
    """Whether a flag is set in any of the processes."""
    return bool(mean(torch.tensor(float(flag), device=device)) > 0) if _several() else flag


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm over the pixels of all processes, so that four batches of four train as one of sixteen does.

    As torch's SyncBatchNorm, which runs on GPUs alone; the tensors and their names are those of `nn.BatchNorm2d`.
    Batches must be of one size in all processes.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not _several():
            return super().forward(x)
        pixels = x.permute(0, 2, 3, 1).flatten(0, 2).float()  # [N H W, C], a view if x is in channels_last
        own_mean = pixels.mean(0)
        own = torch.stack([own_mean, (pixels - own_mean).square().mean(0)])  # mean and variance in this process, [2, C]
        row = torch.arange(world_size(), device=x.device) == rank()
        means, variances = _Sum.apply(row[:, None, None] * own).unbind(1)  # of every process, [world size, C] each
        joint_mean, joint_variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        total = len(pixels) * world_size()
        if self.track_running_stats:
            self._remember(joint_mean.detach(), joint_variance.detach() * total / max(1, total - 1))
        scale = self.weight * (joint_variance + self.eps).rsqrt()
        shift = self.bias - joint_mean * scale
        normalised = (pixels * scale + shift).to(x.dtype)
        return normalised.unflatten(0, (x.shape[0], x.shape[2], x.shape[3])).permute(0, 3, 1, 2)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def share_batch_norm(network: nn.Module) -> None:
    """Make every `nn.BatchNorm2d` inside a network normalise over all processes; parameters and names stay.

    On a GPU that is PyTorch's own SyncBatchNorm, which runs on GPUs alone; elsewhere it is `BatchNorm`.
    """
    if next(network.parameters()).device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # replaces the parts in place
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm  # a subclass without a state of its own


class _Sum(torch.autograd.Function):
    """The sum over processes, and its gradient: a change in one process changes the losses of all."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
