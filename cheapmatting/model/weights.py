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
from atldas.common.config import fill, plain
from atldas.common.errors import UserError
from atldas.genotype import Genotype

from .network import CheapMatting, NetworkConfig, require_cells
from .published import read_published, rename_published

FORMAT = "cheapmatting-1"
DEFAULT = "cheapmatting-light"  # the name of the shipped weights; pretrained/README.md is their model card


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
        "network": json.dumps(plain(network.config)),
        **metadata,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    data = _with_sorted_metadata(safetensors.torch.save(tensors, header))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)  # safetensors' own save_file makes files that only their owner can read


def _with_sorted_metadata(data: bytes) -> bytes:
    """A safetensors file with its metadata in the order of the keys; the library writes them in a random order.

    The file is the header's length (8 bytes, little-endian), the header as JSON, filled up with spaces to a multiple of
    8 bytes, and the tensors, whose offsets count from the header's end.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def weights_file(name: str | Path) -> Path:
    """The file of weights that are given by their path, or by the name of those that ship."""
    if str(name) == DEFAULT and not Path(name).exists():
        return Path(str(resources.files("cheapmatting") / "pretrained" / f"{DEFAULT}.safetensors"))
    return Path(name)


def load(path: str | Path) -> CheapMatting:
    """Read a file of `save`, a published checkpoint, or shipped weights by their name; in eval mode, on the CPU.

    Our files and published checkpoints are told apart by their contents. Nothing in them is executed.

    Raises:
        UserError: no such file, another kind of file, tensors of another network (the first are named), or a NaN or an
            infinity among the weights.
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
        raise UserError(f"{path}: metadata: found {found}, allowed is {FORMAT}, as `cheapmatting train` writes it")
    source = f"{path} (metadata)"
    try:
        genotype, network = Genotype.parse(metadata["genotype"], source), json.loads(metadata["network"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{source}: genotype or network is missing or damaged; get or make the file anew") from error
    require_cells(genotype, source)
    return _filled(CheapMatting(genotype, fill(NetworkConfig, network, source, at="network")), tensors, path)


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
    if spoilt := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise UserError(
            f"{path}: {len(spoilt)} of {len(tensors)} tensors hold NaN or infinity, the first: {spoilt[0]}; "
            "use another file, for instance an earlier one of the same training"
        )
    network.load_state_dict(dict(tensors))
    return network.eval()
