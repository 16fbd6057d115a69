"""How much memory a matte takes, and the other way round."""

from __future__ import annotations

import re

from torch import nn

from atldas.common.errors import UserError

from ..model.network import CheapMatting

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
PROCESS = 400 * 2**20  # bytes of Python, PyTorch and the weights
ARRAYS = 24  # bytes a pixel of the whole image: image, trimap, alpha and what is made of them


def largest(network: CheapMatting, max_memory: int | None, size: int) -> float:
    """Pixels that the network may see at once, for an image of `size` pixels under a bound of bytes.

    Raises:
        UserError: the bound is too small for the image itself.
    """
    if max_memory is None:
        return float("inf")
    return (max_memory - PROCESS - ARRAYS * size) / bytes_per_pixel(network)


def bytes_per_pixel(network: CheapMatting) -> float:
    """Of what the network sees at once, by its widest maps, those at half resolution.

    Measured over 2048 x 2048 pixels with the PyTorch engine: 269 for the published network (56 channels there), 174 for
    the shipped one (32); a tenth is added.
    """
    widest = _outputs(network.stem_half) + _outputs(network.decoder_2)
    return 1.1 * (50 + 4 * widest)


def _outputs(layers: nn.Module) -> int:
    return next(layer.out_channels for layer in layers.modules() if isinstance(layer, nn.Conv2d))


def parse_memory(text: str) -> int:
    """`2GiB`, `1500 MB` or a number of bytes, as bytes.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMG]I?B|)", text.strip().upper())
    if not found or not float(found[1]):
        raise UserError(f"--max-memory: expected a size such as 2GiB, 1500MB or a number of bytes, got {text[:20]}")
    return int(float(found[1]) * UNITS[found[2]])
