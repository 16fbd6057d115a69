"""Lists of file names that keep training and validation pictures apart.

A list is a text file with one name a line; empty lines and lines that begin with # do not count. A name is a file's
path relative to its folder, its bare name, or either without the suffix; * and ? stand for any characters.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from atldas.common.errors import UserError

log = logging.getLogger(__name__)


def selected(
    paths: Sequence[Path], folder: Path, include: str | Path | None = None, exclude: str | Path | None = None
) -> list[Path]:
    """Those of `paths` (inside `folder`) that the list `include` names and the list `exclude` does not.

    Raises:
        UserError: a list that cannot be read, names nothing, or of whose names not one is there: a misspelt list would
            let validation pictures into the training. Some missing names are only warned of, since one list may serve
            several folders.
    """
    chosen = list(paths)
    if include is not None:
        named = _named(chosen, folder, include)
        chosen = [path for path in chosen if path in named]
    if exclude is not None:
        named = _named(paths, folder, exclude)
        chosen = [path for path in chosen if path not in named]
    if paths and not chosen:
        lists = " and ".join(str(name) for name in (include, exclude) if name is not None)
        raise UserError(f"{folder}: expected {lists} to leave some of the {len(paths)} images, got none")
    return chosen


def read_names(path: str | Path) -> list[str]:
    """The names in a list file, in their order.

    Raises:
        UserError: the file cannot be read, is not text or names nothing.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be read ({reason}); expected a list of file names") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected a text file with one file name a line, got something else") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise UserError(f"{path}: expected one file name a line, got no names")
    return names


def _named(paths: Sequence[Path], folder: Path, list_path: str | Path) -> set[Path]:
    """Those of `paths` that a list names."""
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        relative = path.relative_to(folder)
        for name in {relative.as_posix(), relative.with_suffix("").as_posix(), path.name, path.stem}:
            by_name.setdefault(name, []).append(path)
    names = read_names(list_path)
    found = {name: _matches(name, by_name) for name in names}
    missing = [name for name in names if not found[name]]
    if len(missing) == len(names):
        raise UserError(
            f"{list_path}: expected names of files in {folder}, got {len(names)} others (the first: {names[0]})"
        )
    if missing:
        log.warning(
            "%s: %d of %d names are not in %s: %s", list_path, len(missing), len(names), folder, ", ".join(missing[:3])
        )
    return {path for matches in found.values() for path in matches}


def _matches(name: str, by_name: dict[str, list[Path]]) -> list[Path]:
    if "*" not in name and "?" not in name:
        return by_name.get(name, [])
    pattern = re.compile(fnmatch.translate(name.replace("[", "[[]")))  # brackets are common in file names
    return [path for known, paths in by_name.items() if pattern.match(known) for path in paths]
