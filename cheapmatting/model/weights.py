"""Weight files: our own (safetensors, one file is a whole model), shipped ones, and the published checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor
from torch.nn import functional as F

from atldas.common.atomic import atomic_path
from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from atldas.genotype import Genotype

from .network import CheapMatting, NetworkConfig, require_cells
from .published import read_published, rename_published

FORMAT = "cheapmatting-1"
DEFAULT = "cheapmatting-light"  # the name of the shipped weights; pretrained/README.md is their model card


def save_model(network: CheapMatting, path: str | Path, half: bool = False, **metadata: str) -> None:
    """Write `network` as safetensors with genotype and configuration in the metadata; `metadata` is added.

    With `half`, numbers are rounded to float16: half the size, to be computed with in float32 as before.
    """
    header = {
        "format": FORMAT,
        "genotype": network.genotype.to_json(),
        "network": json.dumps(to_dict(network.config)),
        **metadata,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, header))  # save_file's is for its owner's eyes alone


def weights_file(name: str | Path) -> Path:
    """The file of weights that are given by their path, or by the name of those that ship."""
    if str(name) == DEFAULT and not Path(name).exists():
        return Path(str(resources.files("cheapmatting") / "pretrained" / f"{DEFAULT}.safetensors"))
    return Path(name)


def load_model(path: str | Path) -> CheapMatting:
    """Read our own file or a published checkpoint, told apart by their contents, or shipped weights by their name.

    In eval mode, on the CPU.
    """
    path = weights_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"{path}: weights cannot be read ({error.strerror})") from error
    return _load_own(path) if start[8:] == b"{" else load_published(path)  # safetensors: a length, then JSON


def take_weights(network: CheapMatting, start: CheapMatting) -> None:
    """Give `network` the weights of `start`: the same network, or one without the hints that `network` has.

    Weights for hints that `start` did not have are 0: the answers are the same at first.

    Raises:
        ValueError: another network.
    """
    same = start.config in (network.config, replace(network.config, hints=False))
    if not same or start.genotype.cells != network.genotype.cells:
        raise ValueError("the networks differ in more than hints")
    taken = start.state_dict()
    for name, tensor in network.state_dict().items():
        if taken[name].shape != tensor.shape:  # [out, in, 3, 3], hints being the last inputs
            more = tensor.shape[1] - taken[name].shape[1]
            taken[name] = F.pad(taken[name], (0, 0, 0, 0, 0, more))
    network.load_state_dict(taken)


def _load_own(path: Path) -> CheapMatting:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: is not a whole safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format")
        raise UserError(f"{path}: metadata: found {found}, allowed is {FORMAT}, as CheapMatting.save writes it")
    source = f"{path} (metadata)"
    try:
        genotype, network = Genotype.parse(metadata["genotype"], source), json.loads(metadata["network"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{source}: genotype or network is missing or damaged; get or make the file anew") from error
    require_cells(genotype, source)
    return _filled(CheapMatting(genotype, from_dict(NetworkConfig, network, source, at="network")), tensors, path)


def load_published(path: str | Path) -> CheapMatting:
    """Read a published checkpoint. Nothing in it is executed.

    Raises:
        UserError: as `read_published`, or other tensors than the published network's, the first few named.
    """
    genotype, config = Genotype.load("cheapmatting"), NetworkConfig()
    tensors = rename_published(read_published(path), genotype, config)
    return _filled(CheapMatting(genotype, config), tensors, path)


def _filled(network: CheapMatting, tensors: Mapping[str, Tensor], path: str | Path) -> CheapMatting:
    """`network` with all of `tensors` and nothing else; float16 files are computed in float32."""
    own = network.state_dict()
    faults = [f"{name}: missing" for name in own if name not in tensors]
    faults += [f"{name}: left over" for name in tensors if name not in own]
    faults += [
        f"{name}: found shape {list(tensor.shape)}, allowed is {list(own[name].shape)}"
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    if faults:
        raise UserError(
            f"{path}: {len(faults)} tensors differ from those of genotype {network.genotype.name}: "
            + "; ".join(faults[:3])
        )
    network.load_state_dict(dict(tensors))
    return network.eval()
