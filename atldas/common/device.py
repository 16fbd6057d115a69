"""The device that the option `--device` names."""

from __future__ import annotations

import re

import torch

from .errors import UserError

CHOICES = ("auto", "cpu", "cuda", "mps")


def choose(name: str) -> torch.device:
    """The device of that name. `auto` is CUDA if available, else Apple's MPS if available, else the CPU.

    Raises:
        UserError: not a name of a device, or a device that this machine or this build of PyTorch does not have.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind = name.split(":")[0]
    if kind not in available or not re.fullmatch(r"\w+(:\d+)?", name):
        raise UserError(f"--device: expected one of {', '.join(CHOICES)}, got {name}")
    if not available[kind]:
        raise UserError(f"--device {name}: this machine, or this build of PyTorch, has none; use --device cpu")
    return torch.device(name)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether training is faster in bfloat16: on recent CUDA devices, and on x86 CPUs with AMX."""
    return _multiplies_bfloat16(device, ("amx_bf16",))


def bfloat16_pays_in_inference(device: torch.device) -> bool:
    """Whether inference is faster in bfloat16: also on x86 CPUs with AVX512-BF16, as AMD's from Zen 4 on have it."""
    return _multiplies_bfloat16(device, ("amx_bf16", "avx512_bf16"))


def _multiplies_bfloat16(device: torch.device, instructions: tuple[str, ...]) -> bool:
    """Whether CUDA, or one of a CPU's instructions, multiplies bfloat16 matrices."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in PyTorch 2.10
    return device.type == "cpu" and any(capabilities.get(name) for name in instructions)
