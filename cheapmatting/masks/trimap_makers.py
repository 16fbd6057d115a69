"""Functions from a photograph to its trimap, by way of a mask, as a command's options describe them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ..arrays import Bytes
from ..decoding import MAX_PIXELS
from ..images import read_alpha
from .makers import MaskMaker, mask_maker
from .onnx_file import OnnxInput, parse_size, parse_three
from .trimap_from_mask import fitted, trimap_from_mask
from .width import Width

# RGB uint8 [H, W, 3] -> trimap uint8 [H, W] of 0, 128 and 255.
TrimapMaker: TypeAlias = Callable[[Bytes], Bytes]


def network_of(options: argparse.Namespace) -> MaskMaker:
    """The network or function that `--mask` names.

    Raises:
        UserError: as `makers.mask_maker`, or options that cannot be read.
    """
    wanted = OnnxInput(
        parse_size(options.mask_size, "--mask-size") if options.mask_size else None,
        parse_three(options.mask_mean, "--mask-mean") if options.mask_mean else None,
        parse_three(options.mask_std, "--mask-std") if options.mask_std else None,
        options.mask_logits,
    )
    return mask_maker(options.mask, wanted)


def trimap_by_network(network: MaskMaker, width: Width) -> TrimapMaker:
    """Photographs to trimaps, by way of the masks that `network` makes."""
    return lambda image: trimap_from_mask(network(image), width)


def trimap_by_file(path: Path, width: Width, max_pixels: int = MAX_PIXELS) -> TrimapMaker:
    """The trimap of the one photograph whose mask is the file, which is refused above `max_pixels`."""

    def make(image: Bytes) -> Bytes:
        height, wide = image.shape[:2]
        return trimap_from_mask(fitted(read_alpha(path, max_pixels), height, wide, str(path)), width)

    return make
