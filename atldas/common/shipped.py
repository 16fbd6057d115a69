"""YAML files that are part of the packages, found by their names from any directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Source
from .errors import UserError
from .yaml_text import parse_yaml, read_yaml

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # from Python 3.11 on


def names_in(folder: Traversable) -> list[str]:
    """The names of the YAML files in a package's folder, without suffix."""
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_named(source: str | Path, folder: Traversable, hint: str) -> tuple[dict[str, Any], Source]:
    """The data of a YAML file, or of a shipped one by its name, and their source.

    A file of that name comes first. A folder of that name does not hide a shipped file.

    Raises:
        UserError: no such file or name, where `hint` follows "expected a file or"; or the file is no YAML.
    """
    if str(source) in names_in(folder) and not os.path.isfile(source):
        text = (folder / f"{source}.yaml").read_text(encoding="utf-8")
        return parse_yaml(text, str(source)), Source(str(source), Path(str(folder)))
    if not os.path.exists(source) and Path(source).suffix not in (".yaml", ".yml"):
        raise UserError(f"{source}: expected a file or {hint}, got neither")
    return read_yaml(source), Source(str(source), Path(source).parent)
