"""The options that say where a trimap comes from: `--mask` and what belongs to it, and `--width`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ..arrays import Bytes
from .makers import KINDS, MaskMaker, mask_maker
from .onnx_file import OnnxInput, parse_size, parse_three
from .trimap_from_mask import fitted, read_mask, trimap_from_mask
from .width import DEFAULT_WIDTH, Width, parse_width

# RGB uint8 [H, W, 3] -> trimap uint8 [H, W] of 0, 128 and 255.
TrimapMaker: TypeAlias = Callable[[Bytes], Bytes]


def add_width_option(parser: argparse.ArgumentParser) -> None:
    """`--width`, read by `width_of`."""
    parser.add_argument(
        "--width",
        metavar="PIXELS|PERCENT%",
        help=f"width of the unknown band, in pixels or percent of the diagonal (default: {DEFAULT_WIDTH.value:g}%%)",
    )


def width_of(options: argparse.Namespace) -> Width:
    """The width that `--width` gives, or the default.

    Raises:
        UserError: it cannot be read.
    """
    return DEFAULT_WIDTH if options.width is None else parse_width(options.width)


def add_mask_options(parser: argparse.ArgumentParser) -> None:
    """What `network_of` reads, and `--mask` itself."""
    parser.add_argument("--mask", metavar="MASK", help=f"make the trimap from a mask: {KINDS}")
    parser.add_argument(
        "--mask-size", metavar="WxH", help="size of an ONNX network's input (default: the file's, or 512)"
    )
    parser.add_argument(
        "--mask-mean", metavar="R,G,B", help="means it subtracts, in 0..1 (default: the file's, or ImageNet's)"
    )
    parser.add_argument(
        "--mask-std", metavar="R,G,B", help="deviations it divides by (default: the file's, or ImageNet's)"
    )
    parser.add_argument(
        "--mask-logits", action="store_true", default=None, help="it leaves out the last sigmoid or softmax"
    )


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


def trimap_by_file(path: Path, width: Width) -> TrimapMaker:
    """The trimap of the one photograph whose mask is the file."""
    return lambda image: trimap_from_mask(fitted(read_mask(path), *image.shape[:2], str(path)), width)
