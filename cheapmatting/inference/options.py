"""The options of a command that say how the network is computed and what is written."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atldas.common.errors import UserError

if TYPE_CHECKING:
    from .files import Wanted

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def add_computing_options(verb: argparse.ArgumentParser) -> None:
    """What `computing` reads. The names are repeated here, because the engines import PyTorch, and help need not."""
    verb.add_argument(
        "--engine",
        default="auto",
        help="auto, torch, onnxruntime or openvino (default: auto, the fastest installed; a line on stderr says which)",
    )
    verb.add_argument(
        "--provider",
        default="auto",
        metavar="NAME",
        help="where it computes: cpu, cuda, tensorrt, coreml or directml with onnxruntime, cpu or gpu with openvino; "
        "one that is not there is an error (default: auto)",
    )
    verb.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16 (default: auto; fp32 on a CPU)")
    verb.add_argument(
        "--region",
        default="exact",
        help="exact: the network sees the whole image; near: only what is near unknown pixels (default: exact)",
    )
    verb.add_argument(
        "--scales",
        default="auto",
        help="auto: wide bands of unknown at half the size first, again and again; one: the image's own size alone "
        "(default: auto)",
    )
    verb.add_argument("--max-memory", metavar="SIZE", help="such as 2GiB; larger images are computed in tiles")


def computing(options: argparse.Namespace) -> dict[str, Any]:
    """The options as keyword arguments of `Matter`.

    Raises:
        UserError: a size that cannot be read.
    """
    max_memory = None if options.max_memory is None else parse_memory(options.max_memory)
    return {
        "engine": options.engine,
        "provider": options.provider,
        "precision": options.precision,
        "region": options.region,
        "scales": options.scales,
        "max_memory": max_memory,
    }


def add_output_options(verb: argparse.ArgumentParser) -> None:
    """What `wanted` and `default_output` read."""
    results = verb.add_mutually_exclusive_group()
    for name, what in {
        "alpha": "the alpha as a grey image",
        "foreground": "the foreground's colours, without alpha",
        "premultiplied": "the cut-out with colours multiplied by alpha",
    }.items():
        results.add_argument(f"--{name}", dest="what", action="store_const", const=name, help=f"write {what}")
    results.add_argument("--background", metavar="COLOR|IMAGE", help="write the foreground on it")
    verb.set_defaults(what="cutout")
    verb.add_argument("--bits", type=int, choices=(8, 16), default=8, help="depth of --alpha (default: 8)")
    verb.add_argument("--force", action="store_true", help="replace a file that exists")
    add_max_pixels(verb)


def add_max_pixels(verb: argparse.ArgumentParser) -> None:
    """What `max_pixels` reads."""
    verb.add_argument("--max-pixels", type=int, metavar="N", help="refuse larger files (default: 200000000)")


def max_pixels(options: argparse.Namespace) -> int:
    """The pixels above which a file is refused.

    Raises:
        UserError: a limit below 1.
    """
    from ..decoding import MAX_PIXELS

    most: int = MAX_PIXELS if options.max_pixels is None else options.max_pixels
    if most < 1:
        raise UserError(f"--max-pixels: expected 1 or more, got {most}")
    return most


def wanted(options: argparse.Namespace) -> Wanted:
    """The options as `files.matte_files` takes them.

    Raises:
        UserError: a limit below 1.
    """
    from .files import Wanted

    what = options.what if options.background is None else "composite"
    return Wanted(what, options.background or "", options.bits, options.force, max_pixels(options))


def default_output(image: Path, what: str) -> Path:
    """IMAGE_cutout.png, or as the result is called, beside the image; from standard input, standard output."""
    return image if str(image) == "-" else image.with_name(f"{image.stem}_{what}.png")


def parse_memory(text: str, option: str = "--max-memory") -> int:
    """`2GiB`, `1500 MB` or a number of bytes, as bytes; errors name the option.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMG]I?B|)", text.strip().upper())
    if not found or not float(found[1]):
        raise UserError(f"{option}: expected a size such as 2GiB, 1500MB or a number of bytes, got {text[:20]}")
    return int(float(found[1]) * UNITS[found[2]])
