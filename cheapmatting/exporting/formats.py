"""The formats: how a traced network is written, and how its own runtime reads and runs it."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atldas.common.errors import UserError

from ..inference.engines.graphs import OPSET
from .whole import WholeNetwork, as_plane

INPUTS, OUTPUT = ("image", "trimap"), "alpha"
METADATA = "metadata.json"  # in files of PyTorch
Run = Callable[[Tensor, Tensor], Tensor]


class Format(NamedTuple):
    """A format.

    Attributes:
        suffix: of the file.
        packages: what must be installed, each with the extra that brings it.
        write: writes the network and the metadata to a path, and perhaps other files beside it.
        load: reads the file in its own runtime, on the CPU.
        beside: the suffixes of those other files.
    """

    suffix: str
    packages: Mapping[str, str]
    write: Callable[[WholeNetwork, Mapping[str, str], Path], None]
    load: Callable[[Path], Run]
    beside: tuple[str, ...] = ()


def _example(network: WholeNetwork, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Inputs of an odd size, so that the padding is in the program."""
    size = (batch, 330, 461)
    generator = torch.Generator().manual_seed(0)
    trimap = torch.zeros(size[0], 3, *size[1:])
    trimap[:, 0, :100], trimap[:, 1, 100:200], trimap[:, 2, 200:] = 1, 1, 1
    if network.plane:
        trimap = as_plane(trimap)
    return torch.rand(size[0], 3, *size[1:], generator=generator), trimap


def _onnx_model(network: WholeNetwork, metadata: Mapping[str, str], path: Path) -> None:
    onnx = importlib.import_module("onnx")  # an extra
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in (*INPUTS, OUTPUT)}
    torch.onnx.export(
        network, _example(network), path, dynamo=False, opset_version=OPSET, input_names=list(INPUTS),
        output_names=[OUTPUT], dynamic_axes=axes,
    )  # fmt: skip
    model = onnx.load(path)
    model.producer_name = "cheapmatting"
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


def _onnx_run(path: Path) -> Run:
    onnxruntime = importlib.import_module("onnxruntime")  # an extra
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda *inputs: torch.from_numpy(session.run(None, _arrays(inputs))[0])


def _openvino_model(network: WholeNetwork, metadata: Mapping[str, str], path: Path) -> None:
    """path.xml and path.bin. float16 is OpenVINO's compression of weights: the device chooses what it computes in."""
    openvino = importlib.import_module("openvino")  # an extra
    half, traced = network.dtype == torch.float16, path.with_suffix(".onnx")
    _onnx_model(network, {}, traced)
    model = openvino.Core().read_model(traced)
    for key, value in metadata.items():
        model.set_rt_info(value, ["cheapmatting", key])
    openvino.save_model(model, path, compress_to_fp16=half)
    traced.unlink()


def _openvino_run(path: Path) -> Run:
    openvino = importlib.import_module("openvino")  # an extra
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda *inputs: torch.from_numpy(model(_arrays(inputs))[0].copy())


def _arrays(inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}


def _torchscript(network: WholeNetwork, metadata: Mapping[str, str], path: Path) -> None:
    traced = torch.jit.trace(network, _example(network), check_trace=False)
    torch.jit.save(traced, path, _extra_files={METADATA: json.dumps(dict(metadata))})


def _torchscript_run(path: Path) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch advises torch.export, but many programs still read TorchScript
        program: Run = torch.jit.load(path, map_location="cpu")
    return program


def _pt2(network: WholeNetwork, metadata: Mapping[str, str], path: Path) -> None:
    settings = importlib.import_module("torch.fx.experimental._config")
    if not hasattr(settings, "backed_size_oblivious"):
        raise UserError(f"--format pt2: expected a newer PyTorch, got {torch.__version__}; use another format")
    anything = torch.export.Dim.AUTO
    axes = {0: anything, 2: anything, 3: anything}
    # Otherwise the program refuses sizes for which some inner map, such as a pool's, has one pixel in a row.
    with settings.patch(backed_size_oblivious=True):
        program = torch.export.export(network, _example(network, batch=2), dynamic_shapes=(axes, axes))
    torch.export.save(program, path, extra_files={METADATA: json.dumps(dict(metadata))})


def _pt2_run(path: Path) -> Run:
    program: Run = torch.export.load(path).module()
    return program


FORMATS = {
    "onnx": Format(".onnx", {"onnx": "onnx", "onnxruntime": "onnx"}, _onnx_model, _onnx_run),
    "openvino": Format(".xml", {"onnx": "openvino", "openvino": "openvino"}, _openvino_model, _openvino_run, (".bin",)),
    "torchscript": Format(".pt", {}, _torchscript, _torchscript_run),
    "pt2": Format(".pt2", {}, _pt2, _pt2_run),
}
