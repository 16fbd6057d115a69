"""A folder of images, read one at a time, in which a damaged file is skipped and not fatal."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from atldas.common.errors import UserError

from ..decoding import READABLE
from .lru_cache import LRUCache
from .name_list import selected

T = TypeVar("T")
log = logging.getLogger(__name__)


def image_files(folder: str | Path) -> list[Path]:
    """The image files in a folder and in the folders below it, sorted by path.

    Linked folders are followed, each folder once; names that begin with a dot are left out.

    Raises:
        UserError: no such folder, or no image files in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "got a file" if folder.exists() else "which does not exist"
        raise UserError(f"{folder}: expected a folder of images, {found}")
    found_paths: list[Path] = []
    seen: set[str] = set()
    for here, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link back up
            below.clear()
            continue
        seen.add(real)
        below[:] = [name for name in below if not name.startswith(".")]
        images = (name for name in names if not name.startswith(".") and name.lower().endswith(READABLE))
        found_paths.extend(Path(here, name) for name in images)
    if not found_paths:
        raise UserError(f"{folder}: expected images in it or below it ({', '.join(READABLE)}), got none")
    return sorted(found_paths)


class ImageFolder(Generic[T]):
    """The image files in a folder and below it (see `image_files`).

    Args:
        folder: where they are.
        read: what to make of a file; it raises UserError for one that cannot be used.
        include, exclude: lists of names to be restricted to, and to leave out (see name_list.py).
        cache: keeps what was read, arrays or tuples of them; None reads each time.

    Attributes:
        paths: the files, sorted by path.
        skipped: those that could not be used so far; each was named in one warning.

    Raises:
        UserError: no such folder, no image files in it, or none that the lists leave.
    """

    def __init__(
        self,
        folder: str | Path,
        read: Callable[[Path], T],
        include: str | Path | None = None,
        exclude: str | Path | None = None,
        cache: LRUCache | None = None,
    ) -> None:
        self.folder, self.read, self.cache = Path(folder), read, cache
        self.paths = selected(image_files(folder), self.folder, include, exclude)
        self.skipped: set[Path] = set()

    def __len__(self) -> int:
        return len(self.paths)

    def pick(self, rng: np.random.Generator) -> T:
        """What `read` makes of a random file; if that raises UserError, of the next by name.

        The draw depends on `rng` and the files alone, not on what was read before.

        Raises:
            UserError: not one file can be used.
        """
        first = int(rng.integers(len(self.paths)))
        for i in range(len(self.paths)):
            path = self.paths[(first + i) % len(self.paths)]
            if path in self.skipped:
                continue
            try:
                return self._read(path)
            except UserError as error:
                self.skipped.add(path)
                log.warning("skipped (%d of %d so far): %s", len(self.skipped), len(self.paths), error)
        raise UserError(
            f"{self.folder}: expected images that can be used, got {len(self.paths)} others; the last warnings say why"
        )

    def _read(self, path: Path) -> T:
        if self.cache is None:
            return self.read(path)
        kept: T = self.cache.get((self.read, path), lambda: self.read(path))
        return kept
