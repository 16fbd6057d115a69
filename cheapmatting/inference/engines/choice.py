"""The engine, its place and its precision, as the options name them, or the fastest that this machine has."""

from __future__ import annotations

import logging
import re
from importlib.util import find_spec

import torch

from atldas.common.device import bfloat16_pays_in_inference, choose
from atldas.common.errors import UserError

from ...model.network import CheapMatting
from . import onnx_runtime, openvino, pytorch
from .engine import PRECISIONS, Engine, Kind, NotStartedError

log = logging.getLogger(__name__)

ENGINES: dict[str, Kind] = {
    "torch": Kind(pytorch.PyTorchEngine, "torch", "", pytorch.PLACES, pytorch.places_here),
    "onnxruntime": Kind(
        onnx_runtime.OnnxRuntimeEngine, "onnxruntime", "onnx", onnx_runtime.PLACES, onnx_runtime.places_here
    ),
    "openvino": Kind(openvino.OpenVinoEngine, "openvino", "openvino", openvino.PLACES, openvino.places_here),
}
# On a CPU, the fastest first, as docs/speed.md measures them.
FASTEST = {"fp32": ("torch", "openvino", "onnxruntime"), "bf16": ("openvino", "torch")}
# What `--provider auto` takes of those that are there, the first first. TensorRT compiles for minutes at every new
# size, and most of OpenVINO's GPUs are small ones beside the CPU: who wants them asks for them.
AUTO_PLACES = ("cuda", "directml", "coreml", "cpu")
# PyTorch's device -> what a runtime calls the same processor.
SAME = {"mps": "coreml"}


def make_engine(
    network: CheapMatting, engine: str, precision: str, device: str | torch.device = "auto", provider: str = "auto"
) -> tuple[Engine, str]:
    """The engine of that name, or for `auto` the fastest that is installed, and a line that says which and why.

    Args:
        network: in eval mode, on any device.
        engine: `auto` or a key of `ENGINES`.
        precision: `auto`, or one of `PRECISIONS`. `auto` is fp16 for PyTorch on CUDA and fp32 elsewhere: on a CPU, bf16
            moves some alphas by a few levels, and nobody asked for that.
        device: PyTorch's: `auto` or a name for `device.choose`. A device that is named is where the engine computes.
        provider: where ONNX Runtime or OpenVINO computes: `auto`, or a key of their `places`, also as `cuda:1`.

    Raises:
        UserError: another name, a package that is not installed, a device or a provider that is not there or does not
            start, or an engine that does not compute in this precision there.
    """
    _require(engine, ("auto", *ENGINES), "engine")
    _require(precision, ("auto", *PRECISIONS), "precision")
    candidates = _candidates(engine, precision, device, provider)
    possible = [candidate for candidate in candidates if not fault(*candidate, precision)]
    if not possible:
        raise UserError(fault(*candidates[-1], precision))
    names = dict.fromkeys(name if place == "cpu" else f"{name} on {place}" for name, place in possible)
    for name, place in possible:
        found = _precision(precision, name, place)
        try:
            made = ENGINES[name].make(network, found, place)
        except NotStartedError as error:
            if (name, place) == possible[-1]:
                raise
            log.warning("%s", error)
            continue
        why = f"the fastest of those installed ({', '.join(names)})" if engine == "auto" else "asked for"
        line = f"engine: {name}, {found}, on {place}; {why}{_others(name, provider)}"
        log.info(line)
        return made, line
    raise AssertionError("the last candidate is made, or its error raised")


def _require(value: str, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise UserError(f"{what}: expected one of {', '.join(allowed)}, got {value}")


def _candidates(
    engine: str, precision: str, device: str | torch.device, provider: str
) -> list[tuple[str, str]]:  # fmt: skip
    """Engines and places that may do, the best first; at least one."""
    found, free = choose(str(device)), str(device) == "auto"
    if provider != "auto":
        if engine in ("auto", "torch"):
            raise UserError(
                f"provider: expected --engine onnxruntime or openvino beside it, got {engine}; PyTorch has --device"
            )
        if not re.fullmatch(r"[a-z]+(:\d{1,3})?", provider):
            raise UserError(f"provider: expected one of auto, {', '.join(ENGINES[engine].places)}, got {provider}")
        return [(engine, provider)]
    if engine == "torch" or (engine == "auto" and found.type != "cpu"):
        return [("torch", str(found))]
    if engine == "auto":
        on_cpu = [(name, "cpu") for name in FASTEST.get(precision.replace("auto", "fp32"), ("torch",))]
        # A GPU that PyTorch does not have, but ONNX Runtime.
        gpus = AUTO_PLACES[:-1] if free and find_spec("onnxruntime") and onnx_runtime.is_for_gpus() else ()
        return [*(("onnxruntime", place) for place in gpus), *on_cpu]
    if not free:
        kind, colon, number = str(found).partition(":")
        return [(engine, SAME.get(kind, kind) + colon + number)]
    if find_spec(ENGINES[engine].package) is None:
        return [(engine, "cpu")]  # its fault says so
    return [(engine, place) for place in AUTO_PLACES if place in ENGINES[engine].here()]


def _precision(precision: str, name: str, place: str) -> str:
    if precision != "auto":
        return precision
    return "fp16" if name == "torch" and place.startswith("cuda") else "fp32"


def fault(name: str, place: str, precision: str) -> str:
    """Why an engine cannot compute in a precision in a place, with the mend; empty if it can."""
    engine, kind = ENGINES[name], place.partition(":")[0]
    if find_spec(engine.package) is None:
        return f"engine: {name} is not installed; pip install 'cheapmatting[{engine.extra}]'"
    if kind not in engine.places:
        return f"provider: expected one of {', '.join(engine.places)} with {name}, got {place}; use --provider cpu"
    if kind != "cpu" and kind not in (here := engine.here()):  # to ask takes an import
        return f"provider: {name} has {', '.join(here)} here, got {place}; {engine.places[kind].mend}"
    precision, precisions = _precision(precision, name, place), engine.places[kind].precisions
    if precision not in precisions:
        return f"precision: {name} on {kind} computes in {' or '.join(precisions)}, got {precision}"
    if precision == "bf16" and kind in ("cpu", "cuda") and not bfloat16_pays_in_inference(torch.device(place)):
        return "precision: this processor has no instructions for bf16, which would be slower than fp32; use fp32"
    return ""


def _others(name: str, provider: str) -> str:
    """What an engine could have computed on, but must be asked for."""
    others = [] if name == "torch" or provider != "auto" else ENGINES[name].here()
    others = [place for place in others if place not in AUTO_PLACES]
    return f"; --provider has {', '.join(others)} too" if others else ""
