"""ONNX Runtime, on the CPU (extra `onnx`)."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from ...model.network import CheapMatting
from .graphs import graphs


class OnnxRuntimeEngine:
    """Both parts as ONNX graphs, in float32: ONNX Runtime has no faster type on a CPU."""

    name = "onnxruntime"

    def __init__(self, network: CheapMatting, precision: str, device: torch.device) -> None:
        self.precision = precision
        exported = graphs(network)
        self._features, self._head = _session(exported.features), _session(exported.head)

    def features(self, x: Tensor) -> Tensor:
        return _run(self._features, x=x)

    def head(self, features: Tensor, x: Tensor) -> Tensor:
        return _run(self._head, features=features, x=x)


def _session(model: bytes) -> Any:
    onnxruntime = importlib.import_module("onnxruntime")  # an extra
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_cpu_mem_arena = False  # an arena keeps the peak of every size that it has seen
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: Any, **inputs: Tensor) -> Tensor:
    arrays = {name: tensor.contiguous().numpy() for name, tensor in inputs.items()}
    return torch.from_numpy(session.run(None, arrays)[0])
