"""How many pixels the network may see under a bound of memory."""

from __future__ import annotations

from torch import nn

from ..model.network import CheapMatting

PROCESS = 400 * 2**20  # bytes of Python, PyTorch and the weights
ARRAYS = 24  # bytes a pixel of the whole image: image, trimap, alpha and what is made of them
# Engine -> bytes a pixel of what the network sees at once: some, and some more for each channel of its widest maps.
COSTS = {"torch": (50, 4), "openvino": (50, 8), "onnxruntime": (50, 15)}


def largest(network: CheapMatting, engine: str, max_memory: int | None, size: int) -> float:
    """Pixels that the network may see at once, of an image of `size`, under a bound of bytes; it may be negative.

    Args:
        engine: a key of `COSTS`.
    """
    if max_memory is None:
        return float("inf")
    return (max_memory - PROCESS - ARRAYS * size) / bytes_per_pixel(network, engine)


def bytes_per_pixel(network: CheapMatting, engine: str) -> float:
    """Of what the network sees at once, by its widest maps, those at half resolution."""
    fixed, each = COSTS[engine]
    return fixed + each * (_outputs(network.stem_half) + _outputs(network.decoder_2))


def _outputs(layers: nn.Module) -> int:
    return next(layer.out_channels for layer in layers.modules() if isinstance(layer, nn.Conv2d))
