"""A look at the pairs that a configuration makes, before hours are spent on training with them.

    python -m cheapmatting.data.preview training.yaml pairs.png
    python -m cheapmatting.data.preview training.yaml pairs.png --set data.augment.real_world=true --count 20

The file may be that of a training run (its `data` are shown), of a search (`task_options.data`), or hold the keys of
`data` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from atldas.common.config import from_dict, read_settings
from atldas.common.errors import UserError, exit_status

from .config import DataConfig, make_source
from .contact_sheet import contact_sheet

PLACES = (("data",), ("task_options", "data"))


def preview(settings: DataConfig, seed: int, count: int, path: str | Path, tile: int = 128) -> None:
    """Write a contact sheet of the first `count` pairs of a source.

    Args:
        tile: side of a tile in pixels.

    Raises:
        UserError: the source cannot be made, or the file cannot be written.
    """
    source = make_source(settings, seed)
    contact_sheet([source[index] for index in range(count)], path, [str(index) for index in range(count)], tile)


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
        raise UserError("--seed must be 0 or more, --count 1 or more, --tile 16 or more")
    settings = read_data_config(options.config, options.set)
    preview(settings, options.seed, options.count, options.out, options.tile)
    print(f"{options.out}: {options.count} pairs of {settings.size} x {settings.size}")
    return 0


def main() -> int:
    """The command in the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m cheapmatting.data.preview", description="A look at training pairs."
    )
    add_arguments(parser)
    return exit_status(lambda: run(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit(main())
