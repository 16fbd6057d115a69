"""How many pixels the network may see under a bound of memory."""

from __future__ import annotations

from torch import nn

from ..model.network import CheapMatting

PROCESS = 400 * 2**20  # bytes of Python, PyTorch and the weights
ARRAYS = 24  # bytes a pixel of the whole image: image, trimap, alpha and what is made of them


def largest(network: CheapMatting, max_memory: int | None, size: int) -> float:
    """Pixels that the network may see at once, of an image of `size`, under a bound of bytes; it may be negative."""
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
