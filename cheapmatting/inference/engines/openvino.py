"""OpenVINO, on the CPU and on Intel's GPUs (extra `openvino`)."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import torch
from torch import Tensor

from ...model.network import CheapMatting
from .engine import NotStartedError, Place
from .graphs import cache_folder, graphs
from .signal_stack import signal_stack_kept

TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}  # our precision -> OpenVINO's
# Not its NPUs: they compute fixed sizes alone.
PLACES = {"cpu": Place(("fp32", "bf16")), "gpu": Place(("fp32", "fp16"), "it needs a GPU and the driver of Intel")}


def places_here() -> list[str]:
    """Our names of the devices that OpenVINO finds."""
    found = {device.partition(".")[0].lower() for device in _core().available_devices}
    return [name for name in PLACES if name in found]


def _core() -> Any:
    with signal_stack_kept():
        return importlib.import_module("openvino").Core()  # an extra


class OpenVinoEngine:
    """Both parts as ONNX graphs, compiled for this processor; in a half precision the head stays in float32."""

    name = "openvino"
    device = torch.device("cpu")

    def __init__(self, network: CheapMatting, precision: str, place: str) -> None:
        self.precision = precision
        exported = graphs(network)
        self._features = _Compiled(exported.features, TYPES[precision], place)
        self._head = _Compiled(exported.head, TYPES["fp32"], place)

    def features(self, x: Tensor) -> Tensor:
        return self._features(x=x)

    def head(self, features: Tensor, x: Tensor) -> Tensor:
        return self._head(features=features, x=x)


class _Compiled:
    """A compiled graph with one request, whose memory is used again and again; threads wait for each other."""

    def __init__(self, model: bytes, precision: str, place: str) -> None:
        core, device = _core(), place.upper().replace(":", ".")
        core.set_property({"CACHE_DIR": str(cache_folder() / "openvino")})
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
        with signal_stack_kept():
            try:
                self._request: Any = core.compile_model(core.read_model(model), device, settings).create_infer_request()
            except RuntimeError as error:
                if device == "CPU":
                    raise
                why = str(error).strip().rpartition("\n")[2]
                raise NotStartedError(f"provider: {place} does not start ({why}); use --provider cpu") from error
        self._lock = threading.Lock()

    def __call__(self, **inputs: Tensor) -> Tensor:
        arrays = {name: tensor.cpu().contiguous().numpy() for name, tensor in inputs.items()}
        with self._lock, signal_stack_kept():
            # Without a copy of the inputs: 592 in place of 658 MiB for the features of 1024 x 1024 pixels (light). The
            # answer is a copy: the request writes elsewhere next time.
            return torch.from_numpy(self._request.infer(arrays, share_inputs=True)[0])
