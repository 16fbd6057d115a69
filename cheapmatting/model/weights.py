"""Weight files: our own (safetensors, one file is a whole model), shipped ones, and the published checkpoints."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from atldas.atomic import atomic_path
from atldas.config import fill, plain
from atldas.errors import UserError
from atldas.genotype import Genotype

from .network import CheapMatting, NetworkConfig, require_cells

FORMAT = "cheapmatting-1"
DEFAULT = "cheapmatting-light"  # the name of the shipped weights; pretrained/README.md is their model card

# Published tensor names -> ours, in order: the first rule that fits wins. `_ops.K` (the K-th edge of the genotype) is
# put into words by `_edge_names`.
PUBLISHED_NAMES: tuple[tuple[str, str], ...] = (
    (r"stem00\.", "stem_half."),
    (r"stem05\.0\.", "stem_quarter.0."),
    (r"stem05\.([12])\.", r"stem_quarter.\1.layers."),
    (r"stem10\.", "stem_eighth."),
    (r"cells\.(\d+)\.preprocess([01])\.op\.", r"cells.\1.adapters.\2."),  # ReLU, convolution, BatchNorm
    (r"cells\.(\d+)\.preprocess([01])\.", r"cells.\1.adapters.\2."),  # factorized reduce
    (r"cells\.(\d+)\._ops\.(\d+)\.(op\.)?", r"cells.\1.edges.\2."),
    (r"ppm\.conv\.([0-3])\.0\.", r"pyramid.branches.\1."),
    (r"ppm\.out\.0\.", "pyramid.merge."),
    (r"decoder_layer([0-3])\.0\.", r"decoder_<\1>.0."),
    (r"decoder_layer([0-3])\.([12])\.", r"decoder_<\1>.\2.layers."),
    (r"pred\.", "head."),
)
# Parts of names, wherever they stand.
PUBLISHED_PARTS = {
    ".conv_1.": ".even.", ".conv_2.": ".odd.", ".bn.": ".norm.",  # factorized reduce
    ".conv1.": ".0.", ".gn1.": ".1.", ".conv2.": ".3.", ".gn2.": ".4.", ".conv3.": ".6.",  # residual block
    "_<3>": "_16", "_<2>": "_8", "_<1>": "_4", "_<0>": "_2",
}  # fmt: skip
UNUSED = r"ppm\.conv\.4\."  # a fifth pooling branch, in every published checkpoint and in no computation
UNUSED_PARAMETERS = 98_432


def save_model(network: CheapMatting, path: str | Path, half: bool = False, **metadata: str) -> None:
    """Write `network` as safetensors with genotype and configuration in the metadata; `metadata` is added.

    With `half`, numbers are rounded to float16: half the size, to be computed with in float32 as before.
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
    return _filled(CheapMatting(genotype, fill(NetworkConfig, network, source, at="network")), tensors, path)


def load_published(path: str | Path) -> CheapMatting:
    """Read a published checkpoint: a pickled dict whose key `model` holds the state dict. Nothing in it is executed.

    Raises:
        UserError: no such file, no such dict, or other tensors than the published network's, the first few named.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other makers; the error below says it all
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: weights cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged file makes PyTorch stumble anywhere: IndexError, struct.error and more
        raise UserError(
            f"{path}: is neither a safetensors file of ours nor a published checkpoint "
            "(a pickle of plain tensors); check that the file is whole and the right one"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        found = ", ".join(map(str, list(checkpoint)[:5])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise UserError(f"{path}: found {found}, a published checkpoint is a dict whose key `model` holds the tensors")
    model = checkpoint["model"]
    for name, value in model.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: model: found {name!r}: {type(value).__name__}, allowed are names with tensors")
    genotype = Genotype.load("cheapmatting")
    network = CheapMatting(genotype, NetworkConfig())
    return _filled(network, rename_published(model, genotype, network.config), path)


def rename_published(tensors: Mapping[str, Tensor], genotype: Genotype, config: NetworkConfig) -> dict[str, Tensor]:
    """The tensors of a published state dict under our names; the unused branch is left out, unknown names stay."""
    edges = _edge_names(genotype, config)
    renamed = {}
    for name, tensor in tensors.items():
        if not re.match(UNUSED, name):
            renamed[_our_name(name, edges)] = tensor
    return renamed


def _our_name(name: str, edges: Mapping[str, str]) -> str:
    for pattern, replacement in PUBLISHED_NAMES:
        ours, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            for part, our_part in PUBLISHED_PARTS.items():
                ours = ours.replace(part, our_part)
            return re.sub(r"^cells\.\d+\.edges\.\d+\.", lambda match: edges.get(match[0], match[0]), ours)
    return name


def _edge_names(genotype: Genotype, config: NetworkConfig) -> dict[str, str]:
    """`cells.0.edges.1.` (the second edge of cell 0) -> `cells.0.edges.2_from_1.dil_conv_5x5.`"""
    names = {}
    for index in range(config.cells):
        kind = "reduce" if index in config.reductions else "normal"
        for k, (node, edge) in enumerate(genotype.cells[kind].edges()):
            names[f"cells.{index}.edges.{k}."] = f"cells.{index}.edges.{node}_from_{edge.input}.{edge.operation}."
    return names


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
