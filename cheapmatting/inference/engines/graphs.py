"""A network's two parts as ONNX graphs, for the runtimes that read them; kept in a cache between programs."""

from __future__ import annotations

import io
import logging
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from atldas.common.atomic import atomic_path
from atldas.common.checksum import sha256_of_arrays
from atldas.common.errors import UserError

from ...model import blocks
from ...model.network import CheapMatting
from . import rewriting
from .rewriting import for_graphs

OPSET = 17
log = logging.getLogger(__name__)


class Graphs(NamedTuple):
    """Serialised ONNX models with dynamic number, height and width.

    Padding and hints stay outside, in PyTorch: the graphs are exact at any size that is a multiple of 32.

    Attributes:
        features: x [N, 6 or 8, H, W] -> features [N, C, H / 2, W / 2].
        head: features [N, C, H / 2, W / 2], x [N, 6 or 8, H, W] -> alpha [N, 1, H, W].
    """

    features: bytes
    head: bytes


class _Features(nn.Module):
    def __init__(self, network: CheapMatting) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.features(x)


def graphs(network: CheapMatting) -> Graphs:
    """The network's graphs, from the cache if an equal network was exported before.

    Raises:
        UserError: the package onnx is not installed, or a part of the network cannot be exported.
    """
    key = _key(network)
    files = [cache_folder() / f"{key}_{part}.onnx" for part in Graphs._fields]
    if all(file.exists() for file in files):
        return Graphs(*(file.read_bytes() for file in files))
    made = _export(network)
    for file, data in zip(files, made, strict=True):
        try:
            with atomic_path(file) as temporary:
                temporary.write_bytes(data)
        except UserError as error:
            log.warning("%s; the exported network is not kept for the next time", error)
            break
    return made


def cache_folder() -> Path:
    """Where exported networks are kept: `CHEAPMATTING_CACHE`, or `cheapmatting` in the user's cache folder."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CHEAPMATTING_CACHE") or Path(user) / "cheapmatting")


def _key(network: CheapMatting) -> str:
    """Networks of the same cells, configuration and weights have the same key, as long as what exports is the same."""
    tensors = [tensor.detach().cpu().numpy() for tensor in network.state_dict().values()]
    sources = b"".join(Path(module.__file__ or "").read_bytes() for module in (blocks, rewriting))
    text = f"{torch.__version__} {OPSET} {network.genotype.to_json()} {network.config}".encode()
    return sha256_of_arrays(*tensors, np.frombuffer(sources + text, np.uint8))[:32]


@torch.no_grad()
def _export(network: CheapMatting) -> Graphs:
    if find_spec("onnx") is None:
        raise UserError("engine: expected the package onnx, which is not installed; pip install 'cheapmatting[onnx]'")
    lean = for_graphs(network).cpu()
    inputs = next(layer.in_channels for layer in lean.stem_half.modules() if isinstance(layer, nn.Conv2d))
    x = torch.rand(1, inputs, 128, 160)
    parts = {"features": (_Features(lean), {"x": x}), "head": (lean.head, {"features": lean.features(x), "x": x})}
    return Graphs(*(_exported(module, example, name) for name, (module, example) in parts.items()))


def _exported(module: nn.Module, example: dict[str, Tensor], output: str) -> bytes:
    buffer = io.BytesIO()
    names = [*example, "answer"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the tracing exporter; it is five times faster than the new one
        torch.onnx.export(
            module.eval(),
            tuple(example.values()),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=list(example),
            output_names=["answer"],
            dynamic_axes={name: {0: "windows", 2: f"{name}_height", 3: f"{name}_width"} for name in names},
            do_constant_folding=False,
        )
    return buffer.getvalue()
