"""The options that say where a trimap comes from: `--mask` and what belongs to it, and `--width`.

Nothing here imports NumPy or OpenCV: help comes at once.
"""

from __future__ import annotations

import argparse

from .width import DEFAULT_WIDTH, Width, parse_width

KINDS = "a mask's file, FILE.onnx, module:function, or rembg[:MODEL]"


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
