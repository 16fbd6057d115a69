"""OpenVINO, on the CPU (extra `openvino`)."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import torch
from torch import Tensor

from ...model.network import CheapMatting
from .graphs import cache_folder, graphs
from .signal_stack import signal_stack_kept

TYPES = {"fp32": "f32", "bf16": "bf16"}  # our precision -> OpenVINO's


class OpenVinoEngine:
    """Both parts as ONNX graphs, compiled for this processor; in bfloat16 the head stays in float32."""

    name = "openvino"

    def __init__(self, network: CheapMatting, precision: str, device: torch.device) -> None:
        self.precision = precision
        exported = graphs(network)
        self._features = _Compiled(exported.features, TYPES[precision])
        self._head = _Compiled(exported.head, TYPES["fp32"])

    def features(self, x: Tensor) -> Tensor:
        return self._features(x=x)

    def head(self, features: Tensor, x: Tensor) -> Tensor:
        return self._head(features=features, x=x)


class _Compiled:
    """A compiled graph with one request, whose memory is used again and again; threads wait for each other."""

    def __init__(self, model: bytes, precision: str) -> None:
        core = importlib.import_module("openvino").Core()  # an extra
        core.set_property({"CACHE_DIR": str(cache_folder() / "openvino")})
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        with signal_stack_kept():
            self._request: Any = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, **inputs: Tensor) -> Tensor:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in inputs.items()}
        with self._lock, signal_stack_kept():
            return torch.from_numpy(self._request.infer(arrays)[0])  # a copy: the request writes elsewhere next time
