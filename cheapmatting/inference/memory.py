"""How many pixels the network may see under a bound of memory."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from ..model.network import CheapMatting

MIB = 2**20
ARRAYS = 20  # bytes a pixel of the whole image: image, trimap, alpha and what is made of them


class Cost(NamedTuple):
    """What an engine takes.

    Attributes:
        process: MiB of Python, the libraries and the weights.
        fixed, each: bytes a pixel of what the network sees at once, and more of them for each channel of its widest
            maps, those at half resolution.
    """

    process: int
    fixed: int
    each: float


# Engine -> its cost, by peaks of whole processes at 1024 x 1024 and 1448 x 1448 pixels with both shipped networks.
COSTS = {"torch": Cost(420, 10, 3.3), "openvino": Cost(540, 330, 3), "onnxruntime": Cost(470, 100, 9)}


def largest(network: CheapMatting, engine: str, max_memory: int | None, size: int) -> float:
    """Pixels that the network may see at once, of an image of `size`, under a bound of bytes; it may be negative.

    Args:
        engine: a key of `COSTS`.
    """
    if max_memory is None:
        return float("inf")
    return (max_memory - COSTS[engine].process * MIB - ARRAYS * size) / bytes_per_pixel(network, engine)


def largest_batch(network: CheapMatting, engine: str, max_memory: int | None) -> float:
    """Pixels of whole images that the network may see at once, as `largest`."""
    if max_memory is None:
        return float("inf")
    return (max_memory - COSTS[engine].process * MIB) / (ARRAYS + bytes_per_pixel(network, engine))


def needed(network: CheapMatting, engine: str, size: int, seen: int) -> int:
    """Bytes for an image of `size` pixels of which the network sees `seen` at once: the least bound that allows it."""
    return int(COSTS[engine].process * MIB + ARRAYS * size + seen * bytes_per_pixel(network, engine)) + 1


def bytes_per_pixel(network: CheapMatting, engine: str) -> float:
    """Of what the network sees at once."""
    widest = _outputs(network.stem_half) + _outputs(network.decoder_2)
    return COSTS[engine].fixed + COSTS[engine].each * widest


def _outputs(layers: nn.Module) -> int:
    return next(layer.out_channels for layer in layers.modules() if isinstance(layer, nn.Conv2d))
