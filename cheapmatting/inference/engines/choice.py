"""The engine and the precision that `--engine` and `--precision` name, or the fastest that this machine has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import torch

from atldas.common.device import bfloat16_pays_in_inference
from atldas.common.errors import UserError

from ...model.network import CheapMatting
from .engine import PRECISIONS, Engine
from .onnx_runtime import OnnxRuntimeEngine
from .openvino import OpenVinoEngine
from .pytorch import PyTorchEngine

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """An engine that may be chosen: how it is made, what must be installed for it, what it computes in on a CPU."""

    make: Callable[[CheapMatting, str, torch.device], Engine]
    package: str
    extra: str
    precisions: tuple[str, ...]


ENGINES: dict[str, Kind] = {
    "torch": Kind(PyTorchEngine, "torch", "", ("fp32", "bf16")),
    "onnxruntime": Kind(OnnxRuntimeEngine, "onnxruntime", "onnx", ("fp32",)),
    "openvino": Kind(OpenVinoEngine, "openvino", "openvino", ("fp32", "bf16")),
}
# On a CPU, the fastest first, as docs/speed.md measures them; other devices have PyTorch alone.
FASTEST = {"fp32": ("torch", "openvino", "onnxruntime"), "bf16": ("openvino", "torch")}


def make_engine(network: CheapMatting, engine: str, precision: str, device: torch.device) -> tuple[Engine, str]:
    """The engine of that name, or for `auto` the fastest that is installed, and a line that says which and why.

    Args:
        network: in eval mode, on any device.
        engine: `auto` or a key of `ENGINES`.
        precision: `auto`, or one of `PRECISIONS`. `auto` is fp16 on CUDA and fp32 elsewhere: on a CPU, bf16
            moves some alphas by a few levels, and nobody asked for that.

    Raises:
        UserError: another name, a package that is not installed, or an engine that does not compute in this precision
            on this device.
    """
    _require(engine, ("auto", *ENGINES), "engine")
    _require(precision, ("auto", *PRECISIONS), "precision")
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "fp32"
    if engine == "auto":
        candidates = [name for name in FASTEST.get(precision, ()) if not _fault(name, precision, device)]
        name = candidates[0] if candidates else "torch"
        why = f"the fastest of those installed ({', '.join(candidates or ['torch'])})"
    else:
        name, why = engine, "asked for"
    if fault := _fault(name, precision, device):
        raise UserError(fault)
    line = f"engine: {name}, {precision}, on {device.type}; {why}"
    log.info(line)
    return ENGINES[name].make(network, precision, device), line


def _require(value: str, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise UserError(f"{what}: expected one of {', '.join(allowed)}, got {value}")


def _fault(name: str, precision: str, device: torch.device) -> str:
    """Why an engine cannot compute in a precision on a device, with the mend; empty if it can."""
    kind = ENGINES[name]
    if find_spec(kind.package) is None:
        return f"engine: {name} is not installed; pip install 'cheapmatting[{kind.extra}]'"
    if device.type != "cpu":
        return "" if name == "torch" else f"engine: {name} computes on the CPU; add --device cpu, got {device}"
    if precision not in kind.precisions:
        return f"precision: {name} on a CPU computes in {' or '.join(kind.precisions)}, got {precision}"
    if precision == "bf16" and not bfloat16_pays_in_inference(device):
        return "precision: this processor has no instructions for bf16, which would be slower than fp32; use fp32"
    return ""
