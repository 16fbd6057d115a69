"""ONNX Runtime, on the CPU and on all that its execution providers reach (extra `onnx`)."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...model.network import CheapMatting
from .engine import NotStartedError, Place
from .graphs import cache_folder, graphs

GPU_PACKAGES = ("onnxruntime-gpu", "onnxruntime-directml")  # distributions of the same package onnxruntime


class Provider(NamedTuple):
    """An execution provider: ONNX Runtime's name of it, its settings, and how a machine gets it."""

    name: str
    settings: Mapping[str, str]
    mend: str = ""


# TF32 is off: it is less exact than float32. CoreML's Neural Engine, which computes in float16, is left out.
CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
PROVIDERS = {
    "cpu": Provider("CPUExecutionProvider", {}),
    "cuda": Provider("CUDAExecutionProvider", CUDA, "pip install onnxruntime-gpu in place of onnxruntime"),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"},
        "pip install onnxruntime-gpu in place of onnxruntime, and tensorrt",
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider", {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"}, "it comes with macOS"
    ),
    "directml": Provider(
        "DmlExecutionProvider", {}, "pip install onnxruntime-directml in place of onnxruntime, on Windows"
    ),
}
PLACES = {name: Place(("fp32",), provider.mend) for name, provider in PROVIDERS.items()}


def places_here() -> list[str]:
    """The names of the providers that the installed ONNX Runtime has; whether they start is another question."""
    available = importlib.import_module("onnxruntime").get_available_providers()  # an extra
    return [name for name, provider in PROVIDERS.items() if provider.name in available]


def is_for_gpus() -> bool:
    """Whether the installed ONNX Runtime is one for GPUs, found out without importing it."""
    return any(True for name in GPU_PACKAGES for _ in metadata.distributions(name=name))


class OnnxRuntimeEngine:
    """Both parts as ONNX graphs, in float32: ONNX Runtime has no faster type on a CPU."""

    name = "onnxruntime"
    device = torch.device("cpu")

    def __init__(self, network: CheapMatting, precision: str, place: str) -> None:
        self.precision = precision
        exported = graphs(network)
        self._features, self._head = _session(exported.features, place), _session(exported.head, place)
        # DirectML's sessions are for one thread at a time, and a GPU computes one picture at a time anyway.
        self._one: AbstractContextManager[Any] = nullcontext() if place == "cpu" else threading.Lock()

    def features(self, x: Tensor) -> Tensor:
        with self._one:
            return _run(self._features, x=x)

    def head(self, features: Tensor, x: Tensor) -> Tensor:
        with self._one:
            return _run(self._head, features=features, x=x)


def _session(model: bytes, place: str) -> Any:
    """A session that computes where it should.

    Raises:
        NotStartedError: ONNX Runtime would compute elsewhere. By itself it goes over to the CPU, and merely logs that.
    """
    onnxruntime = importlib.import_module("onnxruntime")  # an extra
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_cpu_mem_arena = False  # an arena keeps the peak of every size that it has seen
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.log_severity_level = 3  # errors: what matters of the warnings is checked below
    if place == "directml":
        options.enable_mem_pattern = False  # it demands so
    provider = PROVIDERS[place.partition(":")[0]].name
    try:
        session = onnxruntime.InferenceSession(model, options, providers=_providers(place), enable_fallback=0)
    except Exception as error:  # ONNX Runtime has many
        if place == "cpu":
            raise
        raise _not_started(place, str(error).strip().partition("\n")[0]) from error
    if provider not in session.get_providers():
        raise _not_started(place, "ONNX Runtime took the CPU in its place")
    inside, everywhere = _operations(session, provider)
    if 2 * inside < everywhere:
        raise _not_started(place, f"ONNX Runtime gave it {inside} of {everywhere} operations")
    return session


def _providers(place: str) -> list[tuple[str, dict[str, str]]]:
    """What a session is asked for, with the CPU for what the provider leaves out, such as arithmetic of sizes."""
    kind, _, number = place.partition(":")
    names = {"tensorrt": ("tensorrt", "cuda", "cpu"), "cpu": ("cpu",)}.get(kind, (kind, "cpu"))
    asked = []
    for name in names:
        settings = dict(PROVIDERS[name].settings)
        if name == "tensorrt":
            settings["trt_engine_cache_path"] = settings["trt_timing_cache_path"] = str(cache_folder() / "tensorrt")
        if number and name != "cpu":
            settings["device_id"] = number
        asked.append((PROVIDERS[name].name, settings))
    return asked


def _operations(session: Any, provider: str) -> tuple[int, int]:
    """How many of a session's operations are the provider's, and all; (0, 0) before ONNX Runtime 1.24."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return 0, 0
    counts = [(part.ep_name, len(part.get_nodes())) for part in session.get_provider_graph_assignment_info()]
    return sum(count for name, count in counts if name == provider), sum(count for _, count in counts)


def _not_started(place: str, why: str) -> NotStartedError:
    return NotStartedError(
        f"provider: {place} does not start ({why}); see that its driver and libraries are there, or use --provider cpu"
    )


def _run(session: Any, **inputs: Tensor) -> Tensor:
    arrays = {name: tensor.cpu().contiguous().numpy() for name, tensor in inputs.items()}
    return torch.from_numpy(session.run(None, arrays)[0])
