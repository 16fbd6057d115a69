"""A look at the pairs that a configuration makes, before hours are spent on training with them.

The file may be that of a training run (its `data` are shown), of a search (`task_options.data`), or hold the keys of
`data` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atldas.common.config import from_dict, read_settings
from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from ..images import write_image
from ..picture_grid import Row, on_green, picture_grid
from .config import DataConfig, make_source
from .sample import Sample

EXAMPLES = """examples:
  cheapmatting preview-data training.yaml pairs.png
  cheapmatting preview-data training.yaml real.png --set data.augment.real_world=true --count 20
"""
COLUMNS = ("image", "alpha", "trimap", "foreground", "on green")
PLACES = (("data",), ("task_options", "data"))


def preview(settings: DataConfig, seed: int, count: int, path: str | Path, tile: int = 192) -> None:
    """Write a picture of the first `count` pairs of a source, a row for each.

    Args:
        tile: side of a tile in pixels.

    Raises:
        UserError: the source cannot be made, or the file cannot be written.
    """
    source = make_source(settings, seed)
    rows = [Row(f"pair {index}", pictures(source[index])) for index in range(count)]
    write_image(path, picture_grid(COLUMNS, rows, tile))


def pictures(sample: Sample) -> list[Bytes]:
    """What is shown of a sample, in the order of `COLUMNS`: uint8 grey [H, W] or RGB [H, W, 3]."""
    image, alpha, foreground = (_levels(plane) for plane in (sample.image, sample.alpha, sample.foreground))
    return [image, alpha, sample.trimap, foreground, on_green(np.dstack([foreground, alpha]))]


def _levels(picture: Floats) -> Bytes:
    return np.rint(picture * 255).astype(np.uint8)


def read_data_config(path: str | Path, assignments: Sequence[str] = ()) -> DataConfig:
    """The data section of a YAML file, or a file that is one, after `key.path=value` assignments.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    mapping, source = read_settings(path, assignments)
    for keys in PLACES:
        inner = mapping
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None  # type: ignore[assignment]
        if inner is not None:
            return from_dict(DataConfig, inner, source, ".".join(keys))
    return from_dict(DataConfig, mapping, source)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments, for a parser of its own or a verb's."""
    parser.add_argument("config", type=Path, help="a YAML file with a data section, or of the keys of one")
    parser.add_argument("out", type=Path, nargs="?", default=Path("pairs.png"), help="the picture (default: pairs.png)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change one setting")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other pairs (default: 0)")
    parser.add_argument("--count", type=int, default=12, help="how many pairs (default: 12)")
    parser.add_argument("--tile", type=int, default=192, help="side of a tile in pixels (default: 192)")


def run(options: argparse.Namespace) -> int:
    """The command itself.

    Raises:
        UserError: as `read_data_config` and `preview`.
    """
    if options.seed < 0 or options.count < 1 or options.tile < 16:
        raise UserError(
            "expected --seed 0 or more, --count 1 or more and --tile 16 or more, got "
            f"{options.seed}, {options.count} and {options.tile}"
        )
    settings = read_data_config(options.config, options.set)
    preview(settings, options.seed, options.count, options.out, options.tile)
    print(f"{options.out}: {options.count} pairs of {settings.size} x {settings.size}")
    return 0
