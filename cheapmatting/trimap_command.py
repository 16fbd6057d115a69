"""`cheapmatting trimap`: a trimap from a mask, a cut-out or a rough alpha, or from a photograph and a few marks."""

from __future__ import annotations

import argparse
from pathlib import Path

from atldas.common.atomic import require_free
from atldas.common.errors import UserError

from .arrays import Bytes
from .images import NO_ALPHA, read_alpha, read_image, require_writable_suffix, write_image
from .inference.options import add_max_pixels, max_pixels
from .masks.grabcut import Rectangle, grab_cut, whole_numbers
from .masks.options import add_mask_options, add_width_option, width_of
from .masks.trimap_from_mask import trimap_from_mask
from .masks.trimap_makers import network_of
from .trimap import UNKNOWN

EXAMPLES = """examples:
  cheapmatting trimap mask.png -o trimap.png
  cheapmatting trimap cutout.png --width 20 -o trimap.png
  cheapmatting trimap photo.jpg --rectangle 40,20,300,380 -o trimap.png
  cheapmatting trimap photo.jpg --inside 200,150 --inside 220,300 --outside 20,20 -o trimap.png
  cheapmatting trimap photo.jpg --mask u2net.onnx -o trimap.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("image", type=Path, help="a mask, an RGBA cut-out or a rough alpha; with marks, the photograph")
    parser.add_argument("-o", "--output", type=Path, help="what to write (default: IMAGE_trimap.png)")
    add_width_option(parser)
    parser.add_argument("--rectangle", metavar="X,Y,WIDTH,HEIGHT", help="in pixels, around all of the foreground")
    parser.add_argument("--inside", metavar="X,Y", action="append", default=[], help="a point of the foreground")
    parser.add_argument("--outside", metavar="X,Y", action="append", default=[], help="a point of the background")
    add_mask_options(parser)
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    add_max_pixels(parser)


def run(options: argparse.Namespace) -> int:
    """The command itself.

    Raises:
        UserError: options or files that cannot be used.
    """
    output = options.output or options.image.with_name(f"{options.image.stem}_trimap.png")
    _check_output(output, options.image, options.force)
    trimap = trimap_from_mask(_mask(options), width_of(options))
    write_image(output, trimap)
    print(f"{output}: {(trimap == UNKNOWN).mean():.1%} unknown")
    return 0


def _mask(options: argparse.Namespace) -> Bytes:
    """The mask uint8 [H, W] that the options describe."""
    most = max_pixels(options)
    marked = bool(options.rectangle or options.inside or options.outside)
    if marked and options.mask:
        raise UserError("--mask: expected a mask or marks (--rectangle, --inside, --outside), got both")
    if marked:
        rectangle = Rectangle(*whole_numbers(options.rectangle, 4, "--rectangle")) if options.rectangle else None
        inside, outside = (
            [(x, y) for x, y in (whole_numbers(text, 2, name) for text in texts)]
            for name, texts in (("--inside", options.inside), ("--outside", options.outside))
        )
        return grab_cut(read_image(options.image, most), rectangle, inside, outside)
    if options.mask:
        return network_of(options)(read_image(options.image, most))
    return read_alpha(options.image, most)


def _check_output(output: Path, image: Path, force: bool) -> None:
    require_writable_suffix(output, alpha=False)
    if output.suffix.lower() in NO_ALPHA and output.suffix.lower() != ".bmp":
        raise UserError(f"{output}: expected a format without loss, such as .png, got {output.suffix}")
    if output.resolve() == image.resolve():
        raise UserError(f"{output}: expected another file than the input, which would be overwritten; name one with -o")
    require_free(output, force, "-o")
