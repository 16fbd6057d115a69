"""The engine that is always there: PyTorch, on any of its devices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from atldas.common.machine import release_memory

from ...model.network import CheapMatting
from .engine import PRECISIONS, Place
from .lean import for_pytorch
from .rewriting import rewritten

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PLACES = {"cpu": Place(("fp32", "bf16")), "cuda": Place(PRECISIONS), "mps": Place(PRECISIONS)}
_exact_lock = threading.Lock()


def places_here() -> list[str]:
    """The kinds of devices that PyTorch has."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name in PLACES if there[name]]


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Convolutions on CUDA compute float32 as such, not as TF32, which PyTorch does by itself.

    The setting is the whole process's, so that one thread at a time has it.
    """
    backend = torch.backends.cudnn
    with _exact_lock, backend.flags(
        enabled=backend.enabled, benchmark=backend.benchmark, deterministic=backend.deterministic, allow_tf32=False
    ):  # fmt: skip
        yield


class PyTorchEngine:
    """channels_last, weights and activations in the precision; hints and alphas stay in float32.

    On a CPU, the network is rewritten much further: see `lean`.
    """

    name = "torch"

    def __init__(self, network: CheapMatting, precision: str, place: str) -> None:
        self.precision, self.device, self._dtype = precision, torch.device(place), DTYPES[precision]
        on_cpu = self.device.type == "cpu"
        lean = for_pytorch(network, self._dtype) if on_cpu else rewritten(network).to(self.device, self._dtype)
        self._head_dtype = torch.float32 if on_cpu else self._dtype
        lean = lean.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._head, lean.head = lean.head, nn.Identity()
        if on_cpu:
            for part in (lean.cells[0], lean.cells[lean.taps[0] + 1]):  # decoders do so themselves
                part.register_forward_pre_hook(lambda *_: release_memory())
        self._network = lean

    @torch.inference_mode()
    def features(self, x: Tensor) -> Tensor:
        with self._exact():
            features: Tensor = self._network.features(self._moved(x, self._dtype))
        return features

    @torch.inference_mode()
    def head(self, features: Tensor, x: Tensor) -> Tensor:
        with self._exact():
            alpha: Tensor = self._head(self._moved(features, self._head_dtype), self._moved(x, self._head_dtype))
        return alpha.float().cpu()

    def _exact(self) -> AbstractContextManager[None]:
        return exact_convolutions() if self.device.type == "cuda" and self.precision == "fp32" else nullcontext()

    def _moved(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(self.device, dtype, memory_format=torch.channels_last)
