"""The engine that is always there: PyTorch, on any of its devices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atldas.common.machine import release_memory

from ...model.network import CheapMatting
from .lean import for_pytorch
from .rewriting import rewritten

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class PyTorchEngine:
    """channels_last, weights and activations in the precision; hints and alphas stay in float32.

    On a CPU, the network is rewritten much further: see `lean`.
    """

    name = "torch"

    def __init__(self, network: CheapMatting, precision: str, device: torch.device) -> None:
        self.precision, self.device, self._dtype = precision, device, DTYPES[precision]
        on_cpu = device.type == "cpu"
        lean = for_pytorch(network, self._dtype) if on_cpu else rewritten(network).to(device, self._dtype)
        self._head_dtype = torch.float32 if on_cpu else self._dtype
        lean = lean.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._head, lean.head = lean.head, nn.Identity()
        if on_cpu:
            for part in (lean.cells[0], lean.cells[lean.taps[0] + 1]):  # decoders do so themselves
                part.register_forward_pre_hook(lambda *_: release_memory())
        self._network = lean

    @torch.inference_mode()
    def features(self, x: Tensor) -> Tensor:
        features: Tensor = self._network.features(self._moved(x, self._dtype))
        return features

    @torch.inference_mode()
    def head(self, features: Tensor, x: Tensor) -> Tensor:
        alpha: Tensor = self._head(self._moved(features, self._head_dtype), self._moved(x, self._head_dtype))
        return alpha.float().cpu()

    def _moved(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(self.device, dtype, memory_format=torch.channels_last)
