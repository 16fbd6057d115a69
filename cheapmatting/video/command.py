"""`cheapmatting video`: the alpha of a video, from the trimaps of a few frames."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from atldas.common.errors import UserError
from atldas.common.interruption import Interruption
from atldas.common.progress import progress

from ..arrays import Bytes
from ..inference.matte import Matter
from ..inference.options import add_computing_options, add_max_pixels, computing, max_pixels
from ..inference.pair import read_fitted_trimap
from ..masks.options import add_width_option, width_of
from ..model.lookup import DEFAULT_WEIGHTS
from .carrying import STEADY, matte_frames
from .files import read_frames, require_writable, writer

EXAMPLES = """examples:
  cheapmatting video clip.mp4 --trimap 0=first.png --out cutout.mov
  cheapmatting video clip.mp4 --trimap 0=first.png --trimap 120=later.png --out cutout.webm
  cheapmatting video frames/ --trimap 0=first.png --out alphas/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("video", type=Path, help="a video file, or a folder of frames in the order of their names")
    parser.add_argument(
        "--trimap",
        dest="trimaps",
        action="append",
        required=True,
        metavar="FRAME=FILE",
        help="the trimap of a frame; frames count from 0, which needs one; give as many as you have",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="a folder for alphas as PNG; .mov for ProRes 4444, .webm for VP9, in colour",
    )
    add_width_option(parser)
    parser.add_argument(
        "--steady",
        type=float,
        default=STEADY,
        help=f"share of the last alpha that unknown pixels keep where nothing changed (default: {STEADY:g}; 0: none)",
    )
    parser.add_argument("--rate", type=_rate, help="frames a second (default: the video's; 25 for a folder)")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS, help=f"as for matte (default: {DEFAULT_WEIGHTS})")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--force", action="store_true", help="replace an existing file, or files in a folder")
    add_max_pixels(parser)
    add_computing_options(parser)


def run(options: argparse.Namespace) -> int:
    """The command itself; 130 if the user interrupted it.

    Raises:
        UserError: options or files that cannot be used.
    """
    most = max_pixels(options)
    keys = _keys(options.trimaps, most)
    require_writable(options.out, options.force)
    frames, rate = read_frames(options.video, options.rate, most)
    matter = Matter(options.weights, options.device, **computing(options))
    print(matter.computed_by, file=sys.stderr)
    with (
        Interruption() as interruption,
        writer(options.out, rate) as write,
        progress(0, "video", "frame") as bar,
    ):
        for frame in matte_frames(matter.matte, frames, keys, width_of(options), options.steady):
            write(frame.image, frame.alpha)
            bar.update()
            if interruption.requested:
                raise KeyboardInterrupt  # within `writer`, which leaves no half file
    print(options.out)
    return 0


def _keys(texts: list[str], most: int) -> dict[int, Callable[[Bytes], Bytes]]:
    """Functions from a frame to its trimap, by the frame's number; files are read when their frame comes."""
    keys: dict[int, Callable[[Bytes], Bytes]] = {}
    for text in texts:
        number, equals, file = text.partition("=")
        if not equals or not file or not (number.isascii() and number.isdigit() and len(number) < 9):
            raise UserError(f"--trimap: expected FRAME=FILE such as 0=first.png, got {text[:40]}")
        if int(number) in keys:
            raise UserError(f"--trimap: expected one trimap for frame {number}, got two")
        if not Path(file).is_file():
            raise UserError(f"{file}: cannot be read (no such file)")
        keys[int(number)] = _reader(Path(file), most)
    if 0 not in keys:
        raise UserError("--trimap: expected one for the first frame, 0=FILE")
    return keys


def _reader(path: Path, most: int) -> Callable[[Bytes], Bytes]:
    def read(image: Bytes) -> Bytes:
        height, width = image.shape[:2]
        return read_fitted_trimap(path, width, height, "the video", turned=False, max_pixels=most)

    return read


def _rate(text: str) -> Fraction:
    """`25`, `29.97` or `30000/1001`; ValueError, which argparse reports, for anything else."""
    rate = Fraction(text)
    if not 0 < rate <= 1000:
        raise ValueError(text)
    return rate
