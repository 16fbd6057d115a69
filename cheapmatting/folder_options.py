"""The options of `cheapmatting matte` for trimaps made of masks, and for folders of photographs."""

from __future__ import annotations

import argparse
from pathlib import Path

from .masks.options import add_mask_options, add_width_option


def add_trimap_options(verb: argparse.ArgumentParser) -> None:
    """What `trimap_source` reads, besides `trimap`."""
    verb.add_argument("--trimap", dest="trimap_option", type=Path, metavar="FILE|FOLDER", help="the same as TRIMAP")
    add_mask_options(verb)
    add_width_option(verb)


def add_folder_options(verb: argparse.ArgumentParser) -> None:
    """What `matte_many` reads, besides the trimap, the result and how it is computed."""
    verb.add_argument("--out", type=Path, metavar="FOLDER", help="for a folder or glob of photographs: where to write")
    verb.add_argument("--workers", type=int, default=1, help="photographs at once (default: 1)")
    verb.add_argument("--resume", action="store_true", help="with --out: leave out what is done")
