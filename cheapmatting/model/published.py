"""Published CheapMatting checkpoints: how their files are laid out, and their tensors' names in ours."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from atldas.common.errors import UserError
from atldas.genotype import Genotype

from .network import NetworkConfig

# Published tensor names -> ours: the first rule that matches is applied. `_edge_names` replaces `_ops.K`, the K-th edge
# of the genotype, by the edge's name.
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
UNUSED = r"ppm\.conv\.4\."  # a fifth pooling branch that is in every published checkpoint and in no computation
UNUSED_PARAMETERS = 98_432


def read_published(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a published checkpoint, a pickled dict with the key `model`. Nothing in it is executed.

    Raises:
        UserError: no such file, no such dict, or something else than tensors in it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of foreign pickles; our error below is enough
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged file raises almost anything: IndexError, struct.error and more
        raise UserError(
            f"{path}: expected a safetensors file of ours or a published checkpoint (a pickle of plain tensors), got "
            "neither; check that it is complete and the right file"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        found = ", ".join(map(str, list(checkpoint)[:5])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise UserError(f"{path}: expected a published checkpoint, a dict with the tensors under `model`, got {found}")
    model: dict[str, Tensor] = checkpoint["model"]
    for name, value in model.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: model: expected names with tensors, got {name!r}: {type(value).__name__}")
    return model


def rename_published(tensors: Mapping[str, Tensor], genotype: Genotype, config: NetworkConfig) -> dict[str, Tensor]:
    """The tensors of a published state dict under our names, without the unused branch; unknown names stay."""
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
