"""A folder of images, read one at a time, in which a damaged file is skipped and not fatal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from atldas.errors import UserError

from .images import READABLE

T = TypeVar("T")
log = logging.getLogger(__name__)


class ImageFolder(Generic[T]):
    """The image files directly inside a folder.

    Attributes:
        paths: all image files, sorted by name.
        skipped: those that could not be used so far; each was named in one warning.

    Raises:
        UserError: no such folder, or no image files in it.
    """

    def __init__(self, folder: str | Path, read: Callable[[Path], T]) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "does not exist"
            raise UserError(f"{folder}: {found}; a folder of images is needed")
        self.folder, self.read = folder, read
        self.paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE)
        self.skipped: set[Path] = set()
        if not self.paths:
            raise UserError(f"{folder}: holds no images; put files of {', '.join(READABLE)} directly into it")

    def __len__(self) -> int:
        return len(self.paths)

    def pick(self, rng: np.random.Generator) -> T:
        """What `read` makes of a random file; if that raises UserError, of the next in a random order.

        The draw depends on `rng` and the files alone, not on what was read before.

        Raises:
            UserError: not one file can be used.
        """
        for i in rng.permutation(len(self.paths)):
            path = self.paths[i]
            try:
                return self.read(path)
            except UserError as error:
                if path not in self.skipped:
                    self.skipped.add(path)
                    log.warning("skipped (%d of %d so far): %s", len(self.skipped), len(self.paths), error)
        raise UserError(f"{self.folder}: none of the {len(self.paths)} images can be used; the last warnings say why")
