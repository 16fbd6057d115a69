"""The engine that is always there: PyTorch, on any of its devices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atldas.common.machine import release_memory

from ...model.network import CheapMatting
from .rewriting import for_pytorch, rewritten

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class PyTorchEngine:
    """channels_last, folded BatchNorm, weights and activations in the precision; hints and alphas stay in float32."""

    name = "torch"

    def __init__(self, network: CheapMatting, precision: str, device: torch.device) -> None:
        self.precision, self.device, self._dtype = precision, device, DTYPES[precision]
        lean = for_pytorch(network) if device.type == "cpu" else rewritten(network)
        # The head is small and decides the last levels: on a CPU it stays in float32.
        self._head_dtype = torch.float32 if device.type == "cpu" else self._dtype
        self._head = lean.head.to(device, self._head_dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        lean.head = nn.Identity()
        if device.type == "cpu":
            for decoder in (lean.decoder_4, lean.decoder_2):
                decoder.register_forward_pre_hook(lambda *_: release_memory())
        self._network = lean.to(device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

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
