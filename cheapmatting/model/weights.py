"""Weights in files: a safetensors file of ours is a whole model; published checkpoints can be read, too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor
from torch.nn import functional as F

from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from atldas.common.tensor_file import save_tensors
from atldas.genotype import Genotype

from .lookup import find_weights
from .network import CheapMatting, NetworkConfig, require_cells
from .published import read_published, rename_published

FORMAT = "cheapmatting-1"


def save(network: CheapMatting, path: str | Path, half: bool = False, **metadata: str) -> None:
    """Write a safetensors file that is the whole model: parameters and buffers, genotype, configuration.

    Equal networks and metadata give equal bytes.

    Args:
        network: on any device.
        path: the file; it appears whole or not at all.
        half: floats are rounded to float16, for half the size. `load` computes with them in float32.
        metadata: further entries of the file's metadata.

    Raises:
        UserError: the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "genotype": network.genotype.to_json(),
        "network": json.dumps(to_dict(network.config)),
        **metadata,
    }
    tensors = network.state_dict()
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_tensors(path, tensors, header)


def load(source: str | Path) -> CheapMatting:
    """Read a model's file or a published checkpoint, told apart by their contents; in eval mode, on the CPU.

    Nothing in the file is executed.

    Args:
        source: a file, a training's folder, or the name of shipped weights (see `lookup.find_weights`).

    Raises:
        UserError: no such file, another kind of file, tensors of another network (the first are named), or a NaN or an
            infinity among the weights.
    """
    path = find_weights(source)
    if not is_model(path):
        return load_published(path)
    network = CheapMatting(*_read_header(path))
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    return _filled(network, tensors, path)


def is_model(path: str | Path) -> bool:
    """Whether a file is safetensors, as models of ours are: a length of 8 bytes, then JSON.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_genotype(path: str | Path) -> Genotype:
    """The genotype of a model's file, with the network that was trained as its `network:` section.

    Raises:
        UserError: the file is not a model of ours, or damaged.
    """
    genotype, config = _read_header(path)
    return replace(genotype, network=to_dict(config))


def take_weights(network: CheapMatting, start: CheapMatting) -> None:
    """Copy the weights of `start` into `network`: the same network, or one with hints that `start` does not have.

    The weights of such hints become 0, so that both networks give the same alphas at first.

    Raises:
        ValueError: the networks differ in more than hints.
    """
    same = start.config in (network.config, replace(network.config, hints=False))
    if not same or start.genotype.cells != network.genotype.cells:
        raise ValueError("the networks differ in more than hints")
    taken = start.state_dict()
    for name, tensor in network.state_dict().items():
        if taken[name].shape != tensor.shape:  # [out, in, 3, 3]; hints are the last inputs
            more = tensor.shape[1] - taken[name].shape[1]
            taken[name] = F.pad(taken[name], (0, 0, 0, 0, 0, more))
    network.load_state_dict(taken)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: expected a whole safetensors file, got a damaged one ({error})") from error


def _read_header(path: str | Path) -> tuple[Genotype, NetworkConfig]:
    """The genotype and the configuration that `save` wrote into a file."""
    with _opened(path) as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format")
        raise UserError(f"{path}: metadata: expected {FORMAT}, as `cheapmatting train` writes it, got {found}")
    source = f"{path} (metadata)"
    try:
        genotype, network = Genotype.parse(metadata["genotype"], source), json.loads(metadata["network"])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{source}: genotype or network is missing or damaged; download or make the file again"
        ) from error
    require_cells(genotype, source)
    return genotype, from_dict(NetworkConfig, network, source, at="network")


def load_published(path: str | Path) -> CheapMatting:
    """Read a published checkpoint. Nothing in it is executed.

    Raises:
        UserError: as `read_published`, or other tensors than the published network's, the first few named.
    """
    genotype, config = Genotype.load("cheapmatting"), NetworkConfig()
    tensors = rename_published(read_published(path), genotype, config)
    return _filled(CheapMatting(genotype, config), tensors, path)


def _filled(network: CheapMatting, tensors: Mapping[str, Tensor], path: str | Path) -> CheapMatting:
    """`network` with exactly these tensors; those of float16 files become float32."""
    own = network.state_dict()
    faults = [f"{name}: missing" for name in own if name not in tensors]
    faults += [f"{name}: left over" for name in tensors if name not in own]
    faults += [
        f"{name}: expected shape {list(own[name].shape)}, got {list(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    if faults:
        raise UserError(
            f"{path}: {len(faults)} tensors differ from those of genotype {network.genotype.name}: "
            + "; ".join(faults[:3])
        )
    if spoilt := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise UserError(
            f"{path}: {len(spoilt)} of {len(tensors)} tensors hold NaN or infinity, the first: {spoilt[0]}; "
            "use another file, for instance an earlier one of the same training"
        )
    network.load_state_dict(dict(tensors))
    return network.eval()
